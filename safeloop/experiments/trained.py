"""Trained policies: load one, evaluate it, and give its planner another budget or threshold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from safeloop.cmdp import EnvSpec, Known
from safeloop.errors import UsageError
from safeloop.experiments import specify
from safeloop.experiments.changed import changed_env
from safeloop.experiments.rules import Counting, add_rules, find_rule
from safeloop.experiments.specify import Pairs
from safeloop.files import check_parent, check_path
from safeloop.recording import reader
from safeloop.recording.rows import EvaluationEpisode
from safeloop.recording.run import Run
from safeloop.registry import find_algorithm, find_env
from safeloop.report import named
from safeloop.report.safety import Safety, safety
from safeloop.report.tables import aligned, number, percent, yes_or_no
from safeloop.report.video import Video
from safeloop.settings import MOST_EPISODES, build, check_whole, kinds
from safeloop.training.calibration import calibrated
from safeloop.training.evaluation import evaluate as evaluation_episodes

if TYPE_CHECKING:
    from safeloop.agents.policies import Checked

CALIBRATION = 20
"""Episodes on which the threshold for a budget is found, where nothing else is asked for."""


@dataclass(frozen=True)
class Evaluation:
    """Episodes of a trained policy."""

    run: Path
    budget: float | None
    """None: the environment has no cost."""
    episodes: list[EvaluationEpisode]
    threshold: float | None = None
    """The planner's threshold, where one was given or found for a budget."""
    passed: float | None = None
    """Share of the actions that a shield let pass, where there was one."""
    budgets: dict[str, float] = field(default_factory=dict)
    """Budgets by name, where the environment names several costs."""
    broken: dict[str, float] = field(default_factory=dict)
    """Share of the decisions that broke each rule that was given or watched."""
    env_options: dict[str, Any] = field(default_factory=dict)
    """Options of the environment that differed from those in training."""

    @property
    def means(self) -> dict[str, float]:
        """Means over the episodes."""
        names = ("return_", "cost_return", "violations", "length")
        return {name.rstrip("_"): fmean(getattr(e, name) for e in self.episodes) for name in names}

    @property
    def mean_costs(self) -> dict[str, float]:
        """Means of the named costs over the episodes."""
        return {name: fmean(named.of(self.episodes, name)) for name in self.budgets}

    @property
    def within_budget(self) -> bool | None:
        """True where the mean cost return is at most the budget; None in environments without a cost."""
        return None if self.budget is None else self.means["cost_return"] <= self.budget

    @property
    def safety(self) -> Safety | None:
        """The safety of the episodes; None in environments without a cost."""
        return None if self.budget is None else safety(self.episodes, self.budget)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        left = ("wall_seconds", "costs")
        episodes = [{k.rstrip("_"): v for k, v in asdict(e).items() if k not in left} for e in self.episodes]
        if self.budgets:
            episodes = [{**shown, "costs": dict(e.costs)} for shown, e in zip(episodes, self.episodes, strict=True)]
        given = {name: getattr(self, name) for name in ("threshold", "passed") if getattr(self, name) is not None}
        given |= {"broken": self.broken} if self.broken else {}
        given |= {"env_options": self.env_options} if self.env_options else {}
        given |= {"budgets": self.budgets, "mean_costs": self.mean_costs} if self.budgets else {}
        return {
            "run": str(self.run), "budget": self.budget, **given, "episodes": episodes,
            "mean": self.means, "within_budget": self.within_budget,
            "safety": None if self.safety is None else asdict(self.safety),
        }  # fmt: skip

    @property
    def cells(self) -> dict[str, str]:
        """The means as a row of a table, beside other evaluations; no cost in environments without one."""
        found, means = self.safety, self.means
        row = {"episodes": str(len(self.episodes)), "return": number(means["return"])}
        if found is not None:
            row |= {
                "cost": number(means["cost_return"]), "CVaR": number(found.cvar),
                "over budget": percent(found.over_budget), "longest run": number(found.longest_run, 0),
                "in budget": yes_or_no(self.within_budget),
            }  # fmt: skip
        if self.passed is not None:
            row["passed"] = percent(self.passed)
        return row | {f"broken {name}": percent(share) for name, share in self.broken.items()}

    @property
    def text(self) -> str:
        """A table for a terminal."""
        means = self.means
        lines: list[tuple[str, ...]] = [
            (str(e.episode), f"{e.return_:.2f}", str(e.length), f"{e.cost_return:.2f}", str(e.violations))
            for e in self.episodes
        ]
        lines.append(("mean", *(f"{means[k]:.2f}" for k in ("return", "length", "cost_return", "violations"))))
        heads = ("episode", "return", "steps", "cost", "violations")[: 3 if self.budget is None else 5]
        table = aligned([dict(zip(heads, line, strict=False)) for line in lines])
        found = self.safety
        told = [f"Rule {name}: broken in {100 * share:.1f}% of the decisions." for name, share in self.broken.items()]
        if found is None:
            return "\n".join([*table, *[""] * bool(told), *told])
        verdict, over = "within" if self.within_budget else "above", round(found.over_budget * len(self.episodes))
        run = "" if found.longest_run is None else f"; longest run of steps with a cost {found.longest_run}"
        verdicts = [
            f"Mean cost return is {verdict} the budget of {self.budget:g}.",
            f"Worst tenth of episodes (CVaR) {found.cvar:.2f}; {over} of {len(self.episodes)} above the budget{run}.",
        ]
        for name, mean in self.mean_costs.items():
            where = "within" if mean <= self.budgets[name] else "above"
            verdicts.append(f"Of {name}: mean cost return {mean:.2f}, {where} the budget of {self.budgets[name]:g}.")
        if self.threshold is not None:
            verdicts.append(f"The planner's threshold was {self.threshold:.3g}.")
        if self.passed is not None:
            verdicts.append(
                f"The shield let {100 * self.passed:.1f}% of the actions pass, and took its own for the others."
            )
        return "\n".join([*table, "", *verdicts, *told])


