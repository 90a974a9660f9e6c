"""Files that are complete or absent; imports nothing heavy, so that a run is on disk before torch is loaded."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from unbraid.core.errors import RunError


def write_with(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a file under a temporary name, flush it to the disk, then give it its name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    flush(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text file, complete or absent."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_with(path, write)


def write_json(path: Path, data: Any) -> None:
    """Write a JSON file, complete or absent; numbers that are not finite become null."""
    write_text(path, json.dumps(_plain(data), indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        RunError: The file is missing or damaged.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            "a run folder", got=f"no {path.name} in {path.parent}", fix="name a folder under runs/"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError("a JSON file", got=f"{error}", fix="the file is damaged", where=str(path)) from None
    if not isinstance(data, dict):
        raise RunError("a JSON object", got=type(data).__name__, where=str(path))
    return data


def flush(path: Path) -> None:
    """Force a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def checksum(path: Path) -> str:
    """32 hex digits of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _plain(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(k): _plain(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(v) for v in data]
    if isinstance(data, float) and (data != data or data in (float("inf"), float("-inf"))):
        return None
    return data
