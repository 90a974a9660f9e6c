"""A tower of strided convolutions that ends in one vector."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from unbraid.nets.norm import BatchNorm


class StridedTower(nn.Sequential):
    """Maps -> vectors: 3 x 3 convolutions with batch norm and leaky ReLU, then one over all that is left of the map.

    The last layer has neither norm nor activation, and no padding.

    Args:
        channels: Channels of the map.
        size: Its height and width.
        widths: Channels after each convolution.
        strides: The stride of each.
        out: Numbers per item.

    >>> import torch
    >>> StridedTower(2, (16, 80), (4, 4, 8, 8, 8, 8), (1, 1, 2, 1, 2, 2), 7)(torch.zeros(3, 2, 16, 80)).shape
    torch.Size([3, 7])
    """

    def __init__(
        self, channels: int, size: tuple[int, int], widths: Sequence[int], strides: Sequence[int], out: int
    ) -> None:
        layers: list[nn.Module] = []
        height, width = size
        for (before, after), stride in zip(pairwise((channels, *widths)), strides, strict=True):
            layers += [nn.Conv2d(before, after, 3, stride, 1), BatchNorm(after), nn.LeakyReLU(0.2, inplace=True)]
            height, width = -(-height // stride), -(-width // stride)
        super().__init__(*layers, nn.Conv2d(widths[-1], out, (height, width)), nn.Flatten())
