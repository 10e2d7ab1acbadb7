import pytest
import torch

from safeloop.data.replay import Replay

K, S, A = 3, 7, 2


def test_replay_refuses_non_finite_numbers():
    replay = Replay(10, 2, 1)
    with pytest.raises(ValueError, match="not finite"):
        replay.add(
            torch.tensor([0.0, torch.nan]).numpy(),
            torch.zeros(1).numpy(),
            0.0,
            False,
            False,
            False,
            torch.zeros(2).numpy(),
        )


def test_replay_wraps_and_restores():
    replay = Replay(4, 1, 1)
    for i in range(6):
        x = torch.tensor([float(i)]).numpy()
        replay.add(x, x, float(i), False, i == 5, False, x)
    assert sorted(replay.data.reward.tolist()) == [2, 3, 4, 5]
    other = Replay(4, 1, 1)
    other.load_state_dict(replay.state_dict())
    assert other.added == 6 and torch.equal(other.data.reward, replay.data.reward)
    assert other.data.terminated.sum() == 1
