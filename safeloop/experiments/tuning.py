"""Choose an algorithm's settings by training: Optuna's TPE proposes them, seeds that are never reported judge them.

Nothing that was drawn has to be stored. Proposals depend on the sampler's seed and on the trials before them alone, so
a study that was stopped is walked through again from its first trial: finished runs are read, the others are trained.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice, product
from pathlib import Path
from typing import Any

from safeloop.errors import UsageError
from safeloop.experiments import prepare, ranges, specify
from safeloop.experiments.budgets import Budget
from safeloop.experiments.executor import Stopped, execute
from safeloop.experiments.executors import Place
from safeloop.experiments.progress import display
from safeloop.experiments.specify import Pairs, Request
from safeloop.experiments.trials import FAILED, FINISHED, PRUNED, Outcome, Trial, Tuning, limits, objective, outcome
from safeloop.files import check_folder, check_path, write_atomically
from safeloop.recording import reader, studies
from safeloop.recording.run import Run, RunSettings
from safeloop.recording.studies import FIRST_SEED, STUDY
from safeloop.registry import find_algorithm
from safeloop.settings import LARGEST_SEED, MOST_SEEDS, MOST_THREADS, check_whole, kinds

TRIALS, SEEDS = 20, 3
"""Trials of a study and seeds of a trial, where nothing else is asked for."""
MOST_TRIALS = 10_000
RANDOM, UNPRUNED = 10, 5
"""Trials that are drawn at random before the sampler learns from them, and that have to finish before one is pruned."""
COMBINATIONS = 256
"""Combinations of ends of ranges in which one end is looked for a possible one."""


@dataclass
class Draw:
    """A trial under way."""

    trial: Any
    """Optuna's."""
    settings: dict[str, Any]
    runs: list[RunSettings]
    """One for each seed."""
    state: str = ""
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    reason: str = ""

    def fail(self, reason: str) -> None:
        """Give the trial up."""
        self.state, self.reason = FAILED, reason


