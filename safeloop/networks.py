"""Batched multi-layer perceptrons: K networks of one shape evaluated together, `[K, B, in] -> [K, B, out]`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Generators = Sequence[torch.Generator]
"""Random generators of parallel computations, one for each, so that none depends on the others."""


def normals(shape: Sequence[int], generators: Generators, dim: int = 0) -> Tensor:
    """Draw standard normals of `shape`; dimension `dim` belongs to the generators in equal parts, in order."""
    part = [*shape]
    part[dim] //= len(generators)
    return torch.cat([_drawn(part, g) for g in generators], dim)


def _drawn(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    if isinstance(generator, Drawn):
        return generator.take(shape)
    return torch.randn(shape, generator=generator, device=generator.device)


class Drawn(torch.Generator):
    """Standard normals `[n]` that were drawn before, in place of a generator: each is handed out once, in order."""

    def __new__(cls, values: Tensor) -> Drawn:
        """Make a generator of the values' device."""
        return super().__new__(cls, values.device)  # type: ignore[call-arg]

    def __init__(self, values: Tensor):
        self.values, self.taken = values, 0

    def take(self, shape: Sequence[int]) -> Tensor:
        """Return the next ones in a shape. Raises `ValueError` where there are too few."""
        begun, self.taken = self.taken, self.taken + math.prod(shape)
        if self.taken > len(self.values):
            raise ValueError(f"{self.taken} normals are taken of {len(self.values)}")
        return self.values[begun : self.taken].view(*shape)


class Captured:
    """A function of tensors on a CUDA device, captured once and replayed: one launch in place of thousands.

    It must return a tuple of tensors and never wait for the device. Tensors that it reads (such as weights) must change
    in place only.
    """

    def __init__(self, call: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor], generators: Generators):
        self.inputs = [x.clone() for x in inputs]
        self.device = inputs[0].device
        with torch.cuda.device(self.device):  # generators and graphs belong to the current device
            self._capture(call, generators)

    def _capture(self, call: Callable[..., Sequence[Tensor]], generators: Generators) -> None:
        before = [g.get_state() for g in generators]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # the first calls create workspaces of libraries, which can't be captured
            for _ in range(3):
                call(*self.inputs)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        for generator, state in zip(generators, before, strict=True):  # as if nothing had been drawn
            generator.set_state(state)
            self.graph.register_generator_state(generator)
        with torch.cuda.graph(self.graph):
            self.outputs = call(*self.inputs)

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """Return the result of `call` for `inputs`, which have the shapes of the first ones."""
        with torch.cuda.device(self.device):
            for kept, x in zip(self.inputs, inputs, strict=True):
                kept.copy_(x)
            self.graph.replay()
            return [x.clone() for x in self.outputs]


def bf16_is_fast(device: str) -> bool:
    """Return whether the device multiplies bfloat16 matrices in hardware. Other CPUs are slower than in float32."""
    if device == "cpu":
        names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # not in every version of torch
        return any(getattr(torch.cpu, name, bool)() for name in names)
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported()


def initialiser(generator: torch.Generator) -> torch.Generator:
    """Return a CPU generator for initial weights, seeded from `generator`: the same weights on every device."""
    seed = torch.randint(2**31, (1,), generator=generator, device=generator.device)
    return torch.Generator().manual_seed(int(seed))


NARROW = 0 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 16
"""Outputs below which a product is computed transposed: without AVX-512 matrix libraries are slow at few columns."""


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return `x @ weight + bias` for `[K, B, in], [K, in, out], [K, 1, out]`.

    Without gradients, narrow outputs are computed transposed where that is faster (`NARROW`). With gradients they are
    not, because a transposed gradient is slower still.
    """
    if weight.shape[-1] < NARROW and not torch.is_grad_enabled():
        return torch.baddbmm(bias.mT, weight.mT, x.mT).mT
    return torch.baddbmm(bias, x, weight)


def length(vector: Tensor) -> Tensor:
    """Return the lengths `[...]` of vectors in a plane, `[..., 2]`."""
    if torch.is_grad_enabled():
        return vector.norm(dim=-1)  # its gradient at 0 is 0
    x, y = vector.unbind(-1)  # torch's norm of two numbers takes three times as long
    return (x * x).addcmul_(y, y).sqrt_()


def normalised_relu(x: Tensor) -> Tensor:
    """Apply layer normalisation, without learned scale and shift, and a ReLU."""
    return torch.relu_(functional.layer_norm(x, x.shape[-1:]))


class EnsembleMLP(nn.Module):
    """K perceptrons with their own weights and one shape. Layer i maps `[K, B, n_i] -> [K, B, n_i+1]`."""

    def __init__(
        self,
        ensemble_size: int,
        sizes: list[int],
        activation: Callable[[Tensor], Tensor],
        generator: torch.Generator,
    ):
        super().__init__()
        self.activation = activation
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for n_in, n_out in pairwise(sizes):
            bound = 1 / math.sqrt(n_in)
            for parameters, shape in (
                (self.weights, (ensemble_size, n_in, n_out)),
                (self.biases, (ensemble_size, 1, n_out)),
            ):
                initial = torch.empty(shape).uniform_(-bound, bound, generator=generator)
                parameters.append(nn.Parameter(initial))
        self.layers = list(zip(self.weights, self.biases, strict=True))  # a ParameterList is slow to read

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs: `[K, B, in] -> [K, B, out]`."""
        for weight, bias in self.layers[:-1]:
            x = self.activation(affine(x, weight, bias))
        return affine(x, *self.layers[-1])


def twin_critics(
    obs_dim: int, act_dim: int, hidden: int, generator: torch.Generator, layer_norm: bool = False
) -> EnsembleMLP:
    """Return two critics with two hidden layers each, for `q_values`."""
    activation = normalised_relu if layer_norm else torch.relu_
    return EnsembleMLP(2, [obs_dim + act_dim, hidden, hidden, 1], activation, generator)


def q_values(critic: EnsembleMLP, obs: Tensor, act: Tensor) -> Tensor:
    """Return the values of K critics for the same pairs `[B, S], [B, A]`: `[K, B]`."""
    return critic(torch.cat((obs, act), -1).expand(len(critic.weights[0]), -1, -1))[..., 0]


@torch.no_grad()
def polyak(target: nn.Module, net: nn.Module, weight: float) -> None:
    """Move the parameters of `target` towards those of `net`, by `weight` in [0, 1] of the way."""
    for old, new in zip(target.parameters(), net.parameters(), strict=True):
        old.lerp_(new, weight)


def saved(learner: Any, *networks: str) -> dict[str, Any]:
    """Return a learner's checkpoint: its networks of these names, its `optimizers` and its `generator`."""
    return {
        **{name: getattr(learner, name).state_dict() for name in networks},
        "optimizers": [optimizer.state_dict() for optimizer in learner.optimizers],
        "generator": learner.generator.get_state(),
    }


def restored(learner: Any, state: dict[str, Any], *networks: str) -> None:
    """Restore the state from `saved`."""
    for name in networks:
        getattr(learner, name).load_state_dict(state[name])
    for optimizer, kept in zip(learner.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(kept)
    learner.generator.set_state(state["generator"])
