"""Worlds that answer actions: what is computed exactly against what is drawn."""

import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.catalog import open_data
from unbraid.data.environment import Finite, by_table, play
from unbraid.data.made.decisions import bandit, frozen_lake, gamble_chain


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "data", [bandit(0.3), gamble_chain(length=3), frozen_lake(0.8, horizon=20)], ids=lambda data: data.name
)
def test_what_is_expected_is_what_is_played_on_average(data):
    world = data.environment
    policy = torch.rand(world.states, world.actions, generator=chance()).double()
    policy = policy / policy.sum(1, keepdim=True)
    played = play(world, by_table(policy), 20_000, chance(1), torch.tensor(0))
    returns = played.returns.double()
    error = float(returns.std()) / len(played) ** 0.5
    assert float(returns.mean()) == pytest.approx(world.expected(policy), abs=4 * error + 1e-9)
    spread = world.returns(policy)
    assert sum(spread.values()) == pytest.approx(1)
    assert sum(value * mass for value, mass in spread.items()) == pytest.approx(world.expected(policy))
    most = max(spread, key=spread.get)
    assert float((returns.round(decimals=6) == round(most, 6)).double().mean()) == pytest.approx(spread[most], abs=0.02)


def test_the_best_policy_reaches_the_best_return_and_none_is_better():
    world = frozen_lake(0.8, horizon=30).environment
    value, policy = world.best()
    assert world.expected(policy) == pytest.approx(value)
    for seed in range(5):
        other = torch.rand(16, 4, generator=chance(seed)).double()
        assert world.expected(other / other.sum(1, keepdim=True)) < value


def test_the_bandit_is_the_one_of_the_paper():
    data = bandit(0.1)
    world = data.environment
    pays = torch.eye(2).double()
    assert [world.expected(pays[arm][None]) for arm in (0, 1)] == pytest.approx([0.1, 0.9])
    assert data.behaviour.tolist() == [[0.9, 0.1]]
    won = data.episodes.reward == 1
    assert float((data.episodes.action[won] == 1).double().mean()) == pytest.approx(0.5, abs=0.12)
    assert data.episodes.done.all()
    assert len(data) == 1000


def test_a_gamble_loses_on_average_and_wins_most():
    world = gamble_chain(length=4, chance=0.25, win=7.0).environment
    work, gamble = torch.eye(2).double()[:, None].expand(2, 4, 2)
    assert world.expected(work) == pytest.approx(4)
    assert world.expected(gamble) == pytest.approx(4 * (0.25 * 7 - 0.75))
    assert max(world.returns(gamble)) == 28


def test_a_step_on_ice_goes_where_it_should_or_to_a_side():
    world = frozen_lake(0.6).environment
    right = torch.full((5000,), 2)
    outcome = world.step(torch.zeros(5000).long(), right, chance())
    share = torch.bincount(outcome.state, minlength=16) / 5000
    assert share[[1, 4, 0]].tolist() == pytest.approx([0.6, 0.2, 0.2], abs=0.03)  # right, down, and up against the edge
    goal = world.step(torch.full((2000,), 14), torch.full((2000,), 2), chance())
    assert torch.equal(goal.reward == 1, goal.state == 15)
    assert torch.equal(goal.done, goal.state == 15)
    hole = world.step(torch.full((9,), 4), torch.full((9,), 2), chance())
    assert torch.equal(hole.done, hole.state == 5)


def test_luck_decides_the_outcome_and_tells_nothing_of_the_action():
    data = gamble_chain(episodes=4000, length=2)
    luck, action, reward = data.episodes.more["luck"], data.episodes.action, data.episodes.reward
    assert torch.equal(reward[action == 1] == 5, luck[action == 1] >= 0.9)
    for arm in (0, 1):
        assert float(luck[action == arm].mean()) == pytest.approx(0.5, abs=0.03)


def test_an_episode_ends_where_the_world_says_or_at_the_horizon():
    world = frozen_lake(0.9, horizon=7).environment
    still = torch.zeros(16, 4).double()
    still[:, 0] = 1.0  # to the left, at the left edge
    played = play(world, by_table(still), 200, chance(), torch.tensor(0))
    last = played.offsets[1:] - 1
    assert int(played.lengths.max()) == 7
    assert torch.equal(played.done.nonzero()[:, 0], last[played.done[last]])
    assert (played.lengths[~played.done[last]] == 7).all()
    assert played.state[played.offsets[:-1]].eq(0).all()


def test_the_same_seed_logs_the_same_trajectories():
    one, two, other = (frozen_lake(episodes=20, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.episodes.state, two.episodes.state)
    assert one.hash == two.hash != other.hash


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("bandit:p=1.5", "a chance between 0 and 1"),
        ("bandit:episodes=0", "a number of episodes above 0"),
        ("gamble-chain:length=0", "a length above 0"),
        ("frozen-lake:straight=2", "straight in"),
        ("frozen-lake:past=0", "windows of 1 to"),
        ("frozen-lake:past=10000000000", "windows of 1 to"),
    ],
)
def test_worlds_that_cannot_be_are_refused_in_one_line(spec, said):
    with pytest.raises(DataError, match=said) as caught:
        open_data(spec)
    assert "\n" not in str(caught.value)


def test_chances_must_sum_to_one():
    half = torch.full((1, 1, 1), 0.5)
    nothing = torch.zeros(1, 1, 1)
    with pytest.raises(DataError, match="sum to 1"):
        Finite("half", torch.ones(1), half, nothing.long(), nothing, nothing.bool(), horizon=1)
