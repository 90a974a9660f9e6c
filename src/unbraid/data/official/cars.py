"""Cars3D: one `.mat` file per car, in a `.tar.gz` or in a folder."""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from unbraid.core.errors import DataError
from unbraid.data.official.checks import check_images
from unbraid.data.official.registry import Block, Official
from unbraid.data.readers.check import brief, open_bytes, plain_size

_LIMIT = 2**26
"""Bytes that the file of one car may have."""


def blocks(entry: Official, path: Path) -> Iterator[Block]:
    """A block per car, the cars in the order of their files' names: `im` (H, W, C, azimuth, elevation)."""
    elevations, azimuths, cars = entry.sizes
    names = sorted(name for name, _ in _cars(path, contents=False))
    if len(names) != cars or len(set(names)) != cars:
        got, fix = str(len(names)), "fetch the file again"
        raise DataError(f"{cars} files that end in .mat in a folder 'cars'", got=got, fix=fix, where=str(path))
    number = {name: i for i, name in enumerate(names)}
    views = np.arange(elevations * azimuths) * cars
    for name, content in _cars(path):
        yield views + number[name], _images(entry, content, f"{path}: {name}")


def _cars(path: Path, contents: bool = True) -> Iterator[tuple[str, bytes]]:
    """Name and content of each car's file, in any order."""
    if not path.is_dir():
        yield from _in_archive(path, contents)
        return
    for file in path.iterdir():
        if _is_car(PurePosixPath("cars", file.name)):
            with open_bytes(file) as stream:
                yield file.name, _bounded(stream, str(file)) if contents else b""


def _in_archive(path: Path, contents: bool) -> Iterator[tuple[str, bytes]]:
    """The cars in an archive, which is read from front to back and never unpacked to the disk."""
    with open_bytes(path) as file:
        try:
            with tarfile.open(fileobj=file, mode="r|gz") as archive:
                for member in archive:
                    name = PurePosixPath(member.name)
                    if not member.isreg() or not _is_car(name):
                        continue
                    stream = archive.extractfile(member) if contents else None
                    yield name.name, _bounded(stream, f"{path}: {name.name}") if stream is not None else b""
        except (
            tarfile.TarError,
            OSError,
            EOFError,
            ValueError,
            TypeError,
            zlib.error,
        ) as error:
            raise _damaged("a whole .tar.gz file", error, str(path)) from None


def _is_car(path: PurePosixPath) -> bool:
    return path.suffix == ".mat" and path.parent.name == "cars" and not path.name.startswith(".")


def _bounded(stream: IO[bytes], where: str) -> bytes:
    content = stream.read(_LIMIT + 1)
    if len(content) > _LIMIT:
        raise DataError(f"at most {plain_size(_LIMIT)} for one car", got="more", where=where)
    return content


def _images(entry: Official, content: bytes, where: str) -> np.ndarray:
    """The views of one car (elevation x azimuth, H, W, C)."""
    from scipy.io import loadmat, whosmat  # takes a moment to load

    height, width, channels = entry.shape
    elevations, azimuths, _ = entry.sizes
    shape = (height, width, channels, azimuths, elevations)
    try:
        claimed = {name: (size, kind) for name, size, kind in whosmat(io.BytesIO(content))}
        size, kind = claimed.get("im", ((), "no array 'im'"))
        if kind == "uint8" and tuple(size) == shape:
            im = np.asarray(loadmat(io.BytesIO(content), variable_names=["im"])["im"])
        else:
            raise DataError(f"'im' of shape {shape}, uint8", got=f"shape {tuple(size)}, {kind}", where=where)
    except DataError:
        raise
    except Exception as error:  # scipy raises what it likes on a damaged file
        raise _damaged("a whole .mat file", error, where) from None
    check_images(im.shape, im.dtype, shape, where)
    return np.ascontiguousarray(im.transpose(4, 3, 0, 1, 2)).reshape(-1, height, width, channels)


def _damaged(expected: str, error: Exception, where: str) -> DataError:
    got = brief(" ".join(str(error).split()) or type(error).__name__, 80)
    return DataError(expected, got=got, fix="fetch the file again", where=where)
