"""Distances of images that look at more than single pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def pyramid_l1(
    x: Float[Tensor, "batch c h w"], y: Float[Tensor, "batch c h w"], levels: int = 3
) -> Float[Tensor, " batch"]:
    """Mean absolute difference, a mean over the images at full size, half size, a quarter, and so on.

    >>> x = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).reshape(1, 1, 2, 2)
    >>> pyramid_l1(x, 1 - x, levels=2)  # 1 at full size, 0 at half
    tensor([0.5000])
    """
    found = []
    for level in range(levels):
        if level:
            x, y = (functional.avg_pool2d(image, 2) for image in (x, y))
        found.append((x - y).abs().flatten(1).mean(1))
    return torch.stack(found).mean(0)


def feature_l1(
    x: Sequence[Float[Tensor, "batch _ _ _"]], y: Sequence[Float[Tensor, "batch _ _ _"]], eps: float = 1e-8
) -> Float[Tensor, " batch"]:
    """Mean absolute difference of a network's maps, each position's channels brought to length 1; a mean over maps.

    Args:
        x: Maps (B, C, H, W) of one image each.
        y: Those of others.
        eps: Least length.

    >>> one, other = torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1), torch.tensor([0.0, 2.0]).reshape(1, 2, 1, 1)
    >>> feature_l1([one], [other])  # (0.6, 0.8) and (0, 1)
    tensor([0.4000])
    """
    differences = [
        (functional.normalize(a, dim=1, eps=eps) - functional.normalize(b, dim=1, eps=eps)).abs().flatten(1).mean(1)
        for a, b in zip(x, y, strict=True)
    ]
    return torch.stack(differences).mean(0)
