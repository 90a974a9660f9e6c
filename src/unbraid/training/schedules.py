"""Schedules as pure functions of the step."""

from __future__ import annotations

import math
from typing import Literal

from unbraid.core.method import At, Schedule


def factor(schedule: Schedule, at: At) -> float:
    """The factor on a learning rate or weight decay at this step; in [0, 1] where `final` is.

    >>> [round(factor(Schedule("linear", warmup=2), At(step=s, steps=6)), 2) for s in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    >>> [round(factor(Schedule("cosine", final=0.1), At(step=s, steps=4)), 2) for s in range(5)]
    [1.0, 0.87, 0.55, 0.23, 0.1]
    >>> [factor(Schedule("stairs", final=0.5, stair=2), At(step=s, steps=5)) for s in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    >>> [factor(Schedule("stairs", final=0.5, falls=(0.5, 0.75)), At(step=s, steps=4)) for s in range(4)]
    [1.0, 1.0, 0.5, 0.25]
    >>> [factor(Schedule(share=0.5, zero=True), At(step=s, steps=8)) for s in range(6)]
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    >>> [round(factor(Schedule("linear", warmup=3, restarts=(5,)), At(step=s, steps=13)), 2) for s in range(4, 9)]
    [0.9, 0.08, 0.28, 0.42, 0.5]
    """
    warmup = round(schedule.share * at.steps) if schedule.share else schedule.warmup
    if at.step < warmup:
        return (at.step + (not schedule.zero)) / warmup
    return _descent(schedule, at, warmup) * _rise(schedule, at.step, warmup)


def between(first: float, last: float, progress: float, kind: Literal["linear", "cosine"] = "cosine") -> float:
    """A number that goes from one value to another.

    Args:
        first: The value at progress 0.
        last: The value from progress 1 on.
        progress: Share of the way.
        kind: Evenly, or by half a cosine.

    >>> between(0.996, 1.0, 0.5), between(0.04, 0.07, 1 / 3, "linear"), between(0.04, 0.07, 2)
    (0.998, 0.05, 0.07)
    """
    done = min(1.0, max(0.0, progress))
    done = done if kind == "linear" else (1 - math.cos(math.pi * done)) / 2
    return first + (last - first) * done


def _descent(schedule: Schedule, at: At, warmup: int) -> float:
    if schedule.kind == "constant":
        return 1.0
    if schedule.kind == "stairs":
        fallen = sum(at.progress >= fall for fall in schedule.falls)
        stairs: float = schedule.final ** (fallen if schedule.falls else (at.step - warmup) // schedule.stair)
        return stairs
    first = warmup + schedule.hold * (at.steps - warmup)
    done = min(1.0, max(0.0, at.step - first) / max(1.0, at.steps - first))
    left = 1 - done if schedule.kind == "linear" else (1 + math.cos(math.pi * done)) / 2
    return schedule.final + (1 - schedule.final) * left


def _rise(schedule: Schedule, step: int, warmup: int) -> float:
    """From a tenth to the whole within the steps of a warm-up after the last restart."""
    since = min((step - restart for restart in schedule.restarts if restart <= step), default=warmup)
    return 1.0 if since >= warmup else 0.1 + 0.9 * since / warmup
