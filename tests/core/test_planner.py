import math
from dataclasses import replace

import pytest
import torch

from safeloop.cmdp import Constraint
from safeloop.models.trajectories import Outcome
from safeloop.planning.objective import Scores
from safeloop.planning.proposals import ActorRollouts
from safeloop.planning.search import Momentum, Plan, draw, moments
from safeloop.planning.weighting import Elites, Softmax
from tests.core.toy import A, B, H, K, LinearModel, P, S, make_planner


def scores(returns, costs):
    return Scores(torch.tensor([returns]), torch.tensor([costs]))


def weights_of_one(some, constraint, inverse_temperature, elites=0):
    """The weights of a single plan, `[N]`."""
    weighting = Elites(elites, constraint) if elites else Softmax(inverse_temperature, constraint)
    return weighting(some)[0]


def test_feasible_sequences_are_weighed_by_return_and_others_not_at_all():
    weights = weights_of_one(scores([1.0, 3.0, 9.0, 2.0], [0.0, 0.1, 0.5, 0.2]), Constraint(0.2, min_feasible=3), 2.0)
    raw = torch.tensor([math.exp(2 * 1), math.exp(2 * 3), 0.0, math.exp(2 * 2)])
    assert torch.allclose(weights, raw / raw.sum())


def test_with_too_few_feasible_sequences_all_are_weighed_by_cost():
    weights = weights_of_one(scores([1.0, 3.0, 9.0, 2.0], [0.3, 0.1, 0.5, 0.4]), Constraint(0.2, min_feasible=2), 2.0)
    raw = torch.exp(-2 * torch.tensor([0.3, 0.1, 0.5, 0.4]))
    assert torch.allclose(weights, raw / raw.sum())


def test_with_a_penalty_the_return_counts_too_where_too_few_sequences_are_feasible():
    some = scores([1.0, 3.0, 9.0, 2.0], [0.3, 0.1, 0.5, 0.4])
    weights = weights_of_one(some, Constraint(0.2, min_feasible=2, penalty=10.0), 2.0)
    assert torch.allclose(weights, torch.softmax(2 * torch.tensor([-2.0, 2.0, 4.0, -2.0]), 0))
    enough = weights_of_one(some, Constraint(0.4, min_feasible=3, penalty=10.0), 2.0)
    assert torch.allclose(enough, torch.softmax(2 * torch.tensor([1.0, 3.0, -torch.inf, 2.0]), 0))


def test_a_non_finite_sequence_gets_no_weight_with_a_penalty_either():
    assert weights_of_one(scores([-torch.inf, -5.0], [torch.inf, 2.0]), Constraint(0.0, 1, 0.0), 1.0).tolist() == [
        0.0,
        1.0,
    ]


def test_cost_equal_to_the_threshold_is_feasible():
    weights = weights_of_one(scores([0.0, 5.0], [0.0, 0.0]), Constraint(0.0, min_feasible=2), 1.0)
    assert weights[1] > weights[0]


def test_without_a_constraint_costs_do_not_matter():
    weights = weights_of_one(scores([1.0, 3.0], [0.0, 100.0]), None, 1.0)
    assert torch.allclose(weights, torch.softmax(torch.tensor([1.0, 3.0]), 0))


def test_a_non_finite_sequence_gets_no_weight_even_when_costs_decide():
    weights = weights_of_one(scores([-torch.inf, -5.0, -6.0], [torch.inf, 2.0, 1.0]), Constraint(0.0, 1), 1.0)
    assert weights[0] == 0 and weights.sum() == pytest.approx(1)
    assert weights_of_one(scores([-torch.inf, -50.0], [torch.inf, 0.0]), None, 1.0).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("elites", [0, 3])
@pytest.mark.parametrize("constraint", [None, Constraint(0.0)])
def test_all_non_finite_sequences_fail_loudly(elites, constraint):
    class Broken(LinearModel):
        def outcome(self, obs, act, next_obs):
            return Outcome(act[..., 0] * torch.nan, act[..., 0], None, None)

    with pytest.raises(FloatingPointError, match="diverged"):
        planner(Broken(torch.zeros(K)), constraint, elites=elites, act_dim=A).plan(torch.zeros(1, S), t0=True)


