"""A student that learns what its teacher says of other views."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from unbraid.core.method import World


def cross_entropy_to(
    target: Float[Tensor, "*batch k"], logits: Float[Tensor, "*batch k"], temperature: float = 0.1
) -> Float[Tensor, "*batch"]:
    """Cross-entropy of probabilities with a softmax of logits.

    >>> cross_entropy_to(torch.tensor([0.5, 0.5]), torch.zeros(2)).exp().round(decimals=4)
    tensor(2.)
    """
    return -(target * (logits.float() / temperature).log_softmax(-1)).sum(-1)


def across_views(
    targets: Sequence[Float[Tensor, "batch k"]],
    logits: Sequence[Float[Tensor, "batch k"]],
    temperature: float = 0.1,
) -> Float[Tensor, " batch"]:
    """The mean cross-entropy over all pairs of a target and another view's logits.

    Args:
        targets: Probabilities of the first views.
        logits: Of all views, in the same order.
        temperature: Of the student.
    """
    each = [
        cross_entropy_to(target, other, temperature)
        for i, target in enumerate(targets)
        for j, other in enumerate(logits)
        if i != j
    ]
    return torch.stack(each).mean(0)


def masked_patches(
    target: Float[Tensor, "batch patches k"],
    logits: Float[Tensor, "batch patches k"],
    mask: Bool[Tensor, "batch patches"],
    temperature: float = 0.1,
) -> Float[Tensor, " batch"]:
    """The mean cross-entropy over the masked patches of each image; 0 where none is."""
    each = cross_entropy_to(target, logits, temperature) * mask
    return each.sum(1) / mask.sum(1).clamp(min=1)


def of_masked(
    target: Float[Tensor, "masked k"],
    logits: Float[Tensor, "masked k"],
    mask: Bool[Tensor, "batch patches"],
    temperature: float = 0.1,
) -> Float[Tensor, " batch"]:
    """`masked_patches` where only the masked patches were told, one image after the other."""
    each = cross_entropy_to(target, logits, temperature)
    image = mask.nonzero()[:, 0]
    return each.new_zeros(len(mask)).index_add(0, image, each) / mask.sum(1).clamp(min=1)


def sharpened(p: Float[Tensor, "*batch k"], temperature: float) -> Float[Tensor, "*batch k"]:
    """Probabilities to the power of 1 / temperature, normalised.

    >>> sharpened(torch.tensor([0.75, 0.25]), 0.5).tolist()
    [0.8999999761581421, 0.10000000149011612]
    """
    powered = p ** (1 / temperature)
    return powered / powered.sum(-1, keepdim=True)


def entropy(p: Float[Tensor, "*batch k"], least: float = 1e-12) -> Float[Tensor, "*batch"]:
    """Entropy in nats, kept away from log 0."""
    return -(p * p.clamp(min=least).log()).sum(-1)


def unused(p: Float[Tensor, "batch k"], world: World) -> Float[Tensor, ""]:
    """How far the mean of probabilities over all processes falls short of the largest entropy, log k.

    >>> from unbraid.core.method import Alone
    >>> round(float(unused(torch.eye(3), Alone())), 6), round(float(unused(torch.eye(2)[:1], Alone())), 4)
    (0.0, 0.6931)
    """
    mean = world.mean(p.mean(0))
    return torch.log(mean.new_tensor(float(len(mean)))) - entropy(mean)


def relational(
    q: Float[Tensor, "batch d"],
    k: Float[Tensor, "batch d"],
    queue: Float[Tensor, "size d"],
    temperature: float = 0.1,
    teacher_temperature: float = 0.04,
) -> Float[Tensor, " batch"]:
    """The likenesses of a view to what was seen before should be those of another view (ReSSL, Zheng et al., 2021)."""
    q, k, queue = (functional.normalize(z, dim=1) for z in (q, k.detach(), queue.detach()))
    return cross_entropy_to((k @ queue.mT / teacher_temperature).softmax(1), q @ queue.mT, temperature)
