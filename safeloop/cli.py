"""Read the command line and print results. The work is done by `safeloop.api`, imported when a command runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from safeloop.cli_lists import checks, lists
from safeloop.cli_options import HELP, EnvSet, Json, Quiet, RunFolder, Track, options, real, whole
from safeloop.cli_output import show as show_comparison
from safeloop.cli_output import tell
from safeloop.cli_speed import speeds
from safeloop.cli_suite import suites
from safeloop.cli_tune import EXAMPLES as TUNE_EXAMPLES
from safeloop.cli_tune import tune
from safeloop.texts import one_line

RUN_EXAMPLES = """Examples:
safeloop run PointGoal1 --steps 30000 |
safeloop run PointGoal1 --algo safeloop --algo cpo --steps cpo=1000000 --seeds 3 |
safeloop run CarGoal1 --algo safeloop --set dynamics=full --variant full"""
app = typer.Typer(
    name="safeloop", no_args_is_help=True, add_completion=False, rich_markup_mode=None,
    pretty_exceptions_enable=False, context_settings=HELP,
    help="Benchmark safe reinforcement learning: train, resume, evaluate and compare runs.",
    epilog="Example: safeloop run PointGoal1. Each command has its own --help, with examples.",
)  # fmt: skip
app.add_typer(lists, name="list")
app.add_typer(checks, name="check")
app.add_typer(suites, name="suite")
app.add_typer(speeds, name="speed")
app.command(epilog=TUNE_EXAMPLES)(tune)


ASKED = {"algo": "algos", "set_": "settings", "env_set": "env_options", "resource": "resources"}
"""Options whose field of `Request` has another name."""


def _train(verb: Callable[..., Any], *arguments: Any, quiet: bool, **given: Any) -> None:
    try:
        if "seed" in given:
            from safeloop import api

            given["seeds"] = api.chosen_seeds(given.pop("seed"), given.pop("seeds"))
        given.update({name: given[name] or () for name in ("set_", "env_set", "resource", "track") if name in given})
        asked = {ASKED.get(name, name): value for name, value in given.items()}
        comparison = verb(*arguments, quiet=quiet, **asked)
    except KeyboardInterrupt as stop:
        if not quiet and (there := getattr(stop, "comparison", None)):
            show_comparison(there)
        print(f"safeloop: {stop or 'stopped'}", file=sys.stderr)
        raise typer.Exit(130) from None
    tell(comparison, quiet)


@app.command(epilog=RUN_EXAMPLES)
@options("algo", "steps", "seed", "seeds", "preset", "out", "budget", "device", "set_", "env_set", "eval_every",
         "eval_episodes", "jobs", "executor", "address", "resource", "threads", "variant", "keep_every", "reset_free",
         "track", "quiet")  # fmt: skip
def run(
    env: Annotated[str | None, typer.Argument(metavar="ENV", help="Environment; see `safeloop list envs`.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A run's settings.json: its values, where nothing else is asked for."),
    ] = None,
    **given: Any,
) -> None:
    """Train algorithms on an environment and compare them.

    The same command again keeps finished runs, resumes unfinished ones, and redraws. Settings that differ
    from those of an existing run are refused.
    """
    from safeloop import api

    _train(api.run, env, config=config, **given)


COLLECT_EXAMPLES = """Examples:
safeloop run Hopper --algo sac --keep-every 10000 |
safeloop collect Hopper --policy runs/Hopper/sac/seed-0@20000 --episodes 200 --out data/hopper-medium |
safeloop collect Hopper --policy runs/Hopper/sac/seed-0@20000 --replay --out data/hopper-medium-replay"""
OFFLINE_EXAMPLES = """Examples:
safeloop offline data/hopper-medium --algo loop-crr --algo crr --seeds 3 |
safeloop offline hopper_medium-v2.hdf5 --algo loop-plas --preset hopper-medium"""


@app.command(epilog=COLLECT_EXAMPLES)
def collect(
    env: Annotated[str, typer.Argument(metavar="ENV", help="Environment; see `safeloop list envs`.")],
    policy: Annotated[
        list[str],
        typer.Option(metavar="random|RUN[@STEP]", help="Who acts: several in turn, in equal parts; repeatable."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the new dataset, in Minari's layout.")],
    episodes: Annotated[int, typer.Option(metavar="N", parser=whole, help="Episodes in all.")] = 100,
    replay: Annotated[bool, typer.Option("--replay", help="Instead, what the run had stored in training.")] = False,
    seed: Annotated[int, typer.Option(metavar="S", parser=whole, help="The seed.")] = 0,
    env_set: EnvSet = None,
    quiet: Quiet = False,
) -> None:
    """Make a dataset from trained policies, with costs where the environment has them."""
    from safeloop.experiments import collect

    made = collect.collect(
        env, policy, out, episodes=episodes, replay=replay, seed=seed, env_options=env_set or (), quiet=quiet
    )
    if not quiet:
        print(made.text)


@app.command(epilog=OFFLINE_EXAMPLES)
@options("algo", "steps", "seed", "seeds", "preset", "out", "budget", "device", "set_", "env_set", "eval_every",
         "eval_episodes", "jobs", "executor", "address", "resource", "threads", "variant", "sweep", "track",
         "quiet")  # fmt: skip
def offline(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="A Minari folder, or an HDF5 file of D4RL or DSRL.")
    ],
    env: Annotated[str | None, typer.Option(metavar="ENV", help="Where to evaluate [default: as it says].")] = None,
    **given: Any,
) -> None:
    """Train algorithms on a dataset alone, evaluate them, and show what planning on top adds.

    The dataset is checked first. The same command again keeps finished runs and resumes unfinished ones.
    """
    from safeloop import api

    _train(api.offline, dataset, env=env, **given)


@app.command(epilog="Example: safeloop resume runs/PointGoal1/safeloop/seed-0")
def resume(
    run: RunFolder,
    threads: Annotated[
        int | None, typer.Option(metavar="N", parser=whole, help="Threads [default: as recorded].")
    ] = None,
    force_threads: Annotated[bool, typer.Option("--force-threads", help="Allow another number of threads.")] = False,
    from_: Annotated[
        int | None,
        typer.Option(
            "--from", metavar="N", parser=whole, help="From the checkpoint kept at N steps (run --keep-every)."
        ),
    ] = None,
    track: Track = None,
    quiet: Quiet = False,
) -> None:
    """Train an unfinished run to its end, as if it had never stopped."""
    from safeloop import api

    _train(api.resume, run, threads=threads, force_threads=force_threads, from_step=from_, track=track, quiet=quiet)


@app.command("eval", epilog="Examples: safeloop eval runs/PointGoal1/safeloop/seed-0 --episodes 20 --json | "
             "safeloop eval runs/PointGoal1/safeloop/seed-0 --budget 5 --budget 25 --picture budgets.png | "
             "safeloop eval runs/PointGoal1/safeloop/seed-0 --env-set friction=0.5,2")  # fmt: skip
def evaluate(
    run: RunFolder,
    episodes: Annotated[int, typer.Option(metavar="N", parser=whole, help="Episodes to run.")] = 10,
    video: Annotated[Path | None, typer.Option(metavar="FILE", help="Record to this new .mp4 or .gif.")] = None,
    budget: Annotated[
        list[float] | None,
        typer.Option(
            metavar="COST",
            parser=real,
            help="Cost that an episode may have on average: the planner's threshold is found for it, without training. "
            "Give it several times for a table.",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(metavar="D0", parser=real, help="The planner's threshold, in the unit of its cost model."),
    ] = None,
    calibration: Annotated[
        int, typer.Option(metavar="N", parser=whole, help="Episodes on which a budget's threshold is found.")
    ] = 20,
    shield: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Run of a planner under a constraint that replaces actions which it finds unsafe."
        ),
    ] = None,
    cost_model: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE:FUNCTION", help="A rule that the planner keeps to, beside what it has learned."),
    ] = None,
    watch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:FUNCTION", help="A rule: count the decisions that break it, without planning under it."
        ),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw return against cost of all budgets to this .png.")
    ] = None,
    env_set: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE[,VALUE...]",
            help="Option of the environment that differs from training: a table, with a row for each combination of "
            "values and the unchanged environment first; repeatable.",
        ),
    ] = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate a trained policy in an environment of its own; the run's folder is not touched."""
    from contextlib import redirect_stdout

    from safeloop import api
    from safeloop.errors import UsageError
    from safeloop.experiments.progress import heartbeat

    several = picture is not None or len(budget or ()) > 1
    if several and (video or shield or cost_model or watch or threshold is not None):
        raise UsageError(
            "--video, --shield, --threshold and rules are for one evaluation: give no --picture, one --budget or none"
        )
    if env_set and (several or budget or video):
        raise UsageError("--env-set makes a table of environments: leave --budget, --picture and --video out")
    with heartbeat("eval", quiet), redirect_stdout(sys.stderr):
        result: Any
        if env_set:
            result = api.robustness(
                run,
                env_set,
                episodes=episodes,
                threshold=threshold,
                shield=shield,
                cost_models=cost_model or (),
                watch=watch or (),
            )
        elif several:
            result = api.trade_off(run, budget or [], episodes=episodes, calibration=calibration, picture=picture)
        else:
            one = budget[0] if budget else None
            result = api.evaluate(
                run,
                episodes=episodes,
                video=video,
                budget=one,
                threshold=threshold,
                calibration=calibration,
                shield=shield,
                cost_models=cost_model or (),
                watch=watch or (),
            )
    if json_:
        print(json.dumps(result.as_dict(), indent=2))
    elif not quiet:
        print(result.text)


