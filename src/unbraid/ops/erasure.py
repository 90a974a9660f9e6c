"""Linear maps that take a concept out of codes: in closed form (LEACE), or plane after plane (RASA)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_RANK = 1e-10  # relative to the largest, what counts as no direction at all
_ENOUGH = 0.02  # share of what a head that reads nothing loses: one that gains less reads nothing


@dataclass(frozen=True)
class Concept:
    """What is known of items, as numbers that a head tells.

    Attributes:
        values: Numbers between 0 and 1, or one-hot classes.
        classes: Whether they are classes.
    """

    values: Float[Tensor, "n k"]
    classes: bool

    def rows(self, which: Tensor) -> Concept:
        """The concept of some items."""
        return Concept(self.values[which], self.classes)


@dataclass(frozen=True)
class Erasure:
    """An affine map of codes that keeps their mean.

    Attributes:
        matrix: Applied to codes less their mean, as columns.
        mean: Of the codes it was fitted to.
        rank: Directions that it removes.
        losses: What the heads of each round lost before their planes were removed; empty in closed form.
        blind: What heads that read nothing would lose.
    """

    matrix: Float[Tensor, "d d"]
    mean: Float[Tensor, " d"]
    rank: int
    losses: tuple[float, ...] = ()
    blind: float = float("nan")

    def __call__(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Codes without the concept, in their own precision."""
        clean: Tensor = (z.to(self.mean) - self.mean) @ self.matrix.mT + self.mean
        return clean.to(z.dtype)


# ------------------------------------------------------------------------------------------------------ closed form


def leace(z: Float[Tensor, "n d"], concepts: Sequence[Concept]) -> Erasure:
    """The affine map after which no linear predictor tells the concepts, and which changes codes least.

    Least-squares concept erasure (Belrose et al., 2023, theorem 4.3): whiten the codes, remove the span of their
    cross-covariance with the concepts, and go back. Of all maps that leave no cross-covariance it moves the codes by
    the least mean square, whatever inner product this is measured in.

    Args:
        z: Codes.
        concepts: What is known of the same items.

    >>> z = torch.tensor([[1.0, 3.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -3.0]])
    >>> clean = leace(z, [Concept(z[:, :1], classes=False)])(z)
    >>> (clean.T @ z[:, :1]).abs().max().item() < 1e-6
    True
    """
    z = z.double()
    mean = z.mean(0)
    centred, told = z - mean, torch.cat([c.values.double() for c in concepts], 1)
    told = told - told.mean(0)
    values, vectors = torch.linalg.eigh(centred.mT @ centred / len(z))
    kept = values > _RANK * values.max().clamp(min=1e-300)
    root = values[kept].sqrt()
    basis = vectors[:, kept]  # outside of it codes do not vary, and nothing is to be removed
    white = (basis / root).mT @ (centred.mT @ told / len(z))
    left, strength, _ = torch.linalg.svd(white, full_matrices=False)
    found = left[:, strength > _RANK * told.square().sum(1).mean().sqrt()]
    removed = (basis * root) @ found @ found.mT @ (basis / root).mT
    return Erasure(torch.eye(len(mean), dtype=z.dtype, device=z.device) - removed, mean, found.shape[1])


# -------------------------------------------------------------------------------------------------- plane by plane


def orthonormal(weights: Float[Tensor, "k d"]) -> Float[Tensor, "k d"]:
    """Gram and Schmidt's rows: each of length 1 and at right angles to those before; 0 where it brings nothing new.

    >>> orthonormal(torch.tensor([[2.0, 0.0], [3.0, 0.5], [1.0, 1.0]])).tolist()
    [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    """
    rows: list[Tensor] = []
    for w in weights:
        rest = w
        for _ in range(2):  # once leaves rounding errors where rows are nearly parallel
            for u in rows:
                rest = rest - (rest @ u) * u
        length = rest.norm()
        floor = 1e3 * torch.finfo(w.dtype).eps * w.norm()
        rows.append(torch.where(length > floor, rest / length.clamp(min=1e-30), torch.zeros_like(rest)))
    return torch.stack(rows)


def along(z: Float[Tensor, "*batch d"], basis: Float[Tensor, "k d"]) -> Float[Tensor, "*batch d"]:
    """What of codes lies in the span of orthonormal rows."""
    return (z @ basis.mT) @ basis


