from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from profiles import cases
from scipy.special import digamma

from unbraid.metrics import information
from unbraid.metrics.information import (
    complete_rows,
    drop_missing,
    entropy,
    histogram_bins,
    information_matrix,
    label_encode,
    mutual_information,
    neighbour_information,
    standardise,
)

quick = cases(60)
labels = hnp.arrays(np.int64, st.tuples(st.integers(1, 40), st.integers(1, 4)), elements=st.integers(0, 5))


@quick
@given(labels)
def test_plug_in_lies_between_zero_and_both_entropies(both):
    found, known = mutual_information(both, both), entropy(both)
    assert (found >= 0).all()
    assert (found <= np.minimum(known[:, None], known[None, :])).all()
    np.testing.assert_allclose(np.diag(found), known, atol=1e-12)
    np.testing.assert_allclose(found, found.T, atol=1e-12)


@quick
@given(labels, st.permutations(range(6)))
def test_plug_in_does_not_see_the_names_of_values(both, names):
    renamed = np.array(names)[both]
    np.testing.assert_allclose(mutual_information(renamed, both), mutual_information(both, both), atol=1e-12)


@quick
@given(labels, st.randoms(use_true_random=False))
def test_plug_in_does_not_see_the_order_of_rows_and_columns(both, random):
    rows, columns = (random.sample(range(n), n) for n in both.shape)
    moved = mutual_information(both[rows][:, columns], both[rows])
    np.testing.assert_allclose(moved, mutual_information(both, both)[columns], atol=1e-12)


@quick
@given(hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6, allow_subnormal=False)))
def test_histogram_bins_are_those_of_numpy(code):
    found = histogram_bins(code[:, None])[:, 0]
    assert found.min() >= 0
    assert found.max() <= 19
    try:
        edges = np.histogram(code, 20)[1]
    except ValueError:
        return
    expected = np.digitize(code, edges[:-1])
    np.testing.assert_array_equal(label_encode(found[:, None]), label_encode(expected[:, None]))
    if np.ptp(code) > 0:
        np.testing.assert_array_equal(found, expected - 1)


@pytest.mark.parametrize("width", [1e-15, 1e-14, 1e-300, 1e300])
def test_bins_of_a_range_that_floats_hardly_divide(width):
    code = width * np.random.default_rng(0).random(200) + (width < 1) * (width > 1e-200)
    edges = np.linspace(code.min(), code.max(), 21)
    expected = np.searchsorted(edges[:-1], code, side="right") - 1
    np.testing.assert_array_equal(histogram_bins(code[:, None])[:, 0], expected)


@quick
@given(
    st.sampled_from([np.int8, np.uint8, np.int64, np.uint64, np.bool_, np.float64]).flatmap(
        lambda kind: hnp.arrays(kind, st.tuples(st.integers(0, 30), st.integers(1, 3)))
    )
)
def test_labels_are_places_among_the_values(values):
    values = np.nan_to_num(values)
    found = label_encode(values)
    for column, labels in zip(values.T, found.T, strict=True):
        np.testing.assert_array_equal(labels, np.unique(column, return_inverse=True)[1])


def test_plug_in_agrees_with_scikit_learn():
    from sklearn.metrics import mutual_info_score

    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 7, (500, 3)), rng.integers(0, 4, (500, 2))
    expected = [[mutual_info_score(x, y) for y in b.T] for x in a.T]
    np.testing.assert_allclose(mutual_information(a, b), expected, atol=1e-12)


def test_plug_in_of_independent_and_of_equal_columns():
    grid = np.stack(np.meshgrid(range(4), range(5), indexing="ij"), -1).reshape(-1, 2)
    np.testing.assert_allclose(mutual_information(grid, grid), np.diag(np.log([4, 5])), atol=1e-12)
    assert mutual_information(grid, grid)[0, 1] == 0.0


def test_blocks_add_up(monkeypatch):
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 7, (50, 3)), rng.integers(0, 4, (50, 2))
    whole = mutual_information(a, b)
    monkeypatch.setattr(information, "_BLOCK", 18)
    np.testing.assert_array_equal(mutual_information(a, b), whole)


