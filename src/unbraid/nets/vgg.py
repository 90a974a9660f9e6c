"""Plain convolutional networks in the manner of VGG."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from unbraid.nets.norm import BatchNorm

VGG11 = ((1, 1), (2, 1), (4, 2), (8, 2), (8, 2))
"""Channels, in those of the first convolution, and convolutions between two poolings."""
VGG3 = ((1, 1), (2, 1), (4, 1))


class VGG(nn.Module):
    """3 x 3 convolutions, pooled by 2 after each stage, averaged over the image at the end.

    Args:
        channels: Of the image.
        width: Channels of the first convolution.
        stages: Factors of the width and numbers of convolutions.
        norm: Whether batch normalisation follows each convolution.

    >>> import torch
    >>> VGG(3, 4)(torch.zeros(2, 3, 12, 12)).shape
    torch.Size([2, 32])
    """

    def __init__(
        self, channels: int, width: int = 64, stages: Sequence[tuple[int, int]] = VGG11, *, norm: bool = False
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = channels
        for factor, count in stages:
            for _ in range(count):
                after = factor * width
                layers += [nn.Conv2d(before, after, 3, padding=1, bias=not norm)]
                layers += [BatchNorm(after), nn.ReLU()] if norm else [nn.ReLU()]
                before = after
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.net = nn.Sequential(*layers)
        self.width = before
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch width"]:
        """One row per image."""
        out: Tensor = self.net(x).mean((2, 3))
        return out
