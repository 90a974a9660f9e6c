"""Shapes3D: an `.h5` file with `images` and `labels`, in the order of the grid."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.core.errors import DataError, need
from unbraid.data.official.checks import check_images, check_order
from unbraid.data.official.registry import Block, Official
from unbraid.data.readers.check import brief, open_bytes, plain_size

_BLOCK, _CHUNK = 2**26, 2**28


def blocks(entry: Official, path: Path) -> Iterator[Block]:
    """The images in their order.

    A block ends where the file's own chunks end, as far as memory allows, so that each is unpacked once.
    """
    h5py = need("h5py", extra="hdf5")
    with open_bytes(path):
        pass
    try:
        with h5py.File(path, "r") as file:
            images = _member(h5py, file, "images", path)
            where = f"{path}: '{images.name}'"
            check_images(images.shape, images.dtype, (entry.rows, *entry.shape), where)
            _check_labels(entry, _member(h5py, file, "labels", path), f"{path}: '/labels'")
            step = _rows_at_once(images, where)
            for start in range(0, entry.rows, step):
                block = images[start : start + step]
                yield np.arange(start, start + len(block)), block
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:  # as libhdf5 is pleased to say it
        fix = "fetch the file again"
        raise DataError(
            "a whole HDF5 file", got=brief(" ".join(str(error).split()), 80), fix=fix, where=str(path)
        ) from None


def _member(h5py: Any, file: Any, name: str, path: Path) -> Any:
    """A data set that lies in this very file."""
    link = file.get(name, getlink=True)
    found = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual:
        raise DataError(f"a data set '{name}'", got=", ".join(list(file)[:8]) or "none", where=str(path))
    return found


def _rows_at_once(images: Any, where: str) -> int:
    row: int = math.prod(images.shape[1:])
    if images.chunks is None:
        return max(1, _BLOCK // row)
    chunk: int = math.prod(images.chunks)
    own: int = images.chunks[0]
    if chunk > _CHUNK:
        raise DataError(f"chunks of at most {plain_size(_CHUNK)}", got=plain_size(chunk), where=where)
    if row * own > 8 * _BLOCK:
        return max(1, 8 * _BLOCK // row)
    return own * max(1, _BLOCK // (row * own))


def _check_labels(entry: Official, labels: Any, where: str) -> None:
    shape = (entry.rows, len(entry.factors))
    if labels.shape != shape or labels.dtype.kind not in "iuf" or labels.dtype.itemsize > 8:
        got = f"shape {labels.shape}, {labels.dtype}"
        raise DataError(f"labels of shape {shape}", got=got, fix="fetch the file again", where=where)
    columns = [np.unique(column, return_inverse=True)[1].ravel() for column in labels[()].T]
    check_order(entry, np.stack(columns, 1), where)
