"""dSprites and MPI3D: `.npz` files whose images are in the order of the grid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unbraid.core.errors import DataError
from unbraid.data.official.checks import check_images, check_order
from unbraid.data.official.registry import Block, Official
from unbraid.data.readers.arrays import Npz, names_of

_SPARE, _RATIO = 2**28, 2000
"""Bytes for what lies beside the images, and how many-fold it may all be packed: deflate can do no more than 1032."""


def blocks(entry: Official, path: Path, images: str, classes: str = "") -> Iterator[Block]:
    """The images in their order, unpacked a block at a time; nothing that needs pickle is read.

    Args:
        entry: Which set it is.
        path: Its file.
        images: The array of images.
        classes: The array of factor codes, where the file has one: compared with the grid.
    """
    height, width, channels = entry.shape
    shape = (entry.rows, height, width) if channels == 1 else (entry.rows, height, width, channels)
    with Npz(path, entry.rows * height * width * channels + _SPARE, _RATIO) as npz:
        for name in filter(None, (images, classes)):
            if name not in npz.headers:
                got = names_of(npz.headers)
                raise DataError(f"an array '{name}'", got=got, fix=f"is it the file of {entry.name}?", where=str(path))
        header = npz.headers[images]
        where = f"{path}: array '{images}'"
        check_images(header.shape, header.dtype, shape, where)
        if classes:
            _check_classes(entry, npz.read(classes), f"{path}: array '{classes}'")
        start = 0
        for block in npz.parts(images):
            yield np.arange(start, start + len(block)), block
            start += len(block)


def _check_classes(entry: Official, codes: np.ndarray, where: str) -> None:
    # In front of the factors of dSprites stands a colour, of which there is one.
    if codes.ndim != 2 or codes.shape != (entry.rows, len(entry.factors) + 1) or codes.dtype.kind not in "iu":
        got = f"shape {codes.shape}, {codes.dtype}"
        raise DataError(f"codes of shape {(entry.rows, len(entry.factors) + 1)}", got=got, where=where)
    check_order(entry, codes[:, 1:], where)
