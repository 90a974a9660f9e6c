"""What a block of a network learns by when nothing behind it is heard: a decoder and a classifier of its maps."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unbraid.nets.norm import BatchNorm

Layers = Literal["0c1f", "0c2f", "1c1f", "1c2f", "1c3f", "2c2f"]
"""Convolutions (c), then dense layers (f)."""


class LocalDecoder(nn.Module):
    """Maps -> the image in [0, 1]: bilinear, corners on corners, then two 3 x 3 convolutions.

    Args:
        channels: Of the maps.
        image: Shape of the image (C, H, W).
        widen: Factor on the 12 channels between the convolutions.

    >>> import torch
    >>> LocalDecoder(8, (3, 6, 6))(torch.zeros(2, 8, 3, 3)).shape
    torch.Size([2, 3, 6, 6])
    """

    def __init__(self, channels: int, image: tuple[int, ...], widen: float = 1.0) -> None:
        super().__init__()
        self.size, hidden = image[1:], max(1, int(12 * widen))
        self.net = nn.Sequential(
            nn.Conv2d(channels, hidden, 3, padding=1),
            BatchNorm(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, image[0], 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, z: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch c height width"]:
        """The image."""
        image: Tensor = self.net(functional.interpolate(z, self.size, mode="bilinear", align_corners=True))
        return image


class LocalClassifier(nn.Module):
    """Maps -> numbers: 3 x 3 convolutions with batch normalisation, the mean over places, dense layers.

    The first convolution doubles the channels and halves the sides, unless there are as many as there will ever be.

    Args:
        channels: Of the maps.
        most: Channels of the network's last maps.
        out: Numbers per image.
        layers: How many of which.
        hidden: Numbers between dense layers.
        widen: Factor on all of this but `out`.

    >>> import torch
    >>> LocalClassifier(16, 64, 10, "2c2f")(torch.zeros(2, 16, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, channels: int, most: int, out: int, layers: Layers = "2c2f", hidden: int = 128, widen: float = 1.0
    ) -> None:
        super().__init__()
        convolutions, dense = int(layers[0]), int(layers[2])
        wide, before = max(1, int(min(2 * channels, most) * widen)), channels
        head: list[nn.Module] = []
        for i in range(convolutions):
            stride = 1 if i or channels >= most else 2
            head += [nn.Conv2d(before, wide, 3, stride, 1, bias=False), BatchNorm(wide), nn.ReLU()]
            before = wide
        head += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        for _ in range(dense - 1):
            head += [nn.Linear(before, max(1, int(hidden * widen))), nn.ReLU()]
            before = max(1, int(hidden * widen))
        self.head = nn.Sequential(*head, nn.Linear(before, out))

    def forward(self, z: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch out"]:
        """Logits, or what is contrasted."""
        out: Tensor = self.head(z)
        return out
