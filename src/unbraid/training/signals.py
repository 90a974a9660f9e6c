"""SIGINT and SIGTERM as a polite request: the loop saves at the next step, then stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any


class InterruptedRunError(Exception):
    """A run or a study was asked to stop; `signal` says by what, `folder` where it was saved (None: nowhere)."""

    def __init__(self, number: int, folder: Path | None, verb: str = "train") -> None:
        self.signal, self.folder = number, folder
        saved = f"saved; go on with: unbraid {verb} --resume {folder}" if folder else "nothing was saved"
        super().__init__(f"stopped by {signal.Signals(number).name}, {saved}")


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
