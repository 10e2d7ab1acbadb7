import pytest
import torch

from safeloop.models.trajectories import Outcome
from safeloop.planning.objective import Scores
from tests.core.toy import A, B, H, K, LinearModel, N, P, S, closed_form
from tests.core.toy import score as scored

DISCOUNT = 0.9
DRIFT = torch.tensor([0.0, 0.3, -0.2])


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    obs = torch.randn(S, generator=generator)
    actions = 0.5 * torch.randn(N, H, A, generator=generator)
    return obs, actions, generator


def score(problem, model, particles=P, **options):
    obs, actions, generator = problem
    scores = scored(
        model, obs[None], actions[None], particles=particles, discount=DISCOUNT, generators=[generator], **options
    )
    return Scores(*(x[0] for x in scores))


def by_model(problem):
    """Closed-form returns and costs, [K][N], and final states [K][N][S]."""
    obs, actions, _ = problem
    return [closed_form(obs, actions, drift.item(), DISCOUNT) for drift in DRIFT]


def test_return_is_the_discounted_sum_of_h_rewards_averaged_over_models(problem):
    expected = torch.tensor([r for r, _, _ in by_model(problem)]).mean(0)
    assert torch.allclose(score(problem, LinearModel(DRIFT)).returns, expected, atol=1e-5)


def test_terminal_value_is_taken_at_the_state_reached_and_discounted_h_times(problem):
    plain = score(problem, LinearModel(DRIFT)).returns
    with_value = score(problem, LinearModel(DRIFT), value=lambda s: s[..., 1]).returns
    finals = torch.stack([torch.stack(f)[:, 1] for _, _, f in by_model(problem)]).mean(0)
    assert torch.allclose(with_value - plain, DISCOUNT**H * finals, atol=1e-5)


@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_changing_the_horizon_moves_the_terminal_value_with_it(problem, horizon):
    obs, actions, generator = problem
    short = (obs, actions[:, :horizon], generator)
    gain = score(short, LinearModel(DRIFT), value=lambda s: torch.ones(s.shape[:-1])).returns
    gain = gain - score(short, LinearModel(DRIFT)).returns
    assert torch.allclose(gain, torch.full((N,), DISCOUNT**horizon), atol=1e-5)


def test_worst_case_cost_is_the_maximum_over_models_of_discounted_sums(problem):
    expected = torch.tensor([c for _, c, _ in by_model(problem)]).amax(0)
    assert torch.allclose(score(problem, LinearModel(DRIFT)).costs, expected, atol=1e-5)


def test_the_mean_cost_is_over_models_and_particles(problem):
    expected = torch.tensor([c for _, c, _ in by_model(problem)]).mean(0)
    assert torch.allclose(score(problem, LinearModel(DRIFT), worst_case=False).costs, expected, atol=1e-5)


def test_worst_case_is_a_maximum_of_sums_not_a_sum_of_maxima():
    # Model 0 is costly at the first step, model 1 at the second: each sums to about 1, the maxima to 2.
    obs, actions = torch.zeros(S), torch.zeros(1, 2, A)
    actions[0, 0, 0], actions[0, 1, 0] = 1.0, -1.0
    model = LinearModel(torch.tensor([0.0, -1.0]))
    costs = scored(model, obs[None], actions[None], particles=1, discount=1.0, generators=[torch.Generator()]).costs
    assert costs.tolist() == [[2.0]]  # model 0: 1 + 0 = 1; model 1: 0 + 2 = 2; sum of maxima would be 3


def test_worst_case_covers_particles_too(problem):
    noisy = LinearModel(DRIFT, noise=1.0)
    worst = score(problem, noisy, particles=64).costs
    single = score(problem, noisy, particles=1).costs
    assert (worst > single).float().mean() > 0.8


def test_every_particle_starts_at_the_same_state_and_keeps_its_own_sequence_and_model(problem):
    model = LinearModel(DRIFT)
    score(problem, model)
    obs, actions, _ = problem
    assert (model.seen[0] == obs).all()
    second = model.seen[1].view(K, P, N, S)
    for k in range(K):
        for p in range(P):
            assert torch.allclose(second[k, p], obs + actions[:, 0] + DRIFT[k])


