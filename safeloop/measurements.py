"""The measurements of `benchmarking.py`: planner, environments, training, each beside its bound and beside peers."""

from __future__ import annotations

import os
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from safeloop.activity import TRAINING, doing, tracked
from safeloop.agents.planning import PlanningAgent
from safeloop.algorithms.loop import safeloop
from safeloop.cmdp import EnvSpec, complete
from safeloop.recording.recorder import Recorder
from safeloop.recording.run import Run, RunSettings
from safeloop.recording.versions import processor
from safeloop.registry import find_env, speed_peers
from safeloop.settings import build, flat
from safeloop.training.online import train

ENV = "PointGoal1"
ROUNDS = 5
DECISIONS = 5
"""Planned decisions that a round times."""
PRESETS = ("paper", "default")
"""Settings at which the planner is measured."""
EQUAL: dict[str, Any] = {
    "dynamics": "full", "horizon": 7, "population": 100, "actor_fraction": 0.05, "particles": 4, "iterations": 5,
    "ensemble_size": 5, "layers": 4, "width": 200,
}  # fmt: skip
"""Planner settings that OmniSafe's SafeLOOP has by default: what training is compared at."""
WARMUP, TRAINED = 200, 200
"""Decisions of a measured training run: random ones, and those that are planned and timed, one fit among them."""


