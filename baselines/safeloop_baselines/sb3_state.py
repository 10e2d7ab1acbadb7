"""The state of stable-baselines3's models, so that a stopped run goes on to the same result.

The library saves models by pickle and without their data. Here all that learning has changed is kept in tensors,
numbers, texts and containers of these: parameters, optimisers, the weight of the entropy, counters, the data (the
filled part), statistics of normalisers, and the random numbers of actions and of the process.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from safeloop_baselines.random_states import random_states, restore_random_states

COUNTERS = ("num_timesteps", "_n_updates", "_episode_num")
REPLAY = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
"""Arrays of an off-policy algorithm's data, `[rows, 1, ...]`."""
ROLLOUT = ("observations", "actions", "rewards", "episode_starts", "values", "log_probs")
"""Arrays of PPO's data, as it is before its advantages are computed."""
STATISTICS = ("mean", "var", "count")


def capture(model: Any) -> dict[str, Any]:
    """Return everything that learning has changed in a model, between two episodes."""
    _, variables = model._get_torch_save_params()
    return {
        "parameters": model.get_parameters(),
        "variables": {name: getattr(model, name).detach() for name in variables},
        "counters": {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)},
        "data": _captured_data(model),
        "normaliser": _captured_normaliser(model.get_vec_normalize_env()),
        "actions": model.action_space.np_random.bit_generator.state,
        **random_states(),
    }


def restore(model: Any, state: dict[str, Any]) -> None:
    """Restore `capture` in a new model of the same settings, whose environment is at the start of the next episode."""
    model.set_parameters(state["parameters"], device=model.device)
    for name, saved in state["variables"].items():
        with torch.no_grad():
            getattr(model, name).copy_(saved)
    for name, saved in state["counters"].items():
        setattr(model, name, saved)
    _restore_data(model, state["data"])
    _restore_normaliser(model, state["normaliser"])
    model.action_space.np_random.bit_generator.state = state["actions"]
    restore_random_states(state)


def _data(model: Any) -> tuple[Any, tuple[str, ...]]:
    """Return the buffer of a model's data, and the names of its arrays."""
    if hasattr(model, "replay_buffer"):
        return model.replay_buffer, REPLAY
    return model.rollout_buffer, ROLLOUT


def _captured_data(model: Any) -> dict[str, Any]:
    """Return the filled part of the data; of PPO's nothing where the data were learned from."""
    buffer, names = _data(model)
    rows = (buffer.buffer_size if names is REPLAY else 0) if buffer.full else buffer.pos
    arrays = {name: torch.from_numpy(getattr(buffer, name)[:rows]).clone() for name in names if rows}
    return {"rows": rows, "position": buffer.pos, "full": buffer.full, "arrays": arrays}


def _restore_data(model: Any, state: dict[str, Any]) -> None:
    buffer, names = _data(model)
    for name, saved in state["arrays"].items():
        getattr(buffer, name)[: state["rows"]] = saved.numpy()
    if names is REPLAY:
        buffer.pos, buffer.full = state["position"], state["full"]
    else:
        buffer.go_on_from(state["rows"])


def _captured_normaliser(normaliser: Any) -> dict[str, Any] | None:
    """Return the statistics of a `VecNormalize`; None without one."""
    if normaliser is None:
        return None
    return {
        part: {name: _tensor(getattr(getattr(normaliser, part), name)) for name in STATISTICS}
        for part in ("obs_rms", "ret_rms")
        if hasattr(normaliser, part)
    }


def _tensor(value: Any) -> Tensor:
    return torch.tensor(np.asarray(value, np.float64))


def _restore_normaliser(model: Any, state: dict[str, Any] | None) -> None:
    """Restore the statistics, and have the observation that the model sees next be normalised by them."""
    normaliser = model.get_vec_normalize_env()
    if normaliser is None or state is None:
        return
    for part, statistics in state.items():
        for name, saved in statistics.items():
            setattr(getattr(normaliser, part), name, saved.item() if name == "count" else saved.numpy())
    model._last_obs = normaliser.normalize_obs(normaliser.get_original_obs())
