"""Where the files of published sets lie."""

from __future__ import annotations

import os
from pathlib import Path

from unbraid.core.errors import DataError
from unbraid.data.official.grid import PublishedGrid
from unbraid.data.official.registry import File, Official


def home(name: str) -> Path:
    """The folder of a set: in the one that `UNBRAID_DATA` names, or in the user's cache."""
    place = Path(os.environ.get("UNBRAID_DATA") or "~/.cache/unbraid")
    try:
        return place.expanduser() / name
    except RuntimeError:  # a home of nobody
        return place / name


def find(file: File, folder: Path) -> Path | None:
    """The file, or what serves as well."""
    return next((folder / name for name in (file.name, *file.instead) if (folder / name).exists()), None)


def is_there(entry: Official, folder: Path | None = None) -> bool:
    """Whether all files of a set lie in its folder."""
    return all(find(file, folder or home(entry.name)) for file in entry.files)


def open_official(
    entry: Official, folder: Path | None = None, size: int | None = None, memory: int = 2**30
) -> PublishedGrid:
    """A published set from its files.

    Args:
        entry: Which one.
        folder: Where its files are; None looks in `home`.
        size: Height and width that images are brought to; None takes the set's own choice.
        memory: Bytes that its images may take, see `PublishedGrid`.

    Raises:
        DataError: A file is missing, damaged or another one.
    """
    folder = folder or home(entry.name)
    paths = []
    for file in entry.files:
        path = find(file, folder)
        if path is None:
            fix = f"run `unbraid data fetch {entry.spec}`, or put it there"
            raise DataError(f"the file {file.name}", got=f"none in {folder}", fix=fix, where=f"--data {entry.spec}")
        paths.append(path)
    return PublishedGrid(entry, paths, size or entry.size, memory)
