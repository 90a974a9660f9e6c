import numpy as np
import pytest

from unbraid.core.errors import DataError
from unbraid.metrics.membership import membership


def answers(kind, n=200, seed=0):
    rng = np.random.default_rng(seed)
    sharpness = {"sure": 0.05, "unsure": 3.0}[kind]
    return rng.dirichlet(np.full(5, sharpness), n)


def test_members_that_are_surer_are_found_out():
    found = membership(answers("sure"), answers("unsure", seed=1), answers("sure", seed=2), answers("unsure", seed=3))
    assert found.success > 0.95
    assert found.taken > 0.95
    assert found.known > 0.95


def test_what_looks_like_a_stranger_is_not_taken_for_a_member():
    found = membership(answers("sure"), answers("unsure", seed=1), answers("unsure", seed=2), answers("unsure", seed=3))
    assert found.taken < 0.1
    assert abs(found.success - 0.5) < 0.06


def test_it_is_chance_where_nothing_tells():
    sides = [answers("unsure", 400, seed) for seed in range(4)]
    assert abs(membership(*sides).success - 0.5) < 0.08


def test_the_order_of_classes_does_not_matter_and_chance_is_the_seeds():
    sides = [answers(kind, seed=i) for i, kind in enumerate(("sure", "unsure", "sure", "unsure"))]
    turned = [np.roll(side, 2, axis=1) for side in sides]
    assert membership(*sides, seed=3) == membership(*turned, seed=3) == membership(*sides, seed=3)


@pytest.mark.parametrize("bad", [np.zeros((0, 3)), np.full((4, 3), np.nan), np.zeros(4)])
def test_bad_answers_are_refused_in_one_line(bad):
    good = answers("sure", 5)
    with pytest.raises(DataError, match="others"):
        membership(good, good, good, bad)
