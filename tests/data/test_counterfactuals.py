"""Pairs that differ in one factor, and activations that keep theirs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.activations import Activations
from unbraid.data.counterfactuals import counterfactuals
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import FactorTable
from unbraid.data.made.ioi import Sentences


def chance() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_world_gives_the_sentence_with_another_name() -> None:
    data = Sentences(names=4)
    one, other = counterfactuals(data, torch.arange(0, len(data), 5), "io", chance())
    before, after = data.factors_of(one), data.factors_of(other)
    assert len(one) > 100
    assert (before[:, 0] != after[:, 0]).all()
    assert torch.equal(before[:, 1:], after[:, 1:])
    one, other = counterfactuals(data, torch.arange(0, len(data), 5), "io", chance(), value=3)
    before, after = data.factors_of(one), data.factors_of(other)
    assert (after[:, 0] == 3).all()
    assert ((before[:, 0] != 3) & (before[:, 1] != 3)).all()


def test_of_other_data_pairs_are_looked_for() -> None:
    rows = np.array([*itertools.product(range(3), range(4))], dtype=float)
    rows[5, 1] = np.nan
    table = FactorTable.from_columns({"a": rows[:, 0], "b": rows[:, 1]})
    data = MemoryDataset("grid", torch.randn(12, 2), table)
    one, other = counterfactuals(data, torch.arange(12), "a", chance())
    assert sorted(one.tolist()) == [i for i in range(12) if i != 5]
    before, after = table.values[one], table.values[other]
    assert (before[:, 0] != after[:, 0]).all()
    assert (before[:, 1] == after[:, 1]).all()
    one, other = counterfactuals(data, torch.arange(12), "a", chance(), value=2)
    assert sorted(one.tolist()) == [0, 1, 2, 3, 4, 6, 7]
    assert (table.values[other, 0] == 2).all()
    assert (table.values[one, 1] == table.values[other, 1]).all()
    alone = MemoryDataset("alone", torch.randn(3, 2), FactorTable.from_columns({"a": [0, 1, 2], "b": [0, 1, 2]}))
    assert len(counterfactuals(alone, torch.arange(3), "a", chance())[0]) == 0


def test_a_factor_must_have_values() -> None:
    with pytest.raises(DataError, match="a factor 'who' of two values or more, got only io, s, pos"):
        counterfactuals(Sentences(names=4), torch.arange(3), "who", chance())


def test_activations_are_the_same_whether_held_or_computed() -> None:
    data, calls = Sentences(names=4), []

    def read(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        calls.append(len(batch["token"]))
        return batch["token"][..., None].float() * 0.5

    held, computed = Activations(data, read, "half"), Activations(data, read, "half", memory=10)
    where = torch.tensor([[3, 900], [0, 77]])
    assert torch.equal(held.take(where)["feature"], data.take(where)["token"][..., None] * 0.5)
    before = len(calls)
    held.take(where)
    assert len(calls) == before
    assert torch.equal(held.take(where)["feature"], computed.take(where)["feature"])
    assert set(held.take(where)) == {"feature", "index", "factors", "known", "label", "negative"}
    assert held.table(torch.tensor([3])).names == data.table(torch.tensor([3])).names
    assert held.hash != Activations(data, read, "other").hash
