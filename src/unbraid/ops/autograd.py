"""Functions whose gradient is not that of their value."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor


def reverse(x: Tensor, strength: float = 1.0) -> Tensor:
    """`x`, whose gradient comes back turned round and scaled: what lies before it works against what lies behind it.

    Args:
        x: What is passed on.
        strength: Factor on the gradient; 0 lets none through.

    Source:
        Ganin et al., 2016, "Domain-Adversarial Training of Neural Networks", eq. 18.

    >>> x = torch.ones(2, requires_grad=True)
    >>> torch.autograd.grad(reverse(x, 0.5).sum(), [x])[0].tolist()
    [-0.5, -0.5]
    """
    return cast(Tensor, _Reverse.apply(x, strength))  # type: ignore[no-untyped-call]


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * grads[0], None