def test_large_returns_do_not_overflow():
    assert weights_of_one(scores([1e6, 1e6 - 1], [0.0, 0.0]), None, 50.0).isfinite().all()


def test_refit_is_the_weighted_mean_and_variance():
    actions = torch.arange(24.0).view(3, 4, 2)
    weights = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    mean, variance = moments(torch.stack((actions, -actions)), weights)
    assert torch.equal(mean, torch.stack(((actions[0] + actions[1]) / 2, -actions[2])))
    assert torch.equal(variance, torch.stack((torch.full((4, 2), 16.0), torch.zeros(4, 2))))


def test_elites_count_alike_and_only_among_the_allowed():
    some = scores([5.0, 1.0, 4.0, 3.0, 2.0], [1.0, 0.0, 0.0, 0.0, 0.0])
    assert weights_of_one(some, None, 50.0, elites=2).tolist() == [0.5, 0, 0.5, 0, 0]
    assert weights_of_one(some, Constraint(0.5, min_feasible=2), 50.0, elites=2).tolist() == [0, 0, 0.5, 0.5, 0]
    # more elites than feasible sequences: all of those; too few feasible: the cheapest
    assert weights_of_one(some, Constraint(0.5, min_feasible=2), 50.0, elites=9).tolist() == [0, 0.25, 0.25, 0.25, 0.25]
    dear = Scores(some.returns, torch.tensor([[3.0, 9.0, 2.0, 8.0, 7.0]]))
    assert weights_of_one(dear, Constraint(0.5, min_feasible=2), 50.0, elites=2).tolist() == [0.5, 0, 0.5, 0, 0]


def test_elites_are_finite_sequences():
    some = scores([1.0, -torch.inf, 2.0], [0.0, torch.inf, 0.0])
    assert weights_of_one(some, None, 1.0, elites=3).tolist() == [0.5, 0, 0.5]


def test_the_cross_entropy_method_finds_the_optimum_of_a_quadratic():
    p = planner(Quadratic(TARGET), iterations=25, population=300, discount=1.0, elites=20)
    p.plan(torch.zeros(1, S), t0=True)
    assert torch.allclose(p.mean[0], TARGET, atol=0.05)


def test_without_an_actor_there_are_no_proposals_and_no_divergence():
    p = make_planner(Quadratic(TARGET), None, 2, None, actor_fraction=0.2)
    plan = p.plan(torch.zeros(1, S), t0=True)
    assert plan.feasible == 100 and plan.divergence.isnan() and plan.usage.isnan()


class Quadratic:
    """One step moves nothing; reward is -|a - target_t|^2 where the time is kept in the state."""

    ensemble_size = K

    def __init__(self, target):
        self.target = target

    def start(self, start):
        return start, start

    def step(self, carry, act, generators):
        following = self.following(carry, act)
        return following, following, self.outcome(carry, act, following)

    def following(self, obs, act):
        return obs + 1

    def outcome(self, obs, act, next_obs):
        t = obs[..., 0].long().clamp(max=len(self.target) - 1)
        reward = -(act - self.target[t]).square().sum(-1)
        zeros = torch.zeros(reward.shape)
        return Outcome(reward, zeros, None, None)


def planner(model, constraint=None, seeds=(0,), act_dim=2, elites=0, actor=None, refit=None, **settings):
    actor = actor or (lambda s, g: torch.zeros(*s.shape[:-1], act_dim))
    cem = {"search": "cem", "elites": elites} if elites else {}
    found = make_planner(model, constraint, act_dim, actor, seeds=seeds, **cem, **settings)
    if refit:
        found.search = replace(found.search, refit=refit)
    return found


TARGET = torch.tensor([[0.5, -0.3], [0.2, 0.1], [-0.6, 0.4], [0.0, 0.7], [0.3, 0.3]])


