"""Nested shares of labels, and a probe whose ridge is chosen on other items."""

import numpy as np
import pytest

from unbraid.core.errors import DataError
from unbraid.metrics.few_labels import linear_probe, nested

LABELS = np.random.default_rng(0).choice(5, 2000, p=[0.6, 0.25, 0.1, 0.04, 0.01])


def test_shares_are_nested_stratified_and_the_same_for_everybody():
    rows = nested(LABELS, (0.01, 0.1, 1.0))
    counts = np.bincount(LABELS)
    for share, found in rows.items():
        assert len(set(found)) == len(found)
        wanted = np.maximum(1, share * counts)
        assert np.abs(np.bincount(LABELS[found], minlength=5) - wanted).max() <= 0.5
    assert set(rows[0.01]) < set(rows[0.1]) < set(rows[1.0])
    assert set(nested(LABELS, (0.01,))[0.01]) == set(rows[0.01]), "whatever else is asked for"
    assert set(nested(LABELS, (0.01,), seed=1)[0.01]) != set(rows[0.01])


def test_items_without_a_label_are_never_told():
    labels = np.array([0, 1, -1, 0, 1, -1])
    assert nested(labels, (1.0,))[1.0].tolist() == [0, 1, 3, 4]
    with pytest.raises(DataError, match="no labels"):
        nested(np.full(3, -1))
    with pytest.raises(DataError, match=r"1\.5"):
        nested(labels, (1.5,))


def made(n, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return rng.normal(size=(n, 40)) + 2 * np.eye(3, 40)[labels], labels


def test_the_ridge_is_what_the_validation_items_ask_for():
    (few, y), (held, z), (new, t) = made(30, 0), made(300, 1), made(600, 2)
    chosen = linear_probe(few, y, held, z, 3)
    weak = linear_probe(few, y, held, z, 3, strengths=(1e-3,))
    assert chosen.strength >= 1.0, "forty numbers and thirty items: a weak ridge learns the noise"
    right = [(probe.logits(new).argmax(1) == t).mean() for probe in (chosen, weak)]
    assert right[0] > right[1] + 0.02


def test_nothing_but_the_ridge_comes_from_the_validation_items():
    (few, y), (held, z) = made(60, 0), made(90, 1)
    one = linear_probe(few, y, held, z, 3, strengths=(1.0,)).logits(few)
    other = linear_probe(few, y, held[:5] + 9, z[:5], 3, strengths=(1.0,)).logits(few)
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_sorted_files_do_not_hide_classes_from_the_choice():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(2), 2500)
    codes = np.eye(2)[labels] + 0.1 * rng.normal(size=(5000, 2))
    assert (linear_probe(codes, labels, codes, labels, 2).logits(codes).argmax(1) == labels).mean() > 0.99


def test_too_few_items():
    with pytest.raises(DataError, match="two items"):
        linear_probe(np.zeros((1, 2)), np.zeros(1, int), np.zeros((1, 2)), np.zeros(1, int), 2)
