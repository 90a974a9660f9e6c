from __future__ import annotations

import warnings

import numpy as np
import pytest

from unbraid.metrics import sap


def svm(tol: float = 1e-10):
    from sklearn.svm import LinearSVC

    return LinearSVC(C=0.01, class_weight="balanced", random_state=0, tol=tol, max_iter=100_000, dual=False)


def made(values: int, items: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """A latent that rises with the factor, one that falls, one of few values, one that knows nothing, a constant."""
    rng = np.random.default_rng(values)
    factor = rng.integers(0, values, items)
    rising = factor + 0.4 * rng.normal(size=items)
    columns = [rising, -0.2 * factor + 0.1 * rng.normal(size=items), np.round(rising), rng.normal(size=items)]
    return np.stack([*columns, np.full(items, 0.7)], axis=1), factor


SHIFTS = {"as they are": (1.0, 0.0), "small": (1e-3, 0.0), "large": (30.0, 0.0), "far from zero": (1.0, 50.0)}


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("values", [2, 3, 12])
def test_lines_are_those_of_scikit_learn(values, shift):
    codes, factor = made(values)
    scale, offset = SHIFTS[shift]
    for code in (scale * codes + offset).T:
        order = np.argsort(code)
        found = np.stack(sap._fit(code[order], factor[order]))
        model = svm().fit(code[:, None], factor)
        expected = np.stack([model.coef_[:, 0], model.intercept_])
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("values", [2, 3, 12])
def test_the_matrix_is_that_of_scikit_learn(values):
    codes, factor = made(values)
    train, test = slice(0, 200), slice(200, None)
    found = sap.sap_accuracy(codes[train], factor[train, None], codes[test], factor[test, None])
    models = [svm(1e-4).fit(code[train, None], factor[train]) for code in codes.T]
    scores = [model.score(code[test, None], factor[test]) for model, code in zip(models, codes.T, strict=True)]
    np.testing.assert_allclose(found[:, 0], scores, atol=0.011)


def test_the_lines_are_best():
    codes, factor = made(3)
    code = np.sort(codes[:, 0])
    own = factor[np.argsort(codes[:, 0])] == 1
    slope, offset = (x[1] for x in sap._fit(code, factor[np.argsort(codes[:, 0])]))

    def objective(slope: float, offset: float) -> float:
        gap = np.maximum(0, 1 - np.where(own, 1, -1) * (slope * code + offset))
        return (slope**2 + offset**2) / 2 + 0.01 * (np.where(own, len(own) / (3 * own.sum()), 1) * gap**2).sum()

    near = [objective(slope + a, offset + b) for a in (-1e-3, 0, 1e-3) for b in (-1e-3, 0, 1e-3)]
    assert min(near) == near[4]


def test_names_of_values_do_not_matter_and_unknown_ones_are_missed():
    codes, factor = made(3)
    found = sap.sap_accuracy(codes, factor[:, None], codes, factor[:, None])
    np.testing.assert_array_equal(
        sap.sap_accuracy(codes, 7 * factor[:, None] - 5, codes, 7 * factor[:, None] - 5), found
    )
    known = factor < 2
    found = sap.sap_accuracy(codes[known], factor[known, None], codes, factor[:, None])
    assert 0.5 < found[0, 0] <= known.mean()


def test_extreme_codes_give_numbers_in_silence():
    rng = np.random.default_rng(0)
    factor = np.arange(60)[:, None] % 3
    columns = [
        np.zeros(60),
        1e12 + factor[:, 0],
        1e-12 * rng.normal(size=60),
        1e9 * factor[:, 0],
        1e6 + rng.normal(size=60),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = sap.sap_accuracy(np.stack(columns, 1), factor, np.stack(columns, 1), factor)
    assert ((found > 0.3) & (found <= 1)).all()


def test_two_items():
    codes, factors = np.array([[0.0], [4.0]]), np.array([[0], [1]])
    assert sap.sap_accuracy(codes, factors, codes, factors).shape == (1, 1)
