"""Two items become one: blended, or one pasted into the other."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def mixed(
    x: Float[Tensor, "batch 2 *more h w"],
    share: Float[Tensor, " batch"],
    pasted: Bool[Tensor, " batch"],
    centre: Float[Tensor, "batch 2"],
) -> tuple[Float[Tensor, "batch *more h w"], Float[Tensor, " batch"]]:
    """Mixup (Zhang et al., 2018) or CutMix (Yun et al., 2019) of each pair.

    Args:
        x: The pairs.
        share: How much of the first item stays.
        pasted: Whether a box of the second is pasted into the first, rather than both blended.
        centre: Of the box, in heights and widths; what lies beyond the border is lost.

    Returns:
        The mixed items, and how much of each is of the first: of a pasted one the area that is left of it.

    >>> x = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)])[None]
    >>> half = torch.tensor([0.75])
    >>> y, share = mixed(x, half, torch.tensor([True]), torch.tensor([[0.5, 0.5]]))
    >>> float(y.mean()), float(share)
    (0.25, 0.75)
    """
    height, width = x.shape[-2:]
    side = (1 - share).sqrt()[:, None]
    rows, columns = (
        ((torch.arange(n, device=x.device) + 0.5) / n - centre[:, axis, None]).abs() < side / 2
        for axis, n in enumerate((height, width))
    )
    box = rows[:, :, None] & columns[:, None, :]
    left = torch.where(pasted[:, None, None], (~box).to(x), share[:, None, None].to(x))
    shape = (len(x), *[1] * (x.ndim - 4), height, width)
    weight = left.expand(-1, height, width).reshape(shape)
    return x[:, 0] * weight + x[:, 1] * (1 - weight), left.mean((1, 2))
