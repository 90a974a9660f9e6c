"""Codes of which few entries are not zero, held as (index, value): their products with dense matrices, both ways.

A row of `width` numbers, of which `k` matter, is a pair of tensors (B, k). No product here takes memory or time of
order B x width, in value or gradient; only `chosen` looks once at all of a row, to choose.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.functional import embedding_bag

_SPLIT = 8
_CHUNK = 2**19  # numbers gathered at a time: two megabytes stay in a processor's cache


def largest(x: Float[Tensor, "batch width"], k: int) -> tuple[Float[Tensor, "batch k"], Int[Tensor, "batch k"]]:
    """The k largest entries of each row, in no order, and where they are.

    Wide rows are dealt into lists of `_SPLIT` first: no list outside the k with the largest heads can hold one of the
    k largest entries, so only k lists have to be looked at.

    >>> values, where = largest(torch.tensor([[0.0, 3.0, -1.0, 2.0]]), 2)
    >>> sorted(values[0].tolist()), sorted(where[0].tolist())
    ([2.0, 3.0], [1, 3])
    """
    batch, width = x.shape
    if width % _SPLIT or width < 4 * _SPLIT * k:
        values, where = x.topk(k, dim=1, sorted=False)
        return values, where
    lists = x.view(batch, _SPLIT, -1)
    heads = lists.amax(1).topk(k, dim=1, sorted=False).indices
    candidates = lists.gather(2, heads[:, None].expand(-1, _SPLIT, -1)).flatten(1)
    values, place = candidates.topk(k, dim=1, sorted=False)
    depth = place.div(k, rounding_mode="floor")
    return values, depth * lists.shape[2] + heads.gather(1, place % k)


def chosen(
    x: Float[Tensor, "batch dim"], rows: Float[Tensor, "width dim"], bias: Float[Tensor, " width"], k: int
) -> tuple[Float[Tensor, "batch k"], Int[Tensor, "batch k"]]:
    """The k largest entries of `x @ rows.T + bias` in each row, differentiable in all three, and where they are."""
    values, where = _Chosen.apply(x, rows, bias, k)  # type: ignore[no-untyped-call]
    return values, where


def combine(
    where: Int[Tensor, "batch k"], values: Float[Tensor, "batch k"], rows: Float[Tensor, "width dim"]
) -> Float[Tensor, "batch dim"]:
    """For each item the sum of some rows, each times its value: differentiable in values and rows.

    >>> combine(torch.tensor([[0, 2]]), torch.tensor([[1.0, -1.0]]), torch.eye(3)).tolist()
    [[1.0, 0.0, -1.0]]
    """
    return _Combine.apply(where, values, rows)  # type: ignore[no-any-return, no-untyped-call]


def dense(where: Int[Tensor, "batch k"], values: Float[Tensor, "batch k"], width: int) -> Float[Tensor, "batch width"]:
    """The same rows with their zeros."""
    return values.new_zeros(len(values), width).scatter(1, where, values)


def collect(
    where: Int[Tensor, "batch k"], values: Float[Tensor, "batch k"], x: Float[Tensor, "batch dim"], width: int
) -> Float[Tensor, "width dim"]:
    """`dense(where, values, width).T @ x`.

    >>> collect(torch.tensor([[1]]), torch.tensor([[2.0]]), torch.ones(1, 2), 3).tolist()
    [[0.0, 0.0], [2.0, 2.0], [0.0, 0.0]]
    """
    entries, order = where.flatten().sort(stable=True)
    begins = torch.searchsorted(entries, torch.arange(width, device=x.device))
    items = order.div(where.shape[1], rounding_mode="floor")
    return embedding_bag(items, x, begins, mode="sum", per_sample_weights=values.flatten()[order])


def matched(
    where: Int[Tensor, "batch k"], x: Float[Tensor, "batch dim"], rows: Float[Tensor, "width dim"]
) -> Float[Tensor, "batch k"]:
    """The entries of `x @ rows.T` at some places of each row."""
    step = max(1, _CHUNK // (where.shape[1] * rows.shape[1]))
    pairs = zip(torch.split(where, step), torch.split(x, step), strict=True)
    return torch.cat([torch.bmm(rows[w], piece[:, :, None]).squeeze(2) for w, piece in pairs])


def tangent(rows: Float[Tensor, "width dim"]) -> Float[Tensor, "width dim"]:
    """Rows of length one, as they are; from their gradient what would only change a row's length is taken away."""
    return _Tangent.apply(rows)  # type: ignore[no-any-return, no-untyped-call]


class _Combine(Function):
    @staticmethod
    def forward(ctx: Any, where: Tensor, values: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(where, values, rows)
        return embedding_bag(where, rows, mode="sum", per_sample_weights=values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        where, values, rows = ctx.saved_tensors
        to_values = matched(where, gradient, rows) if ctx.needs_input_grad[1] else None
        to_rows = collect(where, values, gradient, len(rows)) if ctx.needs_input_grad[2] else None
        return None, to_values, to_rows


class _Chosen(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, bias: Tensor, k: int) -> tuple[Tensor, Tensor]:
        values, where = largest(torch.addmm(bias, x, rows.T), k)
        ctx.save_for_backward(x, rows, where)
        ctx.mark_non_differentiable(where)
        return values, where

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, rows, where = ctx.saved_tensors
        to_x = embedding_bag(where, rows, mode="sum", per_sample_weights=gradient) if ctx.needs_input_grad[0] else None
        to_rows = collect(where, gradient, x, len(rows)) if ctx.needs_input_grad[1] else None
        flat = gradient.new_zeros(len(rows))
        to_bias = flat.index_add(0, where.flatten(), gradient.flatten()) if ctx.needs_input_grad[2] else None
        return to_x, to_rows, to_bias, None


class _Tangent(Function):
    @staticmethod
    def forward(ctx: FunctionCtx, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        return rows.view_as(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (rows,) = ctx.saved_tensors
        along = (gradient * rows).sum(1, keepdim=True)
        return torch.addcmul(gradient, along, rows, value=-1.0)
