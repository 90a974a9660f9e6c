"""Expected free energy of what may be done: how far what is expected to follow is from what is preferred."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.losses.gaussian import gaussian_nll, kl

_AT_ONCE = 512


def pose_energy(
    mean: Float[Tensor, "*batch dim"],
    logvar: Float[Tensor, "*batch dim"],
    goal: Float[Tensor, "*batch dim"],
    spread: float,
) -> Float[Tensor, "*batch"]:
    """KL(N(mean, e^logvar) || N(goal, spread^2)): least where what will be is what is preferred, and as sure.

    >>> at_goal = torch.zeros(1, 2)
    >>> float(pose_energy(at_goal, torch.full((1, 2), 0.25).log(), at_goal, spread=0.5))
    0.0
    """
    return kl(mean, logvar, goal, torch.full_like(goal, spread**2).log()).sum(-1)


def pixel_energy(
    draw: Callable[[Float[Tensor, "batch dim"]], Float[Tensor, "batch c h w"]],
    codes: Float[Tensor, "n m dim"],
    goal: Float[Tensor, "n c h w"],
) -> Float[Tensor, "n m"]:
    """-log N(goal; what is drawn from each code, I) but for a constant.

    Args:
        draw: Codes -> images.
        codes: Those of m motions for each of n.
        goal: What each prefers to see.
    """
    wanted = torch.arange(len(goal), device=goal.device).repeat_interleave(codes.shape[1])
    pieces = zip(torch.split(codes.flatten(0, 1), _AT_ONCE), torch.split(wanted, _AT_ONCE), strict=True)
    return torch.cat([gaussian_nll(draw(z), goal[k]) for z, k in pieces]).reshape(codes.shape[:2])
