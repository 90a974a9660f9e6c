"""Scores of 10,000 x 10 codes against 5 factors of 3, 6, 40, 32 and 32 values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.feature_selection import mutual_info_classif
from sklearn.svm import LinearSVC

from benchmarks.peers import declare_operators
from benchmarks.row import Row
from unbraid.metrics.dci import DciFit, completeness, dci_fit, disentanglement
from unbraid.metrics.infomec import normalised_information
from unbraid.metrics.information import entropy, label_encode, standardise
from unbraid.metrics.mig import histogram_information, mig
from unbraid.metrics.sap import sap, sap_accuracy

SIZES = (3, 6, 40, 32, 32)
LATENTS, TRAIN, TEST = 10, 10_000, 5_000


@dataclass(frozen=True)
class Work:
    """A representation of every combination of the factors, and items drawn from them.

    Attributes:
        table: (combinations, L), the code of each, the last factor fastest.
        codes: Codes to learn from.
        factors: Their labels.
        codes_test: Codes to test on.
        factors_test: Their labels.
    """

    table: np.ndarray
    codes: np.ndarray
    factors: np.ndarray
    codes_test: np.ndarray
    factors_test: np.ndarray


@cache
def work() -> Work:
    """Five latents that know a factor each and a little of the next, three that mix all, two of noise."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.unravel_index(np.arange(np.prod(SIZES)), SIZES), 1)
    known = standardise(grid)
    known = known + 0.3 * np.roll(known, 1, axis=1)
    mixed = known @ rng.standard_normal((len(SIZES), 3)) / 2
    table = np.concatenate([known, mixed, np.zeros((len(grid), 2))], 1)
    table += 0.5 * rng.standard_normal(table.shape)
    drawn = rng.choice(len(grid), TRAIN + TEST, replace=False)
    train, test = drawn[:TRAIN], drawn[TRAIN:]
    return Work(table, table[train], grid[train], table[test], grid[test])


def mig_row() -> Row:
    """The mutual information gap; disent's, on the same codes."""
    declare_operators()
    from disent.metrics._mig import _compute_mig

    w = work()

    def ours() -> float:
        return mig(histogram_information(w.codes, w.factors), entropy(label_encode(w.factors)))

    def peer() -> float:
        return float(_compute_mig(w.codes.T, w.factors.T)["mig.discrete_score"])

    return Row("mig", 20, ours, peer, partial(_close, tolerance=1e-9))


def infomec_nmi_row() -> Row:
    """The normalised information of InfoMEC; scikit-learn's estimator pair by pair, as the authors call it."""
    w = work()

    def peer() -> np.ndarray:
        codes, known = standardise(w.codes), entropy(label_encode(w.factors))
        found = [
            mutual_info_classif(codes[:, [j]], labels, discrete_features=False, n_neighbors=10, random_state=0)[0]
            for j in range(LATENTS)
            for labels in w.factors.T
        ]
        return np.array(found).reshape(LATENTS, -1) / known

    ours = partial(normalised_information, w.codes, w.factors)
    return Row("infomec_nmi", 15, ours, peer, partial(_close, tolerance=1e-3))


def sap_row() -> Row:
    """SAP; a linear support vector machine for each pair of a latent and a factor."""
    w = work()

    def ours() -> float:
        return sap(sap_accuracy(w.codes, w.factors, w.codes_test, w.factors_test))

    def peer() -> float:
        found = np.zeros((LATENTS, len(SIZES)))
        for k, (train, test) in enumerate(zip(w.factors.T, w.factors_test.T, strict=True)):
            for j in range(LATENTS):
                model = LinearSVC(C=0.01, class_weight="balanced", random_state=0).fit(w.codes[:, [j]], train)
                found[j, k] = np.mean(model.predict(w.codes_test[:, [j]]) == test)
        return sap(found)

    return Row("sap", 4, ours, peer, partial(_close, tolerance=0.002))


def factor_vae_row() -> Row:
    """The FactorVAE score; disent's loop over votes, with a representation that is looked up."""
    declare_operators()
    from disent.dataset import DisentDataset
    from disent.dataset.data import ArrayGroundTruthData
    from disent.metrics import metric_factor_vae

    from unbraid.metrics.factor_vae import factor_vae_score

    w = work()
    names = [f"factor{k}" for k in range(len(SIZES))]
    data = DisentDataset(ArrayGroundTruthData(w.table[:, None, None, :], names, SIZES))

    def peer() -> float:
        np.random.seed(0)
        return float(metric_factor_vae(data, lambda codes: codes.flatten(1))["factor_vae.eval_accuracy"])

    ours = partial(factor_vae_score, w.codes, w.factors, seed=0)
    return Row("factor_vae_score", 6, ours, peer, partial(_close, tolerance=0.03))


def dci_row(name: str, rows: int, chosen: slice) -> Row:
    """The trees of DCI; scikit-learn's, one classifier for each factor."""
    w = work()
    codes, factors = w.codes[:rows], w.factors[:rows, chosen]
    codes_test, factors_test = w.codes_test[: rows // 2], w.factors_test[: rows // 2, chosen]

    def peer() -> DciFit:
        importance, train_accuracy, test_accuracy, predicted = [], [], [], []
        for train, test in zip(factors.T, factors_test.T, strict=True):
            model = GradientBoostingClassifier(random_state=0).fit(codes, train)
            importance.append(model.feature_importances_)
            train_accuracy.append(np.mean(model.predict(codes) == train))
            predicted.append(model.predict(codes_test))
            test_accuracy.append(np.mean(predicted[-1] == test))
        matrix, train, test = np.stack(importance, 1), np.array(train_accuracy), np.array(test_accuracy)
        return DciFit(matrix, train, test, np.stack(predicted, 1))

    def check(ours: DciFit, peer: DciFit) -> None:
        _close(ours.importance, peer.importance, 0.03)
        for score in (disentanglement, completeness):
            _close(score(ours.importance), score(peer.importance), 0.02)
        _close(ours.train_accuracy.mean(), peer.train_accuracy.mean(), 0.02)
        _close(ours.test_accuracy.mean(), peer.test_accuracy.mean(), 0.02)

    return Row(name, 10, partial(dci_fit, codes, factors, codes_test, factors_test), peer, check)


def _close(ours: np.ndarray | float, peer: np.ndarray | float, tolerance: float) -> None:
    apart = float(np.abs(np.asarray(ours) - np.asarray(peer)).max())
    assert apart <= tolerance, f"{apart} apart, at most {tolerance} allowed"


ROWS = {
    "mig": mig_row,
    "infomec_nmi": infomec_nmi_row,
    "sap": sap_row,
    "factor_vae_score": factor_vae_row,
    "dci_1000": partial(dci_row, "dci_1000", 1000, slice(None)),
    "dci_10000": partial(dci_row, "dci_10000", 10_000, slice(2)),
}
