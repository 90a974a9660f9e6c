"""`hypercube`: all vectors of a few signs, of which every expectation can be summed exactly."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch

from unbraid.core.errors import DataError
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import Factor, FactorTable

_MOST = 12


class Hypercube(MemoryDataset):
    """The 2^d vectors of {-1, 1}^d; `parity1`, `parity2`, ... are the products of their first 1, 2, ... entries.

    Args:
        d: Entries.
        repeat: How often each vector is there.

    >>> data = Hypercube(d=3)
    >>> len(data), data.take(torch.tensor([1]))["x"].tolist(), [f.name for f in data.factors]
    (8, [[-1.0, -1.0, 1.0]], ['parity1', 'parity2', 'parity3'])
    """

    def __init__(self, d: int = 6, repeat: int = 1) -> None:
        if not 2 <= d <= _MOST or repeat < 1:
            got = f"d={d}, repeat={repeat}"
            raise DataError(f"2 to {_MOST} entries, each vector at least once", got=got, where="--data hypercube")
        x = np.tile(np.array([*product([-1.0, 1.0], repeat=d)]), (repeat, 1))
        factors = [Factor(f"parity{i + 1}", "categorical", ("odd", "even")) for i in range(d)]
        odd = np.cumprod(x, axis=1)
        table = FactorTable(factors, (odd + 1) / 2)
        super().__init__(f"hypercube:d={d},repeat={repeat}", torch.tensor(x, dtype=torch.float32), table)
