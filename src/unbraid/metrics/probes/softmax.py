"""The linear probe: ridge multinomial regression, all factors, folds and ridge strengths in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.metrics.probes.common import Heads, Labels, LogProbabilities, Rows, plan, predict, stack

STRENGTHS = (0.001, 1.0, 30.0, 1000.0)
"""Precisions of the Gaussian prior on the weights of standardised codes to choose from."""
_ITERATIONS = 30
_TOLERANCE = 2e-3
_FLAT = 1e-6
_TUNING = 2000
_SOFT = 1e-4
_SIZES = (0.0, 0.25, 0.5, 1.0)


def linear(
    codes: Float[np.ndarray, "n d"],
    labels: Labels,
    folds: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"] | None = None,
    *,
    strengths: Sequence[float] = STRENGTHS,
    cap: int = 10_000,
    seed: int = 0,
) -> LogProbabilities:
    """Out-of-fold log-probabilities of a ridge multinomial regression for each factor.

    Args:
        codes: One row of numbers per item.
        labels: See `Labels`.
        folds: The fold 0..K-1 of each item; its probe learns from the other folds.
        groups: What the tuning must not cut; None for items on their own.
        strengths: Ridge strengths to choose from, for each fold and factor.
        cap: Most items a fold's probe learns from.
        seed: Chooses those items and the tuning set.
    """
    heads, rows = Heads.of(labels), plan(folds, groups, cap, seed)
    x = torch.as_tensor(np.ascontiguousarray(codes), dtype=torch.float32)
    fitted = regression(x, heads, [r.all for r in rows], tuned(x, heads, rows, strengths))
    return predict(heads, folds, lambda fold, at, head: fitted.logits(fold, x[at], heads.spans[head]))


def regression(
    x: Float[Tensor, "n d"], heads: Heads, learn: list[np.ndarray], strength: Float[Tensor, "f h"]
) -> Regression:
    """The regressions of all folds and factors, each learned from its rows with its ridge strength."""
    axes = [_Axes.of(x[torch.from_numpy(r)]) for r in learn]
    found = _descend(_turn(axes, x, learn), heads.at(learn), heads, stack([a.spread for a in axes]), strength)
    return Regression(axes, found)


@dataclass(frozen=True)
class _Axes:
    """Principal axes of the standardised training codes: in them the problem is round and descent is quick."""

    mean: Tensor
    turn: Tensor
    spread: Tensor

    @classmethod
    def of(cls, x: Float[Tensor, "m d"]) -> _Axes:
        mean, scale = x.mean(0), x.std(0)
        scale = torch.where(scale > _FLAT * (1e-30 + mean.abs()), scale, torch.inf)
        z = (x - mean) / scale
        spread, turn = torch.linalg.eigh((z.mT @ z / len(z)).double())
        alive = spread > _FLAT * spread[-1].clamp(min=1e-12)
        inverse = torch.where(alive, spread.clamp(min=1e-30).rsqrt(), 0.0)
        return cls(mean, ((turn * inverse) / scale[:, None]).float(), torch.where(alive, spread, 1.0).float())

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return (x - self.mean) @ self.turn


@dataclass(frozen=True)
class _Found:
    weights: Float[Tensor, "f d c"]
    bias: Float[Tensor, "f 1 c"]


@dataclass(frozen=True)
class Regression:
    """Fitted regressions, one per fold, all factors side by side."""

    axes: list[_Axes]
    found: _Found

    def logits(self, fold: int, x: Float[Tensor, "n d"], span: slice) -> Float[Tensor, "n c"]:
        """Logits of the classes in `span` by a fold's regression."""
        return self.axes[fold](x) @ self.found.weights[fold, :, span] + self.found.bias[fold, :, span]


def _turn(axes: list[_Axes], x: Tensor, rows: list[np.ndarray]) -> Float[Tensor, "f m d"]:
    return stack([a(x[torch.from_numpy(r)]) for a, r in zip(axes, rows, strict=True)])