@dataclass(frozen=True)
class TradeOff:
    """Evaluations of one trained policy under several budgets."""

    evaluations: list[Evaluation]
    """In the order of the budgets."""

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {"evaluations": [each.as_dict() for each in self.evaluations]}

    @property
    def cells(self) -> list[dict[str, str]]:
        """The table: a row for each budget."""
        rows = []
        for each in self.evaluations:
            assert each.budget is not None and each.threshold is not None
            rows.append({"budget": f"{each.budget:g}", "threshold": f"{each.threshold:.3g}", **each.cells})
        return rows

    @property
    def text(self) -> str:
        """The table for a terminal."""
        return "\n".join(aligned(self.cells))


def load(
    path: str | Path,
    seed: int | None = None,
    *,
    budget: float | None = None,
    threshold: float | None = None,
    calibration: int = CALIBRATION,
    shield: str | Path | None = None,
    cost_models: Sequence[str | Known] = (),
) -> Checked:
    """Return the policy of the run at `path`: call `reset()` when an episode begins and `act(observation)` in it.

    `seed` (default: the run's) seeds whatever the policy draws when it acts. Its `act` raises `UsageError` for what is
    no observation of the run's environment; `policy` is the algorithm's own, without that check.

    A planner under a constraint takes another `threshold`, in the unit of its cost model, or the one at which
    `calibration` episodes cost about `budget`, without training. With the run of such a planner as a `shield` the
    policy's actions pass if its models find a feasible way to go on, else the planner's are taken; the threshold is
    then the shield's. `cost_models` are rules that planners keep to beside what they have learned: functions of the
    form of `EnvSpec.cost`, or their names, "package.module:function". Raises `UsageError` for other algorithms.
    """
    policy, _, _ = _load(reader.open_run(path), seed, budget, threshold, calibration, shield)
    add_rules(policy, [find_rule(each) for each in cost_models])
    return policy