def test_arc_finds_the_optimum_of_a_quadratic():
    p = planner(Quadratic(TARGET), iterations=25, population=300, discount=1.0)
    plan = p.plan(torch.zeros(1, S), t0=True)
    assert torch.allclose(p.mean[0], TARGET, atol=0.05)
    assert torch.equal(plan.action, p.mean[:, 0])


def test_sequences_are_drawn_with_the_probabilities_of_their_weights():
    n, b = 4, 6000
    weights = torch.tensor([0.2, 0.0, 0.5, 0.3])
    actions = torch.arange(float(n)).view(1, n, 1, 1).expand(b, n, H, A)
    generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    drawn = draw(actions, weights.expand(b, n), generators)
    assert drawn.shape == (b, H, A) and (drawn == drawn[:, :1, :1]).all()
    assert torch.allclose(drawn[:, 0, 0].long().bincount(minlength=n) / b, weights, atol=0.02)


def test_a_plan_may_be_a_drawn_sequence_in_place_of_the_mean():
    options = {"iterations": 1, "momentum": 0.0, "elites": 1, "population": 40}
    mean, drawn = (planner(Quadratic(TARGET), draws=draws, **options) for draws in (False, True))
    plans = [p.plan(torch.zeros(1, S), t0=True) for p in (mean, drawn)]
    assert torch.allclose(plans[0].mean, plans[1].mean, atol=1e-6)  # a single elite is both
    warm = planner(Quadratic(TARGET), draws=True, inverse_temperature=1e-6, iterations=1, momentum=0.0)
    plan = warm.plan(torch.zeros(1, S), t0=True)
    assert torch.equal(warm.mean, plan.mean) and torch.equal(plan.action, plan.mean[:, 0])
    assert plan.mean.abs().mean() > 0.2  # all weighed alike, the mean is near 0


def test_planning_discounts_rewards():
    # A reward of the last step that pays slightly more than the first step's costs loses under discounting.
    class Trade(Quadratic):
        def following(self, obs, act):
            kept = torch.where(obs[..., 0] == 0, act[..., 0], obs[..., 1])
            return torch.stack((obs[..., 0] + 1, kept, obs[..., 2], obs[..., 3]), -1)

        def outcome(self, obs, act, next_obs):
            first, last = obs[..., 0] == 0, obs[..., 0] == H - 1
            reward = torch.where(first, -act[..., 0], torch.where(last, 1.2 * obs[..., 1], 0.0))
            return Outcome(reward, torch.zeros(reward.shape), None, None)

    patient = planner(Trade(TARGET), iterations=10, discount=1.0).plan(torch.zeros(1, S), t0=True)
    hasty = planner(Trade(TARGET), iterations=10, discount=0.5).plan(torch.zeros(1, S), t0=True)
    assert patient.action[0, 0] > 0.8 and hasty.action[0, 0] < -0.8


def test_the_constraint_holds_against_the_reward():
    # Reward pushes s_0 up, cost is |s_0| beyond the threshold: the plan stays where it is allowed to.
    class Push(LinearModel):
        def outcome(self, obs, act, next_obs):
            cost = (next_obs[..., 0] - 0.5).clamp(min=0)
            return Outcome(act[..., 0], cost, None, None)

    def final(constraint):
        p = make_planner(Push(torch.zeros(K)), constraint, A, lambda s, g: torch.zeros(*s.shape[:-1], A), iterations=10)
        p.plan(torch.zeros(1, S), t0=True)
        return p.mean[0, :, 0].sum().item()

    assert final(None) > 3
    assert final(Constraint(0.0)) < 0.6


def test_momentum_is_the_weight_on_the_old_solution():
    kept = planner(Quadratic(TARGET), refit=Momentum(1.0))
    assert torch.equal(kept.plan(torch.zeros(1, S), t0=True).action, torch.zeros(1, 2))
    none, some = (planner(Quadratic(TARGET), iterations=1, momentum=m) for m in (0.0, 0.25))
    found = [p.plan(torch.zeros(1, S), t0=True).action for p in (none, some)]
    assert found[0].abs().max() > 0.05 and torch.allclose(0.75 * found[0], found[1])  # the old solution is 0


