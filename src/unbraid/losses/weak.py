"""Pairs of observations that share most factors: which columns are shared, and their common posterior."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Aggregate = Literal["gvae", "ml"]


def distance(mu: Float[Tensor, "batch 2 dim"], logvar: Float[Tensor, "batch 2 dim"]) -> Float[Tensor, "batch dim"]:
    """2 KL(first || second) of each column, in nats (the factor 1/2 is missing in the authors' code).

    Source:
        Locatello et al., 2020; disentanglement_lib, methods/weak/weak_vae.py.
    """
    apart, log_ratio = mu[:, 1] - mu[:, 0], logvar[:, 0] - logvar[:, 1]
    return log_ratio.exp() + apart.square() * (-logvar[:, 1]).exp() - 1 - log_ratio


def kept(distance: Float[Tensor, "batch dim"]) -> Bool[Tensor, "batch dim"]:
    """Whether a column differs within the pair: its distance is in the upper half of the pair's range."""
    low, high = distance.aminmax(dim=1, keepdim=True)
    return distance >= (low + high) / 2


def share(
    mu: Float[Tensor, "batch 2 dim"],
    logvar: Float[Tensor, "batch 2 dim"],
    kept: Bool[Tensor, "batch dim"],
    how: Aggregate = "gvae",
) -> tuple[Float[Tensor, "batch 2 dim"], Float[Tensor, "batch 2 dim"]]:
    """The posteriors of a pair after its columns that are not `kept` were given one common Gaussian.

    Args:
        mu: Means of both items.
        logvar: Log variances of both items.
        kept: Columns to be left alone.
        how: "gvae" averages means and variances; "ml" multiplies the densities (the variance is doubled, as in the
            authors' code, so that two equal posteriors stay what they are).

    Returns:
        Means and log variances.
    """
    if how == "gvae":
        common_mu = mu.mean(1, keepdim=True)
        common_logvar = logvar.logsumexp(1, keepdim=True) - math.log(2)
    else:
        common_mu = ((-logvar).softmax(1) * mu).sum(1, keepdim=True)
        common_logvar = math.log(2) - (-logvar).logsumexp(1, keepdim=True)
    stay = kept[:, None]
    return torch.where(stay, mu, common_mu), torch.where(stay, logvar, common_logvar)
