"""Contrast between two views of the same items."""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

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
