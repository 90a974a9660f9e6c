import math

import numpy as np
import pytest
from profiles import nightly

from unbraid.audit.knowledge import knowledge
from unbraid.metrics import probes

MORE = 25 if nightly() else 1  # as many times the draws


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
    assert even.low <= 0 < even.high <= even.most


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


def weights(classes, skewed):
    """How frequent the classes are: all alike, or the first by far the most."""
    if classes == 2:
        return np.array([0.9, 0.1] if skewed else [0.5, 0.5])
    w = np.arange(1, classes + 1) ** (-1.5 if skewed else 0.0)
    return w / w.sum()


FACTORS = [weights(classes, skewed) for classes in (2, 5, 10) for skewed in (False, True)]


def covered(n, d, kind, grouping, probe, t):
    """Whether the intervals cover 0, for factors of 2, 5 and 10 classes, even and skewed, that the codes know not."""
    rng = np.random.default_rng([n, d, t])
    groups = np.arange(n) if grouping == "none" else np.unique(rng.integers(n // 20, size=n), return_inverse=True)[1]
    count = int(groups.max()) + 1
    x = rng.normal(size=(n, d)) + (0 if grouping == "none" else rng.normal(size=(count, d))[groups])
    x = x if kind == "gaussian" else np.clip(np.round(x), -1, 1)
    labels = [rng.choice(len(w), n, p=w) if grouping != "constant" else rng.choice(len(w), count, p=w)[groups]
              for w in FACTORS]  # fmt: skip
    folds, together = (rng.permutation(count) % 5)[groups], None if grouping == "none" else groups
    if probe == "table":
        found, freedom = (
            next(iter(probes.table(x[:, :1], labels, folds))),
            min(len(np.unique(x)), probes.most_bins(n)) - 1,
        )
    else:
        read = probes.linear if probe == "linear" else probes.mlp
        found, freedom = read(x, labels, folds, together, seed=t), d if probe == "linear" else math.inf
    known = [knowledge(p, y, folds, together, freedom * (p.shape[1] - 1)) for p, y in zip(found, labels, strict=True)]
    return [k.low <= 0 <= k.high for k in known]


@pytest.mark.parametrize(
    ("n", "d", "grouping", "probe", "draws"),
    [(500, 1, "none", "table", 40), (500, 1, "within", "table", 40), (300, 10, "none", "linear", 20)],
)
def test_the_interval_covers_nothing_when_there_is_nothing(n, d, grouping, probe, draws):
    inside = np.array([covered(n, d, "gaussian", grouping, probe, t) for t in range(draws)])
    assert 0.91 <= inside.mean() <= 0.985


GRID = [
    (n, d, kind, grouping, probe)
    for probe, widths in (("table", (1,)), ("linear", (1, 10, 64)), ("mlp", (1, 10, 64)))
    for d in widths
    for n in (500, 2000)
    for kind in ("gaussian", "discrete")
    for grouping in ("none", "within", "constant")
    if grouping != "constant" or n == 2000  # 25 groups of one value each: the interval is wider than it need be
]


@pytest.mark.parametrize(("n", "d", "kind", "grouping", "probe"), GRID if nightly() else [])
def test_the_interval_covers_nothing_in_93_to_97_percent_of_a_thousand_draws(n, d, kind, grouping, probe):
    inside = np.array([covered(n, d, kind, grouping, probe, t) for t in range(1000)])
    assert 0.93 <= inside.mean() <= 0.97, inside.mean(0)


@pytest.mark.parametrize("error", [0.47, 0.42, 0.3, 0.1])
def test_the_interval_covers_what_a_cross_fitted_table_knows_and_what_is_there_at_most_is_safe(error):
    truth, draws = 1 + error * math.log2(error) + (1 - error) * math.log2(1 - error), 60 * MORE
    inside = below = 0
    for t in range(draws):
        rng = np.random.default_rng([21, t])
        y, folds = rng.integers(2, size=500), folds_of(500, rng)
        x = np.where(rng.random(500) < error, 1.0 - y, y)[:, None]
        found = knowledge(next(iter(probes.table(x, [y], folds)))[0], y, folds, None, 1)
        inside += found.low <= truth <= found.high
        below += found.most < truth
    assert below / draws < 0.1
    assert inside / draws >= (
        0.9 if error < 0.45 else 0.75
    )  # 0.003 bits: a probe taught by 500 items often misses them
