"""Encoder and decoder of views: strided convolutions one way, bilinear enlargements the other; or perceptrons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unbraid.nets.mlp import mlp


def sizes_of(size: tuple[int, int], layers: int) -> list[tuple[int, int]]:
    """Height and width of the image and of each map after it, halved and rounded up.

    >>> [h for h, _ in sizes_of((120, 120), 6)]
    [120, 60, 30, 15, 8, 4, 2]
    """
    sizes = [size]
    for _ in range(layers):
        height, width = sizes[-1]
        sizes.append((-(-height // 2), -(-width // 2)))
    return sizes


class ViewEncoder(nn.Module):
    """Images -> mean and log variance: 3 x 3 convolutions of stride 2, each with a leaky ReLU, then two linear layers.

    Args:
        shape: Channels, height and width of an image.
        features: Channels after each convolution.
        out: Numbers of mean and of log variance.
        given: Numbers that are known besides the image, and join what the convolutions found.
    """

    def __init__(self, shape: Sequence[int], features: Sequence[int], out: int, given: int = 0) -> None:
        super().__init__()
        channels, height, width = shape
        convs = [nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise((channels, *features))]
        self.convs = nn.Sequential(*(layer for conv in convs for layer in (conv, nn.LeakyReLU())))
        last = sizes_of((height, width), len(features))[-1]
        found = features[-1] * last[0] * last[1] + given
        self.mean, self.logvar = nn.Linear(found, out), nn.Linear(found, out)

    def forward(
        self, x: Float[Tensor, "batch c h w"], given: Float[Tensor, "batch g"] | None = None
    ) -> tuple[Float[Tensor, "batch out"], Float[Tensor, "batch out"]]:
        """Means and log variances."""
        found = self.convs(x).flatten(1)
        found = found if given is None else torch.cat([found, given], 1)
        return self.mean(found), self.logvar(found)


class ViewDecoder(nn.Module):
    """Numbers -> images in [0, 1]: a linear layer, then enlargements to the encoder's sizes, each with a convolution.

    Args:
        latents: Numbers of an item.
        shape: Channels, height and width of an image.
        features: Channels of the encoder's maps, which come back in reverse.
    """

    def __init__(self, latents: int, shape: Sequence[int], features: Sequence[int]) -> None:
        super().__init__()
        channels, height, width = shape
        *self.sizes, smallest = sizes_of((height, width), len(features))
        self.start = (features[-1], *smallest)
        self.dense = nn.Linear(latents, features[-1] * smallest[0] * smallest[1])
        backwards = (*features[::-1], channels)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(backwards))

    def forward(self, z: Float[Tensor, "batch latents"]) -> Float[Tensor, "batch c h w"]:
        """One image for each row."""
        x = self.dense(z).unflatten(1, self.start)
        for i, (conv, size) in enumerate(zip(self.convs, self.sizes[::-1], strict=True)):
            x = conv(functional.interpolate(functional.leaky_relu(x) if i else x, size, mode="bilinear"))
        image: Tensor = x.sigmoid()
        return image


class FlatViewEncoder(nn.Module):
    """Images -> mean and log variance, by a perceptron with two hidden layers: enough for small images.

    Args:
        shape: Channels, height and width of an image.
        width: Of the hidden layers.
        out: Numbers of mean and of log variance.
        given: Numbers that are known besides the image.
    """

    def __init__(self, shape: Sequence[int], width: int, out: int, given: int = 0) -> None:
        super().__init__()
        self.net = mlp((math.prod(shape) + given, width, width, 2 * out), nn.LeakyReLU)

    def forward(
        self, x: Float[Tensor, "batch c h w"], given: Float[Tensor, "batch g"] | None = None
    ) -> tuple[Float[Tensor, "batch out"], Float[Tensor, "batch out"]]:
        """Means and log variances."""
        found = x.flatten(1) if given is None else torch.cat([x.flatten(1), given], 1)
        mean, logvar = self.net(found).chunk(2, 1)
        return mean, logvar


class FlatViewDecoder(nn.Module):
    """Numbers -> images in [0, 1], by a perceptron with two hidden layers.

    Args:
        latents: Numbers of an item.
        shape: Channels, height and width of an image.
        width: Of the hidden layers.
    """

    def __init__(self, latents: int, shape: Sequence[int], width: int) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.net = mlp((latents, width, width, math.prod(shape)), nn.LeakyReLU)

    def forward(self, z: Float[Tensor, "batch latents"]) -> Float[Tensor, "batch c h w"]:
        """One image for each row."""
        logits: Tensor = self.net(z)
        return logits.sigmoid().reshape(-1, *self.shape)
