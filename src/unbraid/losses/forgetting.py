"""Losses that make a network forget some items and keep what it knows of others."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from unbraid.core.method import Alone, World

_TINY = 1e-8


def misfit(e: Float[Tensor, "batch d"], again: Float[Tensor, "batch d"]) -> Float[Tensor, " batch"]:
    """How badly embeddings fit a description that made them `again`: exp(m / (m + 1)) of the squared distance m.

    It lies in [1, e) and hardly moves where the distance is large, so that outliers pull little.

    >>> misfit(torch.zeros(2, 3), torch.tensor([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]])).round(decimals=1)
    tensor([1.0000, 2.7000])
    """
    m = (again - e).square().sum(1)
    return (m / (m + 1)).exp()


def description(
    e: Float[Tensor, "batch d"],
    again: Float[Tensor, "batch d"],
    mu: Float[Tensor, "batch latents"],
    sigma: Float[Tensor, "batch latents"],
    weight: float = 0.025,
) -> Float[Tensor, " batch"]:
    """The loss of a VAE of embeddings: squared error plus `weight` times the KL term, each summed over an item.

    Args:
        e: Embeddings.
        again: What the VAE made of them.
        mu: Means of their codes.
        sigma: Standard deviations of their codes.
        weight: Of the KL term.
    """
    divergence = -0.5 * ((sigma.square() + _TINY).log() + 1 - mu.square() - sigma.square()).sum(1)
    return (again - e).square().sum(1) + weight * divergence


def turned(e: Float[Tensor, "batch d"], before: Float[Tensor, "batch d"]) -> Float[Tensor, " batch"]:
    """How far embeddings have turned from where they were: 1 - cos."""
    return 1 - functional.cosine_similarity(e, before, dim=1)


def alignment(
    remain: Float[Tensor, " some"],
    forget: Float[Tensor, " others"],
    temperature: float,
    world: World | None = None,
) -> Tensor:
    """Keep the embeddings of what remains where they were, and turn those of what is forgotten away.

    Sum over the remaining items of log(exp(c) / sum over the forgotten ones of exp(c' / temperature)), with c and c'
    how far each has turned (see `turned`); over the items of all processes.

    >>> float(alignment(torch.zeros(3), torch.zeros(4), 5.0)) == -3 * float(torch.tensor(4.0).log())
    True
    """
    world = world or Alone()
    count = world.sum(torch.tensor(float(len(remain)), device=remain.device))
    pushed = world.sum((forget / temperature).exp().sum())
    return world.sum(remain.sum()) - count * pushed.log()
