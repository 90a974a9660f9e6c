"""Scores of other kinds of items against formulas and libraries."""

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.metrics import f1_score, roc_auc_score

from unbraid.core.errors import DataError
from unbraid.metrics.outliers import detected, energy, ledoit_wolf, near, normals, probability
from unbraid.metrics.ranking import macro_auroc, macro_f1

RNG = np.random.default_rng(0)
CODES, LABELS = RNG.normal(size=(60, 5)) @ RNG.normal(size=(5, 5)), np.arange(60) % 3


def test_what_a_classifier_says():
    logits = 30 * RNG.normal(size=(20, 4))
    np.testing.assert_allclose(probability(logits), softmax(logits, 1).max(1), rtol=1e-12)
    np.testing.assert_allclose(energy(logits), logsumexp(logits, 1), rtol=1e-12)


def test_ledoit_and_wolf():
    around = CODES - CODES.mean(0)
    assert ledoit_wolf(around) == pytest.approx(ledoit_wolf_shrinkage(around, assume_centered=True), rel=1e-9)
    assert ledoit_wolf(np.zeros((4, 3))) == 1.0


@pytest.mark.parametrize("shrinkage", [1e-3, 0.3, None])
def test_the_distance_to_the_nearest_class(shrinkage):
    found = normals(CODES, LABELS, shrinkage)
    density = [multivariate_normal(mean, found.covariance).logpdf(CODES) for mean in found.means]
    scores = found.score(CODES)
    spread = np.ptp(2 * np.max(density, 0) - scores)
    assert spread == pytest.approx(0, abs=1e-9), "they differ by a constant"
    around = np.concatenate([CODES[k == LABELS] - CODES[k == LABELS].mean(0) for k in range(3)])
    raw, s = around.T @ around / 60, found.shrinkage
    np.testing.assert_allclose(found.covariance, (1 - s) * raw + s * np.trace(raw) / 5 * np.eye(5), rtol=1e-9)


def test_the_identity_gives_another_order_than_the_covariance():
    plain = normals(CODES, LABELS, tied=False)
    nearest = min(((CODES[0] - m) ** 2).sum() for m in plain.means)
    assert plain.score(CODES)[0] == pytest.approx(-nearest)
    assert (plain.score(CODES).argsort() != normals(CODES, LABELS).score(CODES).argsort()).any()


def test_a_covariance_of_few_items_can_be_used_unshrunk():
    assert np.isfinite(normals(CODES[:4], LABELS[:4], 0.0).score(CODES)).all()


def test_the_distance_to_a_neighbour():
    unit = CODES / np.linalg.norm(CODES, axis=1, keepdims=True)
    away = np.sort(np.linalg.norm(unit[:7, None] - unit[7:], axis=-1), 1)
    np.testing.assert_allclose(near(CODES[:7], CODES[7:], k=3), -away[:, 2], rtol=1e-4)
    np.testing.assert_allclose(near(CODES[:7], CODES[7:], k=500), -away[:, -1], rtol=1e-4)


def test_another_sample_of_the_same_is_not_found():
    known, same, pool = (np.random.default_rng(s).normal(size=(n, 8)) for s, n in ((1, 2000), (2, 2000), (3, 500)))
    model = normals(pool, np.arange(500) % 4)
    assert detected(model.score(known), model.score(same)).auroc == pytest.approx(0.5, abs=0.05)
    assert detected(near(known, pool), near(same, pool)).auroc == pytest.approx(0.5, abs=0.05)
    leaked = detected(near(pool, pool, k=1), near(same, pool, k=1)).auroc
    assert leaked > 0.95, "what was learned from must not be tested"


def test_over_classes():
    p, true = softmax(RNG.normal(size=(40, 3)), 1), np.arange(40) % 3
    assert macro_auroc(p, true) == pytest.approx(roc_auc_score(true, p, multi_class="ovr"))
    said = RNG.integers(0, 5, 40)
    assert macro_f1(said, true) == pytest.approx(f1_score(true, said, average="macro"))


def test_bad_input():
    with pytest.raises(DataError, match="shrinkage"):
        normals(CODES, LABELS, 2.0)
    with pytest.raises(DataError, match="60 codes, 3 labels"):
        normals(CODES, LABELS[:3])
