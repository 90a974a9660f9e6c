"""A local pool: trains the cells of a study, several at a time, each in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from unbraid.core.errors import RunError
from unbraid.study.recipe import Cell
from unbraid.training.progress import Progress
from unbraid.training.runs import Run
from unbraid.training.signals import InterruptedRunError, listening
from unbraid.verbs.request import reproduce

_PAUSE = 0.1  # seconds between two looks at the processes


@dataclass(frozen=True)
class Pool:
    """Where and how the cells are trained.

    Attributes:
        folder: Of the study; runs lie in its `runs/`, what they print in its `logs/`.
        jobs: Processes at a time.
        threads: Of each process. Recorded with the study, because the bits of a run depend on it.
    """

    folder: Path
    jobs: int
    threads: int

    def train(self, cells: Sequence[Cell], progress: Progress) -> dict[str, str]:
        """Train what is not done yet.

        A cell whose process was started by a study that was killed is waited for; it is never trained twice at once.

        Returns:
            Name -> why, of the cells that failed. They are tried again by the next call.

        Raises:
            InterruptedRunError: SIGINT or SIGTERM; every process has saved and ended.
        """
        for name in ("runs", "logs"):
            (self.folder / name).mkdir(exist_ok=True)
        waiting = [cell for cell in cells if not self.done(cell)]
        working: dict[str, subprocess.Popen[bytes]] = {}
        failed: dict[str, str] = {}
        progress.begin("study", len(cells), len(cells) - len(waiting))
        with listening() as stop:
            while waiting or working:
                if stop.signal is not None:
                    _end(working.values())
                    raise InterruptedRunError(stop.signal, self.folder, "study")
                waiting = self._start(waiting, working)
                time.sleep(_PAUSE)
                failed |= self._finished(working)
                progress.advance(len(cells) - len(waiting) - len(working))
        progress.end()
        return failed

    def run_of(self, cell: Cell) -> Path:
        """The run folder of a cell."""
        return self.folder / "runs" / cell.name

    def done(self, cell: Cell) -> bool:
        """Whether nothing is left to do for a cell."""
        with suppress(RunError):
            return Run(self.run_of(cell)).status == "done"
        return False

    def _start(self, waiting: list[Cell], working: dict[str, subprocess.Popen[bytes]]) -> list[Cell]:
        """Start as many as there is room for; what still waits."""
        left = []
        for cell in waiting:
            if len(working) >= self.jobs:
                left.append(cell)
                continue
            with _lock(self.folder / "logs" / f"{cell.name}.lock") as lock:
                if lock is None:
                    left.append(cell)
                elif not self.done(cell):
                    working[cell.name] = self._begin(cell, lock)
        return left

    def _begin(self, cell: Cell, lock: int) -> subprocess.Popen[bytes]:
        run = self.run_of(cell)
        if run.exists() and not (run / "run.json").exists():  # killed before it was a run
            shutil.rmtree(run)
        words = ["--resume", str(run)] if run.exists() else [*_words(cell), "--out", str(run)]
        command = [sys.executable, "-m", "unbraid", "train", *words, "--threads", str(self.threads)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads)}
        held = () if os.name == "nt" else (lock,)
        with (self.folder / "logs" / f"{cell.name}.txt").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment, pass_fds=held)

    def _finished(self, working: dict[str, subprocess.Popen[bytes]]) -> dict[str, str]:
        """Take out the processes that ended; name -> why of those that failed."""
        failed = {}
        for name, process in list(working.items()):
            if process.poll() is not None:
                del working[name]
                if process.returncode:
                    failed[name] = _reason(self.folder / "logs" / f"{name}.txt", process.returncode)
        return failed


def _words(cell: Cell) -> list[str]:
    """What `unbraid train` is told: the command that a run would be made again by, without the program."""
    import shlex

    return shlex.split(reproduce(cell.request))[2:]


def _reason(log: Path, code: int) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    said = lines[-1].removeprefix("unbraid: ") if lines else ""
    return said or f"the process ended with code {code}"


def _end(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Ask the processes to save, and wait until they have."""
    asked = list(processes)
    for process in asked:
        process.terminate()
    for process in asked:
        process.wait()


@contextmanager
def _lock(path: Path) -> Iterator[int | None]:
    """A lock that a child process which inherits it goes on holding; None where another process holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield handle if _held(handle) else None
    finally:
        os.close(handle)


def _held(handle: int) -> bool:
    if os.name == "nt":
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