def test_the_warm_start_is_shifted_and_cleared_at_t0():
    p = planner(Quadratic(TARGET), refit=Momentum(1.0))  # with momentum 1 the mean is the warm start itself
    p.mean = torch.arange(10.0).view(1, H, 2) / 10
    assert torch.allclose(p.plan(torch.zeros(1, S), t0=False).action, torch.tensor([[0.2, 0.3]]))
    assert torch.equal(p.mean[:, -1], torch.zeros(1, 2))
    assert torch.equal(p.plan(torch.zeros(1, S), t0=True).action, torch.zeros(1, 2))


def test_a_plan_depends_on_its_seed_alone():
    first, second, other = (
        planner(Quadratic(TARGET), seeds=[s]).plan(torch.zeros(1, S), True).action for s in (1, 1, 2)
    )
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_actor_sequences_are_separate_rollouts_in_their_own_models():
    drift = torch.tensor([0.0, 1.0, 2.0])
    count, horizon = 5, 3
    starts = torch.tensor([1.0, -3.0])
    obs, generators = starts.unsqueeze(1).expand(-1, S), [torch.Generator(), torch.Generator()]
    sequences = ActorRollouts(LinearModel(drift), lambda s, g: s, count)(
        obs, torch.zeros(len(obs), horizon, A), generators
    )
    assert sequences.shape == (2, count, horizon, S)
    for b, start in enumerate(starts.tolist()):
        for j in range(count):  # a = s, so s' = 2 s + drift of model j mod K
            s, d = start, drift[j % K].item()
            for t in range(horizon):
                assert torch.allclose(sequences[b, j, t], torch.full((S,), s))
                s = 2 * s + d


def test_an_actors_sequences_may_have_noise_and_lean_on_the_previous_solution():
    count, horizon, sigma, lean = 500, 3, 0.2, 0.25
    previous = torch.rand(1, horizon, A, generator=torch.Generator().manual_seed(1)) - 0.5
    generators = [torch.Generator().manual_seed(2)]
    sequences = ActorRollouts(LinearModel(torch.zeros(K)), lambda s, g: torch.zeros_like(s), count, sigma, lean)(
        torch.zeros(1, S), previous, generators
    )
    expected = lean * previous[0]  # the actor says 0
    assert torch.allclose(sequences[0].mean(0), expected, atol=0.03)
    assert torch.allclose(sequences[0].std(0), torch.full((horizon, A), (1 - lean) * sigma), atol=0.02)


