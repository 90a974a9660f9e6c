"""Patch features of which it is known how much is content and how much is place."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.order import key_of


class Placed(MemoryDataset):
    """Maps of features: each cell shows one of some contents, wherever it lies, and also its place.

    A feature is a centre of its content, normal and of variance 1 in each number, and two codes of how far the cell
    lies from the middle, one linear and one of the squares, each through a random map, three times as strong; and
    noise of deviation 0.5. The one factor of a map is the content of its first cell; that of every cell is in
    `contents`.

    Args:
        rows: Maps.
        width: Numbers in a feature.
        side: Cells along a side.
        kinds: Contents.
        place: How strong the codes of place are.
        seed: Of everything.

    Attributes:
        contents: Of every cell.

    >>> data = Placed(rows=2)
    >>> data.fields["x"].shape, data.contents.shape
    ((32, 8, 8), torch.Size([2, 64]))
    """

    def __init__(
        self, rows: int = 48, width: int = 32, side: int = 8, kinds: int = 5, place: float = 3.0, seed: int = 0
    ) -> None:
        if min(rows, width, kinds) < 1 or side < 2 or place < 0:
            got = f"rows={rows}, width={width}, side={side}, kinds={kinds}, place={place:g}"
            raise DataError("a map, a number, a kind, and two cells along a side", got=got, where="--data placed")
        generator = torch.Generator().manual_seed(key_of("placed", seed))
        centres = torch.randn((kinds, width), generator=generator)
        maps = torch.randn((2, 2, width), generator=generator)
        cells = side * side
        self.contents: Int[Tensor, "rows cells"] = torch.randint(kinds, (rows, cells), generator=generator)
        away = places(side) - 0.5
        codes = place * (away @ maps[0] + (away.square() - 0.1) @ maps[1])
        noise = 0.5 * torch.randn((rows, cells, width), generator=generator)
        x = (centres[self.contents] + codes + noise).mT.reshape(rows, width, side, side).contiguous()
        first = FactorTable(
            [Factor("first", "categorical", tuple(map(str, range(kinds))))],
            self.contents[:, :1].numpy().astype(np.float64),
        )
        name = f"placed:rows={rows},width={width},side={side},kinds={kinds},place={place:g},seed={seed}"
        super().__init__(name, x, first)


def places(side: int) -> Float[Tensor, "cells 2"]:
    """The row and the column of every cell of a square, from 0 to 1.

    >>> places(2).tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    along = torch.linspace(0, 1, side)
    return torch.cartesian_prod(along, along)
