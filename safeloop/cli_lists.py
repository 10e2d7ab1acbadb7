"""The commands `safeloop list` and `safeloop check`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safeloop.cli_options import HELP, EnvSet, Json, Preset, Set

if TYPE_CHECKING:
    from safeloop.checks.findings import Finding

lists = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List environments, algorithms, or the settings of one.",
    context_settings=HELP,
)
checks = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Check an environment or an algorithm of your own before anything long is trained, or recorded runs after it.",
    context_settings=HELP,
)


@lists.command("envs", epilog="Example: safeloop list envs --json")
def list_envs(json_: Json = False) -> None:
    """List the environments installed."""
    from safeloop import listing

    found = listing.environments()
    print(json.dumps(found, indent=2) if json_ else listing.environments_text(found))


@lists.command("algos", epilog="Example: safeloop list algos --json")
def list_algos(json_: Json = False) -> None:
    """List the algorithms installed; --json adds every setting with its default."""
    from safeloop import listing

    found = listing.algorithms()
    print(json.dumps(found, indent=2) if json_ else listing.algorithms_text(found))


@lists.command("settings", epilog="Examples: safeloop list settings safeloop PointGoal1 | "
               "safeloop list settings cpo --json")  # fmt: skip
def list_settings(
    algo: Annotated[str, typer.Argument(metavar="ALGO", help="Algorithm; see `safeloop list algos`.")],
    env: Annotated[
        str | None, typer.Argument(metavar="ENV", help="With an environment: the defaults of a run there.")
    ] = None,
    preset: Preset = "default",
    json_: Json = False,
) -> None:
    """List the settings of an algorithm: name, default, type, meaning and source."""
    import shutil

    from safeloop import listing

    found = listing.settings(algo, env, preset)
    print(json.dumps(found, indent=2) if json_ else listing.settings_text(found, shutil.get_terminal_size().columns))


@checks.command("env", epilog="Examples: safeloop check env PointGoal1 | "
                "safeloop check env PointGoal1 --env-set observation=task --json")  # fmt: skip
def check_env(
    env: Annotated[str, typer.Argument(metavar="ENV", help="Environment; see `safeloop list envs`.")],
    env_set: EnvSet = None,
    json_: Json = False,
) -> None:
    """Check that an environment keeps the suite's contract, on random actions.

    One line a check: ok, FAILED with what to do, or - where it does not apply. Exit code 1 where any failed.
    """
    from safeloop.checks import environment

    spec = environment.find(env, env_set or ())
    _findings("check env", {"env": spec.id, "options": spec.options}, environment.examine(spec), json_)


@checks.command("algorithm", epilog="Examples: safeloop check algorithm sac | "
                "safeloop check algorithm cem-linear --env WallStop --set population=4 --json")  # fmt: skip
def check_algorithm(
    algo: Annotated[str, typer.Argument(metavar="ALGO", help="Algorithm; see `safeloop list algos`.")],
    env: Annotated[
        str | None, typer.Option(metavar="ENV", help="Where to train [default: a point on a line, in seconds].")
    ] = None,
    set_: Set = None,
    json_: Json = False,
) -> None:
    """Check that an algorithm keeps the suite's protocol, in short runs with small networks.

    One line a check: ok, FAILED with what to do, or - where it does not apply. Exit code 1 where any failed.
    """
    from safeloop.checks import algorithm

    about = {"algorithm": algo, "env": env, "settings": list(set_ or ())}
    _findings("check algorithm", about, algorithm.examine(algo, env, set_ or ()), json_)


@checks.command("results", epilog="Examples: safeloop check results runs | "
                "safeloop check results results --json | "
                "safeloop check results runs --write-checksums")  # fmt: skip
def check_results(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with runs at any depth.")],
    write_checksums: Annotated[
        bool, typer.Option("--write-checksums", help="Where nothing failed, write DIR/checksums.txt of the raw data.")
    ] = False,
    json_: Json = False,
) -> None:
    """Check recorded runs: whole, readable, comparable, and their tables as the raw data give them.

    One line a check: ok, FAILED for each fault, or - for what is told and not judged. Exit code 1 where any failed.
    """
    from safeloop.checks import results

    found = results.find(folder)
    _findings("check results", {"folder": str(folder)}, results.examine(found, write_checksums), json_)


def _findings(name: str, about: dict[str, Any], findings: Iterable[Finding], as_json: bool) -> None:
    """Print findings as they are made, or all as JSON; exit code 1 where a check failed."""
    from contextlib import redirect_stdout

    from safeloop.checks.findings import FAILED, verdict
    from safeloop.experiments.progress import heartbeat

    made = []
    with heartbeat(name):
        out = sys.stdout
        with redirect_stdout(sys.stderr):  # what an environment prints is no finding
            for finding in findings:
                made.append(finding)
                if not as_json:
                    print(finding.line, file=out, flush=True)
    fine = all(finding.state != FAILED for finding in made)
    if as_json:
        print(json.dumps({**about, "ok": fine, "findings": [vars(finding) for finding in made]}, indent=2))
    else:
        print(f"\n{verdict(made)}")
    if not fine:
        raise typer.Exit(1)
