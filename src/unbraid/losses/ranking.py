"""Losses of recommenders."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def bpr(positive: Float[Tensor, " batch"], negative: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Bayesian personalised ranking: -log P(a user prefers what he took to what he did not), in nats.

    >>> import torch
    >>> bpr(torch.tensor([1.0]), torch.tensor([1.0])).exp().tolist()
    [2.0]
    """
    return functional.softplus(negative - positive)
