"""IDX, the format of MNIST and its relatives: `NAME-images-idx3-ubyte(.gz)` and `NAME-labels-idx1-ubyte(.gz)`."""

from __future__ import annotations

import gzip
import math
import os
import re
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from unbraid.core.errors import DataError
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.readers.check import LIMIT, open_bytes, plain_size
from unbraid.data.readers.observations import observations

_IMAGES = re.compile(r"^(.*)images([-.])idx3-ubyte(\.gz)?$")
_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_DEFLATE_RATIO = 1040
"""Deflate cannot pack better than this."""


def is_idx(path: Path) -> bool:
    """Whether a file has the name of IDX images."""
    return bool(_IMAGES.match(path.name))


def find_idx(folder: Path) -> Path | None:
    """The images to read in a folder: the only ones, else those for training.

    Raises:
        DataError: There are several, and none has "train" in its name.
    """
    found = sorted(p for p in folder.iterdir() if is_idx(p))
    by_set = {p.name.removesuffix(".gz"): p for p in found}
    if len(by_set) > 1:
        train = [p for name, p in by_set.items() if "train" in name]
        if len(train) != 1:
            names = ", ".join(p.name for p in by_set.values())
            raise DataError("one set of images", got=names, fix="name one of the files", where=str(folder))
        return train[0]
    return next(iter(by_set.values()), None)


def find_mnist(folder: str | Path | None, where: str) -> Path:
    """The images of MNIST in a folder, or in "mnist" below the folder `UNBRAID_DATA` where None.

    Raises:
        DataError: They are not there; names who asked.
    """
    beside = Path(os.environ.get("UNBRAID_DATA", ".")) / "mnist"
    place = beside if folder is None else Path(folder).expanduser()
    found = find_idx(place) if place.is_dir() else None
    if found is None:
        fix = "set UNBRAID_DATA to the folder that holds 'mnist', or give folder=PATH"
        raise DataError("MNIST's IDX files", got=f"none in {place}", fix=fix, where=where)
    return found


def open_idx(name: str, path: Path, size: int | None = None) -> MemoryDataset:
    """Images (1, H, W) and, when the labels lie beside them, the categorical factor `digit`."""
    images = read_idx(path)
    if images.ndim != 3:
        raise DataError("images (N, H, W)", got=f"shape {images.shape}", where=str(path))
    x, unit = observations(images, str(path), size)
    return MemoryDataset(name, x, _labels(path, len(x)), unit=unit)


def read_idx(path: Path, limit: int = LIMIT) -> np.ndarray:
    """The array of an IDX file, packed with gzip or not; its header is checked against what the file can hold."""
    packed = path.suffix == ".gz"
    with open_bytes(path) as raw:
        room = path.stat().st_size * (_DEFLATE_RATIO if packed else 1)
        stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if packed else raw
        try:
            return _read(stream, room, limit, path)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError("a whole gzip file", got=str(error), fix="fetch it again", where=str(path)) from None


def _read(stream: IO[bytes], room: int, limit: int, path: Path) -> np.ndarray:
    start = stream.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _DTYPES or not 1 <= start[3] <= 4:
        raise DataError("an IDX file", got=f"the first bytes {start!r}", where=str(path))
    dtype, rank = np.dtype(_DTYPES[start[2]]), start[3]
    lengths = stream.read(4 * rank)
    if len(lengths) < 4 * rank:
        raise DataError("an IDX header", got="a file that is cut short", fix="fetch it again", where=str(path))
    shape = struct.unpack(f">{rank}I", lengths)
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > limit:
        raise DataError(f"at most {plain_size(limit)}", got=f"a header that claims {shape}", where=str(path))
    content = stream.read(claimed) if claimed <= room else b""
    if len(content) < claimed:
        got, fix = "a file that ends before", "it is cut short or damaged: fetch it again"
        raise DataError(f"the {plain_size(claimed)} its header claims, {shape}", got=got, fix=fix, where=str(path))
    return np.frombuffer(bytearray(content), dtype=dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _labels(images: Path, count: int) -> FactorTable:
    stem, separator, _ = _IMAGES.match(images.name).groups()  # type: ignore[union-attr]
    plain = images.with_name(f"{stem}labels{separator}idx1-ubyte")
    path = next((p for p in (plain, plain.with_name(plain.name + ".gz")) if p.exists()), None)
    if path is None:
        return FactorTable.empty(count)
    labels = read_idx(path)
    if labels.shape != (count,):
        raise DataError(f"a label for each of {count} images", got=f"shape {labels.shape}", where=str(path))
    if labels.dtype.kind != "u":
        raise DataError("labels from 0 on", got=f"dtype {labels.dtype}", where=str(path))
    classes = max(10, int(labels.max(initial=0)) + 1)
    factor = Factor("digit", "categorical", tuple(str(c) for c in range(classes)))
    return FactorTable([factor], labels[:, None].astype(np.float64))
