"""A convolutional encoder with one layer of attention."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.errors import DataError
from unbraid.nets.denoiser import Attention, norm

_LEAST = 4  # side of the last map


class AttentiveEncoder(nn.Module):
    """Images -> vectors: convolutions of stride 2 down to 4 pixels, attention on what the second one gives.

    Args:
        shape: Of an image.
        out: Numbers of a vector.
        width: Channels of the first convolution; twice as many follow.
        heads: Of the attention.

    Raises:
        DataError: The images have fewer than 8 pixels a side.

    Source:
        Zhang et al. (2022, PDAE), encoder of 64 pixels, which is this one at its defaults.

    >>> net = AttentiveEncoder((3, 64, 64), out=512)
    >>> sum(p.numel() for p in net.parameters())
    1487104
    """

    def __init__(self, shape: Sequence[int], out: int, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        if len(shape) != 3 or min(shape[1:]) < 2 * _LEAST:
            raise DataError("images (C, H, W) of 8 pixels or more", got=f"items of shape {tuple(shape)}")
        before, height, wide = shape
        layers: list[nn.Module] = []
        while max(height, wide) > _LEAST:
            after = 2 * width if layers else width
            layers.append(nn.Conv2d(before, after, 3, stride=2, padding=1))
            if len(layers) > 1 and before == width:
                layers.append(Attention(after, heads))
            layers += [norm(after), nn.SiLU()]
            before, height, wide = after, -(-height // 2), -(-wide // 2)
        self.convs = nn.Sequential(*layers, nn.Flatten())
        self.read = nn.Linear(before * height * wide, out)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch out"]:
        """One vector per image."""
        read: Tensor = self.read(self.convs(x))
        return read
