"""Sinkhorn's assignments against the iterations written out, and over processes."""

import threading

import numpy as np
import pytest
import torch

from unbraid.ops.transport import sinkhorn
from unbraid.testing.contract import _sides


def by_the_book(scores, eps, iterations):
    q = np.exp(scores.double().numpy().T / eps)
    q /= q.sum()
    k, n = q.shape
    for _ in range(iterations):
        q /= q.sum(1, keepdims=True) * k
        q /= q.sum(0, keepdims=True) * n
    return (q * n).T


def scores(rows=12, columns=5):
    return torch.rand(rows, columns, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize(("eps", "iterations"), [(0.05, 3), (0.5, 1), (0.2, 10)])
def test_assignments_are_those_of_the_iterations_written_out(eps, iterations):
    ours = sinkhorn(scores(), eps, iterations)
    np.testing.assert_allclose(ours.numpy(), by_the_book(scores(), eps, iterations), rtol=1e-4, atol=1e-6)


def test_rows_sum_to_one_and_columns_are_used_alike():
    q = sinkhorn(scores(), 0.3, 200)
    torch.testing.assert_close(q.sum(1), torch.ones(12))
    torch.testing.assert_close(q.mean(0), torch.full((5,), 0.2))


def test_a_constant_for_every_score_does_not_matter_and_large_ones_do_not_overflow():
    torch.testing.assert_close(sinkhorn(scores() + 3, 0.1), sinkhorn(scores(), 0.1), rtol=1e-4, atol=1e-5)
    assert torch.isfinite(sinkhorn(scores() * 1e4, 0.05)).all()
    assert not sinkhorn(scores().requires_grad_()).requires_grad


def test_processes_with_different_numbers_of_items_assign_as_one():
    whole, sides, found = sinkhorn(scores(), 0.1, 3), _sides(), [None, None]
    parts = (scores()[:5], scores()[5:])

    def one(rank):
        found[rank] = sinkhorn(parts[rank], 0.1, 3, sides[rank])

    threads = [threading.Thread(target=one, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.testing.assert_close(torch.cat(found), whole)