def test_particles_draw_fresh_noise_each_step(problem):
    model = LinearModel(torch.zeros(K), noise=1.0)
    score(problem, model, particles=2)
    steps = torch.stack(model.seen[1:]) - torch.stack(model.seen[:-1])  # [H-1, K, 2N, S]
    actions = problem[1].repeat(2, 1, 1).transpose(0, 1)[: H - 1]
    noise = steps - actions.unsqueeze(1)
    assert len(noise.flatten().unique()) == noise.numel()


def test_pessimism_subtracts_the_standard_deviation_over_models(problem):
    returns = torch.tensor([r for r, _, _ in by_model(problem)])
    expected = returns.mean(0) - 0.7 * returns.std(0, unbiased=False)
    assert torch.allclose(score(problem, LinearModel(DRIFT), pessimism=0.7).returns, expected, atol=1e-5)


def test_reward_and_value_stop_at_an_event_and_go_on_with_the_value_after_it():
    obs, actions = torch.ones(S), torch.zeros(1, 4, A)
    actions[0, 1, 0] = 10.0  # the event happens in the second step
    model = LinearModel(torch.zeros(2), event_at=5.0)
    scores = scored(
        model, obs[None], actions[None], particles=1, discount=0.5, generators=[torch.Generator()],
        value=lambda s: torch.full(s.shape[:-1], 1000.0), value_after_event=torch.tensor(8.0),
    )  # fmt: skip
    # rewards 4 and 4 of the first two steps, then gamma^2 * 8, nothing from the stale goal
    assert scores.returns.item() == pytest.approx(4 + 0.5 * 4 + 0.25 * 8)
    # costs go on: |s_0| = 1, 11, 11, 11
    assert scores.costs.item() == pytest.approx(1 + 0.5 * 11 + 0.25 * 11 + 0.125 * 11)


def test_termination_ends_reward_cost_and_value():
    obs, actions = torch.ones(S), torch.zeros(1, 4, A)
    actions[0, 1, 0] = 10.0
    scores = scored(
        LinearModel(torch.zeros(2), end_at=5.0), obs[None], actions[None], particles=1, discount=0.5,
        generators=[torch.Generator()], value=lambda s: torch.full(s.shape[:-1], 1000.0),
    )  # fmt: skip
    assert scores.returns.item() == pytest.approx(4 + 0.5 * 4)
    assert scores.costs.item() == pytest.approx(1 + 0.5 * 11)


def test_the_value_after_an_event_needs_the_same_step_to_be_survived():
    class Both(LinearModel):
        """Each step ends the episode with probability 0.25 and meets the goal with probability 0.5, alike or apart."""

        def outcome(self, obs, act, next_obs):
            here = torch.ones(obs.shape[:-1])
            return Outcome(here, here, 0.25 * here, 0.5 * here)

    def returned(after):
        return scored(
            Both(torch.zeros(2)), torch.zeros(1, S), torch.zeros(1, 1, 3, A), particles=1, discount=0.5,
            generators=[torch.Generator()], value_after_event=torch.tensor(after),
        ).returns.item()  # fmt: skip

    # Step t is reached, the goal not yet met, with probability (0.75 * 0.5)^t; it is met and survived with 0.5 * 0.75.
    reached = [1, 0.375, 0.375**2]
    assert returned(0.0) == pytest.approx(sum(0.5**t * p for t, p in enumerate(reached)))
    assert returned(8.0) - returned(0.0) == pytest.approx(
        sum(0.5 ** (t + 1) * p * 0.375 * 8 for t, p in enumerate(reached))
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_non_finite_prediction_makes_its_sequence_worst_and_infeasible(problem, bad):
    problem[1][2, 3, 0] = bad
    scores = score(problem, LinearModel(DRIFT))
    assert scores.returns[2] == -torch.inf and scores.costs[2] == torch.inf
    others = [i for i in range(N) if i != 2]
    assert scores.returns[others].isfinite().all() and scores.costs[others].isfinite().all()


def test_plans_scored_together_are_those_scored_alone():
    obs, actions = torch.randn(B, S), torch.randn(B, N, H, A)
    model, generators = LinearModel(DRIFT, noise=1.0), [torch.Generator().manual_seed(b) for b in range(B)]
    options = {"particles": P, "discount": DISCOUNT, "value": lambda s: s.sum(-1)}
    together = scored(model, obs, actions, generators=generators, **options)
    for b in range(B):
        alone = score((obs[b], actions[b], torch.Generator().manual_seed(b)), model, value=options["value"])
        for one, of_all in zip(alone, together, strict=True):
            assert torch.allclose(one, of_all[b], atol=1e-5)
