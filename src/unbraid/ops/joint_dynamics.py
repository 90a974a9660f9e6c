"""How joint embedding with a linear predictor learns: the gradient flow of linear networks (Tian et al., 2021).

Of an item x two views are drawn. X is the covariance of the mean view, X' the mean covariance of the views about it.
W is the online network, W_a the target, W_p the predictor; F = W X W^T is the correlation of the embeddings.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.errors import ConfigError

State = tuple[Tensor, ...]


@dataclass(frozen=True)
class Flow:
    """The constants of a flow.

    Attributes:
        noise: Variance that the views add to each direction of unit variance, sigma^2.
        ratio: Learning rate of the predictor relative to the network's.
        tau: The target as a multiple of the online network, where it does not follow by `rate`.
        rate: Rate at which the target follows the online network; None holds it at `tau` times it.
        decay: Weight decay.
    """

    noise: float = 0.5
    ratio: float = 1.0
    tau: float = 1.0
    rate: float | None = None
    decay: float = 0.0

    def __post_init__(self) -> None:
        for name in ("noise", "decay"):
            if getattr(self, name) < 0:
                raise ConfigError("a number of at least 0", got=str(getattr(self, name)), where=name)
        for name in ("ratio", "tau"):
            if getattr(self, name) <= 0:
                raise ConfigError("a number above 0", got=str(getattr(self, name)), where=name)
        if self.rate is not None and self.rate < 0:
            raise ConfigError("a number of at least 0", got=str(self.rate), where="rate")

    @property
    def most_decay(self) -> float:
        """The weight decay beyond which every direction collapses."""
        return self.tau**2 / (4 * (1 + self.noise))

    @property
    def fixed_points(self) -> tuple[float, float] | None:
        """Gains of the predictor that stay: the edge of collapse and the stable one; None where there are none.

        >>> low, high = Flow(noise=0.5, decay=0.02).fixed_points
        >>> round(low, 4), round(high, 4)
        (0.0206, 0.646)
        """
        inside = self.tau**2 - 4 * self.decay * (1 + self.noise)
        if inside < 0:
            return None
        low, high = ((self.tau + sign * math.sqrt(inside)) / (2 * (1 + self.noise)) for sign in (-1, 1))
        return low, high


def modes(state: State, flow: Flow) -> State:
    """Rates of change in one direction that predictor and correlation share: gain p, variance s, ratio tau."""
    p, s, tau = state
    force = tau - (1 + flow.noise) * p
    dp = flow.ratio * s * force - flow.decay * p
    ds = 2 * p * s * force - 2 * flow.decay * s
    if flow.rate is None:
        return dp, ds, torch.zeros_like(tau)
    return dp, ds, flow.rate * (1 - tau) - tau * ds / (2 * s.clamp(min=1e-30))


def matrices(state: State, flow: Flow) -> State:
    """Rates of change of the predictor W_p and the correlation F where views differ alike in all directions."""
    p, f = state
    square = p @ p
    mixed = p @ f + f @ p
    dp = -flow.ratio / 2 * (1 + flow.noise) * mixed + flow.ratio * flow.tau * f - flow.decay * p
    df = -(1 + flow.noise) * (square @ f + f @ square) + flow.tau * mixed - 2 * flow.decay * f
    return dp, df


def networks(state: State, flow: Flow, signal: Float[Tensor, "n n"], spread: Float[Tensor, "n n"]) -> State:
    """Rates of change of W_p, W and W_a themselves.

    Args:
        state: The predictor (d, d), the online and the target network (d, n).
        flow: Constants; `noise` and `tau` are not used.
        signal: X.
        spread: X'.
    """
    p, w, target = state
    error = -p @ w @ (signal + spread) + target @ signal
    dw = p.mT @ error - flow.decay * w
    follow = dw if flow.rate is None else flow.rate * (w - target)
    return flow.ratio * error @ w.mT - flow.decay * p, dw, follow


def integrate(rates: Callable[[State], State], start: State, step: float, steps: int, keep: int = 1) -> State:
    """The states along a flow by the classical Runge-Kutta rule.

    Args:
        rates: State -> rates of change.
        start: The first state.
        step: Time of one step.
        steps: Steps.
        keep: Keep the start and every so many steps.

    Returns:
        For each tensor of the state, the kept ones, time in front.

    >>> [path] = integrate(lambda state: (-state[0],), (torch.ones(1),), step=0.1, steps=10, keep=10)
    >>> [round(v, 5) for v in path[:, 0].tolist()]
    [1.0, 0.36788]
    """

    def moved(state: State, slopes: State, by: float) -> State:
        return tuple(x + by * slope for x, slope in zip(state, slopes, strict=True))

    state, kept = start, [start]
    for i in range(1, steps + 1):
        k1 = rates(state)
        k2 = rates(moved(state, k1, step / 2))
        k3 = rates(moved(state, k2, step / 2))
        k4 = rates(moved(state, k3, step))
        slopes = tuple((a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
        state = moved(state, slopes, step)
        if i % keep == 0:
            kept.append(state)
    return tuple(torch.stack(path) for path in zip(*kept, strict=True))


def misalignment(p: Float[Tensor, "*time d d"], f: Float[Tensor, "*time d d"]) -> Float[Tensor, "*time"]:
    """Length of the commutator over the product of lengths: 0 where both have the same eigenvectors."""
    lengths = torch.linalg.matrix_norm(p) * torch.linalg.matrix_norm(f)
    apart: Tensor = torch.linalg.matrix_norm(f @ p - p @ f) / lengths.clamp(min=1e-30)
    return apart


def alignment(p: Float[Tensor, "d d"], axes: Float[Tensor, "d k"]) -> Float[Tensor, " k"]:
    """|cos| between each column and its image under a matrix: 1 where it is an eigenvector.

    >>> alignment(torch.diag(torch.tensor([2.0, 0.5])), torch.eye(2)).tolist()
    [1.0, 1.0]
    """
    seen = p @ axes
    lengths = torch.linalg.vector_norm(axes, dim=0) * torch.linalg.vector_norm(seen, dim=0)
    cosine: Tensor = torch.linalg.vecdot(axes, seen, dim=0).abs() / lengths.clamp(min=1e-30)
    return cosine


def asymmetry(p: Float[Tensor, "d d"]) -> float:
    """Length of W - W^T over that of W.

    >>> asymmetry(torch.eye(3))
    0.0
    """
    return float(torch.linalg.matrix_norm(p - p.mT) / torch.linalg.matrix_norm(p).clamp(min=1e-30))
