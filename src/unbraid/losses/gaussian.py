"""Diagonal Gaussians: divergence, sampling, and the likelihoods of observations."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def kl(
    mu: Float[Tensor, "*batch dim"],
    logvar: Float[Tensor, "*batch dim"],
    mu2: Float[Tensor, "*batch dim"] | float = 0.0,
    logvar2: Float[Tensor, "*batch dim"] | float = 0.0,
) -> Float[Tensor, "*batch dim"]:
    """KL(N(mu, e^logvar) || N(mu2, e^logvar2)) of each column, in nats; the second is standard normal unless given.

    >>> kl(torch.zeros(1, 2), torch.zeros(1, 2), mu2=2.0)
    tensor([[2., 2.]])
    """
    other = torch.as_tensor(logvar2, dtype=mu.dtype, device=mu.device)
    return 0.5 * ((mu - mu2).square() * (-other).exp() + (logvar - other).exp() - (logvar - other) - 1)


def sample(
    mu: Float[Tensor, "*batch dim"], logvar: Float[Tensor, "batch dim"], eps: Float[Tensor, "batch dim"]
) -> Float[Tensor, "*batch dim"]:
    """The point of N(mu, e^logvar) that standard normal noise `eps` stands for (reparametrisation)."""
    return mu + (0.5 * logvar).exp() * eps


def bernoulli_nll(logits: Float[Tensor, "batch *item"], x: Float[Tensor, "batch *item"]) -> Float[Tensor, " batch"]:
    """Cross-entropy of x in [0, 1] under independent Bernoulli pixels, in nats, summed over each item."""
    return functional.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


def gaussian_nll(mean: Float[Tensor, "batch *item"], x: Float[Tensor, "batch *item"]) -> Float[Tensor, " batch"]:
    """Half the squared distance, summed over each item: -log N(x; mean, 1) in nats without its constant."""
    return 0.5 * (mean - x).square().flatten(1).sum(1)