def policy_of(run: Run) -> Checked:
    """Return the policy of a run that was opened, as `load` does."""
    return _load(run, None, None, None, CALIBRATION)[0]


def evaluate(
    path: str | Path,
    *,
    episodes: int = 10,
    video: str | Path | None = None,
    budget: float | None = None,
    threshold: float | None = None,
    calibration: int = CALIBRATION,
    shield: str | Path | None = None,
    cost_models: Sequence[str | Known] = (),
    watch: Sequence[str | Known] = (),
    env_options: Pairs = (),
) -> Evaluation:
    """Evaluate the run at `path`, in an environment of its own; nothing is written to the run.

    With `env_options` the environment has these options in place of the run's, such as another friction. The policy
    is told nothing of the change: it keeps the models, known ones included, and the delay that it was trained with, and
    a budget's threshold is found in the run's environment. Raises `UsageError` for options that it can't act with.

    `video` (.mp4 or .gif) is a file to record all episodes to; one that exists is refused. `budget`, `threshold`,
    `calibration`, `shield` and `cost_models` are those of `load`; rules to `watch` are counted and not planned under.
    """
    rules, watched = ([find_rule(each) for each in given] for given in (cost_models, watch))
    episodes = check_whole("--episodes", episodes, 1, MOST_EPISODES)
    run = reader.open_run(path)
    reader.read(run)
    changes = specify.pairs(env_options, "--env-set")
    driven_in = changed_env(run.settings, changes)
    recorder = Video(check_path(video, "--video")) if video is not None else None
    with threads(run.settings.threads):
        policy, _, used = _load(run, None, budget, threshold, calibration, shield)
        add_rules(policy, rules)
        counting = Counting(policy, [*rules, *watched])
        driven = counting if counting.rules else policy
        if recorder is None:
            rows = list(evaluation_episodes(driven, driven_in, episodes, run.settings.seed))
        else:
            with recorder.open(driven_in) as on_frame:
                rows = list(evaluation_episodes(driven, driven_in, episodes, run.settings.seed, on_frame=on_frame))
    found: Any = policy.policy
    passed = None if shield is None else found.passed / found.asked
    return Evaluation(
        run.path,
        run.settings.budget if budget is None else budget,
        rows,
        used,
        passed,
        run.settings.budgets,
        counting.shares,
        {name: driven_in.options.get(name, value) for name, value in changes.items()},
    )


def trade_off(
    path: str | Path,
    budgets: Sequence[float],
    *,
    episodes: int = 10,
    calibration: int = CALIBRATION,
    picture: str | Path | None = None,
) -> TradeOff:
    """Evaluate the planner of the run at `path` under each budget, and return all together.

    Each budget's threshold is found on episodes of calibration (`load`), then stays. `picture` (.png) is a file to draw
    return against cost to.
    """
    file = None if picture is None else check_path(picture, "--picture")
    if file is not None:
        if file.suffix != ".png":
            raise UsageError(f"--picture {file}: expected a name that ends with .png")
        check_parent(file, "--picture")
    if not budgets:
        raise UsageError("a picture or table of budgets needs at least one: give --budget COST")
    found = TradeOff([evaluate(path, episodes=episodes, budget=b, calibration=calibration) for b in budgets])
    if file is not None:
        _draw(found, path, file)
    return found


def _draw(found: TradeOff, path: str | Path, file: Path) -> None:
    from safeloop.report import trade_off as drawing  # needs matplotlib

    settings = reader.open_run(path).settings
    title = f"{settings.env}, {settings.name} seed {settings.seed}: one agent under several budgets"
    points = [(each.budget or 0.0, each.episodes) for each in found.evaluations]
    drawing.draw(points, title, file)


