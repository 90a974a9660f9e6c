"""SmallNORB: six files in a binary matrix format of their own, packed or plain."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from unbraid.core.errors import DataError
from unbraid.data.official.registry import Block, Official
from unbraid.data.readers.check import open_bytes

_BYTES, _INTEGERS = 0x1E3D4C55, 0x1E3D4C54
_CAMERAS, _PAIRS = 2, 1024


def blocks(entry: Official, paths: list[Path]) -> Iterator[Block]:
    """The first camera's images of both halves, each half in the three files dat, cat and info."""
    halves = [paths[:3], paths[3:]]
    rows = [_rows_of(entry, cat, info) for _, cat, info in halves]
    if not np.array_equal(np.sort(np.concatenate(rows)), np.arange(entry.rows)):
        got = f"{sum(map(len, rows))} rows of which {len(np.unique(np.concatenate(rows)))} differ"
        raise DataError(f"each of {entry.rows} combinations once", got=got, where=f"{paths[1]} and {paths[4]}")
    for (dat, _, _), places in zip(halves, rows, strict=True):
        yield from _images(entry, dat, places)


def _rows_of(entry: Official, cat: Path, info: Path) -> np.ndarray:
    """The place in the grid of each image of a half."""
    count = entry.rows // 2
    category = _whole(cat, (count,))
    rest = _whole(info, (count, 4))
    azimuth = entry.factors.index(next(f for f in entry.factors if f.name == "azimuth"))
    codes = np.column_stack([category, rest])
    odd = codes[:, azimuth] % 2 == 1
    codes[:, azimuth] //= 2  # 0, 2, 4, ...: tens of degrees
    bad = odd | (codes < 0).any(1) | (codes >= np.array(entry.sizes)).any(1)
    if bad.any():
        row = int(bad.argmax())
        got = f"category {category[row]} and {rest[row].tolist()} in row {row}"
        raise DataError(f"factors of sizes {entry.sizes}", got=got, fix="fetch the file again", where=str(info))
    return np.asarray(np.ravel_multi_index(tuple(codes.T), entry.sizes))


def _images(entry: Official, path: Path, rows: np.ndarray) -> Iterator[Block]:
    height, width, _ = entry.shape
    with _opened(path) as stream:
        _check_head(stream, _BYTES, (len(rows), _CAMERAS, height, width))
        for start in range(0, len(rows), _PAIRS):
            part = rows[start : start + _PAIRS]
            pairs = _array(stream, (len(part), _CAMERAS, height, width), np.dtype(np.uint8))
            yield part, pairs[:, 0]
        _check_end(stream)


def _whole(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    with _opened(path) as stream:
        _check_head(stream, _INTEGERS, shape)
        array = _array(stream, shape, np.dtype("<i4"))
        _check_end(stream)
    return array.astype(np.int64)


@dataclass(frozen=True)
class _Stream:
    """Bytes, and where they come from."""

    source: IO[bytes]
    where: str

    def read(self, count: int) -> bytes:
        try:
            return self.source.read(count)
        except (OSError, EOFError, zlib.error) as error:
            got, fix = " ".join(str(error).split())[:80], "fetch the file again"
            raise DataError("a whole file", got=got, fix=fix, where=self.where) from None


@contextmanager
def _opened(path: Path) -> Iterator[_Stream]:
    with open_bytes(path) as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        source: Any = gzip.GzipFile(fileobj=file, mode="rb") if packed else file
        yield _Stream(source, str(path))


def _check_head(stream: _Stream, magic: int, shape: tuple[int, ...]) -> None:
    """Magic number, number of axes, and at least three lengths, all little-endian."""
    length = 4 * (2 + max(3, len(shape)))
    head = stream.read(length)
    if len(head) < length:
        raise _short(stream.where)
    found, axes, *lengths = struct.unpack(f"<{length // 4}i", head)
    if found != magic:
        raise DataError(f"the magic number {magic:08X}", got=f"{found & 0xFFFFFFFF:08X}", where=stream.where)
    if axes != len(shape) or tuple(lengths[: len(shape)]) != shape:
        got = f"{axes} axes of {lengths}"
        raise DataError(f"a matrix of shape {shape}", got=got, fix="fetch the file again", where=stream.where)


def _array(stream: _Stream, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    size = math.prod(shape) * dtype.itemsize
    content = stream.read(size)
    if len(content) < size:
        raise _short(stream.where)
    return np.frombuffer(content, dtype=dtype).reshape(shape)


def _check_end(stream: _Stream) -> None:
    # A packed file checks its sum only where it ends.
    if stream.read(1):
        raise DataError("nothing after the matrix", got="more bytes", fix="fetch the file again", where=stream.where)


def _short(where: str) -> DataError:
    return DataError("a whole matrix", got="a file that is cut short", fix="fetch the file again", where=where)
