"""`discs`: 720 small images, for checks that must end in seconds."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.data.factors import Factor
from unbraid.data.made.grid import FactorGrid

_SIZE = 16
_PLACES = torch.linspace(4.5, 11.5, 6)
_RADII = torch.linspace(1.5, 4.0, 4)
_BRIGHTNESS = torch.linspace(0.2, 1.0, 5)


class Discs(FactorGrid):
    """One soft-edged disc on black, 16 x 16: x 6, y 6, radius 4, brightness 5 values (after Hsu et al., 2023).

    >>> data = Discs()
    >>> len(data), data.fields["x"].shape, data.sizes
    (720, (1, 16, 16), (6, 6, 4, 5))
    """

    def __init__(self) -> None:
        factors = (
            Factor("x", "ordinal", tuple(f"{v:g}" for v in _PLACES.tolist())),
            Factor("y", "ordinal", tuple(f"{v:g}" for v in _PLACES.tolist())),
            Factor("radius", "ordinal", tuple(f"{v:.2g}" for v in _RADII.tolist())),
            Factor("brightness", "ordinal", tuple(f"{v:.1f}" for v in _BRIGHTNESS.tolist())),
        )
        super().__init__("discs", factors, (1, _SIZE, _SIZE), version=1)
        self._images = _draw(self.factors_of(torch.arange(len(self))))

    def render(self, factors: Int[Tensor, "*index k"]) -> Float[Tensor, "*index c h w"]:
        if self._images.device != factors.device:
            self._images = self._images.to(factors.device)
        return self._images[self.index_of(factors)]


def _draw(factors: Int[Tensor, "n 4"]) -> Float[Tensor, "n 1 h w"]:
    x, y, radius, brightness = factors[:, :, None, None].unbind(1)
    pixel = torch.arange(_SIZE) + 0.5
    away = ((pixel - _PLACES[x]) ** 2 + (pixel[:, None] - _PLACES[y]) ** 2).sqrt()
    cover = (_RADII[radius] + 0.5 - away).clamp(0, 1)
    return (cover * _BRIGHTNESS[brightness])[:, None]
