from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from profiles import cases

from unbraid.core.errors import DataError
from unbraid.metrics.stats import Interval, bootstrap, holm, mean_interval, paired

quick = cases(60)


def test_interval_agrees_with_scipy():
    from scipy import stats

    values = np.random.default_rng(0).normal(size=7)
    expected = stats.t.interval(0.9, 6, loc=values.mean(), scale=stats.sem(values))
    found = mean_interval(values, level=0.9)
    np.testing.assert_allclose((found.low, found.high), expected, rtol=1e-10)
    assert found.width == pytest.approx(expected[1] - expected[0])


def test_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = [0.0 in mean_interval(rng.normal(size=5)) for _ in range(1000)]
    assert 0.93 < np.mean(hits) < 0.97


@pytest.mark.parametrize("values", [[], [0.5]])
def test_too_few_values_decide_nothing(values):
    found = mean_interval(np.array(values))
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert not found.known
    assert not bootstrap(np.array(values)).known
    assert paired(np.array(values), np.array(values) - 1).verdict == "not decided"


def test_bootstrap_is_seeded_and_covers_the_mean():
    values = np.random.default_rng(0).normal(3, 1, 50)
    found = bootstrap(values, seed=4)
    assert found == bootstrap(values, seed=4)
    assert values.mean() in found
    normal = mean_interval(values)
    assert found.low == pytest.approx(normal.low, abs=0.1)
    assert found.high == pytest.approx(normal.high, abs=0.1)
    assert 3.0 in bootstrap(values, statistic=np.median)


@pytest.mark.parametrize(
    ("ours", "margin", "verdict"),
    [
        ([0.9, 0.8, 0.85, 0.9], 0.0, "holds"),
        ([0.9, 0.8, 0.85, 0.9], 0.9, "does not hold"),
        ([0.9, 0.1, 0.85, 0.0], 0.3, "not decided"),
        ([0.1, 0.1, 0.1, 0.1], 0.0, "not decided"),
        ([0.0, 0.05, 0.02, 0.01], 0.0, "does not hold"),
    ],
)
def test_verdicts(ours, margin, verdict):
    base = np.full(4, 0.1)
    found = paired(np.array(ours), base, margin)
    assert found.verdict == verdict
    assert found.difference == pytest.approx(np.mean(ours) - 0.1)


def test_pairing_removes_what_pairs_share():
    shared = np.random.default_rng(0).normal(0, 100, 6)
    assert paired(shared + np.array([1, 1.1, 0.9, 1, 1.05, 0.95]), shared).verdict == "holds"


def test_unpaired_values_are_refused():
    with pytest.raises(DataError):
        paired(np.zeros(3), np.zeros(4))


@quick
@given(hnp.arrays(np.float64, st.integers(0, 10), elements=st.floats(0, 1)))
def test_holm_is_ordered_between_p_and_bonferroni(p):
    found = holm(p)
    assert (found >= p).all()
    assert (found <= np.minimum(1, p * len(p)) + 1e-15).all()
    assert (np.diff(found[np.argsort(p, kind="stable")]) >= 0).all()


def test_interval_contains_its_ends():
    assert 1.0 in Interval(0.0, 1.0, 0.95)
    assert 1.1 not in Interval(0.0, 1.0, 0.95)
