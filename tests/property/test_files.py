"""Mutated tables, JSON, checkpoints and datasets: read as they are, or refused in one line, and nothing changed."""

import io
import json
from pathlib import Path

import h5py
import numpy as np
import torch
from hypothesis import strategies as st

from safeloop import api
from safeloop.data.datasets import read
from safeloop.experiments import collect, prepare
from safeloop.experiments.specify import Request, specify
from safeloop.files import SEAL
from safeloop.recording import reader
from tests.cli.conftest import contents
from tests.property.conftest import RECORDED, refusal, restore
from tests.property.mutation import edits, mutated, replaced, values

RUNS = ("out/WallStop/cem-linear/seed-0", "cut/WallStop/cem-linear/seed-0", *RECORDED.values())
FILES = (
    "settings.json", "status.json", "versions.json", "dataset.txt", "episodes.csv", "evaluations.csv", "fits.csv",
    "plans.csv", "updates.csv", "diagnostics.csv",
)  # fmt: skip


def _verbs(run):
    return {
        "read": lambda: reader.read(reader.open_run(run)),
        "show": lambda: api.show(run),
        "plot": lambda: api.plot(run.parents[1], diagnostics=True),
        "resume": lambda: api.resume(run, quiet=True),
        "go back": lambda: prepare.prepare_resume(run, None, False, 200),
        "evaluate": lambda: api.evaluate(run, episodes=1),
        "collect": lambda: collect.collect("WallStop", [str(run)], run.parents[3] / "new", episodes=1, quiet=True),
        "load": lambda: api.load(run),
        "replay": lambda: collect.collect("WallStop", [str(run)], run.parents[3] / "new", replay=True, quiet=True),
    }


VERBS = list(_verbs(Path("a/b/c/d")))


def test_a_mutated_record_is_read_or_refused_and_not_changed(holds, material, untrained):
    before = contents(material)

    def check(path, changes, value, at, verb):
        data = before[path]
        data = replaced(data, at, value) if value != "" and path.suffix == ".json" else mutated(data, changes)
        path.write_bytes(data)
        if refusal(_verbs(path.parent)[verb]):
            assert contents(material) == before | {path: data}
        restore(material, before)

    there = [path for run in RUNS for name in FILES if (path := material / run / name) in before]
    holds(
        check, path=st.sampled_from(there), changes=edits, value=st.just("") | values, at=st.integers(0, 60),
        verb=st.sampled_from(VERBS),
    )  # fmt: skip


def test_a_mutated_checkpoint_is_refused(holds, material, untrained):
    run = reader.open_run(material / RUNS[0])
    whole, before = run.checkpoint.read_bytes(), contents(material)

    def check(changes, verb, sealed):
        data = mutated(whole, changes)
        run.checkpoint.write_bytes(data if sealed else data[len(whole) - len(_content(whole)) :])
        refused = refusal(_verbs(run.path)[verb])
        if verb == "evaluate" and sealed and data.startswith(SEAL) and data != whole:
            assert "damaged" in refused
        if refused:
            assert contents(material) == before | {run.checkpoint: run.checkpoint.read_bytes()}
        restore(material, before)

    holds(check, changes=edits, verb=st.sampled_from(["evaluate", "resume", "collect"]), sealed=st.booleans())


def _content(sealed):
    return sealed[sealed.index(b"\n") + 1 :]


def test_a_checkpoint_of_something_else_is_refused(holds, material, untrained):
    run = reader.open_run(material / RUNS[0])
    state, before = run.load_checkpoint(), contents(material)
    odd = st.one_of(
        values, st.lists(st.integers(0, 4), max_size=3).map(torch.ones), st.just(torch.tensor([float("nan")] * 3)),
        st.just(torch.ones(3, 1, dtype=torch.int64)), st.just({"replay": {"data": [torch.ones(2)] * 7, "added": 2}}),
    )  # fmt: skip

    def check(changes, drop, verb):
        run.save_checkpoint({k: v for k, v in {**state, **changes}.items() if k not in drop})
        now = contents(material)
        if refusal(_verbs(run.path)[verb]):
            assert contents(material) == now
        restore(material, before)

    keys = st.sampled_from([*state, "agent"])
    holds(
        check, changes=st.dictionaries(keys, odd, max_size=2), drop=st.sets(keys, max_size=1),
        verb=st.sampled_from(["load", "resume", "replay"]),
    )  # fmt: skip


