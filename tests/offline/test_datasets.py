"""Datasets: what is read of D4RL's, DSRL's and Minari's layouts, what is written, and what is refused."""

import json
import re

import gymnasium
import h5py
import numpy as np
import pytest

from safeloop.data.datasets import Dataset, EpisodeData, read
from safeloop.data.minari import pieces, writer
from safeloop.errors import UsageError

S, A = 3, 2


def flat(path, lengths=(4, 6, 5), terminated=(1,), with_costs=False, next_obs=True, with_timeouts=True, **changes):
    """A file in D4RL's layout: episodes of so many steps; those listed end by termination."""
    rng, n = np.random.default_rng(0), sum(lengths)
    obs = rng.normal(size=(n, S))
    terminals, ends = np.zeros(n, bool), np.cumsum(lengths) - 1
    terminals[ends[list(terminated)]] = True
    truncated = np.zeros(n, bool)
    truncated[ends] = ~terminals[ends]
    arrays = {
        "observations": obs, "actions": rng.uniform(-1, 1, (n, A)), "rewards": np.arange(n) / 7, "terminals": terminals,
    }  # fmt: skip
    if with_timeouts:
        arrays["timeouts"] = truncated
    if next_obs:
        following = np.roll(obs, -1, 0)
        following[ends] = 9.0  # what the file alone knows
        arrays["next_observations"] = following
    if with_costs:
        arrays["costs"] = (np.arange(n) % 3 == 0).astype(float)
    arrays |= changes
    with h5py.File(path, "w") as file:
        for key, values in arrays.items():
            if values is not None:
                file[key] = values
    return arrays


def test_a_d4rl_file_is_read_as_it_is(tmp_path):
    arrays = flat(tmp_path / "hopper_medium-v2.hdf5")
    data = read(tmp_path / "hopper_medium-v2.hdf5")
    assert (data.env, data.name, len(data), data.cost) == ("hopper", "hopper_medium-v2", 15, None)
    assert np.allclose(data.obs, arrays["observations"]) and np.allclose(data.next_obs, arrays["next_observations"])
    assert np.flatnonzero(data.terminated).tolist() == [9] and np.flatnonzero(data.truncated).tolist() == [3, 14]
    assert np.flatnonzero(data.ends).tolist() == [3, 9, 14] and data.complete.all()
    assert np.allclose(
        data.per_episode(data.reward), [sum(range(4)) / 7, sum(range(4, 10)) / 7, sum(range(10, 15)) / 7]
    )


def test_without_next_observations_what_was_cut_off_is_dropped_and_terminations_stay(tmp_path):
    arrays = flat(tmp_path / "walker2d.hdf5", next_obs=False)
    data = read(tmp_path / "walker2d.hdf5")
    kept = [0, 1, 2, *range(4, 10), *range(10, 14)]  # 3 and 14 were cut off by the time limit
    assert np.allclose(data.obs, arrays["observations"][kept]) and np.allclose(data.reward, arrays["rewards"][kept])
    assert np.flatnonzero(data.terminated).tolist() == [8] and np.flatnonzero(data.truncated).tolist() == [2, 12]
    assert np.flatnonzero(~data.complete).tolist() == [8]  # what follows the termination is unknown
    steps = [i for i in range(len(kept)) if i != 8]
    assert np.allclose(data.next_obs[steps], arrays["observations"][[kept[i] + 1 for i in steps]])


def test_a_dsrl_file_has_costs_and_names_its_task(tmp_path):
    arrays = flat(tmp_path / "SafetyPointGoal1Gymnasium-v0-100-3001.hdf5", with_costs=True, rewards=np.ones((15, 1)))
    data = read(tmp_path / "SafetyPointGoal1Gymnasium-v0-100-3001.hdf5")
    assert data.env == "PointGoal1" and np.array_equal(data.cost, arrays["costs"]) and data.reward.shape == (15,)
    assert data.summary["cost_return"] == pytest.approx(arrays["costs"].sum() / 3, abs=1e-4)


def test_without_timeouts_an_episode_ends_where_the_next_observation_is_not_the_next(tmp_path):
    arrays = flat(tmp_path / "hopper_medium-v2.hdf5")
    cut = np.flatnonzero(arrays["terminals"] | arrays["timeouts"]).tolist()
    jumps = np.flatnonzero((arrays["next_observations"][:-1] != arrays["observations"][1:]).any(1)).tolist()
    flat(tmp_path / "other_medium-v2.hdf5", timeouts=None)
    data = read(tmp_path / "other_medium-v2.hdf5")
    assert data.event is None and jumps and np.flatnonzero(data.ends).tolist() == sorted({*cut, *jumps, len(data) - 1})


