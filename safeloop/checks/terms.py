"""Compare recorded runs with the suite that they are a part of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from safeloop.checks.recorded import Folder, Remark
from safeloop.errors import UsageError
from safeloop.experiments.suite import RECORD, recorded
from safeloop.recording.run import RunSettings


def suite(folder: Folder) -> Iterator[Remark]:
    """Yield a remark for each run with other terms than the suite's; without a `suite.json` above it there is none.

    A suite's algorithms may be a part of its own, or more.
    """
    above = folder.path.parent
    if not (above / RECORD).exists():
        return
    try:
        found = recorded(above)
    except UsageError as error:
        yield Remark(above / RECORD, str(error))
        return
    tasks = {task.env: task for task in found.tasks}
    own_steps = {(each.algo, each.variant): each.steps for each in found.algorithms}
    for run in folder.runs:
        settings = run.recorded.run.settings
        task = tasks.get(settings.env)
        if task is None:
            yield Remark(run.path, f"{found.id} has no task {settings.env}", "move the run to a folder of its own")
            continue
        asked: dict[str, Any] = {
            "steps": own_steps.get((settings.algo, settings.variant)) or found.steps,
            "eval_episodes": found.evaluation.episodes, "eval_every": found.evaluation.every,
        }  # fmt: skip
        if task.budget is not None:
            asked["budgets" if isinstance(task.budget, dict) else "budget"] = task.budget
        yield from (
            Remark(run.path, text, "a suite with other terms needs a version of its own")
            for text in _unlike(settings, asked, task.options)
        )


def _unlike(settings: RunSettings, asked: dict[str, Any], options: dict[str, Any]) -> Iterator[str]:
    """Yield each of a run's terms that differs from what a suite asks for."""
    for name, wanted in asked.items():
        if (value := getattr(settings, name)) != wanted:
            yield f"{name} is {value!r}, expected the suite's {wanted!r}"
    for name, wanted in options.items():
        if (value := settings.env_options.get(name)) != wanted:
            yield f"the environment's {name} is {value!r}, expected the suite's {wanted!r}"
