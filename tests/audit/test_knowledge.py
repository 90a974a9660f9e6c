import math
import os

import numpy as np
import pytest

from unbraid.audit.knowledge import knowledge
from unbraid.metrics import probes

MORE = int(os.environ.get("UNBRAID_DRAWS", "1"))  # as many times the draws: 25 makes a thousand and more


def folds_of(n, rng, k=5):
    return rng.permutation(n) % k


def log_of(p):
    return np.log(p / p.sum(1, keepdims=True))


def test_a_perfect_prediction_knows_everything_and_an_even_one_nothing():
    rng = np.random.default_rng(0)
    y, folds = rng.integers(4, size=400), folds_of(400, rng)
    sure = knowledge(log_of(np.eye(4)[y] + 1e-4), y, folds)
    assert sure.bits == pytest.approx(sure.entropy, rel=1e-3)
    assert sure.entropy == pytest.approx(2, abs=0.05)
    assert sure.p < 1e-50
    even = knowledge(log_of(np.ones((400, 4))), y, folds)
    assert even.bits == 0
    assert even.p == 1
    assert even.low <= 0 < even.high


def test_known_information_is_measured_whatever_the_predictions_temperature():
    """A binary channel that errs with probability e tells 1 - h(e) bits."""
    rng = np.random.default_rng(1)
    n, error = 20_000, 0.2
    y = rng.integers(2, size=n)
    seen = np.where(rng.random(n) < error, 1 - y, y)
    truth = 1 + error * math.log2(error) + (1 - error) * math.log2(1 - error)
    for sharpness in (0.1, 1.0, 3.0):
        p = np.eye(2)[seen] * (1 - 2 * error) + error
        found = knowledge(log_of(p**sharpness), y, folds_of(n, rng))
        assert found.bits == pytest.approx(truth, abs=0.02)
        assert found.low < truth < found.high
        assert found.high - found.low < 0.04
    contrary = knowledge(log_of(1 - p), y, folds_of(n, rng))
    assert contrary.bits == pytest.approx(-truth, abs=0.02)
    assert contrary.p > 0.99


def test_the_interval_covers_a_known_truth():
    rng = np.random.default_rng(2)
    error, n, inside = 0.3, 500, 0
    truth = 1 + error * math.log2(error) + (1 - error) * math.log2(1 - error)
    for _ in range(200):
        y = rng.integers(2, size=n)
        p = np.eye(2)[np.where(rng.random(n) < error, 1 - y, y)] * (1 - 2 * error) + error
        found = knowledge(log_of(p), y, folds_of(n, rng))
        inside += found.low <= truth <= found.high
    assert 0.90 <= inside / 200 <= 0.99


def test_class_frequencies_of_other_folds_are_not_counted_against_knowledge():
    """Frequencies learned from the other folds run against those of the fold: left in, nothing would look like less."""
    rng = np.random.default_rng(3)
    plain, centred = [], []
    for _ in range(100):
        y, folds = rng.integers(2, size=60), folds_of(60, rng)
        rate = np.array([[np.mean(y[folds != f] == c) for c in (0, 1)] for f in range(5)])
        log_p = np.log(rate[folds])
        plain.append(float((log_p[np.arange(60), y] + math.log(2)).mean()))
        centred.append(knowledge(log_p, y, folds).bits)
    assert np.mean(plain) < -0.005
    assert np.abs(centred).max() < 1e-9


def test_knowledge_of_a_factor_that_is_constant_in_groups_counts_groups():
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(20), 50)
    y = (rng.permutation(20) % 2)[groups]
    folds = (np.arange(20) % 5)[groups]
    seen = np.where(rng.random(1000) < 0.35, 1 - y, y)
    log_p = log_of(np.eye(2)[seen] * 0.3 + 0.35)
    with_groups, without = knowledge(log_p, y, folds, groups), knowledge(log_p, y, folds)
    assert without.p < with_groups.p < 0.05
    chance = np.where(rng.random(20) < 0.5, 0.3, 0.0)[groups]  # the same answer for all items of a group
    lucky = log_of(np.stack([0.5 + chance, 0.5 - chance], 1))
    assert knowledge(lucky, y, folds, groups).p > 1e-3


def null(n, d, classes, draws, probe, seed, size=None):
    """P-values and coverage of 0 for codes that are independent of the labels."""
    p, covered = [], []
    for t in range(draws):
        rng = np.random.default_rng([seed, t])
        groups = None if size is None else rng.integers(size, size=n)
        x = rng.normal(size=(n, d)) + (0 if size is None else rng.normal(size=(size, d))[groups])
        y = rng.integers(classes, size=n)
        folds = folds_of(n, rng) if size is None else folds_of(size, rng)[groups]
        log_p = next(iter(probes.table(x[:, :1], [y], folds)))[0] if probe == "table" else None
        log_p = probes.linear(x, [y], folds, groups, seed=t)[0] if log_p is None else log_p
        found = knowledge(log_p, y, folds, groups, 14 * (classes - 1) if probe == "table" else d * (classes - 1))
        p.append(found.p)
        covered.append(found.low <= 0 <= found.high)
    return np.array(p), float(np.mean(covered))


@pytest.mark.parametrize(
    ("n", "d", "classes", "probe", "size"),
    [(400, 1, 3, "table", None), (400, 1, 2, "table", 20), (200, 8, 3, "linear", None), (200, 40, 4, "linear", None)],
)
def test_shuffled_labels_are_seldom_accused(n, d, classes, probe, size):
    draws = (200 if probe == "table" else 40) * MORE
    p, covered = null(n, d, classes, draws, probe, seed=9, size=size)
    slack = 3 * math.sqrt(0.05 * 0.95 / draws)
    assert (p < 0.05).mean() < 0.05 + slack
    assert covered > 0.95 - slack
