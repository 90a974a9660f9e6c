"""`placed-digits`: digits somewhere on a larger, noisy canvas, few of some classes where that is asked for."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import numpy as np
import torch

from unbraid.core.errors import DataError
from unbraid.data.dataset import MemoryDataset
from unbraid.data.digits import digits
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.order import key_of

Split = Literal["train", "test"]
_SIDE = 8  # of a digit


class PlacedDigits(MemoryDataset):
    """Digits of 8 x 8 pixels at random places; factors `digit`, `row` and `column`. Others are held out for testing."""

    roles = {"label": "digit"}

    def __init__(self, split: Split, rows: int, size: int, noise: float, imbalance: float, seed: int) -> None:
        self._options = {"rows": rows, "size": size, "noise": noise, "imbalance": imbalance, "seed": seed}
        plain = digits(_SIDE)
        if not 10 <= rows < len(plain):
            raise DataError(f"10 to {len(plain) - 1} for training", got=str(rows), where="placed-digits: rows")
        if size < _SIDE or noise < 0 or imbalance < 1:
            got = f"size {size}, noise {noise:g}, imbalance {imbalance:g}"
            raise DataError(f"size from {_SIDE}, noise from 0 and imbalance from 1 on", got=got, where="placed-digits")
        order = np.random.default_rng(key_of(seed, "placed", "order")).permutation(len(plain))
        chosen = order[:rows] if split == "train" else order[rows:]
        digit = plain.table(torch.from_numpy(order)).column("digit").astype(np.int64)
        digit = digit[:rows] if split == "train" else digit[rows:]
        if split == "train":
            kept = _thinned(digit, imbalance)
            chosen, digit = chosen[kept], digit[kept]
        generator = np.random.default_rng(key_of(seed, "placed", split))
        corner = generator.integers(0, size - _SIDE + 1, (len(chosen), 2))
        x = generator.normal(0, noise, (len(chosen), size, size)).astype(np.float32)
        down, right = (corner[:, i, None] + np.arange(_SIDE) for i in range(2))
        item = np.arange(len(chosen))[:, None, None]
        x[item, down[:, :, None], right[:, None]] += plain.take(torch.from_numpy(chosen))["x"][:, 0].numpy()
        names = tuple(str(i) for i in range(size - _SIDE + 1))
        factors = (
            Factor("digit", "categorical", tuple(str(d) for d in range(10))),
            Factor("row", "ordinal", names),
            Factor("column", "ordinal", names),
        )
        table = FactorTable(factors, np.column_stack([digit, corner]).astype(np.float64))
        options = ",".join(f"{name}={value:g}" for name, value in self._options.items())
        pictures = torch.from_numpy(x).clamp(0, 1)[:, None]
        super().__init__(f"placed-digits:split={split},{options}", pictures, table, unit=True)

    @cached_property
    def held_out(self) -> PlacedDigits:
        """The test images."""
        return PlacedDigits("test", **self._options)  # type: ignore[arg-type]


def _thinned(digit: np.ndarray, imbalance: float) -> np.ndarray:
    """Positions that are kept: all 0s, and ever fewer of each further class, down to one in `imbalance` 9s."""
    kept = []
    for d in range(10):
        where = np.flatnonzero(digit == d)
        kept.append(where[: max(1, round(len(where) * imbalance ** (-d / 9)))])
    return np.sort(np.concatenate(kept))


def placed_digits(
    split: Split = "train",
    rows: int = 600,
    size: int = 12,
    noise: float = 0.3,
    imbalance: float = 1.0,
    seed: int = 0,
) -> PlacedDigits:
    """scikit-learn's digits on a canvas.

    Args:
        split: The part: "train" or "test".
        rows: Digits for training, before any are left out; the others are for testing.
        size: Height and width of the canvas.
        noise: Standard deviation of the noise in every pixel, before pixels are cut to 0..1.
        imbalance: How many times as many 0s as 9s there are in training; the classes between lie between.
        seed: Of what is in which part, of places and of noise.

    >>> data = placed_digits()
    >>> len(data), len(data.held_out), data.fields["x"].shape, [f.name for f in data.factors]
    (600, 1197, (1, 12, 12), ['digit', 'row', 'column'])
    """
    return PlacedDigits(split, rows, size, noise, imbalance, seed)
