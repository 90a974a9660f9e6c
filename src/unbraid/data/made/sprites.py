"""`sprites`: the factor structure of dSprites, drawn on demand."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.factors import Factor
from unbraid.data.made.grid import FactorGrid
from unbraid.data.made.hues import hues
from unbraid.data.order import key_of, shuffled

SIZES = (16, 32, 64)
_SHAPES, _SCALES, _ORIENTATIONS, _PLACES, _HUES = ("square", "ellipse", "heart"), 6, 40, 32, 8

# In units of the image's width, at the largest scale. Every shape stays within 0.235 of its centre and centres keep
# 0.25 from the border, so that nothing is ever cut off.
_SIDE = 0.165
_AXES = (0.23, 0.125)
_LOBE, _LIFT = 0.13, 0.048
_NEAREST, _FARTHEST = 0.25, 0.75


class Sprites(FactorGrid):
    """White (or coloured) shapes on black: 3 shapes x 6 scales x 40 orientations x 32 x 32 places = 737,280 images.

    The order is that of dSprites (Matthey et al., 2017): shape, scale, orientation, x, y, the last one fastest. Unlike
    there the 40 orientations are 9 degrees apart, so that the last one is not the first one again.

    **Orientation** is circular, and cannot be read beyond a shape's symmetry: a square looks the same after 90 degrees
    (10 steps), an ellipse after 180 (20 steps); only a heart shows all 40. Averaged over shapes no method, however
    good, gets more than log2(10)/3 + log2(20)/3 + log2(40)/3 = 4.32 of log2(40) = 5.32 bits, and a low score for
    orientation alone says little.

    Args:
        size: Height and width of an image in pixels: 16, 32 or 64.
        colour: Draw in one of 8 hues: 3 channels, and a circular factor `hue` in front of the others.
        correlated: In [0, 1): how strongly x and scale go together. At this share of the indices, chosen once and for
            all, x is moved into the sixth of the places that belongs to the scale (left for the smallest); both
            factors stay uniform by themselves and their correlation is about 0.97 times this number. Indices from
            `len` on, up to twice `len`, are the plain grid: no order ever draws them, but `index_of` answers with
            them, so that an intervention can reach any combination.

    >>> data = Sprites(size=16)
    >>> len(data), data.take(torch.tensor([[0, 5]]))["x"].shape
    (737280, torch.Size([1, 2, 1, 16, 16]))
    >>> data.factors_of(torch.tensor(737279)).tolist()
    [2, 5, 39, 31, 31]
    """

    notes = (
        "orientation is circular, and cannot be read beyond a shape's symmetry: squares look the same after 90 "
        "degrees, ellipses after 180; at best 4.32 of its 5.32 bits are there to be known",
    )

    def __init__(self, size: int = 32, colour: bool = False, correlated: float = 0.0) -> None:
        if size not in SIZES:
            raise DataError(f"one of {', '.join(map(str, SIZES))}", got=str(size), where="sprites: size")
        if not 0 <= correlated < 1:
            raise DataError("a number from 0 to below 1", got=f"{correlated:g}", where="sprites: correlated")
        self.size, self.colour, self.correlated = size, colour, correlated
        name = f"sprites:size={size},colour={str(colour).lower()},correlated={correlated:g}"
        super().__init__(name, _factors(colour), (3 if colour else 1, size, size), version=1)

    def render(self, factors: Int[Tensor, "*index k"]) -> Float[Tensor, "*index c h w"]:
        flat = factors.reshape(-1, len(self.sizes))
        cover = self._cover(*flat[:, -5:].unbind(1))[:, None]
        if self.colour:
            cover = cover * hues(_HUES).to(flat.device)[flat[:, 0], :, None, None]
        return cover.reshape(*factors.shape[:-1], *self.fields["x"].shape)

    def factors_of(self, indices: Int[Tensor, "*index"]) -> Int[Tensor, "*index k"]:
        factors = super().factors_of(indices)
        return self._correlate(indices, factors) if self.correlated else factors

    def index_of(self, factors: Int[Tensor, "*index k"]) -> Int[Tensor, "*index"]:
        """An index that shows each combination; beyond `len` when x and scale are correlated."""
        return super().index_of(factors) + (len(self) if self.correlated else 0)

    @property
    def _reach(self) -> int:
        return 2 * len(self) if self.correlated else len(self)

    def _correlate(self, indices: Tensor, factors: Tensor) -> Tensor:
        drawn = indices.flatten() % len(self)
        lot = shuffled(len(self), key_of("sprites", "correlated"), drawn).reshape(indices.shape)
        moved = (lot < self.correlated * len(self)) & (indices < len(self))
        scale, x = factors[..., -4], factors[..., -2]
        # 6 scales x 32 places, read in one line and cut into 32: both factors remain exactly uniform.
        together = (scale * _PLACES + x).div(_SCALES, rounding_mode="floor")
        factors[..., -2] = torch.where(moved, together, x)
        return factors

    def _cover(
        self, shape: Tensor, scale: Tensor, orientation: Tensor, x: Tensor, y: Tensor
    ) -> Float[Tensor, "batch h w"]:
        """The share of each pixel that the shape covers, from the distance of its centre to the shape's edge."""
        device = shape.device
        centre = ((torch.arange(self.size) + 0.5) / self.size).to(device)
        place = torch.linspace(_NEAREST, _FARTHEST, _PLACES).to(device)
        width = torch.linspace(0.5, 1.0, _SCALES).to(device)[scale][:, None]
        # Sines from a table, because a vectorised sine may round otherwise at the end of an array than in its middle.
        angle = torch.arange(_ORIENTATIONS, dtype=torch.float64) * (2 * math.pi / _ORIENTATIONS)
        cos, sin = (t.float().to(device)[orientation][:, None] for t in (angle.cos(), angle.sin()))
        across, down = (centre - place[x][:, None]) / width, (centre - place[y][:, None]) / width
        cover = across.new_empty(len(shape), self.size, self.size)
        for code, distance in enumerate((_square, _ellipse, _heart)):
            rows = (shape == code).nonzero()[:, 0]
            u = (across * cos)[rows, None, :] + (down * sin)[rows, :, None]
            v = (down * cos)[rows, :, None] - (across * sin)[rows, None, :]
            pixels = distance(u, v).mul_(width[rows, :, None] * -self.size)
            cover[rows] = pixels.add_(0.5).clamp_(0, 1)
        return cover