def merged(bases: Sequence[Float[Tensor, "k d"]]) -> Float[Tensor, "d d"]:
    """The one matrix P, for codes as columns, that takes out all spans one after the other.

    >>> merged([torch.tensor([[1.0, 0.0]])]).tolist()
    [[0.0, 0.0], [0.0, 1.0]]
    """
    d = bases[0].shape[1]
    out = torch.eye(d, dtype=bases[0].dtype, device=bases[0].device)
    for basis in bases:
        out = out - basis.mT @ (basis @ out)
    return out


def rasa(
    z: Float[Tensor, "n d"],
    concepts: Sequence[Concept],
    rounds: int = 9,
    *,
    exact: bool = False,
    steps: int = 400,
    lr: float = 0.03,
) -> Erasure:
    """Take out the plane from which concepts are told best, then that of what is left, and so on.

    The chain of Franca's RASA (Venkataramanan et al., 2025) for any concept: heads without biases see the codes less
    their mean; numbers are told by sigmoids and squared errors, classes by a softmax and its cross-entropy, both from
    where heads that read nothing begin. It ends early when heads gain next to nothing.

    Args:
        z: Codes.
        concepts: What is known of the same items.
        rounds: Planes at most.
        exact: Solve least squares in closed form in place of training heads.
        steps: Of Adam for the heads of each round, on all items at once.
        lr: Its rate, for codes whose mean square is 1.
    """
    z = z.double()
    mean = z.mean(0)
    scale = (z - mean).square().mean().sqrt().clamp(min=1e-300)
    left = (z - mean) / scale
    told = [_Told(c, exact=exact) for c in concepts]
    blind = float(sum(c.loss(c.start) for c in told))
    bases: list[Tensor] = []
    losses: list[float] = []
    for _ in range(rounds):
        heads = [c.solved(left) if exact else c.fitted(left, steps, lr) for c in told]
        losses.append(float(sum(c.loss(c.start + left @ w.mT) for c, w in zip(told, heads, strict=True))))
        if losses[-1] > (1 - _ENOUGH) * blind:
            break
        # Of classes only the differences between heads tell anything, and of heads only what still meets the codes.
        rows = torch.cat([w - w.mean(0) if c.classes else w for c, w in zip(told, heads, strict=True)])
        bases.append(orthonormal(rows - along(rows, torch.cat(bases)) if bases else rows))
        left = left - along(left, bases[-1])
    matrix = merged([z.new_zeros(1, z.shape[1]), *bases])
    rank = sum(int(basis.any(1).sum()) for basis in bases)
    return Erasure(matrix, mean, rank, tuple(losses), blind)


class _Told:
    """A concept as heads tell it: by a softmax, by sigmoids, or exactly, by least squares."""

    def __init__(self, concept: Concept, *, exact: bool) -> None:
        self.classes, self.exact, self.values = concept.classes, exact, concept.values.double()
        share = self.values.mean(0)
        logits = share.clamp(min=1e-12).log() if self.classes else share.clamp(1e-6, 1 - 1e-6).logit()
        self.start = share if exact else logits  # what heads say that read nothing

    def loss(self, said: Float[Tensor, "*n k"]) -> Float[Tensor, ""]:
        """Cross-entropy, or the squared errors of all numbers."""
        if self.classes and not self.exact:
            return -(self.values * said.log_softmax(-1)).mean(0).sum()
        return (self.values - (said if self.exact else said.sigmoid())).square().mean(0).sum()

    def solved(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "k d"]:
        """Least squares with an intercept, which is the mean of the concept, for codes have none."""
        found: Tensor = torch.linalg.lstsq(z.cpu(), (self.values - self.start).cpu(), driver="gelsd").solution
        return found.mT.to(z)

    @torch.enable_grad()
    def fitted(self, z: Float[Tensor, "n d"], steps: int, lr: float) -> Float[Tensor, "k d"]:
        """Heads without biases, by Adam from 0."""
        z = z.detach()
        weight = z.new_zeros(self.values.shape[1], z.shape[1]).requires_grad_()
        adam = torch.optim.Adam([weight], lr)
        for _ in range(steps):
            (weight.grad,) = torch.autograd.grad(self.loss(self.start + z @ weight.mT), weight)
            adam.step()
        return weight.detach()