@app.command(epilog="Example: safeloop plot runs")
def plot(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The --out folder, or one environment's in it.")],
    diagnostics: Annotated[
        bool,
        typer.Option("--diagnostics", help="Also planning.png: actor divergence and usage, model and value errors."),
    ] = False,
    surface: Annotated[
        bool, typer.Option("--surface", help="DIR is a run: draw the returns that it expects around a plan.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Redraw the pictures and tables of a folder of runs."""
    from safeloop import api
    from safeloop.experiments.progress import heartbeat

    if surface:
        from safeloop.experiments.surface import draw_surface

        with heartbeat("plot", quiet):
            file = draw_surface(folder)
        if not quiet:
            print(f"picture: {file}")
        return
    with heartbeat("plot", quiet):
        found = api.plot(folder, diagnostics)
    for comparison in found:
        tell(comparison, quiet)


@app.command(epilog="Examples: safeloop report runs | "
             "safeloop report runs/PointGoal1 runs/CarGoal1 --out goal.html --title 'Goal tasks'")  # fmt: skip
def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="RUNS...", help="Each an --out folder, or one environment's in it.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page [default: report.html in the first folder].")
    ] = None,
    title: Annotated[str, typer.Option(help="Its title [default: the names of the tasks].")] = "",
    quiet: Quiet = False,
) -> None:
    """Write a page with the tables and figures of all runs: one HTML file that opens without a network."""
    from safeloop import api
    from safeloop.experiments.progress import heartbeat

    with heartbeat("report", quiet):
        file = api.report(folders, out, title)
    if not quiet:
        print(f"page: {file}")


