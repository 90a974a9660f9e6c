"""One row of the table: two ways to do the same work, a check that it is the same, and how they are timed."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Timed:
    """What a side returns that times itself, because a part of what it does is set-up.

    Attributes:
        value: The result, for the check.
        seconds: What the work took.
        also: Other figures of the same run, by name.
    """

    value: Any
    seconds: float
    also: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A comparison.

    Attributes:
        name: Of the row and of its file.
        goal: The least ratio, or the most seconds where there is no peer; None where there is no goal.
        ours: Our way to do the work.
        peer: Theirs; None where nobody else does it.
        check: Asserts that both results are the same (the second is None without a peer).
        also: Other figures that `ours` gives (see `Timed.also`), each a row of its own, with their goals.
    """

    name: str
    goal: float | None
    ours: Callable[[], Any]
    peer: Callable[[], Any] | None
    check: Callable[[Any, Any], None]
    also: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """A line of a results file, less what is the same for all lines."""

    name: str
    ours: float
    peer: float | None
    goal: float | None


def measure(row: Row, repeats: int) -> list[Figure]:
    """Check the row, then time both sides in turn; medians.

    The run that is checked is the warm-up of both sides: compilation is not timed.

    Raises:
        AssertionError: The sides do not give the same.
    """
    first = _timed(row.ours), _timed(row.peer) if row.peer else None
    row.check(first[0].value, first[1].value if first[1] else None)
    ours, peer = [], []
    for _ in range(repeats):
        ours.append(_timed(row.ours))
        if row.peer:
            peer.append(_timed(row.peer).seconds)
    seconds = statistics.median(run.seconds for run in ours)
    found = [Figure(row.name, seconds, statistics.median(peer) if peer else None, row.goal)]
    for name, goal in row.also.items():
        found.append(Figure(name, statistics.median(run.also[name] for run in ours), None, goal))
    return found


def _timed(side: Callable[[], Any]) -> Timed:
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        result = side()
        seconds = time.perf_counter() - start
    finally:
        gc.enable()
    return result if isinstance(result, Timed) else Timed(result, seconds)
