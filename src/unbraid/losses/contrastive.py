"""Contrast between two views of the same items."""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from unbraid.core.method import World

_CELLS = 2**22
"""Similarities held at a time."""


def info_nce(
    anchors: Float[Tensor, "n dim"], views: Float[Tensor, "n dim"], temperature: float = 1.0, eps: float = 0.0
) -> Float[Tensor, ""]:
    """InfoNCE: how badly each anchor finds its own view among those of all items, in nats, averaged over the anchors.

    -log(exp(s_jj / t) / (sum_k exp(s_jk / t) + eps) + eps) with s_jk the cosine of anchor j and view k. The gradient
    is computed with the value, by blocks of anchors: memory grows with n, not with its square.

    Args:
        anchors: A row for each item.
        views: Another row for each; those of other items are the negatives.
        temperature: t.
        eps: Keeps the authors' code of DCCF away from log 0; InfoNCE has none.

    >>> float(info_nce(torch.eye(2), torch.eye(2)).exp())  # 1 + 1 / e
    1.3678...
    """
    a, b = functional.normalize(anchors, dim=1), functional.normalize(views, dim=1)
    return cast(Tensor, _InfoNCE.apply(a, b, temperature, eps))  # type: ignore[no-untyped-call]


def nt_xent(
    a: Float[Tensor, "batch d"], b: Float[Tensor, "batch d"], temperature: float, world: World
) -> Float[Tensor, " rows"]:
    """SimCLR's loss of every row of two views: its other view among both views of all items of all processes.

    >>> from unbraid.core.method import Alone
    >>> nt_xent(torch.eye(2), torch.eye(2), 1.0, Alone()).exp()  # 1 + 2 / e
    tensor([1.7358, 1.7358, 1.7358, 1.7358])
    """
    a, b = functional.normalize(a, dim=1), functional.normalize(b, dim=1)
    every = torch.cat([world.gather(a), world.gather(b)])
    rows = torch.arange(len(a), device=a.device) + world.rank * len(a)
    half = len(every) // 2
    own, other = torch.cat([rows, rows + half]), torch.cat([rows + half, rows])
    logits = (torch.cat([a, b]) @ every.mT / temperature).scatter(1, own[:, None], -torch.inf)
    return functional.cross_entropy(logits.float(), other, reduction="none")


def pairs(
    q: Float[Tensor, "batch d"], k: Float[Tensor, "batch d"], temperature: float, world: World
) -> Float[Tensor, " batch"]:
    """The loss of every query: its key among those of all items of all processes.

    >>> from unbraid.core.method import Alone
    >>> pairs(torch.eye(2), torch.eye(2), 1.0, Alone()).exp()  # 1 + 1 / e
    tensor([1.3679, 1.3679])
    """
    q, every = functional.normalize(q, dim=1), world.gather(functional.normalize(k, dim=1))
    rows = torch.arange(len(q), device=q.device) + world.rank * len(q)
    return functional.cross_entropy((q @ every.mT / temperature).float(), rows, reduction="none")


def spectral(
    a: Float[Tensor, "batch d"], b: Float[Tensor, "batch d"], world: World
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """The two terms of the spectral contrastive loss of every row: agreement, and overlap with other items.

    -2 a_i . b_i and the mean of (a_i . b_j)^2 over the other items j of all processes. Where items are drawn
    independently, it is least where a spans the top eigenfunctions of the pairs' kernel (HaoChen et al., 2021).

    >>> from unbraid.core.method import Alone
    >>> [term.tolist() for term in spectral(torch.eye(2), torch.ones(2, 2), Alone())]
    [[-2.0, -2.0], [1.0, 1.0]]
    """
    every = world.gather(b)
    rows = torch.arange(len(a), device=a.device) + world.rank * len(a)
    squares = (a @ every.mT).square().scatter(1, rows[:, None], 0.0)
    return -2 * (a * b).sum(1), squares.sum(1) / (len(every) - 1)


def against(
    q: Float[Tensor, "batch d"], k: Float[Tensor, "batch d"], negatives: Float[Tensor, "size d"], temperature: float
) -> Float[Tensor, " batch"]:
    """The loss of every query: its key among rows that are nobody's (MoCo's queue).

    >>> against(torch.eye(2)[:1], torch.eye(2)[:1], torch.eye(2)[1:], 1.0).exp()
    tensor([1.3679])
    """
    q, k, negatives = (functional.normalize(z, dim=1) for z in (q, k, negatives))
    own = (q * k).sum(1, keepdim=True)
    logits = torch.cat([own, q @ negatives.mT], 1) / temperature
    return functional.cross_entropy(logits.float(), torch.zeros_like(logits[:, 0], dtype=torch.long), reduction="none")


def supervised(
    z: Float[Tensor, "batch d"], labels: Int[Tensor, " batch"], temperature: float, world: World
) -> Float[Tensor, " batch"]:
    """The loss of every row: the others of its class among all others (Khosla et al., 2020); 0 where there are none.

    >>> from unbraid.core.method import Alone
    >>> z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> supervised(z, torch.tensor([0, 0, 1]), 1.0, Alone()).exp()  # 1 + 1 / e
    tensor([1.3679, 1.3679, 1.0000])
    """
    z = functional.normalize(z, dim=1)
    every, others = world.gather(z), world.gather(labels.to(z.dtype))
    rows = torch.arange(len(z), device=z.device) + world.rank * len(z)
    itself = functional.one_hot(rows, len(every)).bool()
    logits = (z @ every.mT / temperature).float().masked_fill(itself, -torch.inf)
    same = (labels[:, None] == others[None]) & ~itself
    told = logits.log_softmax(1).masked_fill(~same, 0.0).sum(1)
    return -told / same.sum(1).clamp(min=1)


class _InfoNCE(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, temperature: float, eps: float) -> Tensor:
        a, b, n = a.detach(), b.detach(), len(a)
        of_a, of_b, total = torch.empty_like(a), torch.zeros_like(b), a.new_zeros(())
        block = max(1, _CELLS // max(1, n))
        for start in range(0, n, block):
            rows = slice(start, min(start + block, n))
            logits = (a[rows] @ b.T).div_(temperature)
            top = logits.amax(1, keepdim=True)
            own = logits.diagonal(start) - top[:, 0]
            q = logits.sub_(top).exp_()
            sums = q.sum(1, keepdim=True) + (eps * (-top).exp() if eps else 0.0)
            p = own.exp() / sums[:, 0]
            total += -(p + eps).log().sum() if eps else (sums[:, 0].log() - own).sum()
            q /= sums
            q.diagonal(start).sub_(1)
            q *= ((p / (p + eps) if eps else torch.ones_like(p)) / (n * temperature))[:, None]
            of_a[rows] = q @ b
            of_b.addmm_(q.T, a[rows])
        ctx.save_for_backward(of_a, of_b)
        return total / n

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        of_a, of_b = ctx.saved_tensors
        return grads[0] * of_a, grads[0] * of_b, None, None
