"""Clips: a folder of frames for each, or an array of them all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.codes import factors_of_npz, ids_of_npz, read_factors
from unbraid.data.dataset import Dataset, Device, MemoryDataset, content_hash, describe
from unbraid.data.factors import FactorTable
from unbraid.data.readers import images
from unbraid.data.readers.arrays import Npz, names_of, read_npy
from unbraid.data.readers.check import LIMIT
from unbraid.data.readers.folders import class_table, find_files, name_table
from unbraid.data.readers.observations import observations

_CALLED = ("x", "clips", "frames", "video")
_MOST = 4096


class Clips(Dataset):
    """Clips (T, C, H, W) whose frames lie one after the other in another data set.

    Args:
        name: What it is called in reports.
        frames: All frames of the first clip, then all of the second, and so on.
        count: Frames in a clip, T.
        table: The factors of every clip.
        ids: A name for each clip.

    >>> stills = MemoryDataset("stills", torch.arange(6, dtype=torch.uint8).reshape(6, 1, 1, 1))
    >>> clips = Clips("two", stills, 3, FactorTable.empty(2), ["a", "b"])
    >>> clips.take(torch.tensor([1]))["x"].mul(255).flatten().tolist(), clips.fields["x"].shape
    ([3.0, 4.0, 5.0], (3, 1, 1, 1))
    """

    def __init__(self, name: str, frames: Dataset, count: int, table: FactorTable, ids: Sequence[str]) -> None:
        still = frames.fields["x"]
        self.name, self.factors, self.slow = name, table.factors, frames.slow
        self.fields = describe((count, *still.shape), table.factors, unit=still.unit)
        self._frames, self._count, self._table, self._ids = frames, count, table, list(ids)
        self._codes, self._known = table.codes()

    def __len__(self) -> int:
        return len(self._ids)

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        where = indices.cpu()
        frames = where[..., None] * self._count + torch.arange(self._count)
        batch = {"x": self._frames.take(frames, device)["x"], "index": where.to(device)}
        if self.factors:
            batch |= {"factors": self._codes[where].to(device), "known": self._known[where].to(device)}
        return batch

    def table(self, indices: Int[Tensor, " n"]) -> FactorTable:
        return self._table.rows(indices.cpu())

    @property
    def hash(self) -> str:
        content = {"frames": self._frames.hash, "count": self._count, "codes": self._codes, "known": self._known}
        return content_hash({**content, "described": self.factors})

    def ids(self, indices: Int[Tensor, " n"]) -> list[str]:
        return [self._ids[int(i)] for i in indices]

    def observed(self, factor: str) -> bool:
        return not np.isnan(self._table.column(factor)).any()


def open_clips(
    path: Path,
    size: int | None = None,
    frames: int = 16,
    factors: Path | None = None,
    pattern: str | None = None,
    memory: int = 2**30,
) -> Dataset:
    """Clips of equally many frames, taken evenly from each; one that has fewer shows some of them again.

    - A folder: every folder in it that holds images is a clip, its frames in the order of the numbers in their names.
      The folder around it gives the factor `class`, names of clips give others by a pattern, `factors.csv` any others.
    - `.npy` or `.npz`: an array (N, T, H, W), (N, T, H, W, C) or (N, T, C, H, W); factors as for images.

    Args:
        path: The folder or file.
        size: Height and width to bring frames to; arrays stay as they are, and folders come at 64, where None.
        frames: Frames of a clip, T.
        factors: A file with more factors.
        pattern: What the names of clips tell, see `name_table`.
        memory: Bytes of frames that are held in memory; more are read when they are taken.

    Raises:
        DataError: There are no clips, or they cannot be read.
    """
    if not 1 <= frames <= _MOST:
        raise DataError(f"1 to {_MOST} frames", got=str(frames), where="frames")
    if size is not None and not 1 <= size <= _MOST:
        raise DataError(f"1 to {_MOST} pixels", got=str(size), where="size")
    if path.is_dir():
        return _of_folders(path, size or 64, frames, factors, pattern, memory)
    if pattern is not None:
        raise DataError("a folder of clips, where a pattern is given", got=f"'{path.name}'", where="--pattern")
    return _of_array(path, size, frames, factors)


def spread(have: int, want: int) -> list[int]:
    """Which of `have` frames are taken: the middle one of each of `want` equal stretches.

    >>> spread(8, 4), spread(2, 4)
    ([1, 3, 5, 7], [0, 0, 1, 1])
    """
    return [(2 * k + 1) * have // (2 * want) for k in range(want)]


def _of_folders(folder: Path, size: int, count: int, factors: Path | None, pattern: str | None, memory: int) -> Dataset:
    clips: dict[str, list[str]] = {}
    for file in find_files(folder, images.SUFFIXES):
        clips.setdefault(file.rpartition("/")[0], []).append(file)
    fix = "put the frames of each clip into a folder of its own"
    if "" in clips:
        raise DataError("a folder for each clip", got=f"'{clips[''][0]}' beside them", fix=fix, where=str(folder))
    if not clips:
        raise DataError("folders of frames", got="none with images", fix=fix, where=str(folder))
    names = sorted(clips)
    table = class_table(names)
    if pattern is not None:
        table = table.joined(name_table([f"{name}.clip" for name in names], pattern, folder))
    beside = folder / "factors.csv"
    for path in (beside if beside.exists() else None, factors):
        table = table if path is None else table.joined(read_factors(path, names, len(names)))
    files = [
        ordered[k]
        for name in names
        for ordered in [sorted(clips[name], key=_natural)]
        for k in spread(len(ordered), count)
    ]
    stills = images.open_images(str(folder), folder, files, FactorTable.empty(len(files)), size, memory)
    return Clips(str(folder), stills, count, table, names)


def _natural(file: str) -> list[tuple[int, str]]:
    """Text and numbers in turn, so that frame 9 comes before frame 10.

    >>> sorted(["f10.png", "f9.png"], key=_natural)
    ['f9.png', 'f10.png']
    """
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in re.split(r"(\d+)", file)]


def _of_array(path: Path, size: int | None, count: int, factors: Path | None) -> Dataset:
    if path.suffix.lower() == ".npy":
        x, table, ids = read_npy(path, LIMIT), None, None
    elif path.suffix.lower() == ".npz":
        with Npz(path, LIMIT) as npz:
            key = _observed(npz, path)
            x = npz.read(key)
            rows = len(x) if x.ndim else 0
            table, ids = factors_of_npz(npz, rows, path, [key]), ids_of_npz(npz, rows, path)
    else:
        raise DataError("a folder of clips, .npy or .npz", got=f"'{path.name}'", where=str(path))
    if x.ndim not in (4, 5) or 0 in x.shape:
        raise DataError("clips (N, T, H, W), with channels last or before H", got=f"shape {x.shape}", where=str(path))
    x = x[:, spread(x.shape[1], count)]
    stills, unit = observations(x.reshape(-1, *x.shape[2:]), str(path), size)
    clips = stills.reshape(len(x), count, *stills.shape[1:])
    data = MemoryDataset(str(path), clips, table, ids, unit=unit)
    return data if factors is None else data.with_factors(read_factors(factors, data.own_ids, len(data)))


def _observed(npz: Npz, path: Path) -> str:
    """The array that holds the clips."""
    named = [name for name in _CALLED if name in npz.headers]
    likely = named or [name for name, header in npz.headers.items() if len(header.shape) >= 4]
    if not named and len(likely) != 1:
        got, fix = names_of(npz.headers), "name the clips 'x'"
        raise DataError("an array 'x', or only one of four axes or more", got=got, fix=fix, where=str(path))
    return likely[0]
