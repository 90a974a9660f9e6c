"""IRS, unsupervised scores, UDR and unfairness against independent formulas and analytic values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from profiles import cases
from scipy.linalg import sqrtm
from scipy.stats import spearmanr

from unbraid.core.errors import DataError
from unbraid.metrics import fairness, irs, udr, unsupervised

GRID = np.stack(np.meshgrid(range(3), range(4), range(5), indexing="ij"), -1).reshape(-1, 3)


# -------------------------------------------------------------------------------------------------------------- IRS


def test_irs_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    codes = GRID @ rng.normal(size=(3, 4)) + 0.1 * rng.normal(size=(60, 4))
    found = irs.robustness(codes, GRID, quantile=0.9)
    for j in range(4):
        most = np.abs(codes[:, j] - codes[:, j].mean()).max()
        assert found.deviation[j] == pytest.approx(most)
        for k in range(3):
            away = [
                np.quantile(np.abs(part - part.mean()), 0.9)
                for part in (codes[GRID[:, k] == v, j] for v in np.unique(GRID[:, k]))
            ]
            assert found.matrix[j, k] == pytest.approx(1 - np.mean(away) / most)
    expected = (found.matrix.max(1) * found.deviation).sum() / found.deviation.sum()
    assert irs.irs(found) == pytest.approx(expected)


def test_irs_of_perfect_codes_is_one_and_constants_do_not_count():
    codes = np.concatenate([GRID.astype(float), np.full((60, 1), 0.7)], axis=1)
    found = irs.robustness(codes, GRID)
    assert irs.irs(found) == pytest.approx(1.0)
    assert found.parents.tolist() == [0, 1, 2]
    assert found.active.tolist() == [True, True, True, False]
    assert found.per_latent[3] == 0
    assert irs.irs(irs.robustness(np.full((60, 2), 0.7), GRID)) == 0.0


@cases(25)
@given(st.integers(0, 10**6), st.permutations(range(3)), st.floats(0.01, 100))
def test_order_and_common_scale_do_not_matter_to_irs(seed, order, scale):
    codes = np.random.default_rng(seed).normal(size=(60, 3))
    found, moved = irs.robustness(codes, GRID), irs.robustness(scale * codes[:, order], 9 - GRID)
    assert irs.irs(moved) == pytest.approx(irs.irs(found))
    np.testing.assert_allclose(moved.per_latent, found.per_latent[list(order)])
    assert 0 <= irs.irs(found) <= 1


# ----------------------------------------------------------------------------------------------------- unsupervised


def drawn(covariance: np.ndarray, rows: int = 400, seed: int = 0) -> np.ndarray:
    """Codes whose sample covariance is exactly the one given."""
    raw = np.random.default_rng(seed).normal(size=(rows, len(covariance)))
    raw -= raw.mean(0)
    white = raw @ np.linalg.inv(np.linalg.cholesky(np.cov(raw, rowvar=False))).T
    return white @ np.linalg.cholesky(covariance).T


def test_gaussian_scores_of_a_known_covariance():
    covariance = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, 0.3], [0.0, 0.3, 0.5]])
    codes = drawn(covariance)
    diagonal = np.diag(np.diag(covariance))
    tc = 0.5 * (np.log(np.diag(covariance)).sum() - np.log(np.linalg.det(covariance)))
    assert unsupervised.gaussian_total_correlation(codes) == pytest.approx(tc)
    root = np.real(np.trace(sqrtm(diagonal @ covariance)))
    distance = 2 * np.trace(covariance) - 2 * root
    assert unsupervised.gaussian_wasserstein(codes, normalise=False) == pytest.approx(distance)
    assert unsupervised.gaussian_wasserstein(codes) == pytest.approx(distance / 3.5)


def test_two_equal_latents_are_infinitely_dependent_and_constants_are_left_out():
    code = np.random.default_rng(0).normal(size=(100, 1))
    doubled = np.concatenate([code, code], axis=1)
    assert unsupervised.gaussian_total_correlation(doubled) > 15
    dead = np.concatenate([code, np.full((100, 1), 0.7)], axis=1)
    assert unsupervised.gaussian_total_correlation(dead) == 0.0
    assert unsupervised.gaussian_total_correlation(np.full((9, 2), 0.7)) == 0.0
    assert unsupervised.gaussian_wasserstein(np.full((9, 2), 0.7)) == 0.0
    assert unsupervised.mutual_information_score(code) == 0.0
    # log 20 if the bins were used evenly; the normal leaves the outer ones nearly empty
    assert 1.5 < unsupervised.mutual_information_score(doubled) < np.log(20)


@cases(25)
@given(st.integers(0, 10**6), hnp.arrays(np.float64, 3, elements=st.floats(0.1, 10)))
def test_scale_does_not_matter_where_the_definition_has_it(seed, scale):
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(80, 3)) @ rng.normal(size=(3, 3))
    same = pytest.approx(unsupervised.gaussian_total_correlation(codes), rel=1e-5, abs=1e-8)  # nearly one line
    assert unsupervised.gaussian_total_correlation(codes * scale) == same
    same = pytest.approx(unsupervised.mutual_information_score(codes), abs=0.05)  # rounding may move an item a bin
    assert unsupervised.mutual_information_score(codes * scale) == same
    assert unsupervised.gaussian_wasserstein(codes * scale[0]) == pytest.approx(
        unsupervised.gaussian_wasserstein(codes)
    )
    assert 0 <= unsupervised.gaussian_wasserstein(codes) < 2


# -------------------------------------------------------------------------------------------------------------- UDR


def models() -> tuple[np.ndarray, np.ndarray]:
    """Three that agree up to order and sign, one that is rotated."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(300, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    codes = [base, -base[:, [2, 0, 1]], base[:, [1, 0, 2]] * 5, base @ turn]
    return np.stack(codes) + 0.01 * rng.normal(size=(4, 300, 3)), np.ones((4, 3))