def test_with_a_fraction_of_one_the_actors_sequences_are_the_only_ones():
    # The Gaussian could reach the target, but none of its sequences is there: the plan is the actor's mean.
    target = torch.full((H, 2), 0.9)
    scored = []
    model = Quadratic(target)
    p = make_planner(
        model,
        None,
        2,
        lambda s, g: torch.full((*s.shape[:-1], 2), -0.3),
        population=11,
        actor_fraction=1.0,
        iterations=3,
        momentum=0.0,
    )
    step = model.step
    model.step = lambda obs, act, generators: (scored.append(act.shape[1]), step(obs, act, generators))[1]
    plan = p.plan(torch.zeros(1, S), t0=True)
    assert torch.allclose(plan.mean, torch.full((1, H, 2), -0.3)) and plan.usage.item() == pytest.approx(1.0)
    # To roll the actor out each model has its share; what it proposes is scored once, as it does not change.
    assert sorted(scored) == [-(-11 // model.ensemble_size)] * H + [11] * H


@pytest.mark.parametrize("mixture", [0.25, 1.0])
def test_the_previous_solution_goes_on_with_its_last_action_where_proposals_lean_on_it(mixture):
    p = make_planner(
        LinearModel(torch.zeros(K)),
        None,
        A,
        lambda s, g: torch.zeros(len(s), A),
        search="mbop",
        horizon=3,
        population=4,
        actor_fraction=1.0,
        actor_mixture=mixture,
    )
    p.mean = torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1).expand(-1, -1, A).clone()
    moved = p.plan(torch.zeros(1, S), t0=False).mean  # the actor says 0
    assert torch.allclose(moved[0, :, 0], mixture * torch.tensor([0.3, 0.4, 0.4]))


@pytest.mark.parametrize("t0", [True, False])
def test_the_old_mean_has_no_weight_where_it_is_no_proposal(t0):
    actor = lambda s, g: torch.full((*s.shape[:-1], 2), 0.5)  # noqa: E731
    p = planner(Quadratic(TARGET), momentum=0.4, actor_fraction=1.0, population=7, actor=actor)
    p.mean = torch.full((1, H, 2), -0.5)
    assert torch.allclose(p.plan(torch.zeros(1, S), t0).mean, torch.full((1, H, 2), 0.5))


def test_the_actors_sequences_stay_in_every_iteration():
    # Only the actor knows the far target; the Gaussian, with a tiny variance, can't reach it.
    target = torch.full((H, 2), 0.9)
    p = make_planner(
        Quadratic(target),
        None,
        2,
        lambda s, g: torch.full((*s.shape[:-1], 2), 0.9),
        iterations=3,
        initial_variance=1e-6,
    )
    plan = p.plan(torch.zeros(1, S), t0=True)
    assert plan.action.min() > 0.85


@pytest.mark.parametrize(("elites", "inverse_temperature", "usage"), [(20, 1.0, 5 / 20), (4, 1.0, 1.0), (0, 1e3, 1.0)])
def test_usage_is_the_share_of_weights_on_the_actors_sequences(elites, inverse_temperature, usage):
    target = torch.full((H, 2), 0.9)  # five sequences of the actor's are far better than all others
    p = planner(
        Quadratic(target),
        actor=lambda s, g: torch.full((*s.shape[:-1], 2), 0.9),
        iterations=1,
        initial_variance=1e-6,
        elites=elites,
        inverse_temperature=inverse_temperature,
    )
    assert p.plan(torch.zeros(1, S), t0=True).usage.item() == pytest.approx(usage, abs=1e-4)


def test_the_share_of_actor_sequences_follows_the_settings():
    for fraction, expected in ((0.05, 5), (0.2, 20), (0.0, 0)):
        calls, scored, model = [], [], Quadratic(TARGET)
        step = model.step
        model.step = lambda obs, act, generators, seen=scored, step=step: (
            seen.append(act.shape[1]),
            step(obs, act, generators),
        )[1]

        def actor(s, g, calls=calls):
            calls.append(s.shape[0])
            return torch.zeros(*s.shape[:-1], 2)

        p = make_planner(model, None, 2, actor, actor_fraction=fraction)
        p.plan(torch.zeros(1, S), t0=True)
        # the proposals' H steps, as many of each model, then once for the divergence
        together = -(-expected // model.ensemble_size) * model.ensemble_size
        assert calls == [together] * (H if expected else 0) + [1] and scored[-1] == 100 + expected


def test_plans_made_together_are_those_made_alone():
    def plans(obs, seeds):
        p = planner(LinearModel(torch.tensor([0.0, 0.3, -0.2]), noise=0.1), Constraint(1.0), seeds, A, particles=P)
        return p.plan(obs, t0=True), p.plan(obs + 1, t0=False)

    obs = torch.randn(B, S, generator=torch.Generator().manual_seed(0))
    together, alone = plans(obs, range(B)), [plans(obs[i : i + 1], [i]) for i in range(B)]
    for step in range(2):
        for field, found in zip(Plan._fields, together[step], strict=True):
            assert found.shape[0] == B
            assert torch.allclose(found, torch.cat([getattr(a[step], field) for a in alone]), atol=1e-5), field
    assert len(together[0].action.unique(dim=0)) == B
