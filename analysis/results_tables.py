"""Make the tables of a results page anew from its recorded runs, with their summaries and pictures.

Usage: python analysis/results_tables.py PAGE.md [PAGE.md ...]

A block of the page from `<!-- runs: FOLDER [FOLDER ...] -->` to `<!-- end of runs -->` is replaced by the tables of the
runs in these folders, which are relative to the page.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from safeloop.files import write_atomically
from safeloop.recording import reader
from safeloop.report import pictures, summary
from safeloop.report.tables import markdown

BLOCK = re.compile(r"(<!-- runs: (.+?) -->\n).*?(<!-- end of runs -->)", re.DOTALL)


def folders(page: Path) -> list[Path]:
    """Return the folders of runs that a page names in its blocks."""
    return [page.parent / name for found in BLOCK.finditer(page.read_text()) for name in found[2].split()]


def tabulated(page: Path) -> str:
    """Return the text of a page with the tables of its blocks made anew."""
    return BLOCK.sub(
        lambda found: found[1] + "\n".join(_block(page.parent, found[2].split())) + found[3], page.read_text()
    )


def _block(root: Path, names: list[str]) -> list[str]:
    """Return the lines of a block: the tables of each folder, apart by privileged information, then others' results."""
    lines = [""]
    for name in names:
        records = [reader.read(run) for run in reader.runs_under(root / name)]
        settings = records[0].run.settings
        observed = settings.env_options.get("observation")
        task = settings.env + (f", observation `{observed}`" if observed else "")
        for privileged, groups in summary.sections(records).items():
            for title, table in summary.tables(groups).items():
                lines += [f"{task}; privileged information: {privileged}. {title}:", "", *markdown(table), ""]
        if others := summary.others(settings.env):
            lines += [f"{settings.env}: published by others, not run by us:", "", *markdown(others), ""]
    return lines


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for page in map(Path, sys.argv[1:]):
        for folder in folders(page):
            pictures.write(folder)
        write_atomically(page, tabulated(page).encode())
