import math

import numpy as np
import pytest

from unbraid.audit.permutation import Moments, between, p_value, within


def sample_moments(draw, n=20_000):
    values = np.array([draw() for _ in range(n)])
    return values.mean(), values.var(), ((values - values.mean()) ** 3).mean()


def test_moments_within_strata_are_those_of_all_arrangements():
    rng = np.random.default_rng(0)
    a, y, strata = rng.gamma(0.5, size=(12, 3)), rng.integers(3, size=12), np.array([0] * 5 + [1] * 7)
    found = within(a, y, strata)

    def draw():
        shuffled = np.concatenate([rng.permutation(y[:5]), rng.permutation(y[5:])])
        return a[np.arange(12), shuffled].sum()

    mean, variance, third = sample_moments(draw)
    assert found.excess == pytest.approx(a[np.arange(12), y].sum() - mean, abs=0.02)
    assert found.variance == pytest.approx(variance, rel=0.03)
    assert found.third == pytest.approx(third, rel=0.15)


def test_moments_between_groups_are_those_of_all_exchanges():
    rng = np.random.default_rng(1)
    scores, mixes = rng.gamma(0.5, size=(9, 3)), rng.dirichlet(np.ones(3), size=9)
    mixes[3] = mixes[1]
    strata = np.array([0] * 4 + [1] * 5)
    found = between(scores, mixes, strata)

    def draw():
        return (scores * mixes[np.concatenate([rng.permutation(4), 4 + rng.permutation(5)])]).sum()

    mean, variance, third = sample_moments(draw)
    assert found.excess == pytest.approx((scores * mixes).sum() - mean, abs=0.02)
    assert found.variance == pytest.approx(variance, rel=0.03)
    assert found.third == pytest.approx(third, abs=0.2 * variance**1.5)
    ways = math.factorial(4) / 2 * math.factorial(5)
    assert found.arrangements == pytest.approx(math.log(ways))


def test_a_score_that_is_the_same_for_all_items_of_a_stratum_says_nothing():
    a = np.tile([[0.3, -2.0, 1.0]], (30, 1))
    found = within(a, np.arange(30) % 3, np.zeros(30, dtype=int))
    assert found.excess == pytest.approx(0)
    assert found.variance == pytest.approx(0)


def test_p_values():
    assert p_value(Moments(3.0, 0.0, 0.0, 50.0)) == 1.0
    assert p_value(Moments(0.0, 1.0, 0.0, 50.0)) == pytest.approx(0.5)
    assert p_value(Moments(50.0, 1.0, 0.0, math.log(36))) == pytest.approx(1 / 36)
    skewed, straight = p_value(Moments(5.0, 1.0, 1.0, 50.0)), p_value(Moments(5.0, 1.0, 0.0, 50.0))
    assert skewed > straight
    assert p_value(Moments(5.0, 1.0, 0.0, 50.0), 5, 4) < straight


@pytest.mark.parametrize(("folds", "freedom"), [(2, 1), (2, 20), (3, 5), (5, 1), (5, 10), (5, 100)])
def test_the_level_is_held_by_cross_fitted_linear_scores(folds, freedom):
    """The score of a probe whose weights are sums over the other folds, T = sum_f s_f . S_-f."""
    rng = np.random.default_rng(folds * 1000 + freedom)
    s = rng.normal(size=(20_000, folds, freedom))
    total = s.sum(1)
    score = (total**2).sum(1) - (s**2).sum((1, 2))
    variance = ((total[:, None] - s) ** 2).sum((1, 2))
    pairs = zip(score[:2500], variance[:2500], strict=True)
    p = np.array([p_value(Moments(float(t), float(v), 0.0, 700.0), folds, freedom) for t, v in pairs])
    assert 0.02 < (p < 0.05).mean() < 0.065
    assert (p < 0.01).mean() < 0.016
