"""Made worlds whose items are all combinations of a few factors."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.dataset import Dataset, Device, content_hash, describe
from unbraid.data.factors import Factor, FactorTable


class FactorGrid(Dataset):
    """Every combination of some factors, each once; the last factor changes fastest with the index.

    A subclass says how a combination looks (`render`). Nothing here depends on chance.

    Args:
        name: The name it was opened by, with options.
        factors: The factors, none of them continuous.
        shape: Shape of an observation, (C, H, W) of an image.
        version: Counted up whenever the same index comes to look different.
    """

    def __init__(self, name: str, factors: Sequence[Factor], shape: tuple[int, ...], version: int) -> None:
        self.name = name
        self.factors = tuple(factors)
        self.fields = describe(shape, self.factors, unit=True)
        self.sizes: tuple[int, ...] = tuple(f.size for f in self.factors)
        self._version = version
        self._strides = tuple(math.prod(self.sizes[j + 1 :]) for j in range(len(self.sizes)))

    def __len__(self) -> int:
        return math.prod(self.sizes)

    @abstractmethod
    def render(self, factors: Int[Tensor, "*index k"]) -> Float[Tensor, "*index c h w"]:
        """The images in [0, 1] of some combinations, on the device of `factors`."""

    def factors_of(self, indices: Int[Tensor, "*index"]) -> Int[Tensor, "*index k"]:
        """The combination at each index, as codes 0..size-1."""
        strides, sizes = (torch.tensor(v, device=indices.device) for v in (self._strides, self.sizes))
        return indices[..., None].div(strides, rounding_mode="floor") % sizes

    def index_of(self, factors: Int[Tensor, "*index k"]) -> Int[Tensor, "*index"]:
        """The index of each combination: the inverse of `factors_of`."""
        return (factors * torch.tensor(self._strides, device=factors.device)).sum(-1)

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        self._check(indices)
        where = indices.to(device)
        factors = self.factors_of(where)
        known = torch.ones_like(factors, dtype=torch.bool)
        return {"x": self.render(factors), "index": where, "factors": factors.float(), "known": known}

    def table(self, indices: Int[Tensor, " n"]) -> FactorTable:
        self._check(indices)
        return FactorTable(self.factors, self.factors_of(indices.cpu()).double().numpy())

    @property
    def hash(self) -> str:
        return content_hash({"name": self.name, "version": self._version, "sizes": self.sizes})

    @property
    def _reach(self) -> int:
        """One more than the greatest index that means something."""
        return len(self)

    def _check(self, indices: Tensor) -> None:
        # On an accelerator the check would make every step wait for the device.
        if indices.device.type != "cpu" or not indices.numel():
            return
        low, high = int(indices.min()), int(indices.max())
        if low < 0 or high >= self._reach:
            raise DataError(f"indices 0..{self._reach - 1}", got=str(low if low < 0 else high), where=self.name)
