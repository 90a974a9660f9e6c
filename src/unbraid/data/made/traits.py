"""Codes of a generator that is not there: each trait is a curved function of channels of its own."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.order import key_of

_SHIFT = 0.9


class Traits(MemoryDataset):
    """Vectors with traits that go together, though each has its own eight channels.

    Channels are standard normal; those of trait k are shifted by 0.9 c_k in the direction in which the trait grows,
    and the c of one vector are correlated normal numbers. A trait is the weighted sum of sinh of its channels. As true
    traits can be told of any vector (`scores`), an edit can be judged.

    Args:
        rows: Items.
        width: Numbers in a vector, 8 for each trait at least.
        traits: How many, two or more.
        correlation: Of the c of any two traits, from 0 to below 1.
        seed: Of weights, channels and items.

    >>> data = Traits(rows=10)
    >>> batch = data.take(torch.arange(3))
    >>> batch["x"].shape, torch.equal(data.scores(batch["x"]), batch["factors"])
    (torch.Size([3, 64]), True)
    """

    def __init__(
        self, rows: int = 5000, width: int = 64, traits: int = 4, correlation: float = 0.75, seed: int = 0
    ) -> None:
        if rows < 2 or traits < 2 or width < 8 * traits or not 0 <= correlation < 1:
            got = f"rows={rows}, traits={traits}, width={width}, correlation={correlation:g}"
            expected = "two rows and traits or more, 8 channels for each trait, and a correlation from 0 to below 1"
            raise DataError(expected, got=got, where="--data traits")
        generator = torch.Generator().manual_seed(key_of("traits", seed))
        sign = torch.randint(2, (traits, 8), generator=generator) * 2.0 - 1
        weights = sign * (0.5 + torch.rand((traits, 8), generator=generator))
        self.channels = torch.randperm(width, generator=generator)[: 8 * traits].reshape(traits, 8)
        self.weights = torch.zeros(traits, width).scatter(1, self.channels, weights / 8)
        common, own = (torch.randn((rows, n), generator=generator) for n in (1, traits))
        c = correlation**0.5 * common + (1 - correlation) ** 0.5 * own
        x = torch.randn((rows, width), generator=generator) + _SHIFT * c @ self.weights.sign()
        factors = [Factor(f"trait_{k}", "continuous") for k in range(traits)]
        name = f"traits:rows={rows},width={width},traits={traits},correlation={correlation:g},seed={seed}"
        super().__init__(name, x, FactorTable(factors, self.scores(x).double().numpy()))

    def scores(self, items: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch traits"]:
        """The traits of any vectors."""
        return items.sinh() @ self.weights.to(items).T
