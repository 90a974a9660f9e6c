"""SIGINT and SIGTERM as a polite request: the loop saves at the next step, then stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class InterruptedRunError(Exception):
    """A run was asked to stop and has saved; `signal` says by what."""

    def __init__(self, number: int) -> None:
        self.signal = number
        super().__init__(f"stopped by {signal.Signals(number).name}")


class Stop:
    """Whether somebody asked."""

    signal: int | None = None


@contextmanager
def listening() -> Iterator[Stop]:
    """Catch the first SIGINT or SIGTERM; a second one acts at once. Does nothing outside the main thread."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.signal = number
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
