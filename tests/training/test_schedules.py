"""Rates that wait before they fall, and rise again after a restart."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from unbraid.core.method import At, Schedule
from unbraid.training.schedules import between, factor


def rates(schedule: Schedule, steps: int) -> list[float]:
    return [factor(schedule, At(step=s, steps=steps)) for s in range(steps + 1)]


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_the_descent_waits(kind: str) -> None:
    found = rates(Schedule(kind, hold=0.75), 100)  # type: ignore[arg-type]
    assert found[:76] == [1.0] * 76
    assert all(a > b for a, b in pairwise(found[75:]))
    assert found[-1] == 0.0
    assert rates(Schedule("linear", hold=0.75), 100)[90] == pytest.approx(0.4)


def test_after_a_restart_the_rate_rises_from_a_tenth_to_where_it_would_be() -> None:
    plain = rates(Schedule("linear", warmup=5), 50)
    found = rates(Schedule("linear", warmup=5, restarts=(20, 40)), 50)
    ratio = [b / a for a, b in zip(plain[:50], found[:50], strict=True)]
    expected = [0.1, 0.28, 0.46, 0.64, 0.82]
    assert ratio[20:25] == pytest.approx(expected)
    assert ratio[40:45] == pytest.approx(expected)
    assert ratio[:20] + ratio[25:40] + ratio[45:] == [1.0] * 40


def test_a_number_goes_from_one_value_to_another_as_a_teacher_does() -> None:
    for progress in (0.0, 0.3, 1.0):
        keep = 1 - (1 - 0.996) * (1 + math.cos(math.pi * progress)) / 2
        assert between(0.996, 1.0, progress) == pytest.approx(keep)
        assert between(0.04, 0.07, progress, "linear") == pytest.approx(0.04 + 0.03 * progress)
    assert between(0.04, 0.07, 1.7) == between(0.04, 0.07, 1.0)
