"""The code that docs/ shows is the code of the package that the tests install and run."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = Path(__file__).parent / "wallstop"


@pytest.mark.parametrize(("page", "files"), [("adding-an-environment", 3), ("adding-an-algorithm", 2)])
def test_the_code_in_the_documentation_is_the_package(page, files):
    text = (ROOT / "docs" / f"{page}.md").read_text()
    shown = dict(re.findall(r"^`([\w/]+\.(?:py|toml))`:\n\n```\w+\n(.*?)```$", text, re.MULTILINE | re.DOTALL))
    assert len(shown) == files
    for name, code in shown.items():
        assert code == (PACKAGE / name).read_text()
