"""The README's Python example, run as it is written."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.slow
def test_the_python_example_runs_as_written(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(compile(code, "README.md", "exec"), found)
    assert "safeloop" in capsys.readouterr().out
    assert found["ended"] and found["action"].shape == (2,)
    assert (tmp_path / "runs/PointGoal1/curves.png").is_file()
