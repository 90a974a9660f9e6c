"""A run on disk: what it is, where it stands, and whether it may go on."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbraid.core.errors import RunError
from unbraid.training.files import read_json, write_json, write_text

if TYPE_CHECKING:
    from unbraid.training.checkpoints import Checkpoints, Position

FORMAT = 1
STATUSES = ("starting", "training", "trained", "done")
FIXED = ("method", "seed", "precision", "config", "fields", "data", "schema", "given")
"""Facts that must not change between a run and its continuation."""


class Run:
    """A run folder; imports torch only when checkpoints are touched.

    Args:
        folder: An existing folder with a `run.json`.

    Raises:
        RunError: The folder is no run, or was written by a newer version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise RunError("a run folder", got="no such folder", fix="`unbraid train` makes one", where=str(folder))
        self.facts = read_json(folder / "run.json")
        if self.facts.get("format") != FORMAT:
            got = f"format {self.facts.get('format')}"
            raise RunError(f"a run of format {FORMAT}", got=got, fix="use the version that wrote it", where=str(folder))
        if self.facts.get("status") not in STATUSES:
            got = f"status {self.facts.get('status')!r}"
            raise RunError("one of " + ", ".join(STATUSES), got=got, fix="run.json is damaged", where=str(folder))

    @classmethod
    def create(cls, folder: Path, request: Mapping[str, Any]) -> Run:
        """Make a folder for a new run; from here on it can be resumed.

        Args:
            folder: Must not exist, or be empty.
            request: What the user asked for; enough to start again.

        Raises:
            RunError: Something lies there already.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            fix = f"go on with --resume {folder}, or name another folder"
            raise RunError("a new folder", got="one that is not empty", fix=fix, where=str(folder))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            facts = {"format": FORMAT, "status": "starting", "request": dict(request)}
            write_json(folder / "run.json", facts)
        except OSError as error:
            got = str(error.strerror)
            raise RunError("a folder that can be written", got=got, fix="use --out", where=str(folder)) from None
        return cls(folder)

    @property
    def status(self) -> str:
        """How far it is: "starting", "training", "trained" or "done"."""
        return str(self.facts["status"])

    def update(self, **facts: Any) -> None:
        """Change some facts on disk."""
        self.facts = {**self.facts, **facts}
        write_json(self.folder / "run.json", self.facts)

    def checkpoints(self, keep: int = 2) -> Checkpoints:
        """The checkpoints of this run."""
        from unbraid.training.checkpoints import Checkpoints

        return Checkpoints(self.folder / "checkpoints", keep)

    def begin(self, facts: Mapping[str, Any]) -> list[str]:
        """Record the facts of a new run, or compare them with those of the run that is being continued.

        Returns:
            What differs without forbidding to go on: versions, threads, device. The request is not compared: what
            it means is, fact by fact.

        Raises:
            RunError: A fact in `FIXED` differs; names it.
        """
        if self.status == "starting":
            self.update(status="training", started=time.strftime("%Y-%m-%d %H:%M:%S"), **facts)
            return []
        for name in FIXED:
            if difference := _difference(name, self.facts.get(name), _as_stored(facts.get(name))):
                raise RunError(*difference, fix="resume needs the same; begin a new run with --start")
        loose = [name for name in facts if name not in (*FIXED, "request")]
        said = []
        for name in loose:
            was, now = self.facts.get(name), _as_stored(facts[name])
            if was != now:
                said.append(f"{name}: was {_brief(was, now)}, is {_brief(now, was)}; the bits may differ")
        return said


class Series:
    """The numbers of a run, one JSON object a line, appended as they come.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line; numbers that are not finite become null."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def read(self) -> Iterator[dict[str, Any]]:
        """The lines up to the first that is torn, as a kill may leave the last one."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for text in file:
                try:
                    line = json.loads(text)
                except (ValueError, RecursionError):
                    return
                if not isinstance(line, dict):
                    return
                yield line

    def cut(self, position: Position) -> None:
        """Forget what lies at or behind a position."""
        before = (position.stage, position.step)
        kept = [line for line in self.read() if _place(line) < before]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))


def _place(line: Mapping[str, Any]) -> tuple[float, float]:
    """Number of the stage and step of a line; behind everything when it does not say."""
    number, step = line.get("number"), line.get("step")
    return (number, step) if isinstance(number, int) and isinstance(step, int) else (math.inf, math.inf)


def _as_stored(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _difference(name: str, was: Any, now: Any) -> tuple[str] | None:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in {**was, **now}:
            if found := _difference(f"{name}.{key}", was.get(key), now.get(key)):
                return found
        return None
    return None if was == now else (f"{name} {was!r} as recorded, got {now!r}",)


def _brief(one: Any, other: Any) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        return ", ".join(f"{k} {v}" for k, v in one.items() if other.get(k) != v)
    return str(one)
