"""Schedules as pure functions of the step."""

from __future__ import annotations

import math

from unbraid.core.method import At, Schedule


def factor(schedule: Schedule, at: At) -> float:
    """The factor on the learning rate at this step, in [0, 1].

    >>> [round(factor(Schedule("linear", warmup=2), At(step=s, steps=6)), 2) for s in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    >>> [round(factor(Schedule("cosine", final=0.1), At(step=s, steps=4)), 2) for s in range(5)]
    [1.0, 0.87, 0.55, 0.23, 0.1]
    """
    if at.step < schedule.warmup:
        return (at.step + 1) / schedule.warmup
    if schedule.kind == "constant":
        return 1.0
    done = min(1.0, (at.step - schedule.warmup) / max(1, at.steps - schedule.warmup))
    left = 1 - done if schedule.kind == "linear" else (1 + math.cos(math.pi * done)) / 2
    return schedule.final + (1 - schedule.final) * left
