"""The pages of recorded results hold the tables that their records give."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "analysis"))

import results_tables  # noqa: E402

PAGES = [page for page in sorted((ROOT / "results").rglob("README.md")) if results_tables.folders(page)]


def test_there_are_pages_with_tables_from_records():
    assert ROOT / "results/safe/README.md" in PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.parent.relative_to(ROOT / "results")))
def test_a_page_has_the_tables_of_its_records(page):
    assert results_tables.tabulated(page) == page.read_text(), (
        f"run: python analysis/results_tables.py {page.relative_to(ROOT)}"
    )


def test_a_block_is_replaced_and_all_else_stays(tmp_path):
    for name in ("PointGoal2", "lidar/CarGoal1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(ROOT / "results/safe" / name)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- runs: PointGoal2 lidar/CarGoal1 -->\nold\n<!-- end of runs -->\nafter\n")
    text = results_tables.tabulated(page)
    assert text.startswith("before\n<!-- runs: ") and text.endswith("<!-- end of runs -->\nafter\n")
    assert "old" not in text
    assert "PointGoal2, observation `paper`; privileged information: known cost, entities. Each run:" in text
    assert text.count("CarGoal1: published by others, not run by us:") == 1
