import numpy as np
import pytest
from audit_made import factors

from unbraid.audit.labels import group_ids, target, targets
from unbraid.data.factors import Factor


def test_continuous_factors_become_ten_bins_of_equal_frequency():
    values = np.random.default_rng(0).normal(size=1000)
    found = target(Factor("age", "continuous"), values)
    assert found.classes == 10
    assert set(np.bincount(found.y)) == {100}
    assert found.entropy == pytest.approx(np.log2(10))
    assert "10 bins" in found.note


def test_many_ordered_values_are_merged_with_their_neighbours_and_categories_are_not():
    values = np.arange(4000) % 40
    merged = target(Factor("angle", "circular", tuple(map(str, range(40)))), values.astype(float))
    assert merged.classes == 32
    assert (np.diff(merged.y[:40]) >= 0).all()
    assert target(Factor("who", "categorical", tuple(map(str, range(40)))), values.astype(float)).classes == 40


def test_missing_and_rare_values_are_left_out_and_said():
    values = np.array([0.0] * 50 + [1.0] * 50 + [2.0] * 3 + [np.nan] * 7)
    found = target(Factor("site", "categorical", ("a", "b", "c")), values)
    assert found.classes == 2
    assert found.samples == 100
    assert (found.y[100:] == -1).all()
    assert "3 items of 1 rare values" in found.note
    assert "7 items without a value" in found.note


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros(100), "same value"),
        (np.full(100, np.nan), "no item has a value"),
        (np.arange(100.0), "no item has a value"),
        (np.tile([0.0, 1.0], 15), "only 30 items"),
    ],
)
def test_what_cannot_be_asked_says_why(values, reason):
    known = values[~np.isnan(values)]
    labels = tuple(map(str, range(int(known.max()) + 1 if len(known) else 1)))
    assert reason in target(Factor("f", "categorical", labels), values).reason


def test_groups_that_make_a_question_undecidable():
    speaker = np.repeat(np.arange(10), 20)
    table = factors(speaker=speaker, sex=speaker % 2, room=np.arange(200) % 3)
    who, sex, room = targets(table, table.names, group_ids(speaker))
    assert "each value of speaker occurs in one group only" in who.reason
    assert not sex.reason
    assert not room.reason
    few = targets(table, ["room"], group_ids(speaker // 3))[0]
    assert "only 4 groups" in few.reason
