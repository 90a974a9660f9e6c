"""Vectors with known directions inside, on which dictionaries of features go wrong in known ways."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.core.fields import Field, Fields
from unbraid.data.dataset import MemoryDataset, content_hash, rows_of
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.made.grid import FactorGrid
from unbraid.data.order import key_of


class Directions(FactorGrid):
    """Sums u_i + v_j of one direction each of two sets, all combinations once: which i, and which j?

    The directions are Gaussian, of mean length `ratio` (u) and 1 (v). Where u is longer, a sparse autoencoder finds a
    feature for every i, and few for a j: the longer attribute occludes the other (Makelov et al., 2024, section 5.1).

    Args:
        values: Directions in each set.
        width: Numbers in a vector.
        ratio: How much longer the u are.
        draw: Which directions: a number that seeds them.

    >>> data = Directions(values=8, width=16)
    >>> len(data), data.take(torch.tensor([[0, 63]]))["x"].shape, [f.name for f in data.factors]
    (64, torch.Size([1, 2, 16]), ['u', 'v'])
    """

    def __init__(self, values: int = 40, width: int = 32, ratio: float = 1.3, draw: int = 0) -> None:
        if values < 2 or width < 1 or not ratio > 0:
            got = f"{values} values, width {width}, ratio {ratio:g}"
            raise DataError("two values or more, a width and a ratio above 0", got=got, where="--data directions")
        labels = tuple(str(i) for i in range(values))
        factors = [Factor(name, "categorical", labels) for name in ("u", "v")]
        name = f"directions:values={values},width={width},ratio={ratio:g},draw={draw}"
        super().__init__(name, factors, (width, 1, 1), version=1)
        self.fields = Fields(**{**self.fields, "x": Field((width,))})
        generator = torch.Generator().manual_seed(key_of("directions", draw))
        self.vectors = torch.randn((2, values, width), generator=generator) / width**0.5
        self.vectors[0] *= ratio

    def render(self, factors: Int[Tensor, "*index 2"]) -> Tensor:
        u, v = self.vectors.to(factors.device)
        return rows_of(u, factors[..., 0]) + rows_of(v, factors[..., 1])

    @property
    def hash(self) -> str:
        return content_hash({"name": self.name, "version": 1})


def blobs(width: int = 100, distance: float = 2.0, items: int = 20_000, draw: int = 0) -> MemoryDataset:
    """Two Gaussian clouds around a mean and its opposite: N(mu, I) and N(-mu, I) in equal parts.

    Two features are all there is to find, and yet many features reconstruct more at the same price: the clouds are
    split (Makelov et al., 2024, section 5.2).

    Args:
        width: Numbers in a vector.
        distance: Length of mu.
        items: Vectors.
        draw: Which vectors: a number that seeds them.

    >>> blobs(items=10).take(torch.arange(3))["x"].shape
    torch.Size([3, 100])
    """
    if width < 1 or items < 2 or not distance >= 0:
        got = f"width {width}, distance {distance:g}, {items} items"
        raise DataError("a width, a distance from 0 on and two items or more", got=got, where="--data blobs")
    generator = torch.Generator().manual_seed(key_of("blobs", draw))
    mean = torch.nn.functional.normalize(torch.randn(width, generator=generator), dim=0) * distance
    cloud = torch.arange(items) % 2
    x = torch.randn((items, width), generator=generator) + torch.where(cloud[:, None] == 0, mean, -mean)
    table = FactorTable([Factor("cloud", "categorical", ("plus", "minus"))], cloud[:, None].double().numpy())
    return MemoryDataset(f"blobs:width={width},distance={distance:g},items={items},draw={draw}", x, table)
