"""`coloured-digits`, `coloured-mnist`: a colour that goes with the class in training, and against it later."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.dataset import MemoryDataset
from unbraid.data.digits import digits
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.order import key_of
from unbraid.data.readers.idx import find_mnist, open_idx

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Colouring:
    """How labels and colours are drawn.

    Attributes:
        split: The part: "train" or "test".
        training: Share of the images that are for training; they come first.
        noise: Share of wrong labels in training; in the test none is.
        odd: Shares of images whose colour goes against the label, for parts of equal size of the training images.
        rho: Share of test images whose colour goes with the label.
        seed: Of the draws.
    """

    split: Split
    training: float
    noise: float
    odd: tuple[float, ...]
    rho: float
    seed: int = 0


class Coloured(MemoryDataset):
    """Digits in red or green, of the class "below 5" or "5 or more"; factors `class`, `colour` and `digit`.

    Args:
        name: What it is called.
        grey: All images in [0, 1], those for training and those for the test.
        shown: The digit of each.
        colouring: How labels and colours are drawn.
    """

    roles = {"label": "class", "domain": "colour"}

    def __init__(
        self, name: str, grey: Float[Tensor, "n h w"], shown: Int[np.ndarray, " n"], colouring: Colouring
    ) -> None:
        self._whole, self._colouring = (grey, shown), colouring
        first = round(colouring.training * len(grey))
        chosen = slice(0, first) if colouring.split == "train" else slice(first, None)
        label, colour = _drawn(shown[chosen], colouring)
        factors = (
            Factor("class", "categorical", ("below 5", "5 or more")),
            Factor("colour", "categorical", ("red", "green")),
            Factor("digit", "categorical", tuple(str(d) for d in range(10))),
        )
        table = FactorTable(factors, np.stack([label, colour, shown[chosen]], 1).astype(np.float64))
        super().__init__(name, _painted(grey[chosen], torch.from_numpy(colour)), table, unit=True)

    @cached_property
    def origin(self) -> Coloured:
        """The training images, which a classifier has seen before it meets these."""
        if self._colouring.split == "train":
            return self
        name = self.name.replace("split=test", "split=train")
        return Coloured(name, *self._whole, replace(self._colouring, split="train"))


def coloured_digits(
    split: Split = "test", bias: float = 0.92, rho: float = 0.3, noise: float = 0.02, size: int = 16, seed: int = 0
) -> Coloured:
    """scikit-learn's digits coloured, half of them for training.

    Args:
        split: The part: "train" or "test".
        bias: Share of training images whose colour goes with the label.
        rho: The same in the test.
        noise: Share of wrong labels in training.
        size: Height and width.
        seed: Of what is in which part, of the labels and of the colours.

    >>> data = coloured_digits()
    >>> len(data), data.fields["x"].shape, [f.name for f in data.factors], len(data.origin)
    (899, (3, 16, 16), ['class', 'colour', 'digit'], 898)
    """
    for option, value in {"bias": bias, "rho": rho, "noise": noise}.items():
        if not 0 <= value <= 1:
            raise DataError("a share from 0 to 1", got=f"{value:g}", where=f"coloured-digits: {option}")
    plain = digits(size)
    order = np.random.default_rng(key_of(seed, "coloured", "order")).permutation(len(plain))
    rows = torch.from_numpy(order)
    grey, shown = plain.take(rows)["x"][:, 0], plain.table(rows).column("digit").astype(np.int64)
    name = f"coloured-digits:split={split},bias={bias:g},rho={rho:g},noise={noise:g},size={size},seed={seed}"
    return Coloured(name, grey, shown, Colouring(split, 0.5, noise, (1 - bias,), rho, seed))


def coloured_mnist(split: Split = "test", folder: str | Path | None = None) -> Coloured:
    """MNIST coloured as published: two thirds for training, a quarter of whose labels are wrong.

    The colour goes against the label in 20 % of the first half of the training images and in 10 % of the second, and in
    90 % of the test images. The training images of MNIST are taken where they are there, otherwise those of its test.

    Args:
        split: The part: "train" or "test".
        folder: Where the IDX files are; "mnist" below the folder `UNBRAID_DATA` where None.

    Source:
        ColoredMNIST of Arjovsky et al., 2019, as used by Lee et al., 2024.
    """
    found = find_mnist(folder, "coloured-mnist")
    plain = open_idx("mnist", found)
    rows = torch.arange(len(plain))
    table = plain.table(rows)
    if not table.factors:
        raise DataError("the labels beside the images", got="none", where=str(found))
    colouring = Colouring(split, 2 / 3, 0.25, (0.2, 0.1), 0.1)
    shown = table.column("digit").astype(np.int64)
    return Coloured(f"coloured-mnist:split={split}", plain.take(rows)["x"][:, 0], shown, colouring)


def _drawn(shown: Int[np.ndarray, " n"], how: Colouring) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """The label and the colour of each image."""
    generator = np.random.default_rng(key_of(how.seed, "coloured", how.split))
    part = np.arange(len(shown)) * len(how.odd) // len(shown)
    learning = how.split == "train"
    wrong, against = (how.noise, np.asarray(how.odd)[part]) if learning else (0.0, 1 - how.rho)
    label = (shown >= 5) ^ (generator.random(len(shown)) < wrong)
    return label, label ^ (generator.random(len(shown)) < against)


def _painted(grey: Float[Tensor, "n h w"], green: Bool[Tensor, " n"]) -> Float[Tensor, "n 3 h w"]:
    x = torch.zeros(len(grey), 3, *grey.shape[1:])
    x[torch.arange(len(grey)), green.long()] = grey
    return x
