"""What every reader of a published set compares: the images' shape, and the rows' order."""

from __future__ import annotations

from typing import Any

import numpy as np

from unbraid.core.errors import DataError
from unbraid.data.official.registry import Official


def check_images(shape: tuple[int, ...], dtype: np.dtype[Any], expected: tuple[int, ...], where: str) -> None:
    """Refuse images of another shape than the published ones, before any is read."""
    if tuple(shape) != expected or dtype != np.uint8:
        got = f"shape {tuple(shape)}, {dtype}"
        raise DataError(f"images of shape {expected}, uint8", got=got, fix="fetch the file again", where=where)


def check_order(entry: Official, codes: np.ndarray, where: str) -> None:
    """Refuse a file whose own labels (rows, factors) are not in the order of the grid."""
    grid = np.indices(entry.sizes, dtype=np.int32).reshape(len(entry.sizes), -1).T
    wrong = (codes != grid).any(1)
    if wrong.any():
        row = int(wrong.argmax())
        got = f"{codes[row].tolist()} in row {row}"
        raise DataError(f"the combination {grid[row].tolist()}", got=got, fix="fetch the file again", where=where)
