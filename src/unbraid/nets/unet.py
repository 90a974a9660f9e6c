"""The U-Net: halve the map several times, double it again, and at every size join what it was on the way down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.errors import ConfigError
from unbraid.nets.norm import BatchNorm

Dims = Literal[1, 2]

_CONV: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d}
_POOL: dict[int, type[nn.Module]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d}
_STRETCH = {1: "linear", 2: "bilinear"}


class UNet(nn.Module):
    """Maps -> maps of the same size (Ronneberger et al., 2015), with batch norm and padding, for series and images.

    Each level is two 3-wide convolutions. Going down, the larger of two neighbouring positions is kept; going up, the
    map is stretched linearly. Something of the bottleneck's shape may be added there.

    Args:
        channels: Channels of the input and the output.
        size: Positions of the input along each axis; each must halve evenly at every level.
        widths: Channels at each level, the input's size first.

    Raises:
        ConfigError: A size that does not halve so often.

    >>> net = UNet(2, (16, 80), widths=(8, 8, 16, 16, 16))
    >>> net.bottom, net(torch.zeros(1, 2, 16, 80), torch.ones(1, *net.bottom)).shape
    ((16, 1, 5), torch.Size([1, 2, 16, 80]))
    """

    def __init__(self, channels: int, size: Sequence[int], widths: Sequence[int] = (64, 128, 256, 512, 512)) -> None:
        super().__init__()
        dims, factor = len(size), 2 ** (len(widths) - 1)
        if dims not in _CONV or any(n % factor for n in size) or 0 in size:
            got = " x ".join(map(str, size))
            raise ConfigError(f"a size that is a multiple of {factor}", got=got, fix="use fewer widths", where="U-Net")
        self.bottom = (widths[-1], *(n // factor for n in size))
        self.start = DoubleConv(channels, widths[0], widths[0], dims)
        self.down = nn.ModuleList(DoubleConv(a, b, b, dims) for a, b in pairwise(widths))
        self.pool = _POOL[dims](2)
        back = [max(1, w // 2) for w in widths[-2:0:-1]] + [widths[0]]  # each level is narrowed for the next
        before = [widths[-1], *back[:-1]]
        joined = [a + b for a, b in zip(before, widths[-2::-1], strict=True)]
        self.up = nn.ModuleList(DoubleConv(n, max(1, n // 2), b, dims) for n, b in zip(joined, back, strict=True))
        self.stretch = nn.Upsample(scale_factor=2, mode=_STRETCH[dims], align_corners=True)
        self.read = _CONV[dims](widths[0], channels, 1)

    def forward(
        self, x: Float[Tensor, "batch channels *size"], add: Float[Tensor, "batch *bottom"] | None = None
    ) -> Float[Tensor, "batch channels *size"]:
        """The map, `add` having been added at the bottleneck."""
        x = self.start(x)
        passed = []
        for level in self.down:
            passed.append(x)
            x = level(self.pool(x))
        x = x if add is None else x + add
        for level in self.up:
            x = level(torch.cat([passed.pop(), self.stretch(x)], 1))
        read: Tensor = self.read(x)
        return read


class DoubleConv(nn.Sequential):
    """Twice a 3-wide convolution, batch norm and ReLU."""

    def __init__(self, before: int, between: int, after: int, dims: int) -> None:
        conv = _CONV[dims]
        layers: list[nn.Module] = []
        for a, b in ((before, between), (between, after)):
            layers += [conv(a, b, 3, padding=1, bias=False), BatchNorm(b), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class AtBottom(nn.Module):
    """A vector as something to add at a U-Net's bottleneck: one dense layer.

    >>> AtBottom(7, (16, 1, 5))(torch.zeros(3, 7)).shape
    torch.Size([3, 16, 1, 5])
    """

    def __init__(self, width: int, bottom: Sequence[int]) -> None:
        super().__init__()
        self.bottom = tuple(bottom)
        self.dense = nn.Linear(width, math.prod(bottom))

    def forward(self, z: Float[Tensor, "batch width"]) -> Float[Tensor, "batch *bottom"]:
        """One map per vector."""
        dense: Tensor = self.dense(z)
        return dense.reshape(len(z), *self.bottom)
