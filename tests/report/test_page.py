"""The page of a comparison, as it is written; `test_browser.py` opens it."""

import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from safeloop import api
from safeloop.errors import UsageError
from safeloop.recording import reader
from safeloop.report import aggregates, style
from safeloop.report.page import content, figures, scores
from safeloop.report.page.content import Task
from tests.report.conftest import EVIL
from tests.report.test_report import make, twelve

PLOT = r'<script type="application/json" data-plot[^>]*>(.*?)</script>'


class Elements(HTMLParser):
    """All elements with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def without_bokeh(page):
    """The page without BokehJS."""
    return re.sub(r"/\* BEGIN bokeh.*?END bokeh[^\n]*", "", page.read_text(), flags=re.DOTALL)


def test_the_page_is_beside_the_runs_or_where_it_is_asked_for(recorded, tmp_path):
    folder = shutil.copytree(recorded / "HalfCheetah", tmp_path / "HalfCheetah")
    assert api.report(folder) == folder / "report.html"
    assert api.report([folder, recorded / "PointGoal1"], tmp_path / "both.html") == tmp_path / "both.html"
    assert "<title>HalfCheetah, PointGoal1</title>" in (tmp_path / "both.html").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"HalfCheetah", "both.html"}


def test_nothing_is_fetched(page):
    text = without_bokeh(page)
    found = Elements(text).found
    assert not [tag for tag, _ in found if tag in ("link", "img", "iframe", "object")]
    assert not [value for _, of in found for key, value in of.items() if key in ("src", "href") and value[0] != "#"]
    assert "url(" not in text and "@import" not in text
    assert "default-src 'none'" in text


def test_the_file_is_small_beside_its_data(page):
    figures_ = re.findall(PLOT, page.read_text(), re.DOTALL)
    assert len(figures_) == 5 + 2 * 2 + 1
    assert page.stat().st_size - sum(map(len, figures_)) < 3_000_000


def test_every_text_from_a_file_is_escaped(evil):
    text = without_bokeh(evil)
    assert EVIL not in text and "<img" not in text and text.count("&lt;img src=x") > 10
    assert [tag for tag, _ in Elements(text).found].count("script") == text.count("</script>")


def test_a_run_that_failed_is_there_with_its_reason(page):
    text = page.read_text()
    assert "<strong>1 did not finish</strong>" in text
    (row,) = re.findall(r"<tr[^>]*>(?:(?!</tr>).)*it broke.*?</tr>", text, re.DOTALL)
    assert "cpo seed 3" in row and "failed" in row and "400" in row


def test_each_run_has_its_command_and_versions(page):
    text = page.read_text()
    for seed in range(3):
        assert f"safeloop run PointGoal1 --algo safeloop --steps 3000 --seed {seed}" in text
    assert "safeloop seeds 0, 1, 2; " in text and "torch&nbsp;" in text


def test_tables_are_apart_by_observation_and_privileged_information(page):
    captions = re.findall(r"<caption>(PointGoal1, observation.*?)</caption>", page.read_text())
    assert captions == [
        "PointGoal1, observation: paper; privileged information: nothing",
        "PointGoal1, observation: paper; privileged information: known cost, entities",
        "PointGoal1, observation: lidar; privileged information: nothing",
    ]


def test_published_results_stand_where_observation_and_privileged_information_are_alike(page):
    tables = re.findall(r"<table.*?</table>", page.read_text(), re.DOTALL)
    (known,) = [table for table in tables if "known cost, entities</caption>" in table and "estimates" in table]
    ours, others = known.split("Not run by us")
    assert (
        "safeloop" in ours and "RCE-PETS" in others and "OmniSafe 0.5 benchmark" in others and "safeloop" not in others
    )
    assert sum("RCE-PETS" in table for table in tables) == 1
    assert not any("SAC-Lag" in table for table in tables if "observation: paper" in table)


def test_a_published_result_is_shown_once_on_a_page_with_several_observations(tmp_path):
    tasks = []
    for observation in ("paper", "task"):
        out = tmp_path / observation
        make(out, "cpo", env="PointGoal1", budget=25.0, episodes=twelve(), env_options={"observation": observation})
        folder = out / "PointGoal1"
        tasks.append(Task(folder, [reader.read(run) for run in reader.runs_under(folder)]))
    paper, task = content.published_beside(tasks)
    assert {each.observation for each in paper} == {"positions"} and {each.observation for each in task} == {"lidar"}


def test_labels_tell_tasks_apart(tmp_path):
    tasks = []
    for place, options in (("a", {}), ("b", {"observation": "task"}), ("c", {"observation": "task"})):
        make(tmp_path / place, "x", env_options=options)
        folder = tmp_path / place / "Toy"
        tasks.append(Task(folder, [reader.read(run) for run in reader.runs_under(folder)]))
    make(tmp_path, "x", env="Other")
    tasks.append(Task(tmp_path / "Other", [reader.read(run) for run in reader.runs_under(tmp_path / "Other")]))
    labels = [task.label for task in content.labelled(tasks)]
    assert labels[0] == "Toy, observation default" and labels[3] == "Other"
    assert labels[1:3] == [f"Toy ({tmp_path / place / 'Toy'})" for place in "bc"]


def test_long_curves_are_thinned_to_their_ends():
    for logarithmic in (False, True):
        found = figures.thinned(10_000, 400, logarithmic)
        assert len(found) <= 400 and (found[0], found[-1]) == (0, 9999) and (np.diff(found) > 0).all()
        assert list(figures.thinned(5, 400, logarithmic)) == [0, 1, 2, 3, 4]
    assert figures.thinned(10_000, 400, True)[40] < 100 < figures.thinned(10_000, 400)[40]


def test_algorithms_look_different():
    looks = [figures.look(place) for place in range(40)]
    assert len({(each.colour, each.dash, each.marker) for each in looks}) == 40
    assert len({each.colour for each in looks[:7]}) == len({each.dash for each in looks[:7]}) == len(style.COLOURS)


def test_profiles_leave_out_what_was_not_run_on_all_tasks(recorded):
    tasks = {}
    for folder in (recorded / "HalfCheetah", recorded / "Walker2d", recorded / "PointGoal1"):
        tasks[folder.name] = aggregates.aggregates([reader.read(run) for run in reader.runs_under(folder)])
    labels, left, whole = scores.profile(tasks)
    assert labels == ["HalfCheetah", "Walker2d"] and not left
    assert [len(seeds) for found in whole.values() for seeds in found] == [3] * 8
    tasks["Walker2d"] = [group for group in tasks["Walker2d"] if group.first.algo == "sac"]
    _, left, kept = scores.profile(tasks)
    assert set(left) == {"td3", "loop-sac", "loop-td3"} and kept == {"sac": whole["sac"]}


def test_scores_over_tasks_stand_in_tables(recorded, page):
    """Four algorithms with the same privileged information on two tasks: four estimates, twelve comparisons."""
    names = ("HalfCheetah", "Walker2d", "PointGoal1")
    tasks = {
        name: aggregates.aggregates([reader.read(run) for run in reader.runs_under(recorded / name)]) for name in names
    }
    looks = {group.first.algo: figures.look(0) for groups in tasks.values() for group in groups}
    estimates, pairs = scores.over_tasks(tasks, looks)
    assert [line.head for line in estimates.lines] == ["loop-sac", "loop-td3", "sac", "td3"]
    assert len(pairs.lines) == 12 and pairs.caption == "Probability of improvement; privileged information: nothing"
    text = without_bokeh(page)
    for line in (*estimates.lines, *pairs.lines):
        number, _, _ = line.cells[-1].partition(" [")
        assert line.cells[0] and f">{number} <" in text
    assert "Scores over tasks" in text


def test_without_scores_there_is_no_profile(tmp_path):
    make(tmp_path, "a", episodes=twelve(), evaluations=["1200,0,5.0,3.0,3,100"])
    text = api.report(tmp_path).read_text()
    assert "Performance profiles" not in text and "Scores over tasks" not in text


def test_runs_without_episodes_have_a_page(tmp_path):
    make(tmp_path, "a", state="failed")
    text = api.report(tmp_path).read_text()
    assert "it broke" in text and "data-plot=" not in text and "<h3>Figures</h3>" not in text


def test_runs_of_a_dataset_have_a_page(tmp_path):
    data = {"transitions": 10, "episodes": 1, "return": 1.0, "fingerprint": "f"}
    evaluations = ["500,0,5.0,0.0,0,100", "1000,0,6.0,0.0,0,100"]
    for seed in range(2):
        make(tmp_path, "crr", seed, dataset="half", data=data, budget=None, steps=1000, evaluations=evaluations)
    text = api.report(tmp_path).read_text()
    assert "<h2" in text and "half" in text and "Return in evaluation" in text and "safeloop offline half" in text
    assert "gradient steps" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda out: out / "missing", "is not a folder: give the --out folder"),
        (lambda out: (out / "Toy/a/seed-0/versions.json").write_text("{") and out, r"is damaged \(versions.json\)"),
        (lambda out: (out / "Toy/a/seed-0/episodes.csv").write_text("x\n") and out, "episodes.csv"),
        (lambda out: make(out, "b", budget=9.0) and out, "ran with budget=9.0"),
    ],
)
def test_bad_runs_are_refused_in_one_line_and_no_page_is_written(tmp_path, change, message):
    make(tmp_path, "a", episodes=twelve())
    with pytest.raises(UsageError, match=message) as error:
        api.report(change(tmp_path))
    assert "\n" not in str(error.value) and not list(tmp_path.rglob("report.html"))


def test_a_file_that_can_not_be_is_refused(recorded, tmp_path):
    (tmp_path / "folder.html").mkdir()
    for name in (".", "missing/page.html", "folder.html", "settings.json"):
        with pytest.raises(UsageError, match=r"--out .*: expected a name that ends in .html, in a folder that exists"):
            api.report(recorded, tmp_path / name)
    with pytest.raises(UsageError, match="at least one folder"):
        api.report([])


def test_the_command_prints_where_the_page_is(recorded, tmp_path, capsys):
    from safeloop import cli

    line = ["report", str(recorded / "Walker2d"), "--out", str(tmp_path / "p.html"), "--title", "A & B"]
    cli.app(line, standalone_mode=False)
    assert capsys.readouterr().out == f"page: {tmp_path / 'p.html'}\n"
    assert "<title>A &amp; B</title>" in (tmp_path / "p.html").read_text()
    cli.app([*line, "--quiet"], standalone_mode=False)
    assert capsys.readouterr().out == ""


def test_the_same_runs_give_the_same_tables(recorded, tmp_path):
    texts = []
    for name in ("1.html", "2.html"):
        text = api.report(recorded / "PointGoal1", tmp_path / name).read_text()
        texts.append(re.sub(PLOT, "", text, flags=re.DOTALL))
    assert texts[0] == texts[1]


def test_a_figure_is_valid_json(page):
    found = re.findall(PLOT, page.read_text(), re.DOTALL)
    assert all(json.loads(text)["doc"] for text in found)
