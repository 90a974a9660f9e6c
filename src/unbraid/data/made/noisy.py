"""`noisy-digits`: digits some of whose labels are wrong."""

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
_HELD_OUT = 0.2
_TROUBLED = 5


class NoisyDigits(MemoryDataset):
    """The digits, of which a share of those from 0 to 4 has a wrong label; factors `given`, `digit` and `wrong`.

    A wrong label is one of 0..8, as in the experiments of Shen et al., 2024, but never the right one. Test images, a
    fifth of all, have the right labels.
    """

    roles = {"label": "given"}

    def __init__(self, split: Split, rate: float, size: int, seed: int) -> None:
        if not 0 <= rate <= 1:
            raise DataError("a share from 0 to 1", got=f"{rate:g}", where="noisy-digits: rate")
        self._options = {"rate": rate, "size": size, "seed": seed}
        plain = digits(size)
        generator = np.random.default_rng(key_of(seed, "noisy"))
        order = generator.permutation(len(plain))
        held = round(_HELD_OUT * len(plain))
        rows = torch.from_numpy(order[:held] if split == "test" else order[held:])
        digit = plain.table(rows).column("digit").astype(np.int64)
        wrong = (digit < _TROUBLED) & (generator.random(len(digit)) < (rate if split == "train" else 0.0))
        drawn = generator.integers(0, 8, len(digit))
        given = np.where(wrong, drawn + (drawn >= digit), digit)
        names = tuple(str(d) for d in range(10))
        factors = (
            Factor("given", "categorical", names),
            Factor("digit", "categorical", names),
            Factor("wrong", "categorical", ("no", "yes")),
        )
        table = FactorTable(factors, np.stack([given, digit, wrong], 1).astype(np.float64))
        name = f"noisy-digits:split={split},rate={rate:g},size={size},seed={seed}"
        super().__init__(name, plain.take(rows)["x"], table, unit=True)

    @cached_property
    def held_out(self) -> NoisyDigits:
        """The test images."""
        return NoisyDigits("test", **self._options)  # type: ignore[arg-type]


def noisy_digits(split: Split = "train", rate: float = 0.6, size: int = 8, seed: int = 0) -> NoisyDigits:
    """The digits with wrong labels.

    Args:
        split: The part: "train" or "test".
        rate: Share of wrong labels among the digits 0 to 4.
        size: Height and width.
        seed: Of what is in which part and of the labels.

    >>> data = noisy_digits()
    >>> len(data), len(data.held_out), data.fields["x"].shape
    (1438, 359, (1, 8, 8))
    """
    return NoisyDigits(split, rate, size, seed)
