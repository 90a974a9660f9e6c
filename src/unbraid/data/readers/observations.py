"""An array becomes observations: vectors as they are, images as (C, H, W) in [0, 1]."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from unbraid.core.errors import DataError
from unbraid.data.readers.arrays import check_numbers
from unbraid.data.readers.check import check_finite


def observations(x: np.ndarray, where: str, size: int | None = None) -> tuple[Tensor, bool]:
    """Observations from an array, and whether they lie in [0, 1].

    (N, D) are vectors and become float32. (N, H, W), (N, C, H, W) and (N, H, W, C) are images with 1 or 3 channels.
    Whole numbers 0..255, of any dtype, are pixel values and are kept as uint8; those of 0 and 1 alone are black and
    white. Other images are kept as float32.

    Args:
        x: The array.
        where: The file and array, for errors.
        size: Cut images to the square in their middle and scale it to this many pixels.

    >>> observations(np.zeros((2, 8, 8, 3)), "zeros")[0].shape
    torch.Size([2, 3, 8, 8])
    """
    check_numbers(x, where)
    if x.ndim < 2 or x.ndim > 4 or 0 in x.shape:
        got, fix = f"shape {x.shape}", "images are (N, H, W), (N, C, H, W) or (N, H, W, C)"
        raise DataError("vectors (N, D), or images", got=got, fix=fix, where=where)
    if x.ndim == 2:
        if size is not None:
            raise DataError("images, where a size is asked for", got="vectors", fix="leave --size out", where=where)
        return torch.from_numpy(_float32(x, where)), False
    pixels = torch.from_numpy(np.ascontiguousarray(_channels_first(_pixels(x, where), where)))
    return (pixels if size is None else resized(pixels, size)), _is_unit(pixels)


def resized(x: Tensor, size: int) -> Tensor:
    """Images (N, C, H, W), cut to the square in their middle and scaled to `size`, smoothing when they shrink."""
    side = min(x.shape[-2:])
    top, left = (int(s - side) // 2 for s in x.shape[-2:])
    x = x[..., top : top + side, left : left + side]
    if side == size:
        return x.contiguous()
    out = x.new_empty(*x.shape[:2], size, size)
    for start in range(0, len(x), 256):
        part = x[start : start + 256].float()
        part = interpolate(part, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
        out[start : start + 256] = part if x.is_floating_point() else part.round().clamp(0, 255).to(x.dtype)
    return out


def _float32(x: np.ndarray, where: str) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        out = np.asarray(x, dtype=np.float32)
    check_finite(out, where)
    return out


def _pixels(x: np.ndarray, where: str) -> np.ndarray:
    """uint8 where the values are whole numbers 0..255, else float32."""
    if x.dtype.kind == "b":
        return x.view(np.uint8) * np.uint8(255)
    if x.dtype.kind == "f":
        x = _float32(x, where)
    low, high = x.min(), x.max()
    whole = x.dtype.kind != "f" or (high > 1 and _is_whole(x))
    if whole and low >= 0 and high <= 1:
        return (x * 255).astype(np.uint8, copy=False)
    if whole and low >= 0 and high <= 255:
        return x.astype(np.uint8, copy=False)
    if x.dtype.kind != "f":
        got, fix = f"{low}..{high}", "divide by the largest value and save as floats"
        raise DataError("pixel values 0..255", got=got, fix=fix, where=where)
    return x


def _is_whole(x: np.ndarray) -> bool:
    return all(bool((part == np.floor(part)).all()) for part in np.array_split(x, max(1, x.nbytes // 2**24)))


def _channels_first(x: np.ndarray, where: str) -> np.ndarray:
    if x.ndim == 3:
        return x[:, None]
    if x.shape[1] in (1, 3):
        return x
    if x.shape[-1] in (1, 3):
        return np.moveaxis(x, -1, 1)
    raise DataError("images with 1 or 3 channels", got=f"shape {x.shape}", where=where)


def _is_unit(x: Tensor) -> bool:
    return x.dtype == torch.uint8 or (float(x.min()) >= 0 and float(x.max()) <= 1)
