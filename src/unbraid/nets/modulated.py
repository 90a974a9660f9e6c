"""Convolutions that a code modulates, and a generator made of them (Karras et al., 2020)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unbraid.core.errors import ConfigError
from unbraid.nets.mlp import mlp


class ModulatedConv2d(nn.Module):
    """A convolution whose weights are scaled, for each item, by input channel, then brought to length 1 by output.

    As scaling weights is scaling maps before and after, all items go through one ordinary convolution.

    Args:
        before: Channels of the input.
        after: Channels of the output.
        style: Numbers that an item's scales are told from.
        kernel: Height and width.
        normed: Whether the scaled weights of each output are brought to length 1.

    Source:
        Karras et al., 2020, equations 1 and 3.
    """

    def __init__(self, before: int, after: int, style: int, kernel: int = 3, *, normed: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, kernel, kernel) / math.sqrt(before * kernel**2))
        self.bias = nn.Parameter(torch.zeros(after))
        self.scale = nn.Linear(style, before)
        nn.init.ones_(self.scale.bias)
        self.normed = normed

    def forward(
        self, x: Float[Tensor, "batch before n m"], style: Float[Tensor, "batch style"]
    ) -> Float[Tensor, "batch after n m"]:
        """The convolved maps, of the same size."""
        scale = self.scale(style)
        out = functional.conv2d(x * scale[..., None, None], self.weight, padding=self.weight.shape[-1] // 2)
        if self.normed:
            length = scale.square() @ self.weight.square().sum((2, 3)).T
            out = out * (length + 1e-8).rsqrt()[..., None, None]
        return out + self.bias[:, None, None]


class StyleGenerator(nn.Module):
    """Codes -> images in (0, 1): from a learned map of 4 x 4 positions, doubled until the image's size is reached.

    Every doubling has a modulated convolution and adds to the image, which grows beside the maps. Each layer may have a
    code of its own. There is no noise: an image is a function of its codes.

    Args:
        code: Numbers in a code.
        channels: Of the image.
        size: Its height and width, 4 times a power of 2.
        widths: Channels of the maps, from the smallest on; the last is repeated.
        style: Width of the dense layers between a code and the scales.
        mapping: Dense layers from inputs z to codes; none where 0.

    Attributes:
        layers: How many codes an image may have.

    >>> net = StyleGenerator(8, 3, 16)
    >>> net.layers, net(torch.zeros(2, 8)).shape, net(torch.zeros(2, 3, 8)).shape
    (3, torch.Size([2, 3, 16, 16]), torch.Size([2, 3, 16, 16]))
    """

    mapping: nn.Module | None

    def __init__(
        self,
        code: int,
        channels: int,
        size: int,
        widths: Sequence[int] = (64, 64, 48, 24),
        style: int = 64,
        mapping: int = 0,
    ) -> None:
        super().__init__()
        doublings = round(math.log2(max(1, size) / 4))
        if doublings < 1 or 4 * 2**doublings != size:
            raise ConfigError("8, 16, 32, 64, ... pixels", got=str(size), where="size")
        self.layers = doublings + 1
        maps = [widths[min(i, len(widths) - 1)] for i in range(self.layers)]
        self.mapping = _Mapping(code, mapping) if mapping else None
        self.embed = mlp((code, style, style), lambda: nn.LeakyReLU(0.2), last=True)
        self.constant = nn.Parameter(torch.randn(maps[0], 4, 4))
        before = (maps[0], *maps[:-1])
        self.convs = nn.ModuleList(ModulatedConv2d(a, b, style) for a, b in zip(before, maps, strict=True))
        self.images = nn.ModuleList(ModulatedConv2d(n, channels, style, 1, normed=False) for n in maps)

    def forward(self, codes: Float[Tensor, "batch *layers code"]) -> Float[Tensor, "batch channels size size"]:
        """One image for each row of codes (B, D) or (B, layers, D)."""
        codes = codes[:, None].expand(-1, self.layers, -1) if codes.ndim == 2 else codes
        styles = self.embed(codes).unbind(1)
        x = self.constant.expand(len(codes), -1, -1, -1)
        image: Tensor | None = None
        for conv, read, style in zip(self.convs, self.images, styles, strict=True):
            x = x if image is None else doubled(x)
            x = functional.leaky_relu(conv(x, style), 0.2)
            image = read(x, style) if image is None else doubled(image) + read(x, style)
        assert image is not None
        return image.sigmoid()


def doubled(x: Float[Tensor, "batch c n m"]) -> Float[Tensor, "batch c n2 m2"]:
    """Maps of twice the size, with values between those of their neighbours."""
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class _Mapping(nn.Module):
    """Inputs, brought to length sqrt(D), through dense layers."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.net = mlp((width,) * (depth + 1), lambda: nn.LeakyReLU(0.2), last=True)

    def forward(self, z: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        codes: Tensor = self.net(z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt())
        return codes
