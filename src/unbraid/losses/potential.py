"""What a potential owes to physics where codes are moved along its gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.method import World
from unbraid.ops.derivatives import laplacian as trace
from unbraid.ops.derivatives import slope

Equation = Literal["wave", "diffusion"]
"""u_tt = c^2 Lu, or u_t = c^2 Lu (heat; the Fokker-Planck equation without drift)."""
Laplacian = Literal["code", "exact"]
"""What stands for Lu: the row sums of the Hessian, as published code has it, or its trace, as the paper does."""
Potential = Callable[[Tensor, Tensor], Tensor]
"""(codes (B, D), times (1,) or (B,)) -> values (B,)."""


@dataclass(frozen=True)
class Rollout:
    """Codes that were moved along a gradient step by step.

    Attributes:
        path: The codes at times 0, 1, ..., n, each (B, D).
        moves: The gradients at times 0, ..., n - 1, each (B, D).
        initial: The mean squared gradient of each code at time 0.
        residual: The mean squared residual of the equation at each code, over the times.
    """

    path: tuple[Tensor, ...]
    moves: tuple[Tensor, ...]
    initial: Float[Tensor, " batch"]
    residual: Float[Tensor, " batch"]


def rollout(
    potential: Potential,
    speed: Float[Tensor, ""],
    z: Float[Tensor, "batch dim"],
    steps: int,
    world: World,
    *,
    equation: Equation = "wave",
    laplacian: Laplacian = "code",
) -> Rollout:
    """Move codes in unit steps of time, z_{i+1} = z_i + grad u(z_i, i); nothing is detached.

    In the form "code" the derivative in time is summed over the batch of all processes, and the residual stands for
    each coordinate of a code; in the form "exact" every code has one residual of its own.

    Args:
        potential: u(z, t).
        speed: c.
        z: Where the codes start.
        steps: How many.
        world: The processes that share the batch.
        equation: Which one.
        laplacian: Which form.
    """
    z = z if z.requires_grad else z.detach().requires_grad_()
    times = 1 if laplacian == "code" else len(z)
    path, moves, residuals = [z], [], []
    for step in range(steps):
        t = torch.full((times,), float(step), device=z.device, requires_grad=True)
        value = potential(z, t)
        move = slope(value, z)
        rate = slope(value, t)
        rate = slope(rate, t) if equation == "wave" else rate
        if laplacian == "code":
            residual = world.sum(rate) - speed.square() * slope(move, z)
        else:
            residual = (rate - speed.square() * trace(move, z))[:, None]
        residuals.append(residual.square().mean(1))
        moves.append(move)
        z = z + move
        path.append(z)
    return Rollout(tuple(path), tuple(moves), moves[0].square().mean(1), torch.stack(residuals).mean(0))
