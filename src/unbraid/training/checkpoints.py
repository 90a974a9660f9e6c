"""Checkpoints: safetensors and JSON with checksums, complete or absent, the newest good one wins."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unbraid.core.errors import RunError, UnbraidError
from unbraid.training.files import checksum, flush, read_json, write_json, write_text

_MARK = "complete"


@dataclass(frozen=True, order=True)
class Position:
    """Where a run stands.

    Attributes:
        stage: Number of the stage.
        phase: 0 before its solve, 1 after it.
        step: Steps done.
    """

    stage: int = 0
    phase: int = 0
    step: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """What is needed to go on from a position."""

    position: Position
    method: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]


class Checkpoints:
    """The checkpoints of a run.

    Args:
        folder: Where they lie.
        keep: How many of the newest stay.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self.keep = max(1, keep)

    def save(self, checkpoint: Checkpoint, stage: str) -> None:
        """Write a checkpoint; the marker comes last, older ones than `keep` go."""
        position = checkpoint.position
        final = self.folder / f"{stage}-{'steps' if position.phase else 'solve'}-{position.step}"
        if (final / _MARK).exists():
            return
        temporary = self.folder / f".{final.name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(final, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_tensors(temporary / "method.safetensors", checkpoint.method)
        save_tensors(temporary / "optimizer.safetensors", checkpoint.optimizer)
        sums = {name: checksum(temporary / name) for name in ("method.safetensors", "optimizer.safetensors")}
        write_json(temporary / "position.json", {**asdict(position), "checksums": sums})
        flush(temporary)
        temporary.rename(final)
        write_text(final / _MARK, checksum(final / "position.json"))
        flush(self.folder)
        for old in self._complete()[self.keep :]:
            (old / _MARK).unlink(missing_ok=True)
            shutil.rmtree(old, ignore_errors=True)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint whose checksums hold; a damaged one is named in a warning and passed over."""
        for folder in self._complete():
            try:
                return _read(folder)
            except (UnbraidError, OSError, KeyError, TypeError, ValueError) as error:
                warnings.warn(f"checkpoint {folder.name} is damaged ({error}); using the one before", stacklevel=2)
        return None

    def _complete(self) -> list[Path]:
        found = [p.parent for p in self.folder.glob(f"*/{_MARK}")]
        return sorted((p for p in found if _position(p) is not None), key=lambda p: _position(p) or Position())[::-1]


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors and flush them."""
    save_file({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}, path)
    flush(path)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read tensors from safetensors.

    Raises:
        RunError: The file is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        got = f"{type(error).__name__}: {error}"
        raise RunError("a whole .safetensors file", got=got, fix="the file is damaged", where=str(path)) from None


def _position(folder: Path) -> Position | None:
    try:
        data = json.loads((folder / "position.json").read_text(encoding="utf-8"))
        return Position(int(data["stage"]), int(data["phase"]), int(data["step"]))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        warnings.warn(f"checkpoint {folder.name} is damaged (position.json); passing it over", stacklevel=2)
        return None


def _read(folder: Path) -> Checkpoint:
    if (folder / _MARK).read_text(encoding="utf-8") != checksum(folder / "position.json"):
        raise ValueError("checksum of position.json")
    position = read_json(folder / "position.json")
    for name, expected in position["checksums"].items():
        if checksum(folder / name) != expected:
            raise ValueError(f"checksum of {name}")
    return Checkpoint(
        Position(position["stage"], position["phase"], position["step"]),
        load_tensors(folder / "method.safetensors"),
        load_tensors(folder / "optimizer.safetensors"),
    )
