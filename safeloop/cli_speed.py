"""The commands `safeloop speed`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from safeloop.cli_options import HELP, Json, RunFolder, whole

speeds = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Measure how fast planning, environments and training are on this machine, or a run's policy decides.",
    context_settings=HELP,
)
Threads = Annotated[int, typer.Option(metavar="N", parser=whole, help="Threads of torch.")]


def _measuring(what: str, summary: str) -> None:
    """Add the command that measures `what` (`benchmarking.measure`)."""

    @speeds.command(what, help=summary, epilog=f"Example: safeloop speed {what} --against omnisafe --json")
    def command(
        against: Annotated[str | None, typer.Option(metavar="NAME", help="Measure a peer beside it: omnisafe.")] = None,
        env: Annotated[str, typer.Option(metavar="ENV", help="Environment.")] = "PointGoal1",
        threads: Threads = 1,
        device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N, of planner and training.")] = "cpu",
        json_: Json = False,
    ) -> None:
        from safeloop import benchmarking

        found = benchmarking.measure(what, env, against, device, threads)
        print(json.dumps(found, indent=2) if json_ else benchmarking.text(found))


_measuring("planner", "Time a planned decision, beside its matrix products alone.")
_measuring("env", "Count the simulator steps a second of an environment, beside the stock one.")
_measuring("train", "Count the decisions a second of training, and split their time.")
_measuring("all", "Measure planner, environment and training.")


@speeds.command("act", epilog="Example: safeloop speed act runs/PointGoal1/safeloop/seed-0 --decisions 1000 --json")
def act(
    run: RunFolder,
    decisions: Annotated[int, typer.Option(metavar="N", parser=whole, help="Decisions to time.")] = 200,
    threads: Threads = 1,
    json_: Json = False,
) -> None:
    """Time the decisions of a trained policy, its planner included, in episodes of its run's environment.

    Median, 95th and 99th percentile, the control rate that the last one allows, and the environment's own.
    """
    import sys
    from contextlib import redirect_stdout

    from safeloop import api
    from safeloop.experiments.progress import heartbeat

    with heartbeat("speed act"), redirect_stdout(sys.stderr):
        found = api.latency(run, decisions, threads)
    print(json.dumps(found.as_dict(), indent=2) if json_ else found.text)
