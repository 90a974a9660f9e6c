"""`digits`: the 1,797 handwritten digits that come with scikit-learn."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import interpolate

from unbraid.core.errors import DataError
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import Factor, FactorTable

SIZES = (8, 16, 32)
SPLITS = ("all", "train", "test")
_TEST = 360


class Digits(MemoryDataset):
    """Some of the digits.

    Attributes:
        held_out: The test digits, which those for training leave out; None for all.
    """

    held_out: MemoryDataset | None = None


def digits(size: int = 16, split: str = "all") -> Digits:
    """Images (1, size, size) in [0, 1] and the categorical factor `digit`.

    Args:
        size: 8 as they were made, or 16 or 32 by bilinear interpolation: convolutional networks start at 16.
        split: All of them, or those for training or testing: a fifth, drawn once and for all.

    >>> data = digits()
    >>> len(data), data.fields["x"].shape, data.factors[0].name
    (1797, (1, 16, 16), 'digit')
    """
    if size not in SIZES:
        raise DataError(f"one of {', '.join(map(str, SIZES))}", got=str(size), where="digits: size")
    from sklearn.datasets import load_digits  # takes a second to load

    images, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(np.asarray(images, dtype=np.float32)).reshape(-1, 1, 8, 8) / 16
    if split not in SPLITS:
        raise DataError(f"one of {', '.join(SPLITS)}", got=split, where="digits: split")
    if size != 8:
        x = interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
    factor = Factor("digit", "categorical", tuple(str(d) for d in range(10)))
    if split == "all":
        return Digits(f"digits:size={size}", x, FactorTable([factor], labels[:, None]), unit=True)
    drawn = np.random.default_rng(0).permutation(len(x))
    parts = {"test": np.sort(drawn[:_TEST]), "train": np.sort(drawn[_TEST:])}
    made = {
        name: Digits(f"digits:size={size},split={name}", x[rows], FactorTable([factor], labels[rows, None]), unit=True)
        for name, rows in parts.items()
    }
    made["train"].held_out = made["test"]
    return made[split]
