"""Residual networks for images, with a stem for large or for small ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unbraid.core.errors import ConfigError
from unbraid.nets.norm import BatchNorm

Stem = Literal["imagenet", "cifar"]
Shortcut = Literal["conv", "zeros"]

DEPTHS: Mapping[int, tuple[Literal["basic", "bottleneck"], tuple[int, ...]]] = MappingProxyType(
    {
        8: ("basic", (1, 1, 1)),
        10: ("basic", (1, 1, 1, 1)),
        18: ("basic", (2, 2, 2, 2)),
        32: ("basic", (5, 5, 5)),
        34: ("basic", (3, 4, 6, 3)),
        50: ("bottleneck", (3, 4, 6, 3)),
        110: ("basic", (18, 18, 18)),
    }
)
"""Layers -> the kind of block, and blocks in each stage; 8 and 10 are our small ones, 32 and 110 those for CIFAR."""


def stem_for(size: int) -> Stem:
    """The stem for images of a size: a 7 x 7 convolution and pooling from 96 pixels, one 3 x 3 convolution below.

    >>> stem_for(32), stem_for(224)
    ('cifar', 'imagenet')
    """
    return "imagenet" if size >= 96 else "cifar"


class ResNet(nn.Module):
    """A residual network (He et al., 2016) without its classifier.

    Args:
        depth: Layers; one of `DEPTHS`.
        channels: Channels of the image.
        stem: See `stem_for`.
        width: Channels after the stem; doubled from each stage to the next.
        zero_init: Whether every block starts as the identity.
        shortcut: What stands beside a block that changes the shape: a 1 x 1 convolution, or every other pixel and
            channels of zeros, which has no weights.

    Attributes:
        width: Numbers per image.

    >>> net = ResNet(18, width=8, stem="cifar")
    >>> net(torch.zeros(2, 3, 32, 32)).shape, [tuple(b.shape[1:]) for b in net.blocks(torch.zeros(1, 3, 32, 32))]
    (torch.Size([2, 64]), [(8, 32, 32), (8, 32, 32), (16, 16, 16), (32, 8, 8), (64, 4, 4)])
    """

    def __init__(
        self,
        depth: int,
        channels: int = 3,
        stem: Stem = "imagenet",
        width: int = 64,
        *,
        zero_init: bool = False,
        shortcut: Shortcut = "conv",
    ) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ConfigError(f"one of the depths {', '.join(map(str, DEPTHS))}", got=str(depth))
        kind, counts = DEPTHS[depth]
        block = BasicBlock if kind == "basic" else Bottleneck
        self.stem = _stem(channels, width, stem)
        stages, before = [], width
        for i, count in enumerate(counts):
            stage: list[nn.Module] = []
            for j in range(count):
                stage.append(block(before, width * 2**i, stride=2 if i and not j else 1, shortcut=shortcut))
                before = width * 2**i * block.expansion
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)
        self.width = before
        _start_(self, zero_init)

    def blocks(self, x: Float[Tensor, "batch c h w"]) -> Sequence[Tensor]:
        """The maps after the stem and after each stage."""
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch width"]:
        """The last maps, averaged over the image."""
        return self.blocks(x)[-1].mean((2, 3))


def _stem(channels: int, width: int, kind: Stem) -> nn.Sequential:
    if kind == "cifar":
        return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), BatchNorm(width), nn.ReLU())
    conv = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
    return nn.Sequential(conv, BatchNorm(width), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, before: int, width: int, stride: int, shortcut: Shortcut = "conv") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.norm1 = BatchNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.last = BatchNorm(width)
        self.shortcut = _shortcut(before, width, stride, shortcut)

    def forward(self, x: Float[Tensor, "batch before h w"]) -> Float[Tensor, "batch after h2 w2"]:
        """The maps of the next block."""
        h = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.last(self.conv2(h)) + self.shortcut(x))


class Bottleneck(nn.Module):
    """A 1 x 1, a 3 x 3 (which has the stride) and a 1 x 1 convolution beside a shortcut."""

    expansion = 4

    def __init__(self, before: int, width: int, stride: int, shortcut: Shortcut = "conv") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 1, bias=False)
        self.norm1 = BatchNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.norm2 = BatchNorm(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.last = BatchNorm(4 * width)
        self.shortcut = _shortcut(before, 4 * width, stride, shortcut)

    def forward(self, x: Float[Tensor, "batch before h w"]) -> Float[Tensor, "batch after h2 w2"]:
        """The maps of the next block."""
        h = functional.relu(self.norm1(self.conv1(x)))
        h = functional.relu(self.norm2(self.conv2(h)))
        return functional.relu(self.last(self.conv3(h)) + self.shortcut(x))


def _shortcut(before: int, after: int, stride: int, kind: Shortcut) -> nn.Module:
    if stride == 1 and before == after:
        return nn.Identity()
    if kind == "zeros":
        return Subsampled(after, stride)
    return nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), BatchNorm(after))


class Subsampled(nn.Module):
    """Every so many pixels, and channels of zeros behind those that there are.

    >>> Subsampled(3, 2)(torch.ones(1, 2, 4, 4)).sum((2, 3)).tolist()
    [[4.0, 4.0, 0.0]]
    """

    def __init__(self, after: int, stride: int) -> None:
        super().__init__()
        self.after, self.stride = after, stride

    def forward(self, x: Float[Tensor, "batch before h w"]) -> Float[Tensor, "batch after h2 w2"]:
        """The smaller maps."""
        kept = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(kept, (0, 0, 0, 0, 0, self.after - x.shape[1]))


def _start_(net: nn.Module, zero_init: bool) -> None:
    """Weights by fan-out for ReLU; with `zero_init` the last norm of every block gives 0."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if zero_init and isinstance(module, BasicBlock | Bottleneck):
            nn.init.zeros_(module.last.weight)


class Standardised(nn.Module):
    """A network of images in [0, 1] that first brings each channel to about mean 0 and variance 1.

    Three channels take the statistics of ImageNet, others mean 0.5 and deviation 0.25.

    Args:
        net: The network.
        channels: Channels of the image.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, channels: int) -> None:
        super().__init__()
        self.net = net
        colour = channels == 3
        mean, std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) if colour else ((0.5,), (0.25,))
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Tensor:
        """The network's output."""
        out: Tensor = self.net(self.standard(x))
        return out

    def standard(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        """The images as the network sees them."""
        return (x - self.mean) / self.std

    def back(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        """Images in [0, 1] from what `standard` made of them."""
        return (x * self.std + self.mean).clamp(0, 1)
