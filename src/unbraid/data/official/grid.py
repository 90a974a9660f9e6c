"""A `FactorGrid` whose images are looked up: in memory, or in a file that is mapped into it."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy.lib.format import open_memmap
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.dataset import content_hash
from unbraid.data.made.grid import FactorGrid
from unbraid.data.official.registry import Official
from unbraid.data.readers.check import plain_size
from unbraid.data.readers.observations import resized


class Pixels(Protocol):
    """Images by number."""

    def rows(self, indices: Int[Tensor, " n"]) -> UInt8[Tensor, "n c h w"]:
        """Some images, on the device of `indices`."""


class PublishedGrid(FactorGrid):
    """A published set: its images are looked up in the order of its factors.

    Its hash is of its name, its factors and the sizes of its files in bytes, since reading them all would take long.
    For the same reason they are read only once: the images, as they come out, are written into a file beside them.

    Args:
        entry: Which one.
        paths: Its files.
        size: Height and width that images are brought to.
        memory: Bytes that the images may take; of more than that, what is asked for is read from the file beside.

    Raises:
        DataError: The files are not the published ones.
    """

    def __init__(self, entry: Official, paths: list[Path], size: int, memory: int = 2**30) -> None:
        variant = f"variant={entry.variant}," if entry.variant else ""
        shape = (entry.shape[2], size, size)
        super().__init__(f"{entry.name}:{variant}size={size}", entry.factors, shape, version=1)
        self.notes = entry.notes
        self._files = [(path.name, _weight(path)) for path in paths]
        self.slow = len(self) * math.prod(shape) > memory
        self._pixels: Pixels = _pixels(entry, paths, size, fits=not self.slow)

    def render(self, factors: Int[Tensor, "*index k"]) -> Float[Tensor, "*index c h w"]:
        index = self.index_of(factors)
        x = self._pixels.rows(index.flatten())
        return x.reshape(*index.shape, *self.fields["x"].shape).float().div_(255)

    @property
    def hash(self) -> str:
        shape = self.fields["x"].shape
        return content_hash({"name": self.name, "sizes": self.sizes, "shape": shape, "files": self._files})


class _InMemory:
    """All images in one tensor, on whatever device they were last asked for."""

    def __init__(self, x: UInt8[Tensor, "n c h w"]) -> None:
        self._x = x

    def rows(self, indices: Int[Tensor, " n"]) -> UInt8[Tensor, "n c h w"]:
        if self._x.device != indices.device:
            self._x = self._x.to(indices.device)
        return self._x[indices]


class _Mapped:
    """All images in an `.npy` file, which each process maps for itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._map: np.ndarray | None = None

    def __getstate__(self) -> dict[str, object]:
        """Without the map, which would travel to another process as a copy of the whole file."""
        return {"_path": self._path, "_map": None}

    def rows(self, indices: Int[Tensor, " n"]) -> UInt8[Tensor, "n c h w"]:
        if self._map is None:
            self._map = _open_map(self._path)
        # In the order of the file, each once: the disk is read forward, and pairs often share an image.
        unique, back = np.unique(indices.cpu().numpy(), return_inverse=True)
        return torch.from_numpy(self._map[unique])[torch.from_numpy(back)].to(indices.device)


def _pixels(entry: Official, paths: list[Path], size: int, fits: bool) -> Pixels:
    """The images, from the file that an earlier opening has unpacked where there is one."""
    path = paths[0].parent / f"{'-'.join(filter(None, (entry.name, entry.variant)))}-{size}.npy"
    shape = (entry.rows, entry.shape[2], size, size)
    if not _is_unpacked(path, paths, shape):
        refusal = _no_room(path, math.prod(shape))
        if refusal is not None and fits:
            return _InMemory(_filled(torch.empty(shape, dtype=torch.uint8), entry, paths, size))
        if refusal is not None:
            raise refusal
        _unpack(path, entry, paths, size)
    return _InMemory(torch.from_numpy(np.array(_open_map(path)))) if fits else _Mapped(path)


def _no_room(path: Path, needed: int) -> DataError | None:
    """Why a file cannot be written, if it cannot."""
    if not os.access(path.parent, os.W_OK):
        fix = "copy its files into a folder of yours"
        return DataError("a folder to unpack into", got="one that cannot be written", fix=fix, where=str(path.parent))
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        fix = "make room, or ask for a smaller size"
        return DataError(f"{plain_size(needed)} free to unpack into", got=plain_size(free), fix=fix, where=str(path))
    return None


def _is_unpacked(path: Path, paths: list[Path], shape: tuple[int, ...]) -> bool:
    """Whether the file is there, newer than what it was made of, and of this shape."""
    try:
        if path.stat().st_mtime < max(source.stat().st_mtime for source in paths):
            return False
        found = open_memmap(path, mode="r")
    except (OSError, ValueError):
        return False
    return found.shape == shape and found.dtype == np.uint8


def _unpack(path: Path, entry: Official, paths: list[Path], size: int) -> None:
    """Write the file under a temporary name, then give it its own: it is complete or absent."""
    shape = (entry.rows, entry.shape[2], size, size)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        out = open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        _filled(torch.from_numpy(out), entry, paths, size)
        out.flush()
        temporary.replace(path)
    except OSError as error:
        raise DataError("a folder to unpack into", got=error.strerror or str(error), where=str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def _open_map(path: Path) -> np.ndarray:
    try:
        return open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        got = f"{error}"
        raise DataError("the unpacked images", got=got, fix="open the data again", where=str(path)) from None


def _filled(out: UInt8[Tensor, "n c h w"], entry: Official, paths: list[Path], size: int) -> UInt8[Tensor, "n c h w"]:
    """The tensor again, with all images in it."""
    done = 0
    for rows, block in entry.blocks(entry, paths):
        out[torch.from_numpy(rows)] = resized(_white(entry, block, paths), size)
        done += len(rows)
    if done != entry.rows:
        raise DataError(f"{entry.rows} images", got=str(done), fix="fetch the files again", where=str(paths[0]))
    return out


def _white(entry: Official, block: np.ndarray, paths: list[Path]) -> UInt8[Tensor, "n c h w"]:
    """A block with its channels in front and white at 255."""
    if entry.peak != 255 and block.size and block.max() > entry.peak:
        got = f"{block.max()}"
        raise DataError(f"pixels 0..{entry.peak}", got=got, fix="fetch the file again", where=str(paths[0]))
    pixels = np.moveaxis(block, -1, 1) if block.ndim == 4 else block[:, None]
    return torch.from_numpy(np.ascontiguousarray(pixels) * np.uint8(255 // entry.peak))


def _weight(path: Path) -> int:
    """Bytes of a file, or of those in a folder."""
    return sum(p.stat().st_size for p in sorted(path.iterdir())) if path.is_dir() else path.stat().st_size
