"""Augmentation complexity and its kin, against enumeration of the hypercube and formulas written another way."""

import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.core.method import At
from unbraid.metrics.augmentation import (
    approximation_bound,
    approximation_term,
    augmentation_complexity,
    density_by_kernels,
    eigenfunctions,
    enumerated_moments,
    estimation_term,
    isometry_eps,
    isometry_of,
    kernel_K_X,
    pair_moments,
    pretrained_gap,
    ratio_trace,
    ridge,
    spectrum_of,
    surrogate_complexity,
    target_isometry,
    trace_gap,
    with_constant,
)
from unbraid.views.bits import MaskBits, every_sign, every_view

D, RATIO = 4, 0.3
X, A = every_sign(D), every_view(D)
LOGP = MaskBits(RATIO).log_density(X, A).numpy()
P = np.exp(LOGP)
EIGENVALUES = np.sort(np.concatenate([[(1 - RATIO) ** k] * n for k, n in enumerate((1, 4, 6, 4, 1))]))[::-1]


def parities(points, size):
    """The products of all subsets of so many entries, one in a column."""
    from itertools import combinations

    return np.stack([points[:, list(s)].prod(1) for s in combinations(range(D), size)], 1).astype(float)


def drawn(r=8, d=5, n=30, seed=0):
    g = np.random.default_rng(seed)
    return g.normal(size=(n, 1, d)) + g.normal(size=(n, r, d))


# ------------------------------------------------------------------------------------------------- known densities


def test_the_kernel_is_the_sum_over_augmentations():
    k = kernel_K_X(LOGP)
    p = P.mean(0)
    assert k[3, 9] == pytest.approx(sum(P[3, a] * P[9, a] / p[a] for a in range(len(p))), rel=1e-12)
    np.testing.assert_allclose(k.mean(1), 1.0, atol=1e-12)  # the constant is an eigenfunction, of eigenvalue 1


def test_complexity_and_spectrum_of_masked_bits_have_their_closed_forms():
    found = augmentation_complexity(LOGP)
    assert found.kappa2 == pytest.approx((2 - RATIO) ** D, rel=1e-12)
    assert found.trace == pytest.approx(found.kappa2, rel=1e-12)
    np.testing.assert_allclose(found.spectrum, EIGENVALUES, atol=1e-12)
    chi2 = ((P - P.mean(0)) ** 2 / P.mean(0)).sum(1)
    np.testing.assert_allclose(found.of_items, 1 + chi2, rtol=1e-12)


def test_from_draws_it_is_near_that_and_the_trace_is_that_of_the_spectrum():
    view, at, draws = MaskBits(RATIO), At(), 2000
    seen = torch.stack([view(X, at) for _ in range(draws)], 1)
    logp = view.log_density(X, seen.flatten(0, 1)).reshape(16, 16, draws).numpy()
    found = augmentation_complexity(logp)
    assert found.kappa2 == pytest.approx((2 - RATIO) ** D, rel=0.1)
    assert found.trace == pytest.approx((2 - RATIO) ** D, rel=0.03)
    np.testing.assert_allclose(found.spectrum[:6], EIGENVALUES[:6], atol=0.1)
    assert found.trace <= found.upper <= found.kappa2


def test_augmentations_that_never_coincide_give_the_number_of_items_and_a_note():
    logp = np.where(np.eye(6)[:, :, None] > 0, 0.0, -np.inf).repeat(3, 2)
    found = augmentation_complexity(logp)
    assert found.kappa2 == pytest.approx(6.0)
    assert found.notes
    assert "at most 6" in found.notes[0]
    assert not augmentation_complexity(np.zeros((6, 6, 3))).notes


def test_densities_of_other_shapes_are_refused():
    with pytest.raises(DataError, match=r"\(n, m\) or \(n, n, r\)"):
        augmentation_complexity(np.zeros((3, 4, 2)))


def test_kernels_rank_noise():
    g = np.random.default_rng(0)
    centres = g.normal(size=(20, 1, 3))
    traces = [
        augmentation_complexity(density_by_kernels(centres + s * g.normal(size=(20, 8, 3)), 0.5)).trace
        for s in (0.1, 0.5, 2.0)
    ]
    assert traces[0] > traces[1] > traces[2] > 1


def test_a_draw_is_no_neighbour_of_itself():
    x = drawn(r=3, n=4, d=2)
    logp = density_by_kernels(x, 0.7)
    kernel = np.exp(-((x[1, 0] - x[1, 1:]) ** 2).sum(1) / (2 * 0.7**2)).mean()
    assert logp[1, 1, 0] == pytest.approx(np.log(kernel), rel=1e-9)
    kernel = np.exp(-((x[1, 0] - x[2]) ** 2).sum(1) / (2 * 0.7**2)).mean()
    assert logp[2, 1, 0] == pytest.approx(np.log(kernel), rel=1e-9)
    own = [((x[i, s] - x[i, t]) ** 2).sum() for i in range(4) for s in range(3) for t in range(3) if s != t]
    np.testing.assert_allclose(density_by_kernels(x), density_by_kernels(x, np.sqrt(np.median(own) / 4)))


