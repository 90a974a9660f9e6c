"""Closed-form dictionaries and greedy edits against sums and searches written out."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from unbraid.ops.dictionary import (
    by_rank,
    contribution,
    exchange,
    greedy,
    least_squares_codes,
    mean_codes,
    recompose,
    remove_and_add,
    shares,
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grid(*sizes: int) -> Tensor:
    return torch.tensor(list(itertools.product(*(range(n) for n in sizes))))


def test_codes_of_sums_give_the_sums_back() -> None:
    labels = grid(3, 4)
    u, v = draw(3, 5), draw(4, 5, seed=1)
    a = u[labels[:, 0]] + v[labels[:, 1]] + 2.0
    for codes in (mean_codes(a, labels, [3, 4]), least_squares_codes(a, labels, [3, 4])):
        torch.testing.assert_close(recompose(codes, labels), a)
    means = mean_codes(a, labels, [3, 4])
    torch.testing.assert_close(means.vectors[0], u - u.mean(0))


def test_least_squares_where_attributes_depend_on_each_other() -> None:
    labels = grid(3, 4)[[0, 0, 0, 1, 4, 5, 6, 9, 10, 11]]
    a = draw(len(labels), 5)
    one_hot = torch.cat([torch.nn.functional.one_hot(labels[:, i], n) for i, n in enumerate((3, 4))], 1).double()
    design = torch.cat([torch.ones(len(a), 1, dtype=torch.float64), one_hot], 1)
    expected = design @ torch.linalg.lstsq(design, a, driver="gelsd").solution
    torch.testing.assert_close(recompose(least_squares_codes(a, labels, [3, 4]), labels), expected)
    error = (recompose(mean_codes(a, labels, [3, 4]), labels) - a).square().sum()
    assert error > (expected - a).square().sum()


def test_what_is_not_known_adds_nothing() -> None:
    vectors = draw(3, 5)
    assert contribution(vectors, torch.tensor([-1])).abs().sum() == 0
    labels = torch.tensor([[0], [1], [-1]])
    codes = mean_codes(draw(3, 5), labels, [3])
    assert codes.vectors[0][2].abs().sum() == 0  # a value that never occurs
    torch.testing.assert_close(recompose(codes, labels)[2], codes.bias)


def test_shares_add_to_one_and_an_opposed_feature_is_negative() -> None:
    acts = draw(4, 6).relu()
    torch.testing.assert_close(shares(acts, draw(6, 5, seed=1)).sum(1), torch.ones(4, dtype=torch.float64))
    against = shares(torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    torch.testing.assert_close(against, torch.tensor([[2.0, -1.0]]))
    assert shares(torch.zeros(1, 2), torch.eye(2)).tolist() == [[0.0, 0.0]]


def test_greedy_takes_the_best_candidate_at_every_step() -> None:
    wanted, amounts, rows = draw(3, 5), draw(3, 7, seed=1), draw(7, 5, seed=2)
    found = greedy(wanted, amounts, rows, 4)
    for i in range(3):
        change, free = torch.zeros(5, dtype=torch.float64), list(range(7))
        for step in range(4):
            best = min(free, key=lambda j: float((wanted[i] - change - amounts[i, j] * rows[j]).norm()))
            free.remove(best)
            change = change + amounts[i, best] * rows[best]
            assert int(found.chosen[i, step]) == best
            torch.testing.assert_close(found.left[i, step], (wanted[i] - change).norm())
        torch.testing.assert_close(found.change[i], change)


def test_exchanging_all_features_turns_one_reconstruction_into_the_other() -> None:
    source, target, decoder = draw(3, 6).relu(), draw(3, 6, seed=1).relu(), draw(6, 8, seed=2)
    wanted = (target - source) @ decoder
    torch.testing.assert_close(exchange(source, target, decoder, wanted, 6).change, wanted)
    torch.testing.assert_close(remove_and_add(source, target, decoder, wanted, 12).change, wanted)


def test_the_paper_counts_what_is_removed_and_what_is_added() -> None:
    source, target = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    edit = remove_and_add(source, target, torch.eye(2), target - source, 1)
    assert edit.chosen.tolist() == [[3]]  # the second feature, put in
    assert edit.change.tolist() == [[0.0, 3.0]]
    assert exchange(source, target, torch.eye(2), target - source, 2).change.tolist() == [[-2.0, 3.0]]


def test_edits_by_rank_pass_over_what_is_not_active() -> None:
    source, target = torch.tensor([[0.0, 2.0, 5.0]]), torch.tensor([[1.0, 4.0, 0.0]])
    old, new = torch.tensor([[0, 1, 2]]), torch.tensor([[2, 1, 0]])
    assert by_rank(source, target, torch.eye(3), old, new, 1).tolist() == [[0.0, 2.0, 0.0]]  # -2 out, +4 in
    assert by_rank(source, target, torch.eye(3), old, new, 3).tolist() == (target - source).tolist()
