"""The command `safeloop tune`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from safeloop.cli_options import options, whole

EXAMPLES = """Examples:
safeloop tune PointGoal1 --algo safeloop --set "inverse_temperature=log(1,100)" --set "horizon=int(4,16)" |
safeloop tune Hopper --algo loop-sac --set "search=choice(arc,cem)" --set population=200 --trials 40 --batch 4"""


@options("preset", "out", "budget", "device", "env_set", "eval_episodes", "jobs", "executor", "address", "resource",
         "threads", "quiet")  # fmt: skip
def tune(
    env: Annotated[str, typer.Argument(metavar="ENV", help="Environment; see `safeloop list envs`.")],
    algo: Annotated[str, typer.Option(metavar="NAME", help="Algorithm; see `safeloop list algos`.")],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=RANGE|VALUE",
            help="A setting to choose: uniform(a,b), log(a,b), int(a,b) or choice(x,y,...); or one that is fixed; "
            "repeatable.",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(metavar="N", parser=whole, help="Settings to try, in all.")] = 20,
    steps: Annotated[
        int | None, typer.Option(metavar="N", parser=whole, help="Simulator steps of each run [default: its own].")
    ] = None,
    seeds: Annotated[
        int, typer.Option(metavar="K", parser=whole, help="Train each trial with K seeds, 1000 and on, for no report.")
    ] = 3,
    seed: Annotated[int, typer.Option(metavar="S", parser=whole, help="The seed of the search.")] = 0,
    batch: Annotated[
        int, typer.Option(metavar="B", parser=whole, help="Trials that are drawn and trained together.")
    ] = 1,
    **given: Any,
) -> None:
    """Choose an algorithm's settings in trials, and print the command that uses the best.

    A trial is judged by the median return over its seeds, under a budget by its cost first. The same command again goes
    on where it was stopped.
    """
    from safeloop import api

    quiet = given["quiet"]
    renamed = {"env_set": "env_options", "resource": "resources"}
    asked = {renamed.get(name, name): value for name, value in given.items()}
    asked.update({name: asked[name] or () for name in renamed.values()})
    try:
        found = api.tune(
            env, algo, set_ or (), trials=trials, steps=steps, seeds=seeds, seed=seed, batch=batch, **asked
        )
    except KeyboardInterrupt as stop:
        print(f"safeloop: {stop or 'stopped'}", file=sys.stderr)
        raise typer.Exit(130) from None
    if not quiet:
        print(f"{found.text}\n\ntrials: {found.folder / 'trials.csv'}")
    if found.best is None:
        print(f"safeloop: every trial failed; the first: {found.trials[0].reason}", file=sys.stderr)
        raise typer.Exit(1)
