"""Very few made data, on which contracts are checked."""

from __future__ import annotations

import numpy as np
import torch

from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import Factor, FactorTable


def tiny_vectors(rows: int = 48, width: int = 12, seed: int = 0) -> MemoryDataset:
    """Vectors in [0, 1] whose first half tells a factor `kind` of three values, the second half `level`.

    >>> data = tiny_vectors()
    >>> len(data), data.fields["x"].shape, [f.name for f in data.factors]
    (48, (12,), ['kind', 'level'])
    """
    return _made("tiny vectors", rows, (width,), seed)


def tiny_images(rows: int = 48, size: int = 16, channels: int = 1, seed: int = 0) -> MemoryDataset:
    """Images in [0, 1] whose upper half tells a factor `kind` of three values, the lower half `level`.

    >>> tiny_images(channels=3).fields["x"].shape
    (3, 16, 16)
    """
    return _made("tiny images", rows, (channels, size, size), seed)


def _made(name: str, rows: int, shape: tuple[int, ...], seed: int) -> MemoryDataset:
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(3, (rows, 2), generator=generator)
    noise = torch.rand((rows, *shape), generator=generator)
    axis = shape[-1] if len(shape) == 1 else shape[-2]
    where = (torch.arange(axis) * 2 // axis).reshape(-1, *[1] * (len(shape) > 1))
    signal = codes[:, where.flatten()].reshape(rows, *[1] * (len(shape) - where.ndim), *where.shape) / 2
    factors = [Factor("kind", "categorical", ("a", "b", "c")), Factor("level", "ordinal", ("0", "1", "2"))]
    x = (0.8 * signal + 0.2 * noise).expand(rows, *shape).contiguous()
    return MemoryDataset(name, x, FactorTable(factors, codes.numpy().astype(np.float64)), unit=True)