class Study:
    """A search over settings of one algorithm, in a folder that holds all of it."""

    def __init__(self, asked: Request, env: str, algo: str, seeds: int, seed: int, batch: int, place: Place):
        """Check everything. Raises `UsageError` for what can't be, before anything is written."""
        self.seeds = list(range(FIRST_SEED, FIRST_SEED + check_whole("--seeds", seeds, 1, MOST_SEEDS)))
        self.seed = check_whole("--seed", seed, 0, LARGEST_SEED)
        self.batch = check_whole("--batch", batch, 1, MOST_THREADS)
        self.env, self.place = env, place
        asked = replace(asked, algos=[algo], seeds=self.seeds)
        one = specify.specify(replace(asked, settings=()), env)[0]
        if one.eval_episodes == 0:
            raise UsageError("--eval-episodes 0: trials are judged by their last evaluation; give at least 1")
        self.algo = one.algo
        ranged, fixed = ranges.split(specify.pairs(asked.settings, "--set"))
        self.asked = replace(asked, settings=fixed)
        found = find_algorithm(self.algo)
        specify.settings_by_algorithm({**ranged, **fixed}, {self.algo: found})
        types = kinds(found.info.settings)
        own = specify.settings_by_algorithm(ranged, {self.algo: found})[self.algo]
        self.ranges = {name: ranges.parse(name, text, types[name]) for name, text in own.items()}
        if not self.ranges:
            raise UsageError(f"nothing to tune: give a range, --set KEY={ranges.FORMS}")
        self.run = self._check_ends()
        self.optuna = _optuna()
        self.folder = check_path(asked.out, "--out") / one.folder
        self.path = studies.directory(self.folder, self.algo)
        check_folder(self.path)
        self.told: set[str] = set()

    def _check_ends(self) -> RunSettings:
        """Return the run of one combination. Raises `UsageError` for an end that is possible in no combination."""
        for name, here in self.ranges.items():
            for value in here.values:
                others = [(value,) if key == name else (r.values[0], r.values[-1]) for key, r in self.ranges.items()]
                error: UsageError | None = None
                for values in islice(product(*others), COMBINATIONS):
                    try:
                        run = self._runs(dict(zip(self.ranges, values, strict=True)), 0)[0]
                        error = None
                        break
                    except UsageError as mistake:
                        error = error or mistake
                if error:
                    raise UsageError(f"--set {name}={here.text}: {error}")
        return run

    def _runs(self, drawn: Mapping[str, Any], number: int) -> list[RunSettings]:
        """Return the runs of a trial. Raises `UsageError` where its settings can't be together."""
        fixed = specify.pairs(self.asked.settings, "--set")
        return specify.specify(replace(self.asked, settings={**fixed, **drawn}, variant=f"trial-{number}"), self.env)

    @property
    def terms(self) -> dict[str, Any]:
        """Everything that the trials depend on."""
        each = {k: v for k, v in asdict(self.run).items() if k not in ("seed", "variant", "privileged", "schema")}
        each["algo_settings"] = {k: v for k, v in self.run.algo_settings.items() if k not in self.ranges}
        found = {
            **each, "ranges": {name: "".join(r.text.split()) for name, r in self.ranges.items()},
            "seeds": len(self.seeds), "seed": self.seed, "batch": self.batch, "optuna": self.optuna.__version__,
        }  # fmt: skip
        return dict(json.loads(json.dumps(found)))

    def begin(self) -> None:
        """Record the terms. Raises `UsageError` where the folder holds a study on others, or its seeds are reported."""
        if (self.path / STUDY).exists():
            before, now = (_flat(terms) for terms in (studies.terms(self.path), self.terms))
            if changed := [key for key in {**before, **now} if before.get(key) != now.get(key)]:
                key = changed[0]
                raise UsageError(
                    f"{self.path} holds a study with {key}={before.get(key)}, not {now.get(key)}: give what it was "
                    "begun with, move it away, or choose another --out"
                )
            return
        for run in reader.runs_under(self.folder):
            if run.settings.algo == self.algo and run.settings.seed in self.seeds:
                raise UsageError(
                    f"{run.path}: settings are chosen on this seed, and it is not reported; move the run away, or "
                    "choose another --out"
                )
        write_atomically(self.path / STUDY, (json.dumps(self.terms, indent=2) + "\n").encode())

    def search(self, trials: int) -> Tuning:
        """Return the trials, at least so many; those that are there are kept. Call it after `begin`."""
        optuna, shown = self.optuna, display(self.asked.quiet)
        recorded = studies.rows(self.path)
        if recorded:
            shown.note(f"{self.path}: {len(recorded)} trials are there, kept")
        study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(n_startup_trials=RANDOM, seed=self.seed),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED),
        )  # fmt: skip
        found, total = list[Trial](), max(trials, len(recorded))
        while True:
            result = Tuning(self.path, found, self.seeds, self.asked, self.run)
            if found and len(found) >= len(recorded):
                result.write()
            if len(found) >= total:
                return result
            draws = [self._draw(study, n) for n in range(len(found), min(len(found) + self.batch, total))]
            for draw in draws:  # one that failed stays so: later ones were drawn after it
                if draw.trial.number < len(recorded) and recorded[draw.trial.number]["state"] == FAILED:
                    draw.fail(recorded[draw.trial.number]["reason"])
                    draw.outcomes = {run.seed: self._outcome(run) for run in draw.runs if self._finished(run)}
            self._judge(draws)
            made = [self._end(study, draw) for draw in draws]
            found = [*found, *made]
            for trial in made[max(0, len(recorded) - made[0].number) :]:
                shown.note(trial.line)

    def _draw(self, study: Any, number: int) -> Draw:
        """Return the next trial, with the settings that the sampler proposes."""
        trial = study.ask({name: self._distribution(name) for name in self.ranges})
        drawn = {name: self.ranges[name].rounded(value) for name, value in trial.params.items()}
        try:
            return Draw(trial, drawn, self._runs(drawn, number))
        except UsageError as error:
            return Draw(trial, drawn, [], FAILED, reason=str(error))

    def _distribution(self, name: str) -> Any:
        of, kinds_of = self.ranges[name], self.optuna.distributions
        if of.form == "choice":
            return kinds_of.CategoricalDistribution(of.values)
        make = kinds_of.IntDistribution if of.whole else kinds_of.FloatDistribution
        return make(*of.values, log=of.form == "log")

    def _judge(self, draws: Sequence[Draw]) -> None:
        """Train the first seed of each trial, and the others of those that are not pruned by then."""
        for seeds in filter(None, (self.seeds[:1], self.seeds[1:])):
            going = [draw for draw in draws if not draw.state]
            reasons = self._train([run for draw in going for run in draw.runs if run.seed in seeds])
            for draw in going:
                for run in (each for each in draw.runs if each.seed in seeds):
                    try:
                        if reason := reasons.get((run.variant, run.seed)):
                            raise UsageError(f"seed {run.seed}: {reason}")
                        draw.outcomes[run.seed] = self._outcome(run)
                    except UsageError as error:
                        draw.fail(str(error))
                if not draw.state and len(draw.outcomes) < len(self.seeds):
                    draw.trial.report(self._objective(draw), step=0)
                    draw.state = PRUNED if draw.trial.should_prune() else ""

    def _outcome(self, settings: RunSettings) -> Outcome:
        return outcome(reader.open_run(Run.directory(self.path, settings)))

    def _objective(self, draw: Draw) -> float:
        return objective(list(draw.outcomes.values()), limits(self.run))

    def _train(self, runs: Sequence[RunSettings]) -> dict[tuple[str, int], str]:
        """Train the runs that are not finished; return why some failed, by variant and seed.

        Raises `UsageError` where one could not be tried: that says nothing of its settings.
        """
        todo = [run for run in runs if not self._finished(run)]
        if not todo:
            return {}
        work = prepare.prepare(self.path, todo)
        work.notices = list(self._news(work.notices))
        failures = execute(work, self.place.make(self.path), display(self.asked.quiet))
        if refused := [failure for failure in failures if failure.refused]:
            raise UsageError(f"{refused[0].job.name}: {refused[0].reason}")
        return {(f.job.run.settings.variant, f.job.run.settings.seed): f.reason for f in failures}

    def _finished(self, settings: RunSettings) -> bool:
        path = Run.directory(self.path, settings)
        if not (path / "settings.json").exists():
            return False
        run = reader.open_run(path)
        return specify.completed(run.settings) == settings and run.status["state"] == "finished"

    def _news(self, notices: Sequence[str]) -> Iterator[str]:
        """Yield the notices that no earlier trial had, whatever run they are about."""
        for notice in notices:
            text = notice.partition(": ")[2]
            if text not in self.told:
                self.told.add(text)
                yield notice

    def _end(self, study: Any, draw: Draw) -> Trial:
        """Tell the sampler how a trial ended."""
        state = draw.state or FINISHED
        value = None if state == FAILED else self._objective(draw)
        optuna_state = {FINISHED: "COMPLETE", PRUNED: "PRUNED", FAILED: "FAIL"}[state]
        study.tell(draw.trial, value if state == FINISHED else None, state=self.optuna.trial.TrialState[optuna_state])
        drawn = {k: draw.runs[0].algo_settings[k] for k in self.ranges} if draw.runs else draw.settings
        return Trial(draw.trial.number, state, drawn, draw.outcomes, value, draw.reason)


