"""Losses of critics and of what they criticise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def gradient_penalty(
    critic: Callable[[Tensor], Float[Tensor, " batch"]],
    real: Float[Tensor, "batch *item"],
    fake: Float[Tensor, "batch *item"],
    mix: Float[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """Squared distance to 1 of the critic's slope at points between real and made items (Gulrajani et al., 2017).

    Args:
        critic: A value for each item.
        real: Items of the data.
        fake: Made items.
        mix: Share of the real item in each point, 0 to 1.

    >>> zeros, ones = torch.zeros(1, 2), torch.ones(1, 2)
    >>> gradient_penalty(lambda x: 3 * x[:, 0] + 4 * x[:, 1], zeros, ones, torch.tensor([0.5])).tolist()
    [16.0]
    """
    share = mix.reshape(-1, *[1] * (real.ndim - 1))
    between = (share * real + (1 - share) * fake).detach().requires_grad_()
    with torch.enable_grad():
        [slope] = torch.autograd.grad(critic(between).sum(), [between], create_graph=True)
    norm: Tensor = torch.linalg.vector_norm(slope.flatten(1), dim=1)
    return (norm - 1).square()


def least_squares(values: Sequence[Float[Tensor, "..."]], target: float) -> Float[Tensor, ""]:
    """The squared distance of a critic's values from a target, a mean over its scales (Mao et al., 2017).

    >>> float(least_squares([torch.zeros(2, 4), torch.ones(2, 2)], target=1.0))
    0.5
    """
    return torch.stack([(value - target).square().mean() for value in values]).mean()


def above_chance(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """How much more likely the true class is held than by chance: log p(label) - log(1 / classes), in nats.

    Descending it takes from what the logits were read what tells the label; stop at 0 (see `hinged`), below which the
    label would be told by being denied.

    >>> above_chance(torch.zeros(1, 4), torch.tensor([2]))
    tensor([0.])
    """
    true = logits.log_softmax(1).gather(1, labels[:, None])[:, 0]
    return true + math.log(logits.shape[1])


def hinged(value: Tensor, floor: float = 0.0) -> Tensor:
    """The value, and 0 (without gradient) where it lies below the floor.

    >>> hinged(torch.tensor(0.3)), hinged(torch.tensor(0.3), floor=0.5)
    (tensor(0.3000), tensor(0.))
    """
    return torch.where(value < floor, torch.zeros_like(value), value)


def ramp(progress: float, steepness: float = 10.0) -> float:
    """The strength of an adversary that comes in gradually: 2 / (1 + exp(-steepness progress)) - 1, from 0 to 1.

    Source:
        Ganin et al., 2016, section 5.2.2.

    >>> [round(ramp(p), 3) for p in (0.0, 0.1, 0.5, 1.0)]
    [0.0, 0.462, 0.987, 1.0]
    """
    return 2 / (1 + math.exp(-steepness * progress)) - 1


def js_information(
    matched: Float[Tensor, " batch"], shuffled: Float[Tensor, " others"]
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " others"]]:
    """The two halves of the Jensen-Shannon bound on mutual information; the sum of their means is the bound.

    At most 0, and -2 log 2 for a critic that cannot tell pairs that belong together from others.

    Args:
        matched: A critic's values for pairs that belong together.
        shuffled: Its values for pairs that do not.

    Source:
        Hjelm et al., 2019, "Learning deep representations by mutual information estimation and maximization", eq. 4.

    >>> [round(float(half), 4) for half in js_information(torch.zeros(1), torch.zeros(1))]
    [-0.6931, -0.6931]
    """
    return -functional.softplus(-matched), -functional.softplus(shuffled)