@pytest.mark.parametrize("how", ["lasso", "spearman"])
def test_models_that_agree_rank_above_one_that_does_not(how):
    scores = udr.udr(udr.udr_pairwise(*models(), how))
    assert min(scores[:3]) > scores[3] + 0.15
    assert (scores <= 1).all()


def test_rank_correlation_agrees_with_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, size=(50, 2)), rng.normal(size=(50, 3))
    expected = np.abs(spearmanr(a, b).statistic[:2, 2:])
    np.testing.assert_allclose(udr.relation(a, b, "spearman"), expected, atol=1e-12)


def test_latents_without_information_do_not_count():
    codes, kl = models()
    wide = np.concatenate([codes, np.random.default_rng(1).normal(size=(4, 300, 1))], axis=2)
    told = np.concatenate([kl, np.full((4, 1), 0.001)], axis=1)
    np.testing.assert_allclose(udr.udr_pairwise(wide, told), udr.udr_pairwise(codes, kl), atol=1e-6)
    assert udr.udr_pairwise(codes, 0 * kl).max() == 0


def test_shapes_that_do_not_fit_are_refused():
    codes, kl = models()
    for bad in ((codes[:1], kl[:1]), (codes, kl[:, :2]), (codes[0], kl[0])):
        with pytest.raises(DataError, match="two models or more"):
            udr.udr_pairwise(*bad)


# --------------------------------------------------------------------------------------------------------- fairness


def test_distances_worked_by_hand():
    counts = np.array([[30, 10, 0], [10, 30, 0]])  # nobody has the third value
    overall = np.array([0.5, 0.5])
    apart = [0.5 * np.abs(np.array([0.75, 0.25]) - overall).sum(), 0.5 * np.abs(np.array([0.25, 0.75]) - overall).sum()]
    assert fairness.group_distances(counts) == pytest.approx((np.mean(apart), max(apart)))
    uneven = np.array([[90, 0], [0, 10]])
    assert fairness.group_distances(uneven) == pytest.approx((0.9 * 0.1 + 0.1 * 0.9, 0.9))
    assert fairness.group_distances(np.zeros((2, 2), int)) == (0.0, 0.0)


def test_fair_predictions_of_independent_factors_and_unfair_ones():
    factors = np.tile(GRID, (40, 1))
    mean, most = fairness.unfairness_matrix(factors, factors)
    assert mean.max() == 0
    assert most.max() == 0
    unfair = factors.copy()
    unfair[:, 1] = factors[:, 0]  # what is said of the second factor is the first
    mean, most = fairness.unfairness_matrix(unfair, factors)
    assert mean[1, 0] == pytest.approx(2 / 3)
    assert mean[1, 2] == 0
    assert np.diag(mean).tolist() == [0, 0, 0]
    assert fairness.unfairness(mean) == pytest.approx(2 / 3 / 6)
    assert (most >= mean).all()


@cases(25)
@given(st.integers(0, 10**6))
def test_names_of_values_do_not_matter_to_unfairness(seed):
    rng = np.random.default_rng(seed)
    factors, said = rng.integers(0, 4, (100, 3)), rng.integers(0, 4, (100, 3))
    rename = rng.permutation(4)
    mean, most = fairness.unfairness_matrix(said, factors)
    again = fairness.unfairness_matrix(rename[said], rename[factors])
    np.testing.assert_allclose(again, (mean, most), atol=1e-12)
    assert ((mean >= 0) & (most <= 1)).all()