def _flat(terms: Mapping[str, Any]) -> dict[str, Any]:
    """Return the terms with those in dicts beside the others, under names as `ranges horizon`."""
    found: dict[str, Any] = {}
    for key, value in terms.items():
        found |= {f"{key} {name}": each for name, each in value.items()} if isinstance(value, dict) else {key: value}
    return found


def _optuna() -> Any:
    """Return the package. Raises `UsageError` where it is not installed."""
    try:
        import optuna
    except ImportError:
        raise UsageError("tune: Optuna is not installed: pip install 'safeloop[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def tune(
    env: str,
    algo: str,
    settings: Pairs,
    *,
    trials: int = TRIALS,
    seeds: int = SEEDS,
    seed: int = 0,
    batch: int = 1,
    steps: int | str | Pairs | None = None,
    preset: str = "default",
    env_options: Pairs = (),
    budget: Budget | None = None,
    eval_episodes: int | None = None,
    device: str = "cpu",
    threads: int = 1,
    out: str | Path = "runs",
    jobs: int | None = None,
    executor: str = "local",
    address: str | None = None,
    resources: Pairs = (),
    quiet: bool = False,
) -> Tuning:
    """Choose settings of `algo` on `env` in so many trials, in `OUT/<env>/tuning/<algo>`.

    `settings` are as in `run`, with ranges for values: `{"horizon": "int(4,16)", "search": "choice(arc,cem)"}`, also
    `uniform(a,b)` and `log(a,b)`. A trial trains `seeds` seeds, 1000 and on, which `run` refuses for this algorithm
    afterwards. It is judged by the median over them of the last evaluation's mean return, and under a budget first by
    the median of the cost; one that is below the median of the earlier trials after its first seed is pruned. `seed` is
    that of the sampler (Optuna's TPE), `batch` the number of trials that are drawn and trained together. All else is as
    in `run`. The same call again goes on where it was stopped, to the same trials; with more `trials` it adds some.
    Raises `UsageError` for bad input, before anything is written.
    """
    total = check_whole("--trials", trials, 1, MOST_TRIALS)
    place = Place(executor, address, jobs, specify.pairs(resources, "--resource"))
    place.check()
    asked = Request(
        steps=steps, preset=preset, settings=settings, env_options=env_options, budget=budget,
        eval_episodes=eval_episodes, device=device, threads=threads, out=out, quiet=quiet,
    )  # fmt: skip
    study = Study(asked, env, algo, seeds, seed, batch, place)
    with studies.alone(study.path):
        study.begin()
        try:
            return study.search(total)
        except Stopped:
            raise Stopped("stopped; the same command goes on") from None
