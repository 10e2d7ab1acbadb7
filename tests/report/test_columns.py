"""The page on results names every column of the tables, and its code runs."""

import re
from dataclasses import fields
from pathlib import Path

import pandas as pd

from safeloop.report.rows import Row

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/results.md").read_text()


def test_every_column_is_explained_and_no_other():
    explained = set(re.findall(r"`([a-z_0-9]+)`", "".join(line for line in PAGE.splitlines() if line.startswith("|"))))
    there = {f.name for f in fields(Row)} - {"costs", "diagnostics"} | {"runs", "n"}
    assert there <= explained, there - explained
    states = {"new", "running", "interrupted", "finished", "failed", "training_", "evaluation_"}
    assert explained - there - states <= set(), explained - there - states


def test_the_code_of_the_page_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    with pd.option_context("display.width", 300, "display.max_columns", 20):
        exec(code.replace('"runs"', repr(str(ROOT / "results/safe/PointGoal1"))), {})
    text = capsys.readouterr().out
    assert "safeloop learned_cost" in text and "evaluation_return_low" in text
