"""`digits`: the 1,797 handwritten digits that come with scikit-learn."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import interpolate

from unbraid.core.errors import DataError
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import Factor, FactorTable

SIZES = (8, 16, 32)


def digits(size: int = 16) -> MemoryDataset:
    """Images (1, size, size) in [0, 1] and the categorical factor `digit`.

    Args:
        size: 8 as they were made, or 16 or 32 by bilinear interpolation: convolutional networks start at 16.

    >>> data = digits()
    >>> len(data), data.fields["x"].shape, data.factors[0].name
    (1797, (1, 16, 16), 'digit')
    """
    if size not in SIZES:
        raise DataError(f"one of {', '.join(map(str, SIZES))}", got=str(size), where="digits: size")
    from sklearn.datasets import load_digits  # takes a second to load

    images, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(np.asarray(images, dtype=np.float32)).reshape(-1, 1, 8, 8) / 16
    if size != 8:
        x = interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
    factor = Factor("digit", "categorical", tuple(str(d) for d in range(10)))
    return MemoryDataset(f"digits:size={size}", x, FactorTable([factor], labels[:, None]), unit=True)
