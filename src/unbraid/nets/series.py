"""Convolutional encoder and decoder of series: strided convolutions along time, and one dense layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.errors import ConfigError, DataError


def shrunk(channels: int, time: int, widths: Sequence[int], kernel: int) -> tuple[int, int]:
    """Channels and length of a series after convolutions of stride 2.

    Raises:
        ConfigError: An odd kernel, or no convolution.
        DataError: A series that does not halve so often.

    >>> shrunk(6, 256, (32, 64), 6)
    (64, 64)
    """
    if kernel < 2 or kernel % 2 or not widths or min(widths) < 1:
        got = f"kernel {kernel} and channels {tuple(widths)}"
        raise ConfigError("an even kernel and channels of one layer or more", got=got)
    halves = 2 ** len(widths)
    if channels < 1 or time % halves or time < max(2 * halves, kernel):
        fix = f"resample it to {max(1, round(time / halves)) * halves}" if time >= halves else "take longer ones"
        got = f"{channels} channels of {time}"
        raise DataError(f"series (C, T) of T a multiple of {halves} and not shorter than {kernel}", got=got, fix=fix)
    return widths[-1], time // halves


class SeriesEncoder(nn.Module):
    """Series -> numbers: convolutions of stride 2 with ReLU, a dense layer with ReLU, a linear read-out.

    Args:
        channels: Of the series.
        time: Its length.
        out: Numbers per series.
        widths: Channels of the convolutions.
        kernel: Their length, even.
        dense: Width of the dense layer.

    >>> import torch
    >>> SeriesEncoder(6, 256, 20)(torch.zeros(2, 6, 256)).shape
    torch.Size([2, 20])
    """

    def __init__(
        self, channels: int, time: int, out: int, widths: Sequence[int] = (32, 64), kernel: int = 6, dense: int = 128
    ) -> None:
        super().__init__()
        last = shrunk(channels, time, widths, kernel)
        layers: list[nn.Module] = []
        for a, b in pairwise((channels, *widths)):
            layers += [nn.Conv1d(a, b, kernel, stride=2, padding=kernel // 2 - 1), nn.ReLU()]
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(math.prod(last), dense), nn.ReLU(), nn.Linear(dense, out)
        )

    def forward(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch out"]:
        """One row per series."""
        out: Tensor = self.layers(x)
        return out


class SeriesDecoder(nn.Module):
    """Numbers -> series: `SeriesEncoder` backwards; arguments as there.

    >>> import torch
    >>> SeriesDecoder(10, 6, 256)(torch.zeros(2, 10)).shape
    torch.Size([2, 6, 256])
    """

    def __init__(
        self,
        latents: int,
        channels: int,
        time: int,
        widths: Sequence[int] = (32, 64),
        kernel: int = 6,
        dense: int = 128,
    ) -> None:
        super().__init__()
        first = shrunk(channels, time, widths, kernel)
        layers: list[nn.Module] = [nn.Linear(latents, dense), nn.ReLU(), nn.Linear(dense, math.prod(first)), nn.ReLU()]
        layers.append(nn.Unflatten(1, first))
        for a, b in pairwise((*reversed(widths), channels)):
            layers += [nn.ConvTranspose1d(a, b, kernel, stride=2, padding=kernel // 2 - 1), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, z: Float[Tensor, "batch latents"]) -> Float[Tensor, "batch channels time"]:
        """One series per row."""
        out: Tensor = self.layers(z)
        return out
