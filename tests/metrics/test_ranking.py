"""Ranking, verification and calibration against scikit-learn and against plain definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn import metrics

from unbraid.core.errors import DataError
from unbraid.metrics.calibration import brier, ece, reliability
from unbraid.metrics.ranking import aupr, auroc, eer, equal_errors, fpr_at_tpr, roc
from unbraid.metrics.verification import as_detection, cosine_pairs


def case(seed, n=200, ties=True):
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < rng.uniform(0.1, 0.9)
    positive[:2] = [True, False]
    scores = rng.normal(size=n) + positive * rng.uniform(-1, 2)
    return (np.round(scores, 1) if ties else scores), positive


@pytest.mark.parametrize("seed", range(6))
def test_curve_and_areas_are_those_of_scikit_learn(seed):
    scores, positive = case(seed, ties=seed % 2 == 0)
    curve = roc(scores, positive)
    fpr, tpr, thresholds = metrics.roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.fpr, fpr, atol=1e-15)
    np.testing.assert_allclose(curve.tpr, tpr, atol=1e-15)
    np.testing.assert_allclose(curve.thresholds[1:], thresholds[1:])
    assert auroc(scores, positive) == pytest.approx(metrics.roc_auc_score(positive, scores), abs=1e-12)
    assert aupr(scores, positive) == pytest.approx(metrics.average_precision_score(positive, scores), abs=1e-12)
    assert fpr_at_tpr(scores, positive) == pytest.approx(fpr[np.flatnonzero(tpr >= 0.95)[0]], abs=1e-15)


@pytest.mark.parametrize("seed", range(6))
def test_equal_errors_are_the_root_of_one_minus_x_minus_tpr(seed):
    scores, positive = case(seed, ties=seed % 2 == 0)
    fpr, tpr, thresholds = metrics.roc_curve(positive, scores, drop_intermediate=False)
    rate = brentq(lambda x: 1 - x - interp1d(fpr, tpr)(x), 0, 1)
    found = equal_errors(scores, positive)
    assert found.rate == pytest.approx(rate, abs=1e-9)
    assert thresholds.min() <= found.threshold <= scores.max()
    missed = (scores[positive] < found.threshold).mean()
    passed = (scores[~positive] >= found.threshold).mean()
    assert abs(missed - passed) < 0.15


def test_perfect_upside_down_and_blind_scores():
    positive = np.arange(10) >= 5
    perfect, blind = positive.astype(float), np.zeros(10)
    for scores, area, precision, equal, passed in (
        (perfect, 1.0, 1.0, 0.0, 0.0),
        (1 - perfect, 0.0, 0.5, 1.0, 1.0),
        (blind, 0.5, 0.5, 0.5, 1.0),
    ):
        assert auroc(scores, positive) == area
        assert aupr(scores, positive) == precision
        assert eer(scores, positive) == equal
        assert fpr_at_tpr(scores, positive) == passed


@given(st.integers(0, 10_000))
def test_only_the_order_of_scores_counts_and_turning_it_turns_the_area(seed):
    scores, positive = case(seed, 40)
    warped = np.exp(scores / 2) * 3 - 7
    assert auroc(warped, positive) == auroc(scores, positive)
    assert aupr(warped, positive) == aupr(scores, positive)
    assert eer(warped, positive) == pytest.approx(eer(scores, positive), abs=1e-12)
    assert auroc(-scores, positive) == pytest.approx(1 - auroc(scores, positive), abs=1e-12)


def test_what_cannot_be_ranked_is_refused():
    for scores, positive, message in (
        ([0.0, 1.0], [True, True], "both positive and negative"),
        ([0.0, np.nan], [True, False], "finite"),
        ([0.0], [True, False], "each item"),
    ):
        with pytest.raises(DataError, match=message):
            auroc(np.array(scores), np.array(positive))
    with pytest.raises(DataError, match="tpr"):
        fpr_at_tpr(np.array([0.0, 1.0]), np.array([True, False]), 0.0)


def test_pairs_are_all_pairs_once_with_their_cosine_distance():
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(12, 4)), np.arange(12) % 3
    same, apart = cosine_pairs(3 * z, labels)
    distance = metrics.pairwise.cosine_distances(z)
    pairs = [(i, j) for i in range(12) for j in range(i + 1, 12)]
    np.testing.assert_allclose(same, [distance[p] for p in pairs if labels[p[0]] == labels[p[1]]], atol=1e-12)
    np.testing.assert_allclose(apart, [distance[p] for p in pairs if labels[p[0]] != labels[p[1]]], atol=1e-12)
    scores, positive = as_detection(same, apart)
    assert positive.sum() == len(apart)
    assert auroc(scores, positive) == pytest.approx((same[:, None] < apart).mean(), abs=1e-12)


def test_pairs_of_one_kind_alone_are_refused():
    for labels in (np.zeros(3, int), np.arange(3)):
        with pytest.raises(DataError, match="pairs of one label"):
            cosine_pairs(np.eye(3), labels)


def test_calibration_by_its_definition():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), 500)
    y = rng.integers(0, 4, 500)
    confidence, right = p.max(1), p.argmax(1) == y
    expected = 0.0
    for low in np.arange(10) / 10:
        inside = (confidence > low) & (confidence <= low + 0.1)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert ece(p, y, bins=10) == pytest.approx(expected, abs=1e-12)
    assert brier(p, y) == pytest.approx(np.mean([((p[i] - np.eye(4)[y[i]]) ** 2).sum() for i in range(500)]))
    binary = metrics.brier_score_loss(y == 1, p[:, 1])
    assert brier(np.stack([1 - p[:, 1], p[:, 1]], 1), (y == 1).astype(int)) == pytest.approx(2 * binary)


def test_a_classifier_that_knows_its_chances_is_calibrated():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 40_000)
    y = (rng.random((40_000, 1)) > p.cumsum(1)).sum(1)
    assert ece(p, y) < 0.02
    found = reliability(p, y)
    assert found.share.sum() == pytest.approx(1)
    assert np.abs(found.accuracy - found.confidence).max() < 0.05
    assert ece(np.eye(3)[y], y) == 0
    assert ece(np.eye(3)[(y + 1) % 3], y) == 1


def test_what_is_no_probability_is_refused():
    for p, y, message in (
        (np.array([[0.5, 0.6]]), np.array([0]), "sum to 1"),
        (np.array([[0.5, 0.5]]), np.array([2]), "labels 0..1"),
        (np.array([0.5, 0.5]), np.array([0, 1]), "a row of probabilities"),
    ):
        with pytest.raises(DataError, match=message):
            ece(p, y)