Distance = Callable[[Tensor, Tensor], Tensor]
"""Points right (u) and down (v) of a shape's centre -> how far outside the shape they lie, negative inside."""


def _square(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(u.abs(), v.abs()).sub_(_SIDE)


def _ellipse(u: Tensor, v: Tensor) -> Tensor:
    """To first order: the level of the ellipse's equation over the length of its gradient."""
    p, q = u / _AXES[0], v / _AXES[1]
    level = (p * p).add_(q * q).sqrt_()
    slope = p.div_(_AXES[0]).square_().add_(q.div_(_AXES[1]).square_()).sqrt_().clamp_(min=1e-6)
    return (level - 1).mul_(level).div_(slope)


def _heart(u: Tensor, v: Tensor) -> Tensor:
    """A square on its tip with a disc on each of its upper sides; lifted, so that it turns about its middle."""
    up = _LIFT - v
    a, b = (up + u).mul_(math.sqrt(0.5)), (up - u).mul_(math.sqrt(0.5))
    box = torch.maximum(a.abs(), b.abs()).sub_(_LOBE)
    along, beside = torch.maximum(a, b).sub_(_LOBE), torch.minimum(a, b)
    disc = along.square_().add_(beside.square_()).sqrt_().sub_(_LOBE)
    return torch.minimum(box, disc)


def _factors(colour: bool) -> tuple[Factor, ...]:
    plain = (
        Factor("shape", "categorical", _SHAPES),
        Factor("scale", "ordinal", tuple(f"{0.5 + 0.1 * i:.1f}" for i in range(_SCALES))),
        Factor("orientation", "circular", tuple(f"{i * 360 // _ORIENTATIONS}°" for i in range(_ORIENTATIONS))),
        Factor("x", "ordinal", tuple(str(i) for i in range(_PLACES))),
        Factor("y", "ordinal", tuple(str(i) for i in range(_PLACES))),
    )
    hue = Factor("hue", "circular", tuple(f"{i * 360 // _HUES}°" for i in range(_HUES)))
    return (hue, *plain) if colour else plain