@app.command(epilog="Examples: safeloop watch runs | safeloop watch runs/PointGoal1 --every 10 | "
             "safeloop watch runs --once")  # fmt: skip
def watch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The --out folder, or one environment's in it.")],
    once: Annotated[bool, typer.Option("--once", help="Print the table once, as where there is no terminal.")] = False,
    every: Annotated[float, typer.Option(metavar="SECONDS", parser=real, help="Time between two looks.")] = 2.0,
) -> None:
    """Show how far the runs of a folder are, while they train; ends when no run goes on.

    Steps, rate and time left; return and cost (means of the last 10 episodes, and how they changed); the last
    evaluation; the time since the last row was written. It reads the files of the runs and writes nothing.
    """
    from safeloop.report.watch import watch as look

    look(folder, once, every)


@app.command(epilog="Example: safeloop show runs/PointGoal1/safeloop/seed-0")
def show(run: RunFolder) -> None:
    """Print the settings, status, versions and last episodes of a run."""
    from safeloop import api

    print(api.show(run))


@app.command(epilog="Example: safeloop export runs/PointGoal1/safeloop/seed-0 --out agent.pt2")
def export(
    run: RunFolder,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The new file, .pt2.")],
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a trained agent, its planner included, to one file that torch runs without safeloop."""
    from contextlib import redirect_stdout

    from safeloop.experiments.progress import heartbeat
    from safeloop.exported.files import export as write

    with heartbeat("export", quiet), redirect_stdout(sys.stderr):
        found = write(run, out)
    if json_ or not quiet:
        print(json.dumps(found.as_dict(), indent=2) if json_ else found.text)


@app.command(epilog="Example: safeloop doctor")
def doctor() -> None:
    """Check the installation, and print the command for whatever is missing."""
    from safeloop.doctor import examine

    raise typer.Exit(examine())


def main() -> None:
    """Run the command line; bad usage is one line on stderr and exit code 2."""
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        code = _explain(error)
        if code is None:
            raise
        sys.exit(code)


def _explain(error: Exception) -> int | None:
    """Print the one line for a mistake of the user and return its exit code; None for anything else."""
    if type(error).__name__ == "NoArgsIsHelpError":
        print(getattr(error, "format_message", str)() or error)
        return 2
    if type(error).__name__ == "Abort":  # an interrupt, as some versions of typer tell it
        return 130
    if hasattr(error, "format_message"):  # the parser's own errors
        message = error.format_message()
    else:
        from safeloop.errors import UsageError

        if isinstance(error, OSError) and error.strerror:  # the disk's, mostly
            message = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        elif isinstance(error, UsageError):
            message = str(error)
        else:
            return None
    print(f"safeloop: error: {one_line(message)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
