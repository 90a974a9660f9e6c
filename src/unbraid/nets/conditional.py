"""Networks that are told attributes of the observation, too."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.errors import DataError
from unbraid.core.fields import Field
from unbraid.nets.mlp import mlp
from unbraid.nets.norm import BatchNorm

Conditional = Literal["conv", "mlp"]
"""Convolutions for square images, or perceptrons for any observation."""

CHANNELS = (32, 64, 128, 256)
"""Of the maps, each half as large as the one before, down to 4 x 4 at 64 pixels."""


class ConvTold(nn.Module):
    """Images and attributes -> numbers.

    The attributes become an image of one channel that is read beside the others, and are read again beside the
    smallest maps.

    Args:
        field: Square images.
        attributes: How many.
        out: Numbers per item.
        width: Of the dense layer.
    """

    def __init__(self, field: Field, attributes: int, out: int, width: int = 512) -> None:
        super().__init__()
        channels, size, depth = _image(field)
        self.size = size
        self.plane = nn.Linear(attributes, size * size)
        widths = (channels + 1, *CHANNELS[:depth])
        self.maps = nn.Sequential(
            *(
                layer
                for a, b in pairwise(widths)
                for layer in (nn.Conv2d(a, b, 4, 2, 1), BatchNorm(b), nn.LeakyReLU(0.2))
            )
        )
        self.read = mlp((widths[-1] * (size >> depth) ** 2 + attributes, width, out))

    def forward(
        self, x: Float[Tensor, "batch c size size"], y: Float[Tensor, "batch attributes"]
    ) -> Float[Tensor, "batch out"]:
        """One row per item."""
        plane = self.plane(y).reshape(-1, 1, self.size, self.size)
        found: Tensor = self.read(torch.cat([self.maps(torch.cat([x, plane], 1)).flatten(1), y], 1))
        return found


class ConvTelling(nn.Module):
    """Numbers and attributes -> images (logits or means): the maps of `ConvTold` backwards.

    Args:
        field: Square images.
        attributes: How many.
        latents: Numbers per item.
    """

    def __init__(self, field: Field, attributes: int, latents: int) -> None:
        super().__init__()
        channels, size, depth = _image(field)
        widths = (*CHANNELS[:depth][::-1], channels)
        self.start = (widths[0], size >> depth, size >> depth)
        self.dense = nn.Linear(latents + attributes, math.prod(self.start))
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(widths), start=1):
            layers.append(nn.ConvTranspose2d(a, b, 4, 2, 1))
            layers += [BatchNorm(b), nn.ReLU()] if i < depth else []
        self.maps = nn.Sequential(*layers)

    def forward(
        self, z: Float[Tensor, "batch latents"], y: Float[Tensor, "batch attributes"]
    ) -> Float[Tensor, "batch c size size"]:
        """One image per row."""
        made: Tensor = self.maps(self.dense(torch.cat([z, y], 1)).reshape(-1, *self.start))
        return made


class DenseTold(nn.Module):
    """Any observation and attributes -> numbers, by a perceptron.

    Args:
        field: The observation.
        attributes: How many.
        out: Numbers per item.
        width: Of the hidden layers.
        layers: How many hidden layers.
    """

    def __init__(self, field: Field, attributes: int, out: int, width: int = 512, layers: int = 2) -> None:
        super().__init__()
        self.read = mlp((_numbers(field) + attributes, *[width] * layers, out))

    def forward(
        self, x: Float[Tensor, "batch *item"], y: Float[Tensor, "batch attributes"]
    ) -> Float[Tensor, "batch out"]:
        """One row per item."""
        found: Tensor = self.read(torch.cat([x.flatten(1), y], 1))
        return found


class DenseTelling(nn.Module):
    """Numbers and attributes -> any observation (logits or means), by a perceptron.

    Args:
        field: The observation.
        attributes: How many.
        latents: Numbers per item.
        width: Of the hidden layers.
        layers: How many hidden layers.
    """

    def __init__(self, field: Field, attributes: int, latents: int, width: int = 512, layers: int = 2) -> None:
        super().__init__()
        self.shape = field.shape
        self.make = mlp((latents + attributes, *[width] * layers, _numbers(field)))

    def forward(
        self, z: Float[Tensor, "batch latents"], y: Float[Tensor, "batch attributes"]
    ) -> Float[Tensor, "batch *item"]:
        """One observation per row."""
        made: Tensor = self.make(torch.cat([z, y], 1))
        return made.reshape(-1, *self.shape)


class AttributePrior(nn.Module):
    """Mean and log variance of a Gaussian for every combination of attributes; N(0, I) to begin with.

    Args:
        attributes: How many.
        latents: Numbers in the code.
        width: Of the two hidden layers.

    >>> mean, logvar = AttributePrior(3, 2)(torch.ones(1, 3))
    >>> mean.tolist(), logvar.tolist()
    ([[0.0, 0.0]], [[0.0, 0.0]])
    """

    def __init__(self, attributes: int, latents: int, width: int = 128) -> None:
        super().__init__()
        self.net = mlp((attributes, width, width, 2 * latents))
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(
        self, y: Float[Tensor, "batch attributes"]
    ) -> tuple[Float[Tensor, "batch latents"], Float[Tensor, "batch latents"]]:
        """Both, for each row."""
        mean, logvar = self.net(y).chunk(2, 1)
        return mean, logvar


def _numbers(field: Field) -> int:
    if len(field.shape) not in (1, 3):
        raise DataError("vectors (D,) or images (C, H, W)", got=f"items of shape {field.shape}", where="field 'x'")
    return math.prod(field.shape)


def _image(field: Field) -> tuple[int, int, int]:
    """Channels, size, and how often the size is halved: until 4, four times at most."""
    shape = field.shape
    size = shape[1] if len(shape) == 3 and shape[1] == shape[2] else 0
    depth = min(len(CHANNELS), max(1, math.floor(math.log2(size / 4)))) if size >= 8 else 0
    if not depth or size % 2**depth:
        fix = "resize the images, for example to 64, or set network=mlp"
        raise DataError("square images of 8, 16, 32, 64, ... pixels", got=f"items of shape {shape}", fix=fix)
    return shape[0], size, depth
