"""The four changes of colour in one pass over each image, compiled by numba: an image stays near the processor.

The arithmetic is that of `views.image.Jitter`, and so are the numbers, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numba
import numpy as np
from jaxtyping import Float32, Int64

_F = TypeVar("_F", bound=Callable[..., object])

_RED, _GREEN, _BLUE = (np.float32(weight) for weight in (0.299, 0.587, 0.114))
_ZERO, _ONE, _TWO, _THREE, _FOUR, _FIVE, _SIX = (np.float32(number) for number in range(7))
_TINY = np.float32(1e-30)
_CONTRAST, _SATURATION, _HUE = 1, 2, 3


def _compiled(function: _F) -> _F:
    """The function as machine code, kept on disk for the next process where there is a place for it."""
    try:
        compiled: _F = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:
        compiled = numba.njit(nogil=True, error_model="numpy")(function)
    return compiled


@_compiled
def _unit(value: np.float32) -> np.float32:
    return min(max(value, _ZERO), _ONE)


@_compiled
def _share(hue: np.float32, opposite: np.float32) -> np.float32:
    """How much of the chroma a channel lacks: its hue on a circle of length 6, folded twice."""
    away = abs(abs(abs(hue - opposite) - _THREE) - _THREE)
    return _unit(_TWO - away)


@_compiled
def _turn(r: Float32[np.ndarray, " n"], g: Float32[np.ndarray, " n"], b: Float32[np.ndarray, " n"], by: float) -> None:
    for p in range(len(r)):
        red, green, blue = r[p], g[p], b[p]
        high, low = max(green, blue), min(green, blue)
        value, chroma = max(red, high), max(red, high) - min(red, low)
        scale = _ONE / max(chroma, _TINY)
        of_others = (blue - red) * scale + _TWO if green >= blue else (red - green) * scale + _FOUR
        hue = ((green - blue) * scale if red >= high else of_others) + by
        r[p] = value - chroma * _share(hue, _THREE)
        g[p] = value - chroma * _share(hue, _FIVE)
        b[p] = value - chroma * _share(hue, _ONE)


@_compiled
def jitter_(
    x: Float32[np.ndarray, "batch 3 n"], amount: Float32[np.ndarray, "batch 4"], order: Int64[np.ndarray, "batch 4"]
) -> None:
    """Change brightness, contrast, saturation and hue of every image, in place, each in its own order.

    Args:
        x: Pixels in [0, 1].
        amount: Three factors, and the shift of the hue in turns.
        order: Which of the four comes first, second, third and last.
    """
    n = x.shape[2]
    for i in range(len(x)):
        r, g, b = x[i, 0], x[i, 1], x[i, 2]
        for k in range(4):
            which = order[i, k]
            factor = amount[i, which]
            rest = _ONE - factor
            if which == _HUE:
                _turn(r, g, b, _SIX * factor)
            elif which == _SATURATION:
                for p in range(n):
                    middle = (_RED * r[p] + _GREEN * g[p] + _BLUE * b[p]) * rest
                    r[p] = _unit(r[p] * factor + middle)
                    g[p] = _unit(g[p] * factor + middle)
                    b[p] = _unit(b[p] * factor + middle)
            else:
                total = 0.0
                if which == _CONTRAST:
                    for p in range(n):
                        total += _RED * r[p] + _GREEN * g[p] + _BLUE * b[p]
                middle = np.float32(total / n) * rest
                for p in range(n):
                    r[p] = _unit(r[p] * factor + middle)
                    g[p] = _unit(g[p] * factor + middle)
                    b[p] = _unit(b[p] * factor + middle)