def episode(length, seed=0, cost=True, event=False, terminated=True):
    rng = np.random.default_rng(seed)
    ended, cut = np.zeros(length, bool), np.zeros(length, bool)
    (ended if terminated else cut)[-1] = True
    events = np.zeros(length, bool)
    events[length // 2] = event
    return EpisodeData(
        rng.normal(size=(length + 1, S)).astype(np.float32), rng.uniform(-1, 1, (length, A)).astype(np.float32),
        rng.normal(size=length), rng.integers(0, 3, length).astype(float) if cost else None, ended, cut, events,
    )  # fmt: skip


ABOUT = {"env": "PointGoal1", "env_options": {"action_repeat": 5}, "policy": "random"}


def write(path, episodes, about=ABOUT):
    with writer(path, about) as add:
        for each in episodes:
            add(each)


def same(a: Dataset, b: Dataset) -> bool:
    names = ("obs", "act", "reward", "cost", "terminated", "truncated", "event", "next_obs")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)


def test_what_is_written_is_read_again(tmp_path):
    episodes = [episode(4, 0, event=True), episode(6, 1, terminated=False), episode(5, 2)]
    write(tmp_path / "made", episodes)
    data = read(tmp_path / "made")
    assert (data.env, data.env_options, data.name) == ("PointGoal1", {"action_repeat": 5}, "made")
    assert np.flatnonzero(data.ends).tolist() == [3, 9, 14] and np.flatnonzero(data.event).tolist() == [2]
    for made, found in zip(episodes, pieces(data), strict=True):
        for a, b in zip(made, found, strict=True):
            assert np.allclose(a, b)
    with h5py.File(tmp_path / "made" / "data" / "main_data.hdf5") as file:
        assert "event" in file["episode_1"]["infos"]  # also where none was
    write(tmp_path / "again", pieces(data))
    assert same(read(tmp_path / "again"), data) and read(tmp_path / "again").fingerprint == data.fingerprint
    assert read(tmp_path / "made" / "data" / "main_data.hdf5").fingerprint == data.fingerprint


def test_minari_reads_what_is_written(tmp_path):
    minari = pytest.importorskip("minari")
    episodes = [episode(4, 0), episode(6, 1, terminated=False)]
    write(tmp_path / "point-random", episodes)
    dataset = minari.MinariDataset(tmp_path / "point-random" / "data")
    assert dataset.spec.dataset_id == "point-random-v0" and dataset.total_steps == 10
    assert dataset.observation_space == gymnasium.spaces.Box(-np.inf, np.inf, (S,), np.float32)
    for made, found in zip(episodes, dataset.iterate_episodes(), strict=True):
        assert np.allclose(found.observations, made.obs) and np.allclose(found.actions, made.act)
        assert np.allclose(found.rewards, made.reward) and np.array_equal(found.terminations, made.terminated)
        assert np.allclose(found.infos["cost"][1:], made.cost)


