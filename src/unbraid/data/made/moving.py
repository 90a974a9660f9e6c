"""`moving-sprites`: clips in which one thing moves, and what it is tells nothing of where it goes."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.factors import Factor
from unbraid.data.made.grid import FactorGrid
from unbraid.ops.keyed import bytes_of

SIZES = (16, 32, 64)
_MOTIONS = {"right": (0, 1), "down": (1, 0), "left": (0, -1), "up": (-1, 0)}  # rows, columns
_SHAPES = ("square", "disc", "cross")
_COLOURS = {"red": (1.0, 0.2, 0.2), "green": (0.2, 1.0, 0.2), "blue": (0.2, 0.2, 1.0), "white": (1.0, 1.0, 1.0)}
_PLACES, _DARK = 16, 0.2


class MovingSprites(FactorGrid):
    """A square, disc or cross in one of 4 colours, moving in one of 4 directions; what leaves comes in again.

    4 motions x 12 appearances x 16 x 16 places of departure = 12,288 clips. It moves by a sixteenth of the picture
    from frame to frame. Any single frame of any motion is also one of every other motion, so that a frame tells nothing
    of `motion`; and a clip's frames in reverse are a clip of the opposite motion. The field `label` is the motion.

    Args:
        frames: Frames in a clip, T.
        size: Height and width in pixels: 16, 32 or 64.
        noise: Standard deviation of the noise in every pixel of every frame, uniform; the result is cut to [0, 1].

    >>> data = MovingSprites(frames=4, size=16)
    >>> len(data), data.take(torch.tensor([[0, 5]]))["x"].shape
    (12288, torch.Size([1, 2, 4, 3, 16, 16]))
    """

    roles = {"label": "motion"}

    def __init__(self, frames: int = 8, size: int = 32, noise: float = 0.1) -> None:
        if size not in SIZES:
            raise DataError(f"one of {', '.join(map(str, SIZES))}", got=str(size), where="moving-sprites: size")
        if not 2 <= frames <= 256:
            raise DataError("2 to 256 frames", got=str(frames), where="moving-sprites: frames")
        if not 0 <= noise <= 1:
            raise DataError("a number from 0 to 1", got=f"{noise:g}", where="moving-sprites: noise")
        self.frames, self.size, self.noise = frames, size, noise
        factors = (
            Factor("motion", "categorical", tuple(_MOTIONS)),
            Factor("appearance", "categorical", tuple(f"{c} {s}" for s in _SHAPES for c in _COLOURS)),
            Factor("x", "circular", tuple(str(i) for i in range(_PLACES))),
            Factor("y", "circular", tuple(str(i) for i in range(_PLACES))),
        )
        name = f"moving-sprites:frames={frames},size={size},noise={noise:g}"
        super().__init__(name, factors, (frames, 3, size, size), version=1)

    def render(self, factors: Int[Tensor, "*index k"]) -> Float[Tensor, "*index t c h w"]:
        flat = factors.reshape(-1, len(self.sizes))
        motion, appearance, x, y = flat.unbind(1)
        covered = self._covered(appearance.div(len(_COLOURS), rounding_mode="floor"), motion, x, y)
        colour = torch.tensor(list(_COLOURS.values()), device=flat.device)[appearance % len(_COLOURS)]
        clips = torch.where(covered[:, :, None], colour[:, None, :, None, None], _DARK)
        if self.noise:
            key = self.index_of(flat).float()[:, None]  # exact, and another one for every clip
            drawn = bytes_of(key, math.prod(clips.shape[1:])).view_as(clips).float() / 255 - 0.5
            clips = (clips + drawn * (12**0.5 * self.noise)).clamp(0, 1)
        return clips.reshape(*factors.shape[:-1], *self.fields["x"].shape)

    def _covered(self, shape: Tensor, motion: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Which pixels (B, T, H, W) the sprite covers."""
        device, step = shape.device, self.size // _PLACES
        time = torch.arange(self.frames, device=device)
        way = torch.tensor(list(_MOTIONS.values()), device=device)[motion]
        pixels = torch.arange(self.size, device=device)
        rows, columns = (
            self._off(pixels - step * (start[:, None] + time * way[:, axis, None])[..., None])
            for axis, start in enumerate((y, x))
        )
        down, across = rows[..., :, None].abs(), columns[..., None, :].abs()
        radius = 3 * self.size // 32 + (self.size < 32)
        inside = torch.stack(
            [
                torch.maximum(down, across) <= radius,
                down * down + across * across <= radius * radius + radius / 2,
                (torch.maximum(down, across) <= radius) & (torch.minimum(down, across) <= radius // 3),
            ]
        )
        return inside[shape, torch.arange(len(shape), device=device)]

    def _off(self, distance: Tensor) -> Tensor:
        """The shortest way around the picture."""
        half = self.size // 2
        return (distance + half) % self.size - half
