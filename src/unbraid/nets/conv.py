"""The convolutional encoder and decoder of the disentanglement study (Locatello et al., 2019), for any square size.

At 64 pixels they are the published ones. Other sizes keep the pattern and change the number of stride-2 layers, such
that the smallest map has about 4 x 4 positions: 2 layers from 16 pixels, 3 from 24, 4 from 48, 5 from 92.
"""

from __future__ import annotations

import math
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


def depth_for(size: int) -> int:
    """Number of stride-2 layers after which a map of `size` has about 4 positions a side.

    >>> [depth_for(size) for size in (16, 20, 28, 32, 64, 128)]
    [2, 2, 3, 3, 4, 5]
    """
    return max(1, round(math.log2(size / 4)))


def halvings(size: int) -> list[int]:
    """Sizes of the maps from the image to the smallest, each half of the one before, rounded up.

    >>> halvings(64), halvings(28)
    ([64, 32, 16, 8, 4], [28, 14, 7, 4])
    """
    sizes = [size]
    for _ in range(depth_for(size)):
        sizes.append(-(-sizes[-1] // 2))
    return sizes


class ConvEncoder(nn.Module):
    """Images -> numbers: convolutions of stride 2, one dense layer, a linear read-out.

    The first half of the convolutions has kernels 4 x 4 and `width` / 8 channels, the second 2 x 2 and `width` / 4.

    Args:
        channels: Channels of the image.
        size: Height and width of the image.
        out: Numbers per image.
        width: Width of the dense layer.

    Source:
        disentanglement_lib, architectures.conv_encoder (`width` 256, `size` 64).
    """

    def __init__(self, channels: int, size: int, out: int, width: int = 256) -> None:
        super().__init__()
        widths, smallest = conv_widths(channels, size, width), halvings(size)[-1]
        kernels = [4] * (depth_for(size) - depth_for(size) // 2) + [2] * (depth_for(size) // 2)
        self.convs = nn.ModuleList(
            SameConv2d(a, b, k, stride=2) for (a, b), k in zip(pairwise(widths), kernels, strict=True)
        )
        self.dense = nn.Linear(widths[-1] * smallest**2, width)
        self.read = nn.Linear(width, out)
        glorot_(self)

    def forward(self, x: Float[Tensor, "batch channels size size"]) -> Float[Tensor, "batch out"]:
        """One row per image."""
        for conv in self.convs:
            x = functional.relu(conv(x))
        dense: Tensor = self.dense(x.flatten(1))
        read: Tensor = self.read(functional.relu(dense))
        return read


class ConvDecoder(nn.Module):
    """Numbers -> images (logits or means): the encoder's maps backwards, every kernel 4 x 4.

    Args:
        latents: Numbers per image.
        channels: Channels of the image.
        size: Height and width of the image.
        width: Width of the first dense layer, as in `ConvEncoder`.

    Source:
        disentanglement_lib, architectures.deconv_decoder (`width` 256, `size` 64).
    """

    def __init__(self, latents: int, channels: int, size: int, width: int = 256) -> None:
        super().__init__()
        widths, sizes = conv_widths(channels, size, width)[::-1], halvings(size)[::-1]
        self.start = (widths[0], sizes[0], sizes[0])
        self.dense = nn.ModuleList([nn.Linear(latents, width), nn.Linear(width, math.prod(self.start))])
        self.convs = nn.ModuleList(Doubling2d(a, b, to) for (a, b), to in zip(pairwise(widths), sizes[1:], strict=True))
        glorot_(self)

    def forward(self, z: Float[Tensor, "batch latents"]) -> Float[Tensor, "batch channels size size"]:
        """One image per row."""
        for dense in self.dense:
            z = functional.relu(dense(z))
        x = z.reshape(-1, *self.start)
        for i, conv in enumerate(self.convs):
            x = conv(functional.relu(x) if i else x)
        return x


def conv_widths(channels: int, size: int, width: int) -> list[int]:
    """Channels of the maps from the image to the smallest.

    >>> conv_widths(3, 64, 256), conv_widths(1, 16, 256)
    ([3, 32, 32, 64, 64], [1, 32, 64])
    """
    depth = depth_for(size)
    wide = depth // 2
    return [channels, *[max(1, width // 8)] * (depth - wide), *[max(1, width // 4)] * wide]


class SameConv2d(nn.Conv2d):
    """A convolution whose output has ceil(n / stride) positions; where the padding is odd, the end gets more."""

    def forward(self, input: Float[Tensor, "batch before n n"]) -> Float[Tensor, "batch after m m"]:
        """The convolved maps."""
        n, kernel, stride = input.shape[-1], self.kernel_size[0], self.stride[0]
        total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
        low, odd = divmod(total, 2)
        if odd:
            input = functional.pad(input, (0, 1, 0, 1))
        return functional.conv2d(input, self.weight, self.bias, self.stride, low)


class Doubling2d(nn.ConvTranspose2d):
    """A 4 x 4 transposed convolution of stride 2 to a map of `size` positions, twice the input's or one less."""

    def __init__(self, before: int, after: int, size: int) -> None:
        super().__init__(before, after, 4, stride=2, padding=1)
        self.size = size

    def forward(
        self, input: Float[Tensor, "batch before n n"], output_size: list[int] | None = None
    ) -> Float[Tensor, "batch after size size"]:
        """The doubled maps, without their last row and column where `size` is odd."""
        return super().forward(input, output_size)[..., : self.size, : self.size]


def glorot_(net: nn.Module) -> None:
    """Uniform weights of variance 2 / (fan in + fan out) and no biases, as the study's framework starts layers."""
    for layer in net.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
