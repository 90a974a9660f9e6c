"""How well a plain classifier does on some of the latents, after few and after many items (Locatello et al., 2019)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from unbraid.metrics._quiet import quiet
from unbraid.metrics.dci import booster
from unbraid.metrics.probes.common import Heads, Rows
from unbraid.metrics.probes.softmax import STRENGTHS, regression, tuned

Classifier = Literal["logistic", "trees", "ridge"]

_Predict = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Codes and labels to learn from, and codes to tell, to labels."""


@dataclass(frozen=True)
class Accuracy:
    """Accuracy on the test items after learning from some.

    Attributes:
        train: How many were learnt from.
        mean: Over the factors.
        least: Of the factor that does worst.
    """

    train: int
    mean: float
    least: float


def downstream(
    codes: Float[np.ndarray, "n l"],
    factors: Int[np.ndarray, "n k"],
    subsets: Mapping[str, Sequence[int]],
    sizes: Sequence[int],
    test: int,
    classifier: Classifier = "logistic",
    seed: int = 0,
) -> dict[str, list[Accuracy]]:
    """One classifier for each factor, subset and number of items; the last `test` items are told.

    Equal subsets are fitted once. Items with a code that is not finite are left out, empty subsets too.

    Args:
        codes: Means or samples.
        factors: Labels.
        subsets: Name -> latents.
        sizes: Items to learn from, the first so many; those that are not there are left out.
        test: Items to tell.
        classifier: "logistic" regression, its strength chosen among ten by five unshuffled folds (scikit-learn, a
            second or so for each), gradient boosted "trees", or "ridge": the linear probe of the audit, which is a
            hundred times as fast, and standardises the codes, so that it hears what passive latents whisper.
        seed: Of trees and tuning.
    """
    fine = np.isfinite(codes).all(1)
    codes, factors = np.asarray(codes, dtype=np.float64)[fine], factors[fine]
    predict = {"logistic": _each(_logistic), "trees": _each(partial(_trees, seed=seed)), "ridge": _ridge(seed)}[
        classifier
    ]
    known: dict[tuple[tuple[int, ...], int], Accuracy] = {}
    found: dict[str, list[Accuracy]] = {}
    learn = len(codes) - test
    for name, latents in subsets.items():
        for size in sizes:
            key = (tuple(sorted(latents)), size)
            if not latents or size > learn:
                continue
            if key not in known:
                known[key] = _accuracy(codes[:, list(key[0])], factors, size, test, predict)
            found.setdefault(name, []).append(known[key])
    return found


def guessed(factors: Int[np.ndarray, "n k"]) -> float:
    """Mean accuracy over the factors of naming one of a factor's values at random.

    >>> guessed(np.array([[0, 0], [1, 1], [0, 2], [1, 3]]))
    0.375
    """
    return float(np.mean([1 / len(np.unique(column)) for column in factors.T]))


def _accuracy(codes: np.ndarray, factors: np.ndarray, size: int, test: int, predict: _Predict) -> Accuracy:
    learn, tell = slice(size), slice(len(codes) - test, None)
    right = (predict(codes[learn], factors[learn], codes[tell]) == factors[tell]).mean(0)
    return Accuracy(size, float(right.mean()), float(right.min()))


def _each(predict: _Predict) -> _Predict:
    """Factor by factor; of a factor that has one value in what is learnt, that is told."""

    def all_factors(codes: np.ndarray, labels: np.ndarray, told: np.ndarray) -> np.ndarray:
        said = np.empty((len(told), labels.shape[1]), dtype=labels.dtype)
        for k, column in enumerate(labels.T):
            said[:, k] = column[0] if len(np.unique(column)) < 2 else predict(codes, column, told)
        return said

    return all_factors


def _ridge(seed: int) -> _Predict:
    def all_factors(codes: np.ndarray, labels: np.ndarray, told: np.ndarray) -> np.ndarray:
        x, y = (torch.from_numpy(np.ascontiguousarray(a)) for a in (codes, told))
        heads = Heads.of(list(labels.T))
        order = np.random.default_rng(seed).permutation(len(x))
        tune = max(1, len(x) // 5)
        strength = tuned(x.float(), heads, [Rows(order[tune:], order[:tune])], STRENGTHS)
        fitted = regression(x.float(), heads, [np.arange(len(x))], strength)
        return np.stack([fitted.logits(0, y.float(), span).argmax(1).numpy() for span in heads.spans], 1)

    return all_factors


def _logistic(codes: np.ndarray, labels: np.ndarray, told: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    from sklearn.model_selection import KFold

    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that a fold lacks, and of defaults that will change
        try:
            model = LogisticRegressionCV(Cs=10, cv=KFold(5)).fit(codes, labels)
        except ValueError:  # a fold of one class
            model = LogisticRegression().fit(codes, labels)
        return np.asarray(model.predict(told))


def _trees(codes: np.ndarray, labels: np.ndarray, told: np.ndarray, *, seed: int) -> np.ndarray:
    values, place = np.unique(labels, return_inverse=True)
    _, _, said = booster()(codes.astype(np.float32), place.reshape(-1), told.astype(np.float32), seed)
    return np.asarray(values[said])
