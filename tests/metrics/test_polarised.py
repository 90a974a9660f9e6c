"""Groups of latents against a loop, and their correlations against formulas written here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from profiles import cases

from unbraid.core.errors import DataError
from unbraid.metrics.gauges import covariance_rank
from unbraid.metrics.polarised import (
    absolute_correlation,
    correlations,
    drawn,
    information_between,
    regime,
)
from unbraid.metrics.unsupervised import gaussian_total_correlation, mutual_information_score


@cases(60)
@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.floats(0, 2, width=32)))
def test_the_groups_are_those_of_the_rule_and_divide_the_latents(variance):
    found = regime(variance)
    expected = {"active": [], "mixed": [], "passive": []}
    for j, column in enumerate(variance.T.astype(np.float64)):
        mean, over = sum(column) / len(column), np.mean((column - np.mean(column)) ** 2)
        if min(abs(mean - 0.9), abs(mean - 1.1), abs(mean - 0.1), abs(over - 0.1)) < 1e-9:
            return  # at a threshold rounding decides
        if over < 0.1 and 0.9 <= mean <= 1.1:
            expected["passive"].append(j)
        elif over < 0.1 and mean <= 0.1:
            expected["active"].append(j)
        else:
            expected["mixed"].append(j)
    assert {g: list(getattr(found, g)) for g in expected} == expected
    assert sorted(found.active + found.mixed + found.passive) == list(range(variance.shape[1]))
    assert [found.names.index(g) for g in set(found.names)] == [min(getattr(found, g)) for g in set(found.names)]


def test_unions_are_in_the_order_of_the_code():
    variance = np.tile([1.0, 0.01, 0.5, 1.0, 0.02], (10, 1))
    found = regime(variance)
    assert found.kept == (1, 2, 4)
    assert found.subsets() == {
        "full": (0, 1, 2, 3, 4),
        "active": (1, 4),
        "mixed": (2,),
        "passive": (0, 3),
        "active+mixed": (1, 2, 4),
        "active+passive": (0, 1, 3, 4),
        "mixed+passive": (0, 2, 3),
    }


def test_variances_must_be_a_matrix_of_variances():
    with pytest.raises(DataError, match="variances \\(items, latents\\)"):
        regime(np.ones(3))
    with pytest.raises(DataError, match="give exp"):
        regime(np.full((4, 2), -3.0))
    with pytest.raises(DataError, match="variances"):
        regime(np.zeros((0, 2)))


def test_total_correlation_of_two_latents_is_that_of_their_correlation():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(500, 2)) @ [[1.0, 0.6], [0.0, 0.8]] * [1.0, 1e-3]
    found = correlations(z, {"full": (0, 1), "one": (1,)})
    rho = np.corrcoef(z.T)[0, 1]
    assert list(found) == ["full"]
    assert found["full"].total == pytest.approx(-0.5 * np.log(1 - rho**2))
    assert found["full"].total_scaled == pytest.approx(found["full"].total)
    assert found["full"].information == pytest.approx(mutual_information_score(z))


def test_covariance_and_correlation_agree_down_to_tiny_variances():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(400, 5)) @ rng.normal(size=(5, 5)) * 10.0 ** -np.arange(5)
    whole, scaled = (gaussian_total_correlation(z, scaled=s) for s in (False, True))
    assert whole == pytest.approx(scaled, rel=1e-6)


def test_bins_are_those_of_the_whole_code():
    z = np.random.default_rng(2).normal(size=(300, 4))
    between = information_between(z)
    assert (np.diag(between) == 0).all()
    chosen = between[np.ix_([0, 3], [0, 3])]
    assert correlations(z, {"some": (0, 3)})["some"].information == pytest.approx(chosen[0, 1])


def test_samples_hide_what_the_means_of_passive_latents_share():
    """corr(z_i, z_j) = cov(mu_i, mu_j) / sqrt((Var mu_i + E s_i^2)(Var mu_j + E s_j^2))."""
    rng = np.random.default_rng(4)
    a = rng.normal(size=20_000)
    mean = np.stack([a, 0.1 * a + 0.05 * rng.normal(size=len(a))], 1)
    variance = np.tile([0.01, 0.95], (len(a), 1))
    z = drawn(mean, variance, seed=5)
    cov = np.cov(mean.T)
    expected = cov[0, 1] / np.sqrt((cov[0, 0] + 0.01) * (cov[1, 1] + 0.95))
    assert np.corrcoef(z.T)[0, 1] == pytest.approx(expected, abs=0.02)
    assert absolute_correlation(mean, (1,)) > 0.85 > 0.15 > absolute_correlation(z, (1,))
    assert np.array_equal(z, drawn(mean, variance, seed=5))


def test_the_rank_of_the_covariance():
    rng = np.random.default_rng(6)
    z = rng.normal(size=(50, 3)) * [1.0, 2.0, 3.0]
    values = np.linalg.eigvalsh(np.cov(z.T))
    share = values / values.sum()
    assert covariance_rank(z) == pytest.approx(np.exp(-(share * np.log(share)).sum()))