def in_turns(candidates: Mapping[str, Callable[[], Any]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Seconds of each candidate in each round, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    turns = [(number, name) for number in range(rounds + 1) for name in candidates]
    for number, name in tracked(turns, "taking turns", "turns"):
        start = time.perf_counter()
        candidates[name]()
        if number:
            seconds[name].append(time.perf_counter() - start)
    return seconds


def spread(values: list[float], digits: int = 2) -> dict[str, float]:
    """Median, lowest and highest."""
    return {
        "median": round(statistics.median(values), digits),
        "low": round(min(values), digits),
        "high": round(max(values), digits),
    }


def ratio(these: list[float], those: list[float]) -> float:
    """Median over rounds of the ratio within a round."""
    return round(statistics.median(a / b for a, b in zip(these, those, strict=True)), 2)


class Products(TorchDispatchMode):
    """Counts the matrix products that torch does while it is active, by shapes, strides and type."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[tuple[Any, ...]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (torch.ops.aten.baddbmm, torch.ops.aten.addmm):
            self._count(*args[1:3])
        elif func.overloadpacket in (torch.ops.aten.bmm, torch.ops.aten.mm):
            self._count(*args[:2])
        return func(*args, **(kwargs or {}))

    def _count(self, a: torch.Tensor, b: torch.Tensor) -> None:
        self.found[tuple((tuple(x.shape), x.stride(), x.dtype, x.device) for x in (a, b))] += 1

    def operations(self) -> float:
        """Floating-point operations of all products."""
        return sum(2.0 * np.prod(a[0]) * b[0][-1] * count for (a, b), count in self.found.items())

    def alone(self) -> Callable[[], None]:
        """Return the same products on random numbers with nothing between them."""
        work = []
        for pair, count in self.found.items():
            a, b = (self._random(*tensor) for tensor in pair)
            work.append((a, b, torch.matmul(a, b), count))

        def run() -> None:
            for a, b, out, count in work:
                for _ in range(count):
                    torch.matmul(a, b, out=out)

        return run

    @staticmethod
    def _random(shape: Any, strides: Any, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        extent = 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        return torch.randn(extent, device=device).to(dtype).as_strided(shape, strides)


def _make_agent(spec: EnvSpec, preset: str = "default", device: str = "cpu", **changes: Any) -> PlanningAgent:
    """Return an untrained `safeloop` agent: its speed is that of a trained one."""
    env = spec.make()
    sizes = env.observation_space.shape[0], env.action_space.shape[0]  # type: ignore[index]
    env.close()
    info = safeloop.info
    settings: Any = build(info.settings, {**info.presets[preset], **changes}, owner=info.name)
    return safeloop.build(settings, spec, *sizes, 0, device)


def planner(env: str = ENV, device: str = "cpu") -> dict[str, Any]:
    """Milliseconds a decision, of the planner and of its matrix products alone, at the paper's and our settings."""
    spec = find_env(env)
    obs = spec.make().reset(seed=0)[0][None]
    found = {}
    for preset in tracked(PRESETS, "measuring", "settings"):
        found[preset] = _planner(_make_agent(spec, preset, device), obs)
    return found


def _planner(agent: PlanningAgent, obs: np.ndarray) -> dict[str, Any]:
    several = agent.new_planner([torch.Generator(device=agent.device) for _ in range(DECISIONS)])
    with Products() as products:
        agent.plan(obs, t0=True)
    alone = products.alone()

    def repeated(call: Callable[[], Any]) -> Callable[[], None]:
        def calls() -> None:
            for _ in range(DECISIONS):
                call()

        return calls

    found = in_turns(
        {
            "planner": repeated(lambda: agent.plan(obs, t0=True)),
            "floor": repeated(alone),
            "together": lambda: agent.plan(obs.repeat(DECISIONS, 0), t0=True, planner=several),
        }
    )
    each = {name: [1e3 * seconds / DECISIONS for seconds in values] for name, values in found.items()}
    median = {name: statistics.median(values) for name, values in each.items()}
    c, work = agent.settings.planner, products.operations()
    return {
        "setting": f"N={c.population}+{c.from_actor}, P={c.particles}, "
        f"K={agent.ensemble.ensemble_size}, H={c.horizon}, {c.iterations} iterations, "
        f"{type(getattr(agent.ensemble, 'net', None)).__name__}, "
        f"{'bfloat16' if agent.planner.search.bf16 else 'float32'}",
        "milliseconds": spread(each["planner"]),
        "floor_milliseconds": spread(each["floor"]),
        "ratio_to_floor": ratio(each["planner"], each["floor"]),
        "together": DECISIONS,
        "together_milliseconds": spread(each["together"]),
        "together_ratio": ratio(each["together"], each["planner"]),
        "products_gflop": round(work / 1e9, 2),
        "gflops": round(work / median["planner"] / 1e6, 1),
        "floor_gflops": round(work / median["floor"] / 1e6, 1),
    }


def _driver(spec: EnvSpec) -> Callable[[], int]:
    """Drives an episode of `spec` with random actions, its reset included, and returns its simulator steps."""
    env, rng = spec.make(), np.random.default_rng(0)
    low, high = env.action_space.low, env.action_space.high  # type: ignore[attr-defined]

    def drive() -> int:
        env.reset(seed=int(rng.integers(2**31)))
        steps, done = 0, False
        while not done:
            _, _, terminated, truncated, info = env.step(rng.uniform(low, high).astype(np.float32))
            steps += complete(info, spec)["simulator_steps"]
            done = terminated or truncated
        return steps

    return drive


def environment(env: str = ENV) -> dict[str, Any]:
    """Return simulator steps a second, resets included, of whole episodes; each peer's beside them, and the ratios."""
    candidates = {"safeloop": _driver(find_env(env))}
    for name, point in speed_peers("envs").items():
        drive = point.load()(env)
        if drive is not None:
            candidates[name] = drive
    steps: dict[str, int] = {}

    def counted(name: str, drive: Callable[[], int]) -> Callable[[], None]:
        def call() -> None:
            steps[name] = drive()

        return call

    found = in_turns({name: counted(name, drive) for name, drive in candidates.items()})
    rates = {name: [steps[name] / s for s in seconds] for name, seconds in found.items()}
    return {
        "env": env,
        "steps_per_second": {name: spread(values, 0) for name, values in rates.items()},
        "safeloop_over": {
            name: ratio(rates["safeloop"], values) for name, values in rates.items() if name != "safeloop"
        },
    }  # fmt: skip


class Stopwatch:
    """Splits the time of a training run, from its first planned decision on, into the calls that it watches."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.begun: float | None = None

    def watch(self, part: str, owner: Any, method: str) -> None:
        """Time the calls of `owner.method` as `part`. The first call of the part `planner` starts the clock."""
        call = getattr(owner, method)
        self.seconds[part] = 0.0

        def timed(*arguments: Any) -> Any:
            start = time.perf_counter()
            if self.begun is None and part == "planner":
                self.begun = start
            result = call(*arguments)
            if self.begun is not None:
                self.seconds[part] += time.perf_counter() - start
            return result

        setattr(owner, method, timed)

    def split(self, decisions: int) -> dict[str, Any]:
        """Decisions a second until now, and milliseconds a decision of each part and of all; call it at the end."""
        assert self.begun is not None
        parts = {**self.seconds, "all": time.perf_counter() - self.begun}
        return {
            "decisions_per_second": round(decisions / parts["all"], 2),
            "milliseconds_per_decision": {part: round(1e3 * s / decisions, 2) for part, s in parts.items()},
        }


def training(env: str = ENV, device: str = "cpu", **changes: Any) -> dict[str, Any]:
    """Decisions a second of a short training run once it plans, a fit of the models included, and where time goes."""
    spec = find_env(env)
    options = {"warmup": WARMUP, "fit_every": TRAINED, **changes}
    agent, stopwatch = _make_agent(spec, device=device, **options), Stopwatch()
    steps = (WARMUP + TRAINED) * spec.action_repeat
    asked = RunSettings(
        spec.id, "safeloop", steps, seed=0, budget=spec.budget, eval_episodes=0, algo_settings=flat(agent.settings)
    )
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder), asked)
        recorder = Recorder(spec.make(), spec, run)
        stopwatch.watch("planner", agent, "plan")
        stopwatch.watch("environment", recorder, "step")
        stopwatch.watch("learner", agent, "learn")
        stopwatch.watch("model", agent, "fit")
        with doing(TRAINING, steps, "steps", lambda: recorder.simulator_steps):
            train(agent, recorder, run)
        split = stopwatch.split(recorder.decisions - WARMUP)
        recorder.close()
    return {**split, "peak_memory_mb": peak_memory()}


def peak_memory() -> int:
    """Return the most memory that this process has held so far, in MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def against(peer: str, theirs: Callable[..., dict[str, Any]], env: str = ENV) -> dict[str, Any]:
    """Training of ours and of `peer`, which `theirs` measures, in turns, at equal planner settings."""
    rounds = []
    for number in tracked(range(3), "measuring", "rounds"):
        print(f"measuring training beside {peer}, round {number + 1} of 3 ...", file=sys.stderr, flush=True)
        rounds.append((training(env, **EQUAL), theirs(EQUAL, WARMUP, TRAINED)))
    rates = [[r["decisions_per_second"] for r in both] for both in rounds]
    return {
        "setting": ", ".join(f"{key}={value}" for key, value in EQUAL.items()),
        "decisions_per_second": {
            "safeloop": spread([ours for ours, _ in rates]),
            peer: spread([theirs for _, theirs in rates]),
        },
        "ratio": ratio([ours for ours, _ in rates], [theirs for _, theirs in rates]),
        "milliseconds_per_decision": {
            "safeloop": rounds[-1][0]["milliseconds_per_decision"],
            peer: rounds[-1][1]["milliseconds_per_decision"],
        },
    }


def machine(device: str) -> dict[str, Any]:
    """Return a description of the machine."""
    return {
        "processor": processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "device": device,
        "torch": torch.__version__, "vector_instructions": torch.backends.cpu.get_cpu_capability(),
    }  # fmt: skip
