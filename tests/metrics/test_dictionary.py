"""Scores of dictionaries against sets counted one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unbraid.metrics.dictionary import Effect, agreement, best, match, necessity, scaled, sufficiency, union


def test_match_counts_sets() -> None:
    rng = np.random.default_rng(0)
    active, holds = rng.random((40, 6)) < 0.3, rng.random((40, 3)) < 0.4
    active[:, 5] = False
    found = match(active, holds)
    for j in range(5):
        for p in range(3):
            mine, theirs = set(np.flatnonzero(active[:, j])), set(np.flatnonzero(holds[:, p]))
            assert found.precision[j, p] == len(mine & theirs) / len(mine)
            assert found.recall[j, p] == len(mine & theirs) / len(theirs)
            assert found.f1[j, p] == pytest.approx(2 * len(mine & theirs) / (len(mine) + len(theirs)))
    assert np.isnan(found.f1[5]).all()
    which, score = best(found.f1)
    assert score[5] == 0.0
    assert (score[:5] == np.nanmax(found.f1[:5], 1)).all()
    assert (found.f1[np.arange(5), which[:5]] == score[:5]).all()


def test_unions_try_every_beginning_of_the_order() -> None:
    rng = np.random.default_rng(1)
    label = rng.integers(-1, 6, 60)
    active = np.stack([np.isin(label, [0, 3]), np.isin(label, [2]), rng.random(60) < 0.2, np.zeros(60, bool)], 1)
    f1 = match(active, label[:, None] == np.arange(6)).f1
    sizes, scores = union(active, label, f1, most=4)
    assert sizes[:2].tolist() == [2, 1]
    assert scores[:2].tolist() == [1.0, 1.0]
    assert scores[3] == 0.0
    order = np.argsort(-f1[2], kind="stable")
    expected = []
    for n in range(1, 5):
        inside = np.isin(label, order[:n])
        expected.append(2 * (inside & active[:, 2]).sum() / (inside.sum() + active[:, 2].sum()))
    assert scores[2] == pytest.approx(max(expected))
    assert sizes[2] == int(np.argmax(expected)) + 1


def test_effects() -> None:
    assert sufficiency(Effect(7.0, 7.0, 1.0)) == necessity(Effect(7.0, 1.0, 1.0)) == 1.0
    assert sufficiency(Effect(7.0, 1.0, 1.0)) == necessity(Effect(7.0, 7.0, 1.0)) == 0.0
    assert sufficiency(Effect(7.0, 8.2, 1.0)) == pytest.approx(1.2)  # overshoot is not hidden
    assert necessity(Effect(7.0, -8.0, 1.0)) < 0
    for score in (sufficiency, necessity):
        assert math.isnan(score(Effect(7.0, 3.0, 6.5)))


def test_agreement_and_scale() -> None:
    assert agreement(np.array([1, 2, 3]), np.array([1, 0, 3])) == pytest.approx(2 / 3)
    assert math.isnan(agreement(np.zeros(0, int), np.zeros(0, int)))
    assert scaled(0.9, 0.6, 0.9) == 1.0
    assert math.isnan(scaled(0.9, 0.9, 0.9))
