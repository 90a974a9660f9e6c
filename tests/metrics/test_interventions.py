"""The scores that look at sets of items which share a factor, against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import cases

from unbraid.metrics import beta_vae, factor_vae
from unbraid.metrics.draws import agreeing, pairs

GRID = np.stack(np.meshgrid(range(2), range(3), range(4), indexing="ij"), -1).reshape(-1, 3)


def codes_of(kind: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    clean = (GRID - GRID.mean(0)) / GRID.std(0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return {"perfect": clean, "rotated": clean @ turn, "noise": rng.normal(size=clean.shape)}[kind]


def test_sets_agree_in_their_factor_and_are_drawn_evenly():
    draws = agreeing(GRID, 4000, 16, np.random.default_rng(0))
    shown = GRID[draws.rows]
    at = np.arange(len(shown))
    for k in range(3):
        here = draws.factor == k
        assert (np.ptp(shown[here][:, :, k], axis=1) == 0).all()
        assert np.abs(np.bincount(shown[here, :, k].ravel()) / shown[here, :, k].size - 1 / [2, 3, 4][k]).max() < 0.05
    others = np.ptp(shown[at, :, (draws.factor + 1) % 3], axis=1)
    assert (others > 0).mean() > 0.99
    assert np.abs(np.bincount(draws.factor) / 4000 - 1 / 3).max() < 0.03


def test_both_items_of_a_pair_agree_and_pairs_of_a_set_differ():
    draws, second = pairs(GRID, 500, 8, np.random.default_rng(0))
    first, other = GRID[draws.rows], GRID[second]
    for k in range(3):
        here = draws.factor == k
        assert (first[here][:, :, k] == other[here][:, :, k]).all()
        assert (np.ptp(first[here][:, :, k], axis=1) > 0).mean() > 0.9
        assert (first[here][:, :, (k + 1) % 3] != other[here][:, :, (k + 1) % 3]).mean() > 0.4


def test_rare_values_are_drawn_as_often_as_they_occur():
    factors = np.array([[0]] * 90 + [[1]] * 10)
    draws = agreeing(factors, 5000, 4, np.random.default_rng(0))
    assert factors[draws.rows].mean() == pytest.approx(0.1, abs=0.02)


def test_votes_are_those_of_a_loop():
    codes, rng = codes_of("rotated"), np.random.default_rng(0)
    draws = agreeing(GRID, 50, 16, rng)
    variances = codes.var(axis=0, ddof=1)
    expected = np.zeros((3, 3), dtype=int)
    for k, rows in zip(draws.factor, draws.rows, strict=True):
        expected[k, np.argmin([np.var(codes[rows, j], ddof=1) / variances[j] for j in range(3)])] += 1
    np.testing.assert_array_equal(factor_vae.votes(codes, draws.rows, draws.factor, variances, 3), expected)


def test_features_are_those_of_a_loop():
    codes, rng = codes_of("rotated"), np.random.default_rng(0)
    draws, second = pairs(GRID, 20, 8, rng)
    expected = [np.mean([np.abs(codes[a] - codes[b]) for a, b in zip(p, q, strict=True)], axis=0)
                for p, q in zip(draws.rows, second, strict=True)]  # fmt: skip
    np.testing.assert_allclose(beta_vae.pair_features(codes, draws.rows, second), expected, atol=1e-12)


@pytest.mark.parametrize("score", [beta_vae.beta_vae_score, factor_vae.factor_vae_score])
def test_good_codes_score_high_and_noise_at_chance(score):
    few = {"train": 1000, "evaluate": 500}
    assert score(codes_of("perfect"), GRID, **few) > 0.95
    # One draw of noise for each of 24 items is a code of its own, so noise is drawn for many items.
    factors = np.tile(GRID, (200, 1))
    noise = np.random.default_rng(1).normal(size=factors.shape)
    assert score(noise, factors, **few) == pytest.approx(1 / 3, abs=0.08)


def test_saturation_rotated_codes_still_score_high():
    assert beta_vae.beta_vae_score(codes_of("rotated"), GRID, train=1000, evaluate=500) > 0.9


def test_latents_that_hardly_vary_cast_no_votes():
    codes = np.concatenate([codes_of("perfect"), 0.01 * codes_of("noise")], axis=1)
    few = {"train": 500, "evaluate": 300}
    assert factor_vae.factor_vae_score(codes, GRID, **few) == factor_vae.factor_vae_score(codes[:, :3], GRID, **few)
    assert factor_vae.factor_vae_score(0.001 * codes, GRID, **few) == 0.0


@cases(15)
@given(st.integers(0, 10**6), st.permutations(range(3)), st.floats(1, 50))
def test_order_of_latents_and_a_common_scale_do_not_matter_to_votes(seed, order, scale):
    draws = agreeing(GRID, 30, 8, np.random.default_rng(seed))
    codes = codes_of("noise")
    variances = codes.var(axis=0, ddof=1)
    found = factor_vae.votes(codes, draws.rows, draws.factor, variances, 3)
    moved = scale * codes[:, order]
    again = factor_vae.votes(moved, draws.rows, draws.factor, moved.var(axis=0, ddof=1), 3)
    np.testing.assert_array_equal(again, found[:, order])


def test_a_single_factor_is_no_error():
    assert beta_vae.beta_vae_score(codes_of("perfect"), GRID[:, :1], train=50, evaluate=20) == 1.0
    assert factor_vae.factor_vae_score(codes_of("perfect"), GRID[:, :1], train=50, evaluate=20) == 1.0
