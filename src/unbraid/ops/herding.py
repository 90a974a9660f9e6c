"""A few items whose mean is that of all."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def herding(features: Float[Tensor, "n d"], count: int) -> Int[Tensor, " count"]:
    """Items that are taken one by one, each such that the mean of those taken is nearest to the mean of all.

    No item is taken twice.

    Source:
        Welling, 2009, in the form of Rebuffi et al., 2017 (iCaRL), algorithm 4.

    >>> herding(torch.tensor([[0.0], [1.0], [2.0], [9.0]]), 2).tolist()  # the mean is 3
    [2, 1]
    """
    mean, total = features.mean(0), torch.zeros_like(features[0])
    free = torch.zeros(len(features), device=features.device)
    taken = []
    for k in range(1, min(count, len(features)) + 1):
        best = ((total + features) / k - mean).square().sum(1).add(free).argmin()
        taken.append(best)
        total = total + features[best]
        free[best] = torch.inf
    return torch.stack(taken)
