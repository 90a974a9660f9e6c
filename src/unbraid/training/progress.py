"""What a person sees while a run goes on: a bar with the time left and the loss terms, or a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol


class Progress(Protocol):
    """Told how far a job is; shows it or not."""

    def begin(self, what: str, total: int, done: int = 0) -> None:
        """A job of `total` steps starts, `done` of them behind it."""

    def advance(self, done: int, terms: Mapping[str, float] | None = None) -> None:
        """`done` steps are behind it; `terms` are the newest numbers."""

    def end(self) -> None:
        """The job is over."""


class Silent:
    """Shows nothing."""

    def begin(self, what: str, total: int, done: int = 0) -> None:
        """Nothing."""

    def advance(self, done: int, terms: Mapping[str, float] | None = None) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


class Lines:
    """A line on stderr every ten seconds, for logs."""

    def __init__(self, every: float = 10.0) -> None:
        self.every = every

    def begin(self, what: str, total: int, done: int = 0) -> None:
        """Remember when and where the job started."""
        self.what, self.total, self.first = what, total, done
        self.start = self.said = time.monotonic()
        self.terms: Mapping[str, float] = {}

    def advance(self, done: int, terms: Mapping[str, float] | None = None) -> None:
        """Say something if the last time is long ago."""
        self.terms = terms or self.terms
        now = time.monotonic()
        if now - self.said < self.every or done <= self.first:
            return
        self.said = now
        left = (now - self.start) / (done - self.first) * (self.total - done)
        print(f"{self.what} {done}/{self.total}, {_clock(left)} left  {show(self.terms)}", file=sys.stderr)  # noqa: T201

    def end(self) -> None:
        """Nothing more to say."""


class Bar:
    """A bar that stays on one line of a terminal."""

    def begin(self, what: str, total: int, done: int = 0) -> None:
        """Start the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns: list[Any] = [TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn()]
        columns += [TimeRemainingColumn(compact=True), TextColumn("[dim]{task.fields[terms]}")]
        self.bar = RichProgress(*columns, console=Console(stderr=True))
        self.bar.start()
        self.task = self.bar.add_task(what, total=total, completed=done, terms="")

    def advance(self, done: int, terms: Mapping[str, float] | None = None) -> None:
        """Move the bar."""
        self.bar.update(self.task, completed=done)
        if terms:
            self.bar.update(self.task, terms=show(terms))

    def end(self) -> None:
        """Leave the bar as it is."""
        self.bar.stop()


def for_terminal() -> Progress:
    """A bar where stderr is a terminal, lines where it is not."""
    return Bar() if sys.stderr.isatty() else Lines()


def show(terms: Mapping[str, float]) -> str:
    """The terms in one short text.

    >>> show({"fit/reconstruction": 123.456, "fit/kl": 0.01234})
    'reconstruction 123.5  kl 0.01234'
    """
    return "  ".join(f"{name.rpartition('/')[2]} {value:.4g}" for name, value in list(terms.items())[:4])


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