def tuned(x: Tensor, heads: Heads, rows: list[Rows], strengths: Sequence[float]) -> Float[Tensor, "f h"]:
    """The strength that predicts the tuning rows best, for each fold and factor."""
    learn, tune = [r.learn[:_TUNING] for r in rows], [r.tune[:_TUNING] for r in rows]
    axes = [_Axes.of(x[torch.from_numpy(r)]) for r in learn]
    many = len(strengths)
    z, spread = _turn(axes, x, learn), stack([a.spread for a in axes])
    each = torch.tensor(strengths).repeat_interleave(len(rows))[:, None].expand(-1, len(heads.sizes))
    true = heads.at(learn).repeat(many, 1, 1)
    found = _descend(z.repeat(many, 1, 1), true, heads, spread.repeat(many, 1), each)
    held = _turn(axes, x, tune).repeat(many, 1, 1)
    losses = heads.losses(torch.baddbmm(found.bias, held, found.weights), heads.at(tune).repeat(many, 1, 1))
    best = losses.reshape(many, len(rows), -1).argmin(0)
    return torch.tensor(strengths)[best]


def _descend(
    z: Float[Tensor, "f m d"],
    true: Float[Tensor, "f m c"],
    heads: Heads,
    spread: Float[Tensor, "f d"],
    strength: Float[Tensor, "f h"],
) -> _Found:
    """Accelerated descent with restarts (O'Donoghue and Candes, 2015) under Boehning's bound on the curvature.

    The Hessian of the multinomial log-likelihood is at most half the Gram matrix (Boehning, 1992), here the identity
    times the number of items: the step needs no search, and all problems go in one batch.
    """
    owner, known = heads.owner, true @ heads.owner
    items = known.sum(1, keepdim=True).clamp(min=1)  # (F, 1, H)
    ridge = (strength @ owner.mT)[:, None] / spread[:, :, None]  # (F, d, C)
    step, step_bias = 1 / (items @ owner.mT / 2 + ridge), 2 / (items @ owner.mT)
    weights, bias = _start(z, true, heads, ridge)
    ahead, ahead_bias, speed = weights, bias, torch.ones_like(items)
    done = torch.zeros(len(z), 1, 1, dtype=torch.bool)  # each fold ends by itself: none may tell another anything
    for _ in range(_ITERATIONS):
        residual = heads.probabilities(torch.baddbmm(ahead_bias, z, ahead), known).sub_(true)
        slope, slope_bias = z.mT @ residual + ridge * ahead, residual.sum(1, keepdim=True)
        new, new_bias = ahead - step * slope, ahead_bias - step_bias * slope_bias
        move, move_bias = new - weights, new_bias - bias
        uphill = ((slope * move).sum(1, keepdim=True) + slope_bias * move_bias) @ owner > 0
        faster = torch.where(uphill, 1.0, (1 + (1 + 4 * speed**2).sqrt()) / 2)
        push = torch.where(uphill, 0.0, (speed - 1) / faster) @ owner.mT
        new, new_bias = torch.where(done, weights, new), torch.where(done, bias, new_bias)
        weights, bias, speed = new, new_bias, faster
        ahead, ahead_bias = new + push * move, new_bias + push * move_bias
        done = done | (move.abs().amax((1, 2), True) < _TOLERANCE * (1e-2 + weights.abs().amax((1, 2), True)))
        if done.all():
            break
    return _Found(weights, bias)


def _start(
    z: Float[Tensor, "f m d"], true: Float[Tensor, "f m c"], heads: Heads, ridge: Float[Tensor, "f d c"]
) -> tuple[Float[Tensor, "f d c"], Float[Tensor, "f 1 c"]]:
    """Linear discriminants, the solution for normal classes; smaller or none where those fit better."""
    counts, prior = true.sum(1, keepdim=True), heads.log_prior(true)
    share = counts / (counts @ heads.owner @ heads.owner.mT).clamp(min=1)
    means = (z.mT @ true) / counts.clamp(min=1)  # (F, d, C)
    weights = torch.zeros_like(ridge)
    for span in heads.spans:
        inside = torch.eye(z.shape[2]) - (means[..., span] * share[..., span]) @ means[..., span].mT
        pull = ridge[..., span.start] / counts[..., span].sum(-1).clamp(min=1) + _SOFT
        weights[..., span] = torch.linalg.solve(inside + torch.diag_embed(pull), means[..., span])
    lift = (means * weights).sum(1, keepdim=True) / 2
    cost = (ridge * weights**2).sum(1) @ heads.owner / (2 * (true.sum(1) @ heads.owner).clamp(min=1))
    sizes = torch.tensor(_SIZES)[:, None, None]  # discriminants are too sure of codes that are not normal
    tried = torch.stack([heads.losses(torch.baddbmm(prior - s * lift, z, s * weights), true) for s in _SIZES])
    size = (torch.tensor(_SIZES)[(tried + sizes**2 * cost).argmin(0)] @ heads.owner.mT)[:, None]
    return weights * size, prior - lift * size