def test_augmentations_that_change_nothing_have_no_bandwidth():
    with pytest.raises(DataError, match="that differ"):
        density_by_kernels(np.ones((3, 2, 2)))


# ------------------------------------------------------------------------------------------------------ an encoder


def test_the_moments_are_means_over_all_and_over_pairs():
    phi = drawn(r=3, n=4, d=2)
    gram, pairs = pair_moments(phi)
    np.testing.assert_allclose(gram, np.mean([np.outer(v, v) for x in phi for v in x], 0))
    products = [np.outer(x[s], x[t]) for x in phi for s in range(3) for t in range(3) if s != t]
    np.testing.assert_allclose(pairs, np.mean(products, 0))


def test_products_of_pairs_are_not_biased_where_those_of_means_are():
    g = np.random.default_rng(0)
    noise = g.normal(size=(4000, 2, 3))  # nothing of the item is in it
    assert ratio_trace(noise) == pytest.approx(0.0, abs=0.1)
    psi = noise.mean(1)
    assert np.trace(psi.T @ psi / len(psi)) == pytest.approx(1.5, abs=0.1)


def test_one_augmentation_is_too_few():
    with pytest.raises(DataError, match="at least 2 augmentations"):
        ratio_trace(np.zeros((5, 1, 3)))


def test_the_ratio_trace_does_not_depend_on_invertible_maps():
    phi = with_constant(drawn())
    turn = np.random.default_rng(1).normal(size=(6, 6))
    assert ratio_trace(phi @ turn) == pytest.approx(ratio_trace(phi), rel=1e-9)
    assert ratio_trace(phi * [1, 1e5, 1e-5, 1, 1, 1]) == pytest.approx(ratio_trace(phi), rel=1e-9)
    assert ratio_trace(np.concatenate([phi, phi[..., :2]], 2)) == pytest.approx(ratio_trace(phi), rel=1e-6)


def test_eigenfunctions_are_orthonormal_and_the_ratios_never_exceed_the_eigenvalues():
    phi = np.random.default_rng(2).normal(size=(len(A), 5))
    gram, averaged = enumerated_moments(phi, P)
    ratios, maps = eigenfunctions((gram, averaged))
    np.testing.assert_allclose(maps.T @ gram @ maps, np.eye(5), atol=1e-9)
    np.testing.assert_allclose(maps.T @ averaged @ maps, np.diag(ratios), atol=1e-9)
    assert (np.cumsum(ratios) <= np.cumsum(EIGENVALUES)[:5]).all()
    assert ratios.sum() == pytest.approx(np.trace(np.linalg.solve(gram, averaged)), rel=1e-9)


def test_the_best_encoder_has_the_next_eigenvalue_for_a_gap_and_others_more():
    top = with_constant(parities(A.numpy(), 1))
    g = np.random.default_rng(0)

    def gap(values):
        return trace_gap(eigenfunctions(enumerated_moments(values, P))[0], EIGENVALUES)

    assert gap(top) == pytest.approx(EIGENVALUES[5], abs=1e-9)
    near, far = gap(top + 0.5 * g.normal(size=top.shape)), gap(g.normal(size=top.shape))
    assert EIGENVALUES[5] < near < far
    r = eigenfunctions(enumerated_moments(top, P))[0]
    assert trace_gap(r, np.ones(6)) == pytest.approx(1.0)  # nothing known of the eigenvalues
    with pytest.raises(DataError, match="2 eigenvalues"):
        trace_gap(r, np.ones(1))


def test_complexity_within_the_top_eigenfunctions_is_their_part_of_it():
    g = np.random.default_rng(0)
    p = P / P.sum(1, keepdims=True)
    seen = np.stack([g.choice(len(A), size=4000, p=row) for row in p])
    for size, values in ((1, with_constant(parities(A.numpy(), 1))), (5, parities(A.numpy(), 2))):
        found = surrogate_complexity(values[seen])
        assert found.trace == pytest.approx(ratio_trace(values[seen]), rel=1e-9)
        exact = EIGENVALUES[:5].sum() if size == 1 else EIGENVALUES[5:11].sum()
        assert found.trace == pytest.approx(exact, rel=0.05)
        assert found.kappa2 < (2 - RATIO) ** D


# -------------------------------------------------------------------------------------------------------- a target


