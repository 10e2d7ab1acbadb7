"""The command line: options in, text out. What it does is in `safeloop.api`, imported when a command runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from safeloop.texts import one_line, plain, short

HELP = {"help_option_names": ["-h", "--help"]}
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
lists = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List environments or algorithms.",
    context_settings=HELP,
)
app.add_typer(lists, name="list")


def _whole(text: Any) -> int:
    """A whole number as a user writes one: `int` takes the digits of other scripts too."""
    return text if isinstance(text, int) else _number(text, int, "a whole number")


def _float(text: Any) -> float:
    return text if isinstance(text, float) else _number(text, float, "a number")


def _number(text: Any, kind: Any, expected: str) -> Any:
    try:
        return plain(text, kind)
    except ValueError:
        raise typer.BadParameter(f"{short(text)}: expected {expected}") from None


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Seed = Annotated[int | None, typer.Option(metavar="S", parser=_whole, help="The seed [default: 0].")]
Seeds = Annotated[int | None, typer.Option(metavar="N", parser=_whole, help="Train with the seeds 0 to N-1.")]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Output folder.")]
Budget = Annotated[
    float | None,
    typer.Option(
        metavar="COST",
        parser=_float,
        help="Cost return that an episode may have [default: the environment's]; baselines train for it, planners "
        "keep the cost in their horizon low (--set threshold).",
    ),
]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Algorithm setting; NAME.KEY=VALUE for one; repeatable."),
]
EnvSet = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Environment option, repeatable.")]
EvalEvery = Annotated[
    int, typer.Option(metavar="N", parser=_whole, help="Steps between evaluations; 0: at the end only.")
]
EvalEpisodes = Annotated[int, typer.Option(metavar="N", parser=_whole, help="Episodes of an evaluation; 0: none.")]
Jobs = Annotated[int | None, typer.Option(metavar="N", parser=_whole, help="Runs side by side [default: the cores].")]
Threads = Annotated[int, typer.Option(metavar="N", parser=_whole, help="Threads of each run; can change results.")]
Variant = Annotated[
    str, typer.Option(metavar="NAME", help="Name of these settings, to compare several of an algorithm.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder: OUT/<env>/<algo>/seed-<S>.")]


def _train(verb: Callable[..., Any], *arguments: Any, quiet: bool, **options: Any) -> None:
    try:
        comparison = verb(*arguments, quiet=quiet, **options)
    except KeyboardInterrupt as stop:
        if not quiet and (there := getattr(stop, "comparison", None)):
            _print(there)
        print(f"safeloop: {stop or 'stopped'}", file=sys.stderr)
        raise typer.Exit(130) from None
    _report(comparison, quiet)


def _report(comparison: Any, quiet: bool) -> None:
    if not quiet and comparison.text:
        _print(comparison)
    for notice in comparison.notices:
        print(f"safeloop: {notice}", file=sys.stderr)
    for failure in comparison.failures:
        kind = "error:" if failure.refused else f"{failure.job.name} failed:"
        print(f"safeloop: {kind} {failure.reason} (log: {failure.job.run.path / 'log.txt'})", file=sys.stderr)
    if comparison.unwritten:
        print(f"safeloop: error: {comparison.unwritten}", file=sys.stderr)
    if comparison.failures:
        raise typer.Exit(2 if all(failure.refused for failure in comparison.failures) else 1)
    if comparison.unwritten:
        raise typer.Exit(1)


def _print(comparison: Any) -> None:
    print(f"{comparison.text}\n\npictures and tables: {comparison.folder}")


@app.command(epilog=RUN_EXAMPLES)
def run(
    env: Annotated[str, typer.Argument(metavar="ENV", help="Environment; see `safeloop list envs`.")],
    algo: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Algorithm, repeatable [default: safeloop, cpo, ppo-lag; where nothing costs loop-sac, sac].",
        ),
    ] = None,
    steps: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N|NAME=N",
            help="Simulator steps, for all or one algorithm; repeatable [default: each its own].",
        ),
    ] = None,
    seed: Seed = None,
    seeds: Seeds = None,
    preset: Annotated[str, typer.Option(help="Named settings, for the algorithms that have them.")] = "default",
    out: Out = Path("runs"),
    budget: Budget = None,
    device: Device = "cpu",
    set_: Set = None,
    env_set: EnvSet = None,
    eval_every: EvalEvery = 0,
    eval_episodes: EvalEpisodes = 5,
    jobs: Jobs = None,
    threads: Threads = 1,
    variant: Variant = "",
    keep_every: Annotated[
        int,
        typer.Option(
            metavar="N", parser=_whole, help="Simulator steps between checkpoints that are kept; 0: the last only."
        ),
    ] = 0,
    quiet: Quiet = False,
) -> None:
    """Train algorithms on an environment and compare them.

    The same command again keeps finished runs, resumes unfinished ones, and redraws. Settings that differ
    from those of an existing run are refused.
    """
    from safeloop import api

    _train(
        api.run, env, algo, steps=steps, seeds=api.chosen_seeds(seed, seeds), preset=preset,
        out=out, budget=budget, device=device, settings=set_ or (), env_options=env_set or (),
        eval_every=eval_every, eval_episodes=eval_episodes, jobs=jobs, threads=threads, variant=variant,
        keep_every=keep_every, quiet=quiet,
    )  # fmt: skip


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
    episodes: Annotated[int, typer.Option(metavar="N", parser=_whole, help="Episodes in all.")] = 100,
    replay: Annotated[bool, typer.Option("--replay", help="Instead, what the run had stored in training.")] = False,
    seed: Annotated[int, typer.Option(metavar="S", parser=_whole, help="The seed.")] = 0,
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
def offline(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="A Minari folder, or an HDF5 file of D4RL or DSRL.")
    ],
    algo: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Algorithm, repeatable [default: loop-crr, crr; with costs safeloop-crr]."),
    ] = None,
    env: Annotated[str | None, typer.Option(metavar="ENV", help="Where to evaluate [default: as it says].")] = None,
    steps: Annotated[
        list[str] | None,
        typer.Option(metavar="N|NAME=N", help="Gradient steps, for all or one algorithm; repeatable."),
    ] = None,
    seed: Seed = None,
    seeds: Seeds = None,
    preset: Annotated[str, typer.Option(help="Named settings: hopper-medium, ... (CoRL 2021, Table 4).")] = "default",
    out: Out = Path("runs"),
    budget: Budget = None,
    device: Device = "cpu",
    set_: Set = None,
    env_set: EnvSet = None,
    eval_every: EvalEvery = 0,
    eval_episodes: EvalEpisodes = 20,
    jobs: Jobs = None,
    threads: Threads = 1,
    variant: Variant = "",
    sweep: Annotated[
        int,
        typer.Option(
            metavar="N", parser=_whole, help="Choose the planner's settings: N of the paper's grid, on another seed."
        ),
    ] = 0,
    quiet: Quiet = False,
) -> None:
    """Train algorithms on a dataset alone, evaluate them, and show what planning on top adds.

    The dataset is checked first. The same command again keeps finished runs and resumes unfinished ones.
    """
    from safeloop import api

    _train(
        api.learn, dataset, algo, env=env, steps=steps, seeds=api.chosen_seeds(seed, seeds), preset=preset, out=out,
        budget=budget, device=device, settings=set_ or (), env_options=env_set or (), eval_every=eval_every,
        eval_episodes=eval_episodes, jobs=jobs, threads=threads, variant=variant, sweep=sweep,
        quiet=quiet,
    )  # fmt: skip


@app.command(epilog="Example: safeloop resume runs/PointGoal1/safeloop/seed-0")
def resume(
    run: RunFolder,
    threads: Annotated[
        int | None, typer.Option(metavar="N", parser=_whole, help="Threads [default: as recorded].")
    ] = None,
    force_threads: Annotated[bool, typer.Option("--force-threads", help="Allow another number of threads.")] = False,
    from_: Annotated[
        int | None,
        typer.Option(
            "--from", metavar="N", parser=_whole, help="From the checkpoint kept at N steps (run --keep-every)."
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Train an unfinished run to its end, as if it had never stopped."""
    from safeloop import api

    _train(api.resume, run, threads=threads, force_threads=force_threads, from_step=from_, quiet=quiet)


