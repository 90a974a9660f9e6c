"""`grain`: four patches, each light or dark, which is coarse, and each woven one way or the other, which is fine."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.dataset import MemoryDataset, content_hash
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.order import key_of

_VERSION = 1
_SHADE = 0.2
_PATCHES = 4


class Grain(MemoryDataset):
    """The quarters of an image, each a shade of grey under a chequer of single pixels or its negative.

    A shade is seen through much noise, as it moves all pixels of a patch together and far; the sign of the chequer only
    through little, as it moves them by little. All eight are coins, independent of each other; how strong shades and
    chequers are in an image is chance.

    Args:
        rows: Items.
        size: Height and width.
        contrast: Mean height of the chequer.
        seed: Of the chance.

    >>> data = Grain(rows=5)
    >>> data.fields["x"].shape, [f.name for f in data.factors][::4]
    ((1, 16, 16), ['shade_0', 'weave_0'])
    """

    def __init__(self, rows: int = 4000, size: int = 16, contrast: float = 0.04, seed: int = 0) -> None:
        if rows < 2 or size < 4 or size % 2 or not 0 < contrast <= 0.2:
            got = f"rows={rows}, size={size}, contrast={contrast:g}"
            expected = "2 rows, an even size from 4 on, and a contrast above 0 and up to 0.2"
            raise DataError(expected, got=got, where="--data grain")
        self._options = {"rows": rows, "size": size, "contrast": contrast, "seed": seed}
        chance = torch.Generator().manual_seed(key_of(seed, "grain"))
        coins = torch.randint(2, (rows, 2 * _PATCHES), generator=chance)
        strength = 0.85 + 0.3 * torch.rand((rows, 2, 1), generator=chance)
        names = {"shade": ("dark", "light"), "weave": ("negative", "positive")}
        factors = [Factor(f"{n}_{i}", "categorical", v) for n, v in names.items() for i in range(_PATCHES)]
        shade, weave = ((2.0 * coins - 1).reshape(rows, 2, _PATCHES) * strength).unbind(1)
        steps = torch.arange(size)
        chequer = 1 - 2.0 * ((steps[:, None] + steps) % 2)
        x = 0.5 + _SHADE * _spread(shade, size) + contrast * _spread(weave, size) * chequer
        name = "grain:" + ",".join(f"{k}={v}" for k, v in self._options.items())
        super().__init__(name, x, FactorTable(factors, coins.numpy().astype(np.float64)), unit=True)

    @property
    def hash(self) -> str:
        return content_hash({"world": "grain", "version": _VERSION, **self._options})


def _spread(values: Float[Tensor, "n 4"], size: int) -> Float[Tensor, "n 1 h w"]:
    """A value for each quarter, over all of its pixels."""
    return values.reshape(-1, 1, 2, 2).repeat_interleave(size // 2, 2).repeat_interleave(size // 2, 3)
