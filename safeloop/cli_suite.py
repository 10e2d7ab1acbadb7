"""The commands `safeloop suite`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from safeloop.cli_options import HELP, Address, Executor, Jobs, Json, Out, Quiet, Resource, Seeds, Track
from safeloop.cli_output import show as show_comparison
from safeloop.cli_output import tell_failures

suites = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Run a benchmark that a file describes: tasks, algorithms and seeds, on the same terms.",
    context_settings=HELP,
)
Given = Annotated[str, typer.Argument(metavar="FILE|NAME", help="A file (.yaml), or one of `safeloop suite list`.")]
Tasks = Annotated[
    list[str] | None, typer.Option("--task", metavar="ENV", help="This task of the suite alone; repeatable.")
]
Algos = Annotated[
    list[str] | None,
    typer.Option("--algo", metavar="NAME", help="This algorithm alone, also one that is not in it; repeatable."),
]
EXAMPLES = """Examples:
safeloop suite run rc-car --seeds 1 |
safeloop suite run safety-navigation-1 --task PointGoal1 --algo safeloop --algo my-algorithm |
safeloop suite run my-suite.yaml --executor ray --resource gpus=0.25"""


@suites.command("run", epilog=EXAMPLES)
def run(
    suite: Given,
    out: Out = Path("runs"),
    task: Tasks = None,
    algo: Algos = None,
    seeds: Seeds = None,
    held: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Take finished runs with equal settings from here; repeatable."),
    ] = None,
    jobs: Jobs = None,
    executor: Executor = "local",
    address: Address = None,
    resource: Resource = None,
    track: Track = None,
    quiet: Quiet = False,
) -> None:
    """Run a suite in OUT/NAME@VERSION, and compare on each of its tasks.

    The same command again keeps finished runs and resumes the others; with more seeds or algorithms it adds theirs.
    """
    from safeloop import api

    try:
        made = api.run_suite(
            suite, out=out, tasks=task or (), algos=algo or (), seeds=seeds, held=held or (), jobs=jobs,
            executor=executor, address=address, resources=resource or (), track=track or (), quiet=quiet,
        )  # fmt: skip
    except KeyboardInterrupt as stop:
        print(f"safeloop: {stop or 'stopped'}", file=sys.stderr)
        raise typer.Exit(130) from None
    if not quiet:
        for comparison in made.comparisons:
            show_comparison(comparison)
            print()
        print(f"suite: {made.folder}; its page: safeloop report {made.folder}")
    if code := tell_failures(made.failures):
        raise typer.Exit(code)


@suites.command("status", epilog="Example: safeloop suite status rc-car")
def status(suite: Given, out: Out = Path("runs"), json_: Json = False) -> None:
    """Show how far the runs of a suite are; FILE|NAME may be the suite's folder, too. Nothing is written."""
    from safeloop.experiments import suite as launching
    from safeloop.experiments import suite_file, suite_status

    folder, asked = Path(suite), None
    if not (folder / launching.RECORD).is_file():
        asked = suite_file.find(suite)
        folder = launching.folder(out, asked)
    found = launching.recorded(folder) if asked is None or (folder / launching.RECORD).exists() else asked
    states = suite_status.status(found, folder)
    print(json.dumps(suite_status.as_dict(found, states), indent=2) if json_ else suite_status.text(found, states))


@suites.command("list", epilog="Example: safeloop suite list --json")
def show(json_: Json = False) -> None:
    """List the suites that come with safeloop."""
    from safeloop.experiments import suite_file
    from safeloop.report.tables import aligned

    found = [suite_file.find(name) for name in suite_file.shipped()]
    if json_:
        told: list[Any] = [each.model_dump(mode="json") for each in found]
        print(json.dumps(told, indent=2))
        return
    lines = [
        {
            "suite": each.id, "tasks": str(len(each.tasks)), "algorithms": str(len(each.algorithms)),
            "seeds": str(each.seeds), "steps": f"{each.steps:,}", "about": each.about,
        }
        for each in found
    ]  # fmt: skip
    print("\n".join(aligned(lines)))