def _flat(with_next):
    rng, n = np.random.default_rng(0), 12
    ends = np.arange(n) % 6 == 5
    arrays = {
        "observations": rng.normal(size=(n, 2)), "actions": rng.uniform(-1, 1, (n, 1)), "rewards": np.arange(n) / 7,
        "terminals": ends & (np.arange(n) < 6), "timeouts": ends & (np.arange(n) > 6), "costs": np.arange(n) % 2 * 1.0,
    }  # fmt: skip
    return arrays | ({"next_observations": rng.normal(size=(n, 2))} if with_next else {})


def _file(arrays):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for key, array in arrays.items():
            file[key] = array
    return buffer.getvalue()


def _learned(path):
    data = read(path)
    assert len(data) >= 2 and np.isfinite(data.obs).all() and np.isfinite(data.reward).all()
    json.dumps(data.summary, allow_nan=False)
    specify(Request(["crr", "mbop"], steps=10, settings={"return_horizon": 4}), "WallStop", {}, data)


def test_the_bytes_of_a_mutated_dataset_are_read_or_refused(holds, material):
    flat, folder = material / "WallStop-v0.hdf5", material / "data" / "wall-random"
    main, about = folder / "data" / "main_data.hdf5", folder / "data" / "metadata.json"
    files = {"flat": _file(_flat(True)), "main": main.read_bytes(), "about": about.read_bytes()}
    paths = {"flat": (flat, flat), "main": (main, folder), "about": (about, folder)}
    before = contents(material)

    def check(which, changes, value, at):
        path, shown = paths[which]
        data = files[which]
        data = replaced(data, at, value) if which == "about" and value != "" else mutated(data, changes)
        path.write_bytes(data)
        refusal(lambda: _learned(shown))
        assert path.read_bytes() == data
        restore(material, before)

    holds(
        check, which=st.sampled_from(["flat", "main", "main", "about"]), changes=edits, value=st.just("") | values,
        at=st.integers(0, 60),
    )  # fmt: skip


def test_the_arrays_of_a_mutated_dataset_are_read_or_refused(holds, tmp_path):
    shapes = st.sampled_from([(12,), (12, 1), (12, 2), (11,), (11, 2), (0,), (0, 2), (1, 2), (12, 2, 1), ()])
    numbers = st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0, np.nan, np.inf, -np.inf, 1e300, -3e38])
    arrays = st.tuples(shapes, numbers, st.sampled_from(["f8", "f4", "f2", "i8", "u1", "?", "c16", "S3"]))
    keys = st.sampled_from([*_flat(True), "episode_0", "infos/cost"])

    def check(with_next, changes, drop, first, length, value, rows):
        made = {k: v.copy() for k, v in _flat(with_next).items() if k not in drop}
        for key, (shape, number, kind) in changes.items():
            with np.errstate(all="ignore"):
                made[key] = np.full(shape, number).astype(kind)
        for key in rows & set(made):
            if made[key].ndim and made[key].dtype.kind == "f":
                with np.errstate(all="ignore"):
                    made[key][first : first + length] = value
        path = tmp_path / "WallStop-v0.hdf5"
        path.write_bytes(_file(made))
        refusal(lambda: _learned(path))

    holds(
        check, with_next=st.booleans(), changes=st.dictionaries(keys, arrays, max_size=2),
        drop=st.sets(keys, max_size=2), first=st.integers(0, 11), length=st.integers(1, 12), value=numbers,
        rows=st.sets(keys, max_size=2),
    )  # fmt: skip
