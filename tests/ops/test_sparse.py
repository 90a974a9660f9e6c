"""Products with sparse codes against the same products with their zeros written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unbraid.ops.sparse import chosen, collect, combine, dense, largest, matched, tangent


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("width", "k"), [(512, 4), (500, 4), (40, 10), (7, 7), (1024, 32)])
def test_largest_are_those_of_topk(width: int, k: int) -> None:
    x = draw(5, width)
    values, where = largest(x, k)
    assert torch.equal(values.sort(1).values, x.topk(k).values.sort(1).values)
    assert torch.equal(x.gather(1, where), values)
    assert all(len(set(row)) == k for row in where.tolist())


def test_largest_where_everything_is_equal() -> None:
    values, where = largest(torch.zeros(2, 512), 4)
    assert values.tolist() == [[0.0] * 4] * 2
    assert all(len(set(row)) == 4 for row in where.tolist())


def test_products() -> None:
    x, rows, values = draw(6, 5), draw(20, 5, seed=1), draw(6, 3, seed=2)
    where = torch.stack([torch.randperm(20, generator=torch.Generator().manual_seed(i))[:3] for i in range(6)])
    full = dense(where, values, 20)
    torch.testing.assert_close(combine(where, values, rows), full @ rows)
    torch.testing.assert_close(collect(where, values, x, 20), full.T @ x)
    torch.testing.assert_close(matched(where, x, rows), (x @ rows.T).gather(1, where))


def test_gradients() -> None:
    where = torch.tensor([[0, 3], [3, 1], [2, 0]])
    values, rows = draw(3, 2).requires_grad_(), draw(4, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda v, r: combine(where, v, r), (values, rows))
    x, bias = draw(3, 5, seed=3).requires_grad_(), draw(4, seed=4).requires_grad_()
    assert torch.autograd.gradcheck(lambda *a: chosen(*a, 2)[0], (x, rows, bias))


def test_gradients_are_those_of_the_dense_code() -> None:
    x, enc, dec, bias = draw(6, 5), draw(64, 5, seed=1), draw(64, 5, seed=2), draw(64, seed=3)
    ours, theirs = ([t.clone().requires_grad_() for t in (x, enc, dec, bias)] for _ in range(2))
    values, where = chosen(ours[0], ours[1], ours[3], 3)
    (combine(where, values, ours[2]) - x).square().sum().backward()
    pre = theirs[0] @ theirs[1].T + theirs[3]
    kept = pre.topk(3)
    code = torch.zeros_like(pre).scatter(1, kept.indices, kept.values)
    (code @ theirs[2] - x).square().sum().backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


def test_tangent_gradients_do_not_change_lengths() -> None:
    rows = torch.nn.functional.normalize(draw(4, 5)).requires_grad_()
    weight = draw(4, 5, seed=1)
    (tangent(rows) * weight).sum().backward()
    assert rows.grad is not None
    torch.testing.assert_close((rows.grad * rows).sum(1), torch.zeros(4, dtype=torch.float64))
    free = rows.detach().clone().requires_grad_()
    (torch.nn.functional.normalize(free) * weight).sum().backward()  # lengths are one, so both gradients agree
    torch.testing.assert_close(rows.grad, free.grad)
