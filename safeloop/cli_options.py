"""Options that commands of the command line share: the fields of `experiments.specify.Request`."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from safeloop.texts import plain, short

HELP = {"help_option_names": ["-h", "--help"]}


def whole(text: Any) -> int:
    """Return the whole number that a user writes, in ASCII digits: `int` takes those of other scripts too."""
    return text if isinstance(text, int) else _number(text, int, "a whole number")


def real(text: Any) -> float:
    """Return the number that a user writes."""
    return text if isinstance(text, float) else _number(text, float, "a number")


def limit(text: Any) -> float | tuple[str, float]:
    """Return the limit that a user writes, with a name before it or none."""
    if not isinstance(text, str):
        return text  # type: ignore[no-any-return]
    name, named, number = text.rpartition("=")
    return (name.strip(), real(number.strip())) if named else real(text)


def _number(text: Any, kind: Any, expected: str) -> Any:
    try:
        return plain(text, kind)
    except ValueError:
        raise typer.BadParameter(f"{short(text)}: expected {expected}") from None


RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder: OUT/<env>/<algo>/seed-<S>.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Seed = Annotated[int | None, typer.Option(metavar="S", parser=whole, help="The seed [default: 0].")]
Seeds = Annotated[int | None, typer.Option(metavar="N", parser=whole, help="Train with the seeds 0 to N-1.")]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Output folder.")]
Budget = Annotated[
    list[Any] | None,
    typer.Option(
        metavar="COST",
        parser=limit,
        help="Cost limit per episode [default: the environment's]. Baselines are trained for it; planners keep the "
        "cost within their horizon below a limit of its own (--set threshold), which follows the budget with "
        "--set constraint=adaptive. NAME=COST for one of several costs (--env-set costs=separate); repeatable.",
    ),
]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Algorithm setting; NAME.KEY=VALUE for one; repeatable."),
]
EnvSet = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Environment option, repeatable.")]
EvalEvery = Annotated[
    int, typer.Option(metavar="N", parser=whole, help="Steps between evaluations; 0: at the end only.")
]
EvalEpisodes = Annotated[
    int | None,
    typer.Option(metavar="N", parser=whole, help="Episodes of an evaluation; 0: none [default: 5, offline 20]."),
]
Jobs = Annotated[int | None, typer.Option(metavar="N", parser=whole, help="Runs side by side [default: the cores].")]
Executor = Annotated[
    str, typer.Option(metavar="local|ray|slurm", help="Where runs are trained: processes here, or a cluster's.")
]
Address = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="A running Ray cluster [default: one is started here].")
]
Resource = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="A resource of each run on a cluster: cores, gpus, ...; repeatable."),
]
Threads = Annotated[int, typer.Option(metavar="N", parser=whole, help="Threads of each run; can change results.")]
Variant = Annotated[
    str,
    typer.Option(metavar="NAME", help="A name for these settings, so that several of an algorithm can be compared."),
]
Algo = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Algorithm, repeatable [default: safeloop, cpo, ppo-lag; in environments without a cost loop-sac, sac; "
        "of a dataset loop-crr, crr, with costs safeloop-crr too].",
    ),
]
Steps = Annotated[
    list[str] | None,
    typer.Option(
        metavar="N|NAME=N",
        help="Simulator steps (offline: gradient steps), for all or one algorithm; repeatable [default: each its own].",
    ),
]
Preset = Annotated[str, typer.Option(help="Named settings, for the algorithms that have them.")]
KeepEvery = Annotated[
    int,
    typer.Option(metavar="N", parser=whole, help="Simulator steps between checkpoints that are kept; 0: the last."),
]
ResetFree = Annotated[
    bool, typer.Option("--reset-free", help="One life: an episode of training begins where the last one ended.")
]
Sweep = Annotated[
    int,
    typer.Option(
        metavar="N", parser=whole, help="Choose the planner's settings: N of the paper's grid, on another seed."
    ),
]


Track = Annotated[
    list[str] | None,
    typer.Option(
        metavar="tensorboard|wandb", help="Mirror each run's rows to a tracker as well, beside the run; repeatable."
    ),
]

OPTIONS: dict[str, tuple[Any, Any]] = {
    "algo": (Algo, None), "steps": (Steps, None), "seed": (Seed, None), "seeds": (Seeds, None),
    "preset": (Preset, "default"), "out": (Out, Path("runs")), "budget": (Budget, None), "device": (Device, "cpu"),
    "set_": (Set, None), "env_set": (EnvSet, None), "eval_every": (EvalEvery, 0), "eval_episodes": (EvalEpisodes, None),
    "jobs": (Jobs, None), "executor": (Executor, "local"), "address": (Address, None), "resource": (Resource, None),
    "threads": (Threads, 1), "variant": (Variant, ""), "keep_every": (KeepEvery, 0),
    "reset_free": (ResetFree, False), "sweep": (Sweep, 0), "track": (Track, None), "quiet": (Quiet, False),
}  # fmt: skip
"""Options that commands share, with their defaults: the fields of `experiments.specify.Request`."""


def options(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of these names, beside its own parameters, as keyword arguments."""

    def give(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in signature(command, eval_str=True).parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
        shared = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=OPTIONS[name][1], annotation=OPTIONS[name][0])
            for name in names
        ]
        parameters = [*(p.replace(kind=Parameter.KEYWORD_ONLY) for p in own), *shared]
        command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return give
