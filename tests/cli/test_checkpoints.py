"""Checkpoints whose content changed, and earlier ones that were kept: refused by name, with a way on that works."""

import io
import json
from dataclasses import replace

import pytest
import torch

from safeloop.errors import UsageError
from safeloop.recording.recorder import Recorder
from safeloop.recording.run import Run, RunSettings
from safeloop.registry import find_algorithm, find_env
from safeloop.settings import build, flat, kinds
from tests.cli.conftest import contents

RUN = "WallStop/cem-linear/seed-0"
SMALL = {"hidden": 16, "batch_size": 16, "warmup": 50}


def flip(path, place):
    """Flip a bit of the byte at `place` (a share of the file's length)."""
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("place", [0.0, 0.03, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("verb", ["eval", "resume"])
def test_flipped_bits_are_refused_by_the_name_of_the_file(main, trained, place, verb):
    run = trained / RUN
    (run / "status.json").write_text('{"state": "interrupted", "reason": ""}')
    flip(run / "checkpoint/state.pt", place)
    before = contents(trained)
    code, out, errors = main(verb, run)
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert f"{run / 'checkpoint/state.pt'} is damaged" in errors and "restore it or start a new run" in errors
    assert contents(trained) == before


def test_a_checkpoint_cut_short_is_refused(main, trained):
    path = trained / RUN / "checkpoint/state.pt"
    path.write_bytes(path.read_bytes()[:-1])
    code, _, errors = main("eval", trained / RUN)
    assert code == 2 and "is damaged (its checksum differs)" in errors


def test_a_checkpoint_of_before_there_were_checksums_is_read(tmp_path):
    run = Run.create(tmp_path, RunSettings("WallStop", "cem-linear", 100, seed=0, budget=5.0))
    state = {"mean": torch.arange(3.0), "generation": 2}
    torch.save(state, run.checkpoint)
    found = run.load_checkpoint()
    assert found["generation"] == 2 and torch.equal(found["mean"], state["mean"])


@pytest.mark.parametrize("state", [[1, 2], torch.zeros(2)])
def test_a_checkpoint_of_something_else_is_refused(tmp_path, state):
    run = Run.create(tmp_path, RunSettings("WallStop", "cem-linear", 100, seed=0, budget=5.0))
    torch.save(state, run.checkpoint)
    with pytest.raises(UsageError, match=f"is damaged .it holds a {type(state).__name__}.: restore it"):
        run.load_checkpoint()


PENDULUM = find_env("InvertedPendulum")


def learned(out, algo="sac"):
    """A run of 400 steps that kept checkpoints at 100, 200, ..."""
    algorithm = find_algorithm(algo)
    known = kinds(algorithm.info.settings)
    small = {key: value for key, value in SMALL.items() if key in known}
    values = build(algorithm.info.settings, algorithm.info.presets["online"], small, owner=algo)
    asked = RunSettings(
        "InvertedPendulum", algo, 400, seed=1, budget=None, algo_settings=flat(values), eval_every=150,
        eval_episodes=1, keep_every=100, env_options=PENDULUM.options,
    )  # fmt: skip
    run = Run.create(out, asked)
    algorithm.train(Recorder(PENDULUM.make(), PENDULUM, run), run)
    run.set_status("finished")
    return run


def rows(run):
    """Every table but the time that it took."""
    return [replace(row, wall_seconds=0.0) for row in run.episodes.read()], run.evaluations.read()


@pytest.fixture(scope="module")
def _kept(tmp_path_factory):
    return learned(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def kept(_kept, tmp_path):
    """A copy of such a run."""
    for path, data in contents(_kept.path).items():
        copy = tmp_path / "out/InvertedPendulum/sac/seed-1" / path.relative_to(_kept.path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(data)
    return Run.open(tmp_path / "out/InvertedPendulum/sac/seed-1")


def weights(run):
    """The policy, as bytes."""
    buffer = io.BytesIO()
    torch.save(run.load_checkpoint()["agent"]["learner"]["actor"], buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("state", ["interrupted", "finished"])
def test_an_earlier_checkpoint_is_offered_and_the_run_ends_as_one_without_damage(main, _kept, kept, state):
    kept.set_status(state)
    flip(kept.checkpoint, 0.5)
    flip(kept.at(400).checkpoint, 0.9)
    offer = f"safeloop resume {kept.path} --from 300"
    code, _, errors = main("eval" if state == "finished" else "resume", kept.path)
    assert code == 2 and f"{kept.checkpoint} is damaged (its checksum differs): `{offer}` continues" in errors
    assert errors.count("\n") == 1
    assert main(*offer.split()[1:], "-q") == (0, "", "")
    assert rows(kept) == rows(_kept) and kept.status["state"] == "finished"
    assert weights(kept) == weights(_kept)


def test_a_checkpoint_that_is_gone_is_not_begun_without(main, kept):
    kept.set_status("interrupted")
    kept.checkpoint.unlink()
    code, _, errors = main("resume", kept.path)
    assert code == 2 and f"state.pt is missing: `safeloop resume {kept.path} --from 400`" in errors


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("150", "has no checkpoint at 150 steps (there are: 100, 200, 300, 400)"),
        ("0", "--from 0: expected at least 1"),
        ("200", "at-200.pt is damaged (its checksum differs): `safeloop resume"),
    ],
)
def test_a_step_to_go_on_from_that_can_not_be_is_refused(main, kept, step, message):
    flip(kept.at(200).checkpoint, 0.5)
    before = contents(kept.path)
    code, out, errors = main("resume", kept.path, "--from", step)
    assert (code, out, errors.count("\n")) == (2, "", 1) and message in errors
    assert contents(kept.path) == before


def lacking(run, change):
    """Write the checkpoint anew, changed."""
    state = run.load_checkpoint()
    change(state)
    run.save_checkpoint(state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("agent"), "can't be loaded (KeyError: 'agent')"),
        (lambda state: state["agent"].pop("learner"), "can't be loaded (KeyError: 'learner')"),
        (lambda state: state["agent"].pop("replay"), "can't be loaded (KeyError: 'replay')"),
        (lambda state: state["agent"]["replay"].pop("added"), "can't be loaded (KeyError: 'added')"),
        (lambda state: state["agent"]["replay"].update(data=[]), "can't be loaded"),
        (lambda state: state.update(agent=3), "can't be loaded (TypeError"),
    ],
)
def test_collecting_from_a_checkpoint_that_lacks_what_it_needs_is_refused(main, kept, tmp_path, change, message):
    lacking(kept, change)
    out = tmp_path / "data/new"
    code, printed, errors = main("collect", "InvertedPendulum", "--policy", kept.path, "--replay", "--out", out, "-q")
    assert (code, printed, errors.count("\n")) == (2, "", 1)
    assert str(kept.checkpoint) in errors and message in errors
    assert not out.parent.exists()


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\x81", b"\x00abc", b"", b"two\nlines", b"nowhere\n", b"a" * 300])
def test_a_dataset_that_no_path_leads_to_is_refused(main, trained, content):
    """A run that learns from a dataset, whose note of where that lies is damaged."""
    run = trained / RUN
    values = json.loads((run / "settings.json").read_text())
    data = {**values, "dataset": "hopper", "data": {"fingerprint": "0"}}
    (run / "settings.json").write_text(json.dumps(data))
    (run / "dataset.txt").write_bytes(content)
    (run / "status.json").write_text('{"state": "interrupted", "reason": ""}')
    before = contents(trained)
    code, out, errors = main("resume", run)
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert "dataset.txt" in errors or "its dataset nowhere is not there" in errors
    assert contents(trained) == before