def noisy_codes(items: int, values: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    factor = rng.integers(0, values, items)
    return np.stack([factor + 0.3 * rng.normal(size=items), rng.normal(size=items)], axis=1), factor[:, None]


def ross_by_definition(code: np.ndarray, factor: np.ndarray, neighbours: int) -> float:
    sizes = np.array([(factor == f).sum() for f in factor])
    code, factor, sizes = code[sizes > 1], factor[sizes > 1], sizes[sizes > 1]
    k = np.minimum(neighbours, sizes - 1)
    apart = np.abs(code[:, None] - code[None, :])
    reach = np.array([np.sort(row[factor == f])[n] for row, f, n in zip(apart, factor, k, strict=True)])
    inside = (apart < reach[:, None]).sum(axis=1)
    return max(0.0, digamma(len(code)) + np.mean(digamma(k) - digamma(sizes) - digamma(inside)))


@pytest.mark.parametrize(("items", "values"), [(300, 3), (60, 20), (37, 30)])
def test_neighbours_follow_the_definition(items, values):
    codes, factor = noisy_codes(items, values)
    expected = [ross_by_definition(code, factor[:, 0], 10) for code in standardise(codes).T]
    np.testing.assert_allclose(neighbour_information(codes, label_encode(factor))[:, 0], expected, atol=1e-9)


def test_neighbours_agree_with_scikit_learn():
    from sklearn.feature_selection import mutual_info_classif

    codes, factor = noisy_codes(600, 9)
    expected = mutual_info_classif(standardise(codes), factor[:, 0], n_neighbors=10, random_state=0)
    np.testing.assert_allclose(neighbour_information(codes, factor)[:, 0], expected, atol=1e-9)


def test_neighbours_approach_the_analytic_value_of_two_uniforms():
    rng = np.random.default_rng(3)
    factor = rng.integers(0, 2, 4000)
    code = rng.uniform(size=4000) + 0.5 * factor
    found = neighbour_information(code[:, None], factor[:, None])
    np.testing.assert_allclose(found, 0.5 * np.log(2), atol=0.03)


@quick
@given(st.integers(0, 1000), st.floats(1e-3, 1e3), st.floats(-10, 10))
def test_neighbours_do_not_see_scale_and_shift(seed, scale, shift):
    rng = np.random.default_rng(seed)
    factors = label_encode(rng.integers(0, 3, (40, 2)))
    codes = rng.normal(size=(40, 2))
    found = neighbour_information(codes, factors)
    assert (found >= 0).all()
    np.testing.assert_allclose(neighbour_information(scale * codes + shift, factors), found, atol=1e-6)
    np.testing.assert_allclose(neighbour_information(codes[:, ::-1], factors), found[::-1], atol=1e-12)


def test_neighbours_of_constant_tied_and_single_values():
    factors = np.array([[0, 0], [0, 1], [1, 2], [1, 3], [1, 4]])
    codes = np.array([[0.7, 1.0], [0.7, 1.0], [0.7, 2.0], [0.7, 2.0], [0.7, 2.0]])
    found = neighbour_information(codes, factors)
    assert np.isfinite(found).all()
    assert (found[0] == 0).all()
    assert found[0, 1] == found[1, 1] == 0
    np.testing.assert_array_equal(found, neighbour_information(codes, factors))


def test_window_of_exact_duplicates_is_counted_whole():
    values = np.sort(np.repeat([0.1, 0.2, 0.3, 1e8], 25))
    radius = np.full(100, 0.1)
    expected = (np.abs(values[:, None] - values[None, :]) <= 0.1).sum(axis=1)
    np.testing.assert_array_equal(information._count_within(values, values, radius), expected)


@quick
@given(hnp.arrays(np.float64, st.integers(2, 30), elements=st.floats(-5, 5)), st.floats(0, 3))
def test_window_counts_are_those_of_all_pairs(values, radius):
    values = np.sort(values)
    expected = (np.abs(values[:, None] - values[None, :]) <= radius).sum(axis=1)
    found = information._count_within(values, values, np.full(len(values), radius))
    np.testing.assert_array_equal(found, expected)


def test_rows_with_missing_factors_are_dropped():
    factors = np.array([[3.0, 1.0], [np.nan, 1.0], [7.0, 2.0]])
    assert complete_rows(factors).tolist() == [True, False, True]
    codes, labelled = drop_missing(np.arange(3.0)[:, None], factors)
    assert codes.ravel().tolist() == [0.0, 2.0]
    assert labelled.tolist() == [[0, 0], [1, 1]]


def test_the_matrix_uses_the_estimator_of_its_kind():
    symbols = np.tile([[-7.5], [0.1], [33.0]], (20, 1))
    factor = np.tile([[0], [1], [1]], (20, 1))
    discrete = information_matrix(symbols, factor, discrete=True)
    np.testing.assert_allclose(discrete, entropy(factor)[None, :], atol=1e-12)
    assert information_matrix(symbols, factor).shape == (1, 1)


def test_a_constant_that_floats_cannot_hold_is_standardised_to_zero():
    assert (standardise(np.full((1001, 1), 0.7)) == 0).all()
    assert histogram_bins(np.full((1001, 1), 0.7)).max() == 0