def test_isometry_of_a_parity():
    g = parities(A.numpy(), 2)[:, :1] / (1 - RATIO) ** 2
    f = P @ g
    np.testing.assert_allclose(f, parities(X.numpy(), 2)[:, :1], atol=1e-12)
    eps = isometry_of(enumerated_moments(g, P))
    assert eps == pytest.approx(1 - (1 - RATIO) ** 2, rel=1e-12)
    square = (P.mean(0) * g[:, 0] ** 2).sum()
    apart = np.einsum("xa,xb,ab->", P, P, (g - g.T) ** 2) / len(X)
    assert apart / (2 * square) == pytest.approx(eps, rel=1e-12)
    assert 1 / square == pytest.approx((1 - RATIO) ** 2, rel=1e-12)


def test_isometry_from_samples_is_half_the_mean_squared_difference():
    g = drawn(r=5, n=6, d=2)
    apart = np.mean([((x[s] - x[t]) ** 2).sum() for x in g for s in range(5) for t in range(5) if s != t])
    assert isometry_eps(g) == pytest.approx(apart / 2 / (g**2).sum(2).mean(), rel=1e-9)
    assert isometry_eps(g[..., 0]) == pytest.approx(isometry_eps(g[..., :1]))
    with pytest.raises(DataError, match="not 0 everywhere"):
        isometry_eps(np.zeros((3, 2)))


def test_a_target_is_fitted_within_the_span_and_the_rest_is_told():
    g = np.random.default_rng(0)
    seen = np.stack([g.choice(len(A), size=400, p=row / row.sum()) for row in P])
    phi = with_constant(parities(A.numpy(), 1))[seen]
    inside = target_isometry(phi, X.numpy()[:, 0])
    assert inside.eps == pytest.approx(RATIO, abs=0.05)
    assert inside.residual < 0.02
    assert target_isometry(phi, parities(X.numpy(), 2)[:, 0]).residual > 0.9
    with pytest.raises(DataError, match="that varies"):
        target_isometry(phi, np.zeros(16))


def test_the_ridge_is_the_one_that_leaves_out_best():
    g = np.random.default_rng(0)
    x, y = g.normal(size=(12, 4)), g.normal(size=(12, 1))

    def fitted(rows, penalty):
        return np.linalg.solve(x[rows].T @ x[rows] + penalty * np.eye(4), x[rows].T @ y[rows])

    def left_out(penalty):
        return sum(((y[i] - x[i] @ fitted(np.arange(12) != i, penalty)) ** 2).sum() for i in range(12))

    penalties = np.logspace(-8, 1, 19) * (np.linalg.svd(x, compute_uv=False) ** 2).mean()
    best = min(penalties, key=left_out)
    np.testing.assert_allclose(ridge(x, y), fitted(np.arange(12), best), rtol=1e-9)
    assert ridge(np.zeros((3, 2)), np.ones((3, 1))).tolist() == [[0.0], [0.0]]


# ---------------------------------------------------------------------------------------------------------- bounds


def test_the_bound_on_the_approximation_holds_and_is_reached():
    """The worst target of an isometry lies on the constant and on the first eigenfunction that is left out."""
    first, eps = EIGENVALUES[5], 0.2
    bound = approximation_bound(first, eps)
    share = eps * first / (1 - first) / (1 - eps)  # its square on that one: |f|^2 = 1 and |f|_H^2 = 1 / (1 - eps)
    assert bound == pytest.approx(share)
    assert (1 - share) + share / first == pytest.approx(1 / (1 - eps))
    g = np.random.default_rng(0)
    for _ in range(200):
        u = g.normal(size=16) * g.random(16) ** 4
        u /= np.linalg.norm(u)
        own = 1 - 1 / (u**2 / EIGENVALUES).sum()
        assert (u[5:] ** 2).sum() <= approximation_bound(first, own) + 1e-12


def test_the_terms_by_their_formulas():
    assert approximation_bound(0.5, 0.2, bound=2.0) == pytest.approx(1.0)
    assert approximation_bound(0.5, -0.01) == 0.0
    assert approximation_bound(0.5, 1.0) == approximation_bound(1.2, 0.1) == np.inf
    assert approximation_term(0.25, 0.5) == pytest.approx(9 * 0.25 * 1.0 / (0.75 * 0.5))
    assert approximation_term(1.0, 0.5) == np.inf
    assert estimation_term(4.0, 0.5, 3, 10, bound=2.0, noise=3.0, constant=2.0) == pytest.approx(2 * 4 * 17 * 0.3)
    assert estimation_term(4.0, 1.0, 3, 10) == np.inf
    assert pretrained_gap(0.3, 4.0, 5, 100, constant=0.1) == pytest.approx(0.5)
    assert spectrum_of(np.ones((4, 4))).tolist() == pytest.approx([1, 0, 0, 0], abs=1e-12)
