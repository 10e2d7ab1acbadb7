"""The surface of expected returns around a plan."""

import pytest
import torch

from safeloop import cli
from safeloop.api import run
from safeloop.errors import UsageError
from safeloop.experiments.surface import draw_surface
from safeloop.models.trajectories import Outcome
from safeloop.planning.planners import Parts, planner
from safeloop.planning.settings import PlannerSettings
from safeloop.planning.surface import GRID, surface

TARGET = torch.tensor([0.3, -0.2])


class Bowl:
    """One state; an action is worth minus its squared distance from a target, in each of three models."""

    ensemble_size = 3

    def start(self, start):
        return start, start

    def step(self, carry, act, generators):
        reward = -(act - TARGET).square().sum(-1)
        return carry, carry, Outcome(reward, 0 * reward, None, None)


def test_of_two_numbers_the_plane_is_all_of_them():
    settings = PlannerSettings(
        search="cem", horizon=1, population=30, elites=5, iterations=4, actor_fraction=0.0, initial_variance=0.1,
        noise_correlation=0.0, noise_narrowed=False, precision="float32",
    )  # fmt: skip
    streams = [torch.Generator().manual_seed(0)]
    search = planner(settings, Parts(Bowl(), 2, 1.0), streams).search
    found = surface(search, torch.zeros(1, 1), torch.zeros(1, 1, 2), streams, torch.tensor(0.0))
    assert found.size == (1, 2) and sum(found.shares) == pytest.approx(1) and found.shares[0] > found.shares[1]
    assert [len(each) for each in found.points] == [30] * 4 and found.grid.shape == (GRID, GRID)
    assert torch.cat(found.points)[:, 0].var() > torch.cat(found.points)[:, 1].var()
    x, y = torch.meshgrid(*found.axes, indexing="xy")
    places = torch.stack((x, y), -1).view(-1, 2)
    linear = torch.cat((2 * places, -torch.ones(len(places), 1)), 1)  # -|p - q|^2 + |p|^2 is linear in q and |q|^2
    *peak, squared = torch.linalg.lstsq(linear, found.grid.flatten() + places.square().sum(-1)).solution
    peak = torch.stack(peak)  # the target, seen from the plan
    assert squared.item() == pytest.approx(peak.square().sum().item(), abs=1e-3) and peak.norm() < 0.3
    for points, returns in [(places, found.grid.flatten()), *zip(found.points, found.returns, strict=True)]:
        assert torch.allclose(returns, -(points - peak).square().sum(-1), atol=1e-3)
    assert points.square().sum(-1).mean() < found.points[0].square().sum(-1).mean()  # they come together at the plan


def test_a_run_is_drawn_in_both_spaces(tmp_path, capsys):
    small = [
        "population=9", "elites=3", "iterations=2", "horizon=3", "ensemble_size=2", "width=8", "layers=1", "warmup=20",
        "first_fit_steps=5", "fit_steps=5",
    ]  # fmt: skip
    run("PoplinPendulum", ["poplin-p"], steps=201, out=tmp_path, settings=small, eval_episodes=0, quiet=True)
    folder = tmp_path / "PoplinPendulum/poplin-p/seed-0"
    before = {path.name for path in folder.iterdir()}
    cli.app(["plot", str(folder), "--surface"], standalone_mode=False)
    assert f"picture: {folder / 'surface.png'}" in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == before | {"surface.png"}
    assert (folder / "surface.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_without_a_planner_is_refused(tmp_path):
    run("PoplinPendulum", ["sac"], steps=201, out=tmp_path, settings=["warmup=201"], eval_episodes=0, quiet=True)
    with pytest.raises(UsageError, match="--surface: sac does not plan"):
        draw_surface(tmp_path / "PoplinPendulum/sac/seed-0")
