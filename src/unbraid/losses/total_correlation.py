"""How far latents are from independent, estimated from a minibatch: its posteriors, a discriminator, its covariance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softmax

from unbraid.core.method import At

_SURE = 1e-6


class Decomposition(NamedTuple):
    """The three parts of E KL(q(z|x) || p(z)) for each sample, in nats; their means are what has a meaning."""

    mi: Float[Tensor, " batch"]
    tc: Float[Tensor, " batch"]
    dim_kl: Float[Tensor, " batch"]


def total_correlation(
    z: Float[Tensor, "batch dim"], mu: Float[Tensor, "all dim"], logvar: Float[Tensor, "all dim"]
) -> Float[Tensor, " batch"]:
    """TC by plain minibatch sums: log sum_i q(z|x_i) - sum_l log sum_i q(z_l|x_i), in nats.

    Its value lies (dim - 1) log(items * all) below an estimate of the true TC, its gradient does not; `decompose`
    gives values.

    Args:
        z: Samples of the local batch.
        mu: Posterior means of the global batch.
        logvar: Their log variances.

    Source:
        Chen et al., 2018, eq. 5 without its constants, as in disentanglement_lib, vae.total_correlation.
    """
    each = _log_density(z, mu, logvar)
    return each.sum(2).logsumexp(1) - each.logsumexp(1).sum(1)


def decompose(
    z: Float[Tensor, "batch dim"],
    mu: Float[Tensor, "all dim"],
    logvar: Float[Tensor, "all dim"],
    n: int,
    first: int = 0,
) -> Decomposition:
    """Index-code mutual information, total correlation and dimension-wise KL to the standard normal prior.

    The aggregate posterior of `n` items is estimated from `all` of them drawn without replacement: a sample's own
    posterior counts 1 / n, the others stand for the remaining n - 1. With all = n each counts alike, which is exact
    where there are no other items; the mutual information is then at most log n.

    Args:
        z: One sample of each posterior of the local batch.
        mu: Posterior means of the global batch.
        logvar: Their log variances.
        n: Size of the data set that the batch was drawn from.
        first: The row of the global batch that the local one begins with.

    Source:
        Chen et al., 2018, eq. 2 and the stratified sampling of appendix C.2, symmetric in the other samples.
    """
    rows = torch.arange(len(z), device=z.device)
    each = _log_density(z, mu, logvar)
    own = rows[:, None] + first == torch.arange(len(mu), device=z.device)
    others = math.log((n - 1) / (n * (len(mu) - 1))) if len(mu) > 1 else -math.inf
    weight = torch.where(own, -math.log(n), others).to(z)
    together = each.sum(2)
    joint = (together + weight).logsumexp(1)
    marginals = (each + weight[:, :, None]).logsumexp(1).sum(1)
    prior = -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)
    return Decomposition(together[rows, rows + first] - joint, joint - marginals, marginals - prior)


def between_segments(
    z: Float[Tensor, "batch dim"],
    mu: Float[Tensor, "all dim"],
    logvar: Float[Tensor, "all dim"],
    widths: Sequence[int],
) -> Float[Tensor, " batch"]:
    """Dependence between segments of a code, log q(z) - sum_s log q(z_s), in nats, every posterior counting alike.

    Args:
        z: Samples of the local batch.
        mu: Posterior means of the global batch.
        logvar: Their log variances.
        widths: How many numbers each segment has; they sum to `dim`.
    """
    each = _log_density(z, mu, logvar)
    segments = sum((part.sum(2).logsumexp(1) for part in torch.split(each, list(widths), dim=2)), z.new_zeros(()))
    joint: Tensor = each.sum(2).logsumexp(1)
    return joint - segments + (len(widths) - 1) * math.log(len(mu))


def density_ratio(logits: Float[Tensor, "batch 2"]) -> Float[Tensor, " batch"]:
    """Log ratio of a code's density to the product of its marginals, as a discriminator tells it; its mean is the TC.

    Args:
        logits: For "as they came" and for "each latent shuffled", in this order.

    Source:
        Kim and Mnih, 2018, eq. 3.
    """
    return logits[:, 0] - logits[:, 1]


def shuffled_columns(z: Float[Tensor, "batch dim"], at: At) -> Float[Tensor, "batch dim"]:
    """The local rows of the global batch after each column was shuffled by itself: samples of the marginals' product.

    Source:
        Kim and Mnih, 2018, algorithm 1.
    """
    order = at.world.gather(at.rand(z.shape)).argsort(0)
    mixed = at.world.gather(z).gather(0, order)
    return mixed.chunk(at.world.size)[at.world.rank]


def shuffled_segments(z: Float[Tensor, "batch dim"], widths: Sequence[int], at: At) -> Float[Tensor, "batch dim"]:
    """The local rows of the global batch after each segment but the first was moved to other rows as a whole."""
    whole = at.world.gather(z)
    first, *others = torch.split(whole, list(widths), dim=1)
    mixed = torch.cat([first, *(other[at.permutation(len(whole))] for other in others)], 1)
    return mixed.chunk(at.world.size)[at.world.rank]


def tell_apart(came: Float[Tensor, "batch 2"], shuffled: Float[Tensor, "batch 2"]) -> Float[Tensor, " batch"]:
    """The discriminator's loss, from its logits for codes as they came and for shuffled ones.

    Source:
        Kim and Mnih, 2018, algorithm 2; probabilities are kept from 0 and 1 as in disentanglement_lib.
    """
    right = torch.stack([softmax(came, 1)[:, 0], softmax(shuffled, 1)[:, 1]])
    return -0.5 * right.clamp(_SURE, 1 - _SURE).log().sum(0)


def covariance(x: Float[Tensor, "batch dim"]) -> Float[Tensor, "dim dim"]:
    """Biased covariance of the rows, E[x x'] - E[x] E[x]'."""
    mean = x.mean(0)
    return x.mT @ x / len(x) - mean[:, None] * mean


def covariance_gap(matrix: Float[Tensor, "dim dim"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Sums of the squares of covariances and of the variances less 1 (Kumar et al., 2018, eq. 6 and 7)."""
    on = matrix.diagonal()
    return matrix.square().sum() - on.square().sum(), (on - 1).square().sum()


def _log_density(
    z: Float[Tensor, "batch dim"], mu: Float[Tensor, "all dim"], logvar: Float[Tensor, "all dim"]
) -> Float[Tensor, "batch all dim"]:
    """Log q(z_l | x_i) of every sample under every posterior, column by column."""
    apart = (z[:, None] - mu).square() * (-logvar).exp()
    return -0.5 * (apart + logvar + math.log(2 * math.pi))
