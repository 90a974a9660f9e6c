"""Accuracy on some of the latents, after few and after many items."""

from __future__ import annotations

import numpy as np
import pytest

from unbraid.metrics.downstream import downstream, guessed


def world(n=300, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.integers(3, size=n), rng.integers(2, size=n)], 1)
    codes = np.concatenate([labels + 0.05 * rng.normal(size=(n, 2)), rng.normal(size=(n, 1))], 1)
    return codes, labels


@pytest.mark.parametrize("classifier", ["logistic", "trees", "ridge"])
def test_it_reads_the_latents_it_is_given_and_no_others(classifier):
    codes, labels = world()
    found = downstream(codes, labels, {"first": (0,), "noise": (2,), "none": ()}, (20, 150, 400), 100, classifier)
    assert list(found) == ["first", "noise"]
    assert [a.train for a in found["first"]] == [20, 150]
    best = found["first"][-1]
    assert best.mean == pytest.approx(0.75, abs=0.15)  # the first factor, and chance for the second
    assert best.least < 0.7
    assert found["noise"][-1].mean < 0.65


def test_equal_subsets_are_fitted_once(monkeypatch):
    codes, labels = world()
    calls = []
    import unbraid.metrics.downstream as module

    monkeypatch.setattr(
        module, "_logistic", lambda codes, labels, told: calls.append(codes.shape) or np.zeros(len(told), dtype=int)
    )
    found = downstream(codes, labels, {"full": (0, 1, 2), "active+mixed": (2, 0, 1)}, (50,), 100)
    assert found["full"] == found["active+mixed"]
    assert calls == [(50, 3)] * 2  # one for each factor


def test_rows_that_are_not_finite_are_left_out_and_one_value_is_told():
    codes, labels = world()
    codes[3, 0] = np.nan
    labels[:, 1] = 1
    found = downstream(codes, labels, {"full": (0, 1, 2)}, (100,), 100)["full"][0]
    assert found.mean == pytest.approx((found.least + 1) / 2)


def test_few_items_with_few_of_each_class_still_teach():
    codes, labels = world()
    assert 0 <= downstream(codes, np.sort(labels, 0), {"full": (0, 1, 2)}, (4,), 100)["full"][0].least <= 1


def test_a_guess():
    assert guessed(world()[1]) == pytest.approx((1 / 3 + 1 / 2) / 2)