def _load(
    run: Run,
    seed: int | None,
    budget: float | None,
    threshold: float | None,
    calibration: int,
    shield: str | Path | None = None,
) -> tuple[Checked, EnvSpec, float | None]:
    """Return a run's policy, its environment, and the threshold that was given or found."""
    from safeloop.agents.policies import Checked

    settings = run.settings
    specify.check_device(settings.device)
    spec = find_env(settings.env, settings.env_options)
    algorithm: Any = find_algorithm(settings.algo)
    build(algorithm.info.settings, settings.algo_settings, owner=settings.algo)
    seed = settings.seed if seed is None else seed
    if shield is not None:
        return _shielded(run, reader.open_run(shield), seed, budget, threshold)
    if budget is None and threshold is None:
        with reader.loading(run):
            return Checked(algorithm.load(run, seed), spec), spec, None
    given = () if budget is None else (budget,)  # only algorithms that train for a budget take one
    changes: dict[str, Any] = {"constraint": "adaptive"} if given else {"constraint": "fixed", "threshold": threshold}
    _check(algorithm, run, spec, changes, budget, threshold)
    with reader.loading(run):
        policy = algorithm.load_with(run, changes, seed, *given)
    if budget is not None:
        episodes = check_whole("--calibration", calibration, 1, MOST_EPISODES)
        agent, follows = policy.agent, policy.agent.threshold
        threshold = calibrated(policy, follows, spec, episodes, settings.seed)
        follows.move_to([math.log(threshold)])
        policy = agent.policy(seed)  # whose draws begin anew
    return Checked(policy, spec), spec, threshold


def _shielded(
    run: Run, guard: Run, seed: int, budget: float | None, threshold: float | None
) -> tuple[Checked, EnvSpec, float | None]:
    """Return a run's policy behind the planner of another run, its environment, and the threshold that was given."""
    from safeloop.agents.policies import Checked
    from safeloop.agents.shield import Shield, guards

    option = f"--shield {guard.path}"
    if budget is not None:
        raise UsageError(f"{option}: a shield's budget is not looked for; give its planner a --threshold")
    for name in ("env", "env_options"):
        there, here = getattr(guard.settings, name), getattr(run.settings, name)
        if there != here:
            raise UsageError(f"{option}: its {name} is {there}, that of the policy {here}; expected the same")
    policy, spec, _ = _load(run, seed, None, None, CALIBRATION)
    checker, _, used = _load(guard, seed, None, threshold, CALIBRATION)
    if not guards(checker.policy):
        raise UsageError(
            f"{option}: a shield is a planner of action sequences under a constraint, without a simulator or a delay, "
            f"such as safeloop; {guard.settings.algo} is none here"
        )
    return Checked(Shield(policy.policy, checker.policy), spec), spec, used


def _check(
    algorithm: Any, run: Run, spec: EnvSpec, changes: dict[str, Any], budget: float | None, threshold: float | None
) -> None:
    """Raise `UsageError` where a run's algorithm can't plan under another budget or threshold."""
    info, settings = algorithm.info, run.settings
    option = f"--threshold {threshold:g}" if budget is None else f"--budget {budget:g}"
    if budget is not None and threshold is not None:
        raise UsageError(f"{option} and --threshold {threshold:g}: give one of them")
    if not all(value is None or (math.isfinite(value) and value >= 0) for value in (budget, threshold)):
        raise UsageError(f"{option}: expected a finite number of at least 0")
    names = kinds(info.settings)
    if budget is not None and len(spec.cost_names) > 1:
        raise UsageError(
            f"{option}: {spec.id} has costs of {', '.join(spec.cost_names)}, and the threshold of each is the run's; "
            "leave it out"
        )
    if not info.constrained or "threshold" not in names:
        raise UsageError(f"{option}: {settings.algo} has no planner under a constraint, so its policy can't change")
    if budget is not None and "constraint" not in names:
        raise UsageError(f"{option}: {settings.algo} can't follow a budget; give a threshold of its cost, --threshold")
    algorithm.resolve(build(info.settings, settings.algo_settings, changes, owner=settings.algo), spec)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch use so many threads in the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