def test_what_minari_writes_is_read(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    rng, buffers = np.random.default_rng(0), []
    for length in (4, 6):
        ended = np.zeros(length, bool)
        ended[-1] = True
        buffers.append(minari.data_collector.EpisodeBuffer(
            observations=rng.normal(size=(length + 1, 11)), actions=rng.uniform(-1, 1, (length, 3)),
            rewards=rng.normal(size=length), terminations=ended, truncations=~ended & False,
            infos={"cost": rng.integers(0, 2, length + 1).astype(float)},
        ))  # fmt: skip
    with pytest.warns(UserWarning):
        minari.create_dataset_from_buffers("hopper/mine-v0", buffers, env="Hopper-v4")
    data = read(tmp_path / "hopper" / "mine-v0")
    assert data.env == "Hopper" and len(data) == 10 and np.flatnonzero(data.terminated).tolist() == [3, 9]
    assert np.allclose(data.next_obs[:4], buffers[0].observations[1:])
    assert np.allclose(data.cost, np.concatenate([b.infos["cost"][1:] for b in buffers]))


def test_minaris_actions_lie_in_their_space_and_here_in_one_of_one(tmp_path):
    write(tmp_path / "d", [episode(4)])
    plain = read(tmp_path / "d")
    with h5py.File(tmp_path / "d" / "data" / "main_data.hdf5", "a") as file:
        acts = file["episode_0"]["actions"]
        acts[:] = (acts[:] + 1) / 2 * np.array([6.0, 0.8]) + np.array([-3.0, 0.1])
    metadata = tmp_path / "d" / "data" / "metadata.json"
    about = json.loads(metadata.read_text())
    about["action_space"] = json.dumps({"type": "Box", "shape": [2], "low": [-3.0, 0.1], "high": [3.0, 0.9]})
    metadata.write_text(json.dumps(about))
    assert np.allclose(read(tmp_path / "d").act, plain.act, atol=1e-6)
    del about["action_space"]
    metadata.write_text(json.dumps(about))
    with pytest.raises(UsageError, match=r"episode_0/actions\[\d\] is .* expected numbers in \[-1, 1\]"):
        read(tmp_path / "d")


def test_a_datasets_name_is_its_folders_or_minaris_id(tmp_path):
    write(tmp_path / "medium-v0", [episode(4)])
    assert read(tmp_path / "medium-v0").name == "medium-v0"
    metadata = tmp_path / "medium-v0" / "data" / "metadata.json"
    about = json.loads(metadata.read_text())
    del about["safeloop"]
    metadata.write_text(json.dumps({**about, "dataset_id": "mujoco/hopper/medium-v0"}))
    assert read(tmp_path / "medium-v0").name == "mujoco-hopper-medium-v0"


def test_a_number_that_is_wrong_is_named_by_its_episode(tmp_path):
    for key, row, value, named in (
        ("observations", 2, np.nan, "observations[2]"), ("actions", 3, np.inf, "actions[3]"),
        ("rewards", 0, np.nan, "rewards[0]"), ("observations", 6, np.inf, "observations[6]"),
        ("infos/cost", 5, np.nan, "infos/cost[5]"), ("infos/cost", 1, -1.0, "infos/cost[1]"),
    ):  # fmt: skip
        path = tmp_path / named.replace("/", "-") / str(value)
        write(path, [episode(4, 0), episode(6, 1), episode(5, 2)])
        with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
            file["episode_1"][key][row] = value
        with pytest.raises(UsageError, match=re.escape(f"episode_1/{named} is ")):
            read(path)


def test_a_piece_of_an_episode_ends_by_truncation(tmp_path):
    cut = episode(4)._replace(terminated=np.zeros(4, bool))
    write(tmp_path / "d", [cut, episode(3)])
    data = read(tmp_path / "d")
    assert np.flatnonzero(data.truncated).tolist() == [3] and np.flatnonzero(data.terminated).tolist() == [6]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": None}, "rewards is missing (there are actions, next_observations, observations"),
        ({"actions": np.zeros((14, A))}, "actions has 14 rows, rewards has 15"),
        ({"timeouts": np.zeros(14)}, "timeouts has 14 rows, rewards has 15"),
        ({"costs": np.zeros(14), "next_observations": None}, "costs has 14 rows, rewards has 15"),
        ({"terminals": np.zeros(16), "next_observations": None}, "terminals has 16 rows, rewards has 15"),
        ({"observations": np.zeros((15, S, 2))}, r"observations has the shape \(15, 3, 2\), expected \[T, n\]"),
        ({"next_observations": np.zeros((15, 4))}, "next_observations has 4 numbers a row, observations has 3"),
        ({"rewards": np.r_[np.zeros(7), np.nan, np.zeros(7)]}, r"rewards\[7\] is not finite: nan"),
        ({"observations": np.r_[np.zeros((12, S)), np.full((3, S), np.inf)]}, r"observations\[12\] is not finite"),
        ({"actions": np.r_[np.zeros((5, A)), np.full((10, A), 1.4)]}, r"actions\[5\] is \[1.39.*expected numbers in"),
        ({"costs": np.r_[np.zeros(3), -np.ones(12)]}, r"costs\[3\] is -1: expected at least 0"),
        ({"terminals": np.array([b"no"] * 15)}, "terminals is not an array of numbers"),
        ({"terminals": np.r_[np.zeros(6), np.nan, np.zeros(8)]}, r"terminals\[6\] is not finite"),
        ({"timeouts": np.full(15, np.inf)}, r"timeouts\[0\] is not finite"),
        ({"actions": np.zeros((15, 0))}, r"actions has the shape \(15, 0\), expected \[T, n\]"),
        ({"timeouts": None, "next_observations": None}, "neither timeouts nor next_observations"),
        ({"terminals": np.zeros(15), "timeouts": np.zeros(15)}, "no episode ends by terminals and timeouts"),
        ({"terminals": np.zeros(15), "timeouts": None, "observations": np.zeros((15, S)),
          "next_observations": np.zeros((15, S))}, "no episode ends by terminals and next_observations"),
        ({"rewards": np.zeros((15, 2))}, r"rewards has the shape \(15, 2\), expected \[T\]"),
        ({"rewards": h5py.Empty("f")}, "rewards is not an array of numbers"),
        ({"actions": np.r_[np.zeros((5, A)), np.full((10, A), np.nan)]}, r"actions\[5\] is not finite"),
        ({"rewards": np.full(15, 1e38)}, r"rewards\[0\] is too large"),
        ({"observations": np.full((15, S), 1e300)}, r"observations\[0\] is not finite"),
        ({"observations": np.zeros((14, S)), "next_observations": np.zeros((14, S))}, "observations has 14 rows"),
        (dict.fromkeys(("observations", "actions", "next_observations"), np.zeros((0, S))) | dict.fromkeys(
            ("rewards", "terminals", "timeouts"), np.zeros(0)), "holds no transitions"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_named(tmp_path, changes, message):
    flat(tmp_path / "d.hdf5", **changes)
    with pytest.raises(UsageError, match=message.replace("(there", r"\(there")):
        read(tmp_path / "d.hdf5")


def resized(group, key, shape, value=0.0):
    del group[key]
    group[key] = np.full(shape, value)


def test_what_is_wrong_with_a_folder_is_named(tmp_path):
    for name, spoil, message in (
        ("short", lambda f: f["episode_1"].__delitem__("rewards"), "episode_1: rewards is missing"),
        ("gap", lambda f: f.move("episode_0", "episode_9"), "episode_0 is missing, though there are 3"),
        ("costs", lambda f: f["episode_1"]["infos"].__delitem__("cost"), "episode_1: infos/cost is missing, unlike"),
        (
            "wide",
            lambda f: resized(f["episode_2"], "actions", (4, A + 1)),
            "episode_2: actions have 3 numbers, those of",
        ),
        (
            "array",
            lambda f: f.__delitem__("episode_2") or f.__setitem__("episode_2", [1.0]),
            "episode_2 is not a group",
        ),
        ("nan", lambda f: resized(f["episode_0"], "terminations", (4,), np.nan), r"terminations\[0\] is not finite"),
    ):
        write(tmp_path / name, [episode(4, i) for i in range(3)])
        with h5py.File(tmp_path / name / "data" / "main_data.hdf5", "a") as file:
            spoil(file)
        with pytest.raises(UsageError, match=message):
            read(tmp_path / name)
    write(tmp_path / "json", [episode(4)])
    (tmp_path / "json" / "data" / "metadata.json").write_text("{")
    with pytest.raises(UsageError, match=r"metadata\.json is damaged"):
        read(tmp_path / "json")


def test_a_missing_or_torn_file_says_where_to_get_one(tmp_path):
    with pytest.raises(UsageError, match=r"does not exist.*safeloop collect"):
        read(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"holds no dataset.*minari download"):
        read(tmp_path)
    flat(tmp_path / "d.hdf5")
    whole = (tmp_path / "d.hdf5").read_bytes()
    (tmp_path / "d.hdf5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=r"can't be read as HDF5.*is it whole"):
        read(tmp_path / "d.hdf5")


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), writer(tmp_path / "d", ABOUT) as add:
        add(episode(4))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "d", [episode(4)])
    with pytest.raises(UsageError, match="exists already"), writer(tmp_path / "d", ABOUT):
        pass
    metadata = json.loads((tmp_path / "d" / "data" / "metadata.json").read_text())
    assert metadata["total_episodes"] == 1 and metadata["safeloop"] == ABOUT


def test_one_row_is_no_dataset(tmp_path):
    flat(tmp_path / "d.hdf5", lengths=(1,), terminated=(0,))
    with pytest.raises(UsageError, match="rewards has 1 row, expected at least 2"):
        read(tmp_path / "d.hdf5")
    write(tmp_path / "made", [episode(1)])
    with pytest.raises(UsageError, match="rewards has 1 row, expected at least 2"):
        read(tmp_path / "made")


def test_a_file_that_claims_more_than_memory_holds_is_refused(tmp_path):
    flat(tmp_path / "d.hdf5")
    with h5py.File(tmp_path / "d.hdf5", "a") as file:
        del file["observations"]
        file.create_dataset("observations", (10**14, S), "f8", chunks=(1024, S))
    with pytest.raises(UsageError, match="does not fit into memory"):
        read(tmp_path / "d.hdf5")


def test_metadata_that_names_no_environment_is_refused(tmp_path):
    for number, wrong in enumerate(({"env": 5}, {"env": "Hopper", "env_options": [["a", 1]]})):
        write(tmp_path / str(number), [episode(4)], {**ABOUT, **wrong})
        with pytest.raises(UsageError, match=r"metadata\.json is damaged"):
            read(tmp_path / str(number))


def test_a_dataset_is_named_by_its_folder_from_within_too(tmp_path, monkeypatch):
    write(tmp_path / "medium-v0", [episode(4)])
    monkeypatch.chdir(tmp_path / "medium-v0")
    assert read(".").name == "medium-v0"
