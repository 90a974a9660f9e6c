"""How far two sounds are apart in their spectra, at several resolutions at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

SIZES = (2048, 1024, 512, 256, 128, 64)
"""Samples under the window, and of the transform, at each resolution; a quarter of it is the hop."""

_SMALL = 1e-7
_TINY = 1e-30


class SpectralTerms(NamedTuple):
    """The two terms, each a mean over the resolutions.

    Attributes:
        convergence: The distance of the magnitudes over their norm, both over the whole batch.
        magnitude: The mean absolute difference of the log magnitudes.
    """

    convergence: Float[Tensor, ""]
    magnitude: Float[Tensor, ""]


def multi_resolution_stft(
    made: Float[Tensor, "b t"],
    real: Float[Tensor, "b t"],
    sizes: Sequence[int] = SIZES,
    mean: Callable[[Tensor], Tensor] = lambda x: x,
) -> SpectralTerms:
    """Spectral convergence and log magnitude (Yamamoto et al., 2020).

    Args:
        made: What is judged; longer than half the greatest size.
        real: What it should be.
        sizes: Of the transforms.
        mean: The mean of a number over the processes that share the batch.

    >>> wave = torch.randn(2, 400)
    >>> [round(float(t), 3) for t in multi_resolution_stft(0.5 * wave, wave, (64, 128))]
    [0.5, 0.693]
    """
    convergence, magnitude = [], []
    for size in sizes:
        x, y = _magnitudes(made, size), _magnitudes(real, size)
        distance, norm = (mean(m.square().sum()).clamp(min=_TINY).sqrt() for m in (y - x, y))
        convergence.append((distance + _SMALL) / (norm + _SMALL))
        magnitude.append((x.log() - y.log()).abs().mean())
    return SpectralTerms(torch.stack(convergence).mean(), torch.stack(magnitude).mean())


def _magnitudes(wave: Float[Tensor, "b t"], size: int) -> Float[Tensor, "b bins frames"]:
    hann = torch.hann_window(size, dtype=wave.dtype, device=wave.device)
    spectrum = torch.stft(wave, size, size // 4, size, hann, pad_mode="reflect", return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square()).clamp(min=_SMALL).sqrt()
