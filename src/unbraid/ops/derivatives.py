"""Derivatives through which a loss can be descended."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def slope(value: Float[Tensor, "*batch"], of: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """The gradient of the sum of some values, of each its own where one is a function of one row only.

    >>> z = torch.tensor([[1.0, 2.0]], requires_grad=True)
    >>> slope(z.pow(3).sum(1), z).tolist()
    [[3.0, 12.0]]
    """
    (found,) = torch.autograd.grad(value.sum(), of, create_graph=True)
    return found


def laplacian(gradient: Float[Tensor, "batch dim"], z: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
    """The trace of each row's Hessian, from the gradient: one more backward pass for each dimension.

    >>> z = torch.tensor([[1.0, 2.0]], requires_grad=True)
    >>> laplacian(slope((z[:, 0] * z[:, 1] + z[:, 0] ** 2).sum(), z), z).tolist()
    [2.0]
    """
    return torch.stack([slope(column, z)[:, i] for i, column in enumerate(gradient.unbind(1))]).sum(0)


def jvp(
    function: Callable[[Tensor], Tensor], z: Float[Tensor, "batch dim"], v: Float[Tensor, "batch dim"]
) -> tuple[Float[Tensor, "batch *item"], Float[Tensor, "batch *item"]]:
    """The output of a function, and its directional derivative along `v`, by two backward passes.

    Unlike forward mode this needs nothing of the function but that gradients flow through it.

    >>> z = torch.tensor([[1.0, 2.0]])
    >>> [t.tolist() for t in jvp(lambda z: z.square(), z, torch.tensor([[1.0, -1.0]]))]
    [[[1.0, 4.0]], [[2.0, -4.0]]]
    """
    z = z if z.requires_grad else z.detach().requires_grad_()
    out = function(z)
    weight = torch.zeros_like(out, requires_grad=True)
    (pulled,) = torch.autograd.grad(out, z, weight, create_graph=True)
    (pushed,) = torch.autograd.grad(pulled, weight, v, create_graph=True)
    return out, pushed
