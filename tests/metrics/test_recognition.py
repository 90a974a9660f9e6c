import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from unbraid.core.errors import DataError
from unbraid.metrics.recognition import TEMPERATURE, recognition


def clouds(n=600, d=6, spread=1.2, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    return rng.standard_normal((4, d))[labels] + spread * rng.standard_normal((n, d)), labels


def test_a_test_set_is_told_as_by_scikit_learn():
    codes, labels = clouds()
    folds = np.repeat([1, 0], 300)
    found = recognition(codes, labels, folds, held_out=(0,))
    scale = codes[:300].std(0)
    linear = LogisticRegression(C=1).fit(codes[:300] / scale, labels[:300]).score(codes[300:] / scale, labels[300:])
    nearest = KNeighborsClassifier(20, metric="cosine", weights=lambda d: np.exp(-d / TEMPERATURE))
    assert abs(found.linear - linear) < 0.02
    assert found.neighbours == pytest.approx(nearest.fit(codes[:300], labels[:300]).score(codes[300:], labels[300:]))
    assert found.chance == np.mean(labels[300:] == np.bincount(labels[:300]).argmax())


def test_every_fold_is_told_once_and_unknown_classes_not_at_all():
    codes, labels = clouds()
    folds = np.arange(600) % 5
    each = [recognition(codes, labels, folds, held_out=(k,)).neighbours for k in range(5)]
    assert recognition(codes, labels, folds).neighbours == pytest.approx(np.mean(each))
    hidden = labels.copy()
    hidden[:100] = -1
    left = recognition(codes[100:], labels[100:], folds[100:])
    assert recognition(codes, hidden, folds) == left


def test_codes_that_know_nothing_are_at_chance():
    _, labels = clouds(1500)
    found = recognition(np.random.default_rng(1).standard_normal((1500, 4)), labels, np.arange(1500) % 5)
    assert abs(found.linear - 0.25) < 0.06
    assert abs(found.neighbours - 0.25) < 0.06


def test_one_class_or_nothing_to_learn_from_is_refused():
    with pytest.raises(DataError, match="2 classes"):
        recognition(np.zeros((4, 2)), np.zeros(4, dtype=int), np.arange(4) % 2)
    with pytest.raises(DataError, match="to learn from"):
        recognition(np.zeros((4, 2)), np.arange(4) % 2, np.zeros(4, dtype=int))
