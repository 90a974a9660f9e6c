"""Walks through a space of codes along the gradient of one score, around the channels of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Score = Callable[[Float[Tensor, "batch dim"]], Float[Tensor, " batch"]]
"""Codes -> a number for each, that depends on its own code alone."""


def gradient(score: Score, codes: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
    """The gradient of each code's score, whether or not gradients are enabled.

    >>> gradient(lambda w: w.square().sum(1), torch.tensor([[1.0, 2.0]]))
    tensor([[2., 4.]])
    """
    with torch.enable_grad():
        codes = codes.detach().requires_grad_()
        return torch.autograd.grad(score(codes).sum(), codes)[0]


def open_channels(
    gradients: Sequence[tuple[Float[Tensor, "batch dim"], int]], like: Float[Tensor, "batch dim"]
) -> Bool[Tensor, "batch dim"]:
    """The channels that are in none of the sets of the most salient ones, for each code.

    Args:
        gradients: Of each score to protect, and how many of its channels of largest absolute value are closed.
        like: Tells the shape.

    >>> open_channels([(torch.tensor([[1.0, -3.0, 2.0]]), 1)], torch.zeros(1, 3))
    tensor([[ True, False,  True]])
    """
    mask = torch.ones_like(like, dtype=torch.bool)
    for found, top in gradients:
        mask = mask.scatter(1, found.abs().topk(top, dim=1).indices, False)
    return mask


def unit(direction: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
    """Each row at length 1; rows of zeros stay.

    >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    length = direction.norm(dim=1, keepdim=True)
    return direction / torch.where(length > 0, length, 1.0)


def walk(
    codes: Float[Tensor, "batch dim"],
    target: Score,
    keep: Sequence[tuple[Score, int]] = (),
    *,
    steps: int,
    length: float | Float[Tensor, " batch"],
    until: Callable[[Float[Tensor, "batch dim"]], Bool[Tensor, " batch"]] | None = None,
) -> Float[Tensor, "stations batch dim"]:
    """Every station of a walk along the target's gradient, the start first.

    At each station gradient and mask are found anew, and what the mask leaves of the gradient is brought to one length:
    the walk is curved where the scores are.

    Args:
        codes: Where each begins.
        target: What is to grow.
        keep: Scores to protect, each with how many of its most salient channels no step may touch.
        steps: How many.
        length: Of each step, of all codes or of each; walks down where negative.
        until: Tells which codes have arrived and stay where they are; nothing is asked once all have.

    >>> walk(torch.zeros(1, 2), lambda w: w @ torch.tensor([3.0, 4.0]), steps=1, length=5.0)[-1]
    tensor([[3., 4.]])
    """
    stations = [codes]
    lengths = torch.as_tensor(length, dtype=codes.dtype, device=codes.device).reshape(-1, 1)
    for _ in range(steps):
        here = stations[-1]
        there = None if until is None else until(here)[:, None]
        if there is not None and there.all():
            break
        mask = open_channels([(gradient(score, here), top) for score, top in keep], here)
        step = lengths * unit(gradient(target, here) * mask)
        stations.append(here + step if there is None else torch.where(there, here, here + step))
    return torch.stack(stations + stations[-1:] * (steps + 1 - len(stations)))
