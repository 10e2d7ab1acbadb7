"""Write `report.html`: read the runs, and fill the page's template with what `content.py` says of each task.

The file holds its styles, its script, BokehJS and the figures' data; nothing in it is fetched from elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import bokeh
from bokeh.document import Document
from bokeh.resources import Resources
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from safeloop.activity import tracked
from safeloop.errors import UsageError
from safeloop.files import REMEDIES, write_atomically
from safeloop.recording import reader
from safeloop.report import aggregates
from safeloop.report.aggregates import Group
from safeloop.report.page import content, figures, scores
from safeloop.report.page.content import Task
from safeloop.report.page.figures import Drawn, Look
from safeloop.report.style import SHARE, WINDOW


def write(folders: Sequence[Path], file: Path, title: str = "") -> None:
    """Write the page of the runs in some folders of environments. Raises `UsageError` where it can't."""
    if file.suffix != ".html" or not file.parent.is_dir() or file.is_dir():
        raise UsageError(f"--out {file}: expected a name that ends in .html, in a folder that exists")
    html = page(_tasks(folders), title)
    try:
        write_atomically(file, html.encode(errors="replace"))  # names of folders need not be text
    except OSError as error:
        remedy = REMEDIES.get(error.errno or 0, "choose another file")
        raise UsageError(f"can't write {file}: {error.strerror}: {remedy}, or give --out FILE") from None


def _tasks(folders: Sequence[Path]) -> list[Task]:
    """Return the tasks in folders of environments, each folder once, with labels; those of one environment together."""
    found = []
    for folder in {path.resolve(): path for path in folders}.values():
        reader.check_same_terms(folder)
        runs = reader.runs_under(folder)
        if records := [reader.read(run) for run in tracked(runs, f"reading {folder}", "runs")]:
            found.append(Task(folder, records))
    if not found:
        raise UsageError("there are no runs any more: nothing to report")
    names = [task.settings.folder for task in found]
    return content.labelled(sorted(found, key=lambda task: names.index(task.settings.folder)))


def page(tasks: Sequence[Task], title: str = "") -> str:
    """Return the text of the page."""
    names = sorted({name for task in tasks for name in task.names}, key=lambda name: (name != "safeloop", name))
    looks = {name: figures.look(place) for place, name in enumerate(names)}
    groups = [aggregates.aggregates(task.records) for task in tasks]
    beside = content.published_beside(tasks)
    together = list(zip(tasks, groups, beside, strict=True))
    pages = [content.page(task, found, looks, of) for task, found, of in tracked(together, "drawing", "tasks")]
    here = files("safeloop.report.page")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.policies["json.dumps_kwargs"] = {}  # no sorted keys: BokehJS needs what is referred to later first
    template = environment.from_string((here / "page.html").read_text())
    shown = {look.place for task in pages for look, _ in task.legend}
    profile, compared = _profile(tasks, groups, looks)
    by_label = {task.label: found for task, found in zip(tasks, groups, strict=True)}
    return template.render(
        title=title or ", ".join(dict.fromkeys(task.settings.folder for task in tasks)),
        tasks=pages,
        looks={name: look for name, look in looks.items() if look.place in shown},
        profile=profile,
        profile_names=compared,
        over_tasks=scores.over_tasks(by_label, looks),
        item=_item,
        long=content.LONG,
        narrow=("seeds", "CVaR", "over budget", "longest run", "seeds in budget"),
        window=WINDOW,
        share=SHARE,
        points=figures.POINTS,
        seed_points=figures.SEED_POINTS,
        css=Markup((here / "page.css").read_text()),
        script=Markup((here / "page.js").read_text()),
        bokeh=Markup(Resources(mode="inline", components=["bokeh"], log_level="error").render_js()),
    )


def _item(drawn: Drawn) -> Any:
    """Return a figure as `Bokeh.embed.embed_item` takes it: as Bokeh's `json_item` does, in half the time."""
    document = Document()
    document.add_root(drawn.plot)
    return {"root_id": drawn.plot.id, "doc": document.to_json(deferred=False), "version": bokeh.__version__}


def _profile(
    tasks: Sequence[Task], groups: Sequence[Sequence[Group]], looks: dict[str, Look]
) -> tuple[Drawn | None, list[str]]:
    """Return the figure of performance profiles with the algorithms in it.

    None with fewer than two tasks that have reference returns.
    """
    labels, left, by_algorithm = scores.profile({task.label: found for task, found in zip(tasks, groups, strict=True)})
    if len(labels) < 2 or not by_algorithm:
        return None, []
    told = {
        name: ", ".join(sorted({r.run.settings.privileged or "nothing" for t in tasks for r in t.runs_of(name)}))
        for name in by_algorithm
    }
    without = f" Left out, as they have no finished run on one of these tasks: {', '.join(left)}." if left else ""
    caption = (
        f"Finished runs on {', '.join(labels)}. The return of each run's last evaluation is normalised: 0 and 100 are "
        "the reference returns of its task. The height of a curve is the share of runs above that value, as a mean "
        f"over the tasks.{without} Privileged information: {'; '.join(f'{n}: {text}' for n, text in told.items())}."
    )
    plot = figures.profiles([(name, looks[name]) for name in by_algorithm], list(by_algorithm.values()))
    return Drawn(plot, "Share of runs above each score", caption), list(by_algorithm)
