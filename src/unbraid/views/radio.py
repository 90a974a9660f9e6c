"""Random views of radio packets (B, 2, T)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.method import At
from unbraid.ops.radio import filtered, noisy, to_channels, to_complex

_LEAST, _MOST, _CAPTURED, _TAPS = 5, 30, 30.0, 9


def noisier(x: Float[Tensor, "batch 2 t"], at: At) -> Float[Tensor, "batch 2 t"]:
    """Packets with white noise at 5 to 29 dB, a whole number for each, where the capture itself has 30 dB."""
    snr = _LEAST + at.randint(_MOST - _LEAST, (len(x),))
    return to_channels(noisy(to_complex(x), at.randn(x.shape), snr, _CAPTURED))


def filtered_at_random(x: Float[Tensor, "batch 2 t"], at: At) -> Float[Tensor, "batch 2 t"]:
    """Packets through a random filter each, of nine complex taps and unit power on average."""
    taps = torch.view_as_complex(at.randn((len(x), _TAPS, 2))) / math.sqrt(2 * _TAPS)
    return to_channels(filtered(to_complex(x), taps))