@app.command("eval", epilog="Examples: safeloop eval runs/PointGoal1/safeloop/seed-0 --episodes 20 --json | "
             "safeloop eval runs/PointGoal1/safeloop/seed-0 --episodes 1 --video drive.mp4")  # fmt: skip
def evaluate(
    run: RunFolder,
    episodes: Annotated[int, typer.Option(metavar="N", parser=_whole, help="Episodes to run.")] = 10,
    video: Annotated[Path | None, typer.Option(metavar="FILE", help="Record to this new .mp4 or .gif.")] = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate a trained policy in an environment of its own; the run's folder is not touched."""
    from contextlib import redirect_stdout

    from safeloop import api

    with redirect_stdout(sys.stderr):
        result = api.evaluate(run, episodes=episodes, video=video)
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
    quiet: Quiet = False,
) -> None:
    """Redraw the pictures and tables of a folder of runs."""
    from safeloop import api

    for comparison in api.plot(folder, diagnostics):
        _report(comparison, quiet)


@app.command(epilog="Example: safeloop show runs/PointGoal1/safeloop/seed-0")
def show(run: RunFolder) -> None:
    """Print the settings, status, versions and last episodes of a run."""
    from safeloop import api

    print(api.show(run))


@app.command(epilog="Examples: safeloop speed planner | safeloop speed all --against omnisafe --json")
def speed(
    what: Annotated[str, typer.Argument(metavar="planner|env|train|all", help="What to measure.")] = "all",
    against: Annotated[str | None, typer.Option(metavar="NAME", help="Measure a peer beside it: omnisafe.")] = None,
    env: Annotated[str, typer.Option(metavar="ENV", help="Environment.")] = "PointGoal1",
    threads: Annotated[int, typer.Option(metavar="N", parser=_whole, help="Threads.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N, of planner and training.")] = "cpu",
    json_: Json = False,
) -> None:
    """Measure how fast planning, environments and training are on this machine, beside their bounds and peers."""
    from safeloop import benchmarking

    found = benchmarking.measure(what, env, against, device, threads)
    print(json.dumps(found, indent=2) if json_ else benchmarking.text(found))


@lists.command("envs", epilog="Example: safeloop list envs --json")
def list_envs(json_: Json = False) -> None:
    """List the environments installed."""
    from safeloop import api

    found = api.environments()
    print(json.dumps(found, indent=2) if json_ else api.environments_text(found))


@lists.command("algos", epilog="Example: safeloop list algos --json")
def list_algos(json_: Json = False) -> None:
    """List the algorithms installed; --json adds every setting with its default."""
    from safeloop import api

    found = api.algorithms()
    print(json.dumps(found, indent=2) if json_ else api.algorithms_text(found))


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
