"""The non-linear probe: one hidden layer, a head per factor, all folds in one batch, stopped early."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unbraid.metrics.probes.common import Heads, Labels, LogProbabilities, plan, predict, stack
from unbraid.metrics.probes.softmax import STRENGTHS, Regression, regression, tuned

_TUNING = 2000
_GAIN = 1e-4
_FLAT = 1e-6


def mlp(
    codes: Float[np.ndarray, "n d"],
    labels: Labels,
    folds: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"] | None = None,
    *,
    hidden: int = 128,
    rate: float = 1e-2,
    epochs: int = 24,
    patience: int = 4,
    cap: int = 20_000,
    seed: int = 0,
) -> LogProbabilities:
    """Out-of-fold log-probabilities of a network with one hidden layer and a head per factor.

    Its output is added to the logits of a linear probe of the same rows. It starts from that probe alone and keeps, for
    each fold and factor, the epoch that tuned best: what is linear need not be learned again.

    Args:
        codes: One row of numbers per item.
        labels: See `Labels`.
        folds: The fold 0..K-1 of each item; its probe learns from the other folds.
        groups: What the tuning must not cut; None for items on their own.
        hidden: Width of the hidden layer.
        rate: Adam's step size.
        epochs: Most passes over the training items.
        patience: Epochs without gain in any factor after which a fold's training ends.
        cap: Most items a fold's probe learns from.
        seed: Chooses those items, the initial weights and their order.
    """
    heads, rows = Heads.of(labels), plan(folds, groups, cap, seed)
    x = torch.as_tensor(np.ascontiguousarray(codes), dtype=torch.float32)
    learn, tune = [r.learn for r in rows], [r.tune[:_TUNING] for r in rows]
    scales = [_Scale.of(x[torch.from_numpy(r)]) for r in learn]
    straight = regression(x, heads, learn, tuned(x, heads, rows, STRENGTHS))
    generator = torch.Generator().manual_seed(seed)
    net = _Net.start(len(rows), x.shape[1], hidden, sum(heads.sizes), generator)
    sets = [_Set.of(x, chosen, scales, heads, straight) for chosen in (learn, tune)]
    best = _train(net, sets[0], sets[1], heads, generator, rate, epochs, patience)

    def logits(fold: int, at: Tensor, head: int) -> Tensor:
        span = heads.spans[head]
        return straight.logits(fold, x[at], span) + best[head].one(fold, scales[fold](x[at]), span)

    return predict(heads, folds, logits)


@dataclass(frozen=True)
class _Scale:
    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, x: Float[Tensor, "m d"]) -> _Scale:
        mean, scale = x.mean(0), x.std(0)
        return cls(mean, torch.where(scale > _FLAT * (1e-30 + mean.abs()), scale, torch.inf))

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return (x - self.mean) / self.scale


@dataclass(frozen=True)
class _Set:
    x: Float[Tensor, "f m d"]
    true: Float[Tensor, "f m c"]
    straight: Float[Tensor, "f m c"]

    @classmethod
    def of(cls, x: Tensor, rows: list[np.ndarray], scales: list[_Scale], heads: Heads, straight: Regression) -> _Set:
        """Standardised codes, true classes and what the linear probe says, of each fold's rows."""
        at = [torch.from_numpy(r) for r in rows]
        z = stack([scale(x[r]) for scale, r in zip(scales, at, strict=True)])
        linear = stack([straight.logits(fold, x[r], slice(None)) for fold, r in enumerate(at)])
        return cls(z, heads.at(rows), linear)


@dataclass
class _Net:
    """One network per fold: two layers of weights and biases, the fold in front."""

    tensors: list[Tensor]

    @classmethod
    def start(cls, folds: int, d: int, hidden: int, classes: int, generator: torch.Generator) -> _Net:
        first = torch.randn(1, d, hidden, generator=generator).expand(folds, -1, -1) * math.sqrt(2 / d)
        second = torch.zeros(folds, hidden, classes)  # at first it adds nothing
        return cls([first.clone(), torch.zeros(folds, 1, hidden), second, torch.zeros(folds, 1, classes)])

    def __call__(self, x: Float[Tensor, "f m d"]) -> Float[Tensor, "f m c"]:
        w1, b1, w2, b2 = self.tensors
        return torch.baddbmm(b2, torch.baddbmm(b1, x, w1).relu(), w2)

    def one(self, fold: int, x: Float[Tensor, "n d"], span: slice) -> Float[Tensor, "n c"]:
        w1, b1, w2, b2 = (t[fold] for t in self.tensors)
        return (x @ w1 + b1).relu() @ w2[:, span] + b2[:, span]

    def copy(self) -> _Net:
        return _Net([t.detach().clone() for t in self.tensors])

    def take(self, other: _Net, folds: Bool[Tensor, " f"]) -> None:
        """Take over the other's weights in some folds."""
        for mine, its in zip(self.tensors, other.tensors, strict=True):
            mine[folds] = its.detach()[folds]


def _train(
    net: _Net, learn: _Set, tune: _Set, heads: Heads, generator: torch.Generator, rate: float, epochs: int,
    patience: int,
) -> list[_Net]:  # fmt: skip
    """One network per factor, each fold's as it was when it tuned best."""
    best = [net.copy() for _ in heads.sizes]
    loss = heads.losses(tune.straight + net(tune.x), tune.true)
    adam, idle = Adam(net.tensors, rate), torch.zeros(len(loss), dtype=torch.int64)
    for _ in range(epochs):
        _epoch(net, learn, heads, adam, generator)
        with torch.no_grad():
            now = heads.losses(tune.straight + net(tune.x), tune.true)
        better = (now < loss - _GAIN) & (idle < patience)[:, None]  # each fold ends by itself: none tells another
        loss, idle = torch.where(better, now, loss), torch.where(better.any(1), 0, idle + 1)
        for h, kept in enumerate(best):
            kept.take(net, better[:, h])
        if (idle >= patience).all():
            break
    return best


class Adam:
    """Adam (Kingma and Ba, 2015); torch's own loads its compiler first, which takes longer than the probe."""

    def __init__(self, tensors: list[Tensor], rate: float) -> None:
        self.tensors, self.rate, self.step = [t.requires_grad_() for t in tensors], rate, 0
        self.first, self.second = ([torch.zeros_like(t) for t in tensors] for _ in range(2))

    def __call__(self, loss: Float[Tensor, ""]) -> None:
        """One step down the loss."""
        self.step += 1
        rate = self.rate * math.sqrt(1 - 0.999**self.step) / (1 - 0.9**self.step)
        slopes = torch.autograd.grad(loss, self.tensors)
        with torch.no_grad():
            for tensor, slope, first, second in zip(self.tensors, slopes, self.first, self.second, strict=True):
                first.lerp_(slope, 0.1)
                second.mul_(0.999).addcmul_(slope, slope, value=0.001)
                tensor.addcdiv_(first, second.sqrt().add_(1e-8), value=-rate)


def _epoch(net: _Net, learn: _Set, heads: Heads, adam: Adam, generator: torch.Generator) -> None:
    folds, m = learn.x.shape[:2]
    size = min(512, max(64, m // 8))
    order = torch.rand(folds, m, generator=generator).argsort(1)
    which = torch.arange(folds)[:, None]
    for start in range(0, m, size):
        batch = order[:, start : start + size]
        with torch.enable_grad():
            logits = learn.straight[which, batch] + net(learn.x[which, batch])
            adam(heads.losses(logits, learn.true[which, batch]).sum())
