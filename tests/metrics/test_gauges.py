from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from profiles import cases

from unbraid.core.errors import DataError
from unbraid.metrics import gauges

quick = cases(60)
tables = hnp.arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 5)), elements=st.floats(-10, 10, width=16))


@quick
@given(tables)
def test_effective_rank_lies_between_one_and_the_rank(z):
    found = gauges.effective_rank(z)
    if (np.ptp(z, axis=0) == 0).all():
        assert found == 0
    else:
        assert 1 - 1e-9 <= found <= min(z.shape) + 1e-9
        assert gauges.effective_rank(3 * z + 1) == pytest.approx(found, rel=1e-4)


def test_effective_rank_of_a_line_and_of_a_ball():
    rng = np.random.default_rng(0)
    assert gauges.effective_rank(np.outer(rng.normal(size=50), [1, 2, 3])) == pytest.approx(1)
    assert gauges.effective_rank(rng.normal(size=(20000, 8))) == pytest.approx(8, abs=0.01)


def test_passive_latents_of_a_posterior():
    rng = np.random.default_rng(0)
    mu = np.stack([rng.normal(size=1000), np.zeros(1000), 0.01 * rng.normal(size=1000)], axis=1)
    logvar = np.stack([np.full(1000, -4.0), np.zeros(1000), np.zeros(1000)], axis=1)
    assert gauges.active_by_posterior(mu, logvar).tolist() == [True, False, False]
    share = gauges.posterior_share(mu, logvar)
    assert share[0] == pytest.approx(1 / (1 + np.exp(-4)), abs=0.01)
    assert gauges.posterior_share(np.zeros((2, 1)), np.full((2, 1), -np.inf)).tolist() == [0]


def test_active_latents_of_plain_codes():
    codes = np.array([[0.0, 0.0, 0.0, 7.0], [1.0, 0.05, 0.0501, 7.0]])
    assert gauges.active_by_range(codes).tolist() == [True, False, True, False]


@quick
@given(hnp.arrays(np.int64, st.integers(0, 30), elements=st.integers(0, 7)))
def test_usage_and_dead_codes_add_up(ids):
    usage = gauges.code_usage(ids, 8)
    dead = gauges.dead_codes(ids, 8)
    assert usage.sum() == pytest.approx(1 if len(ids) else 0)
    assert set(dead) == set(range(8)) - set(ids.tolist())
    assert gauges.perplexity(usage) <= 8 - len(dead) + 1e-9


def test_usage_of_any_shape_and_of_foreign_ids():
    assert gauges.code_usage(np.array([[0, 1], [1, 1]]), 2).tolist() == [0.25, 0.75]
    assert gauges.perplexity(np.full(4, 0.25)) == pytest.approx(4)
    for ids in ([3], [-1]):
        with pytest.raises(DataError):
            gauges.code_usage(np.array(ids), 3)


@quick
@given(tables)
def test_mean_cosine_is_that_of_all_pairs(z):
    lengths = np.linalg.norm(z, axis=1)
    units = z / np.where(lengths > 0, lengths, 1)[:, None]
    cosines = (units @ units.T)[~np.eye(len(z), dtype=bool)]
    assert gauges.mean_cosine(z) == pytest.approx(cosines.mean() if len(z) > 1 else 0.0, abs=1e-9)
