"""Views that destroy the shape of what an image shows, and keep its colours and textures."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def patch_shuffle(x: Float[Tensor, "batch c h w"], order: Int[Tensor, "batch patches"]) -> Float[Tensor, "batch c h w"]:
    """The square patches of each image in another order; the first of the new ones is number `order[:, 0]`.

    Sizes that the patches do not divide are brought to the next smaller one that they do, and back.

    Args:
        x: Images.
        order: For each image a permutation of its P * P patches, row by row.

    >>> import torch
    >>> patch_shuffle(torch.arange(4.0).reshape(1, 1, 2, 2), torch.tensor([[3, 2, 1, 0]])).flatten().tolist()
    [3.0, 2.0, 1.0, 0.0]
    """
    (batch, channels, height, width), side = x.shape, round(order.shape[1] ** 0.5)
    fits = height // side * side, width // side * side
    y = x if fits == (height, width) else _resized(x, fits)
    y = y.reshape(batch, channels, side, fits[0] // side, side, fits[1] // side)
    patches = y.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (B, P * P, C, h, w)
    moved = patches.gather(1, order[:, :, None, None, None].expand_as(patches))
    rows = moved.reshape(batch, side, side, *moved.shape[2:])
    moved = rows.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, *fits)
    return moved if fits == (height, width) else _resized(moved, (height, width))


def pixel_shuffle(x: Float[Tensor, "batch c h w"], order: Int[Tensor, " pixels"]) -> Float[Tensor, "batch c h w"]:
    """The pixels in another order, the same for all images and channels.

    >>> import torch
    >>> pixel_shuffle(torch.arange(4.0).reshape(1, 1, 2, 2), torch.tensor([1, 0, 3, 2])).flatten().tolist()
    [1.0, 0.0, 3.0, 2.0]
    """
    return x.flatten(2)[:, :, order].reshape(x.shape)


def occlude(x: Float[Tensor, "batch c h w"], share: float = 0.5) -> Float[Tensor, "batch c h w"]:
    """The middle of each image replaced by its mean colour.

    Args:
        x: Images.
        share: Of the height and of the width that are covered.

    >>> import torch
    >>> occlude(torch.arange(16.0).reshape(1, 1, 4, 4))[0, 0, 1].tolist()
    [4.0, 7.5, 7.5, 7.0]
    """
    rows, columns = (slice(start := round((1 - share) / 2 * n), start + round(share * n)) for n in x.shape[2:])
    y = x.clone()
    y[:, :, rows, columns] = x.mean((2, 3), keepdim=True)
    return y


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)
