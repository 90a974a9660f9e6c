import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.made.discs import Discs
from unbraid.data.made.sprites import Sprites
from unbraid.data.pairs import changed_pairs


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("changes", [1, 3, None])
def test_partners_in_a_made_world_differ_in_at_most_so_many_factors(changes):
    data = Sprites(16)
    indices = torch.randint(len(data), (4000,), generator=generator(1))
    pairs = changed_pairs(data, indices, generator(), changes)
    assert pairs[:, 0].equal(indices)
    differ = (data.factors_of(pairs[:, 0]) != data.factors_of(pairs[:, 1])).sum(1)
    assert differ.max() == (changes or 4)
    # Drawn anew, a factor of size s comes out as it was once in s times.
    kept = 1 / torch.tensor(data.sizes).double()
    expected = (1 - kept).mean() * (changes or 2.5)
    assert differ.double().mean() == pytest.approx(float(expected), abs=0.06)


def test_every_factor_changes_equally_often_and_to_any_value():
    data = Discs()
    pairs = changed_pairs(data, torch.zeros(20_000, dtype=torch.long), generator(), 1)
    new = data.factors_of(pairs[:, 1])
    for j, size in enumerate(data.sizes):
        counts = new[:, j].bincount(minlength=size)[1:].double()
        assert (counts / (5000 / size) - 1).abs().max() < 0.15


def test_partners_of_correlated_sprites_can_be_any_combination():
    data = Sprites(16, correlated=0.9)
    indices = torch.randint(len(data), (500,), generator=generator(1))
    pairs = changed_pairs(data, indices, generator(), 1)
    factors = data.factors_of(pairs)
    assert (factors[:, 0] != factors[:, 1]).sum(1).max() == 1
    assert data.take(pairs)["x"].shape == (500, 2, 1, 16, 16)


def test_chance_comes_from_the_generator_alone():
    state = torch.get_rng_state()
    first = changed_pairs(Discs(), torch.arange(50), generator(3))
    assert first.equal(changed_pairs(Discs(), torch.arange(50), generator(3)))
    assert not first.equal(changed_pairs(Discs(), torch.arange(50), generator(4)))
    assert state.equal(torch.get_rng_state())


def rows(values, *factors):
    factors = factors or (Factor("site", "categorical", ("a", "b", "c")),)
    return MemoryDataset("rows", torch.zeros(len(values), 2), FactorTable(factors, np.array(values, dtype=float)))


def test_partners_elsewhere_are_other_rows_of_the_same_value():
    data = rows([[0], [1], [0], [1], [0], [2], [np.nan], [np.nan]])
    indices = torch.arange(8).repeat(200)
    partner = changed_pairs(data, indices, generator())[:, 1].reshape(200, 8)
    seen = [set(column.tolist()) for column in partner.T]
    assert seen == [{2, 4}, {3}, {0, 4}, {1}, {0, 2}, {5}, {6}, {7}]
    share = (partner[:, 0] == 2).double().mean()
    assert share == pytest.approx(0.5, abs=0.12)


def test_a_factor_is_chosen_for_each_item_among_those_that_say_something():
    factors = (
        Factor("site", "categorical", ("a", "b")),
        Factor("age", "continuous"),
        Factor("kind", "ordinal", ("0", "1", "2", "3")),
    )
    values = [[0, 0.5, 0], [0, 0.5, 1], [1, 0.5, 0], [1, np.nan, 2]]
    partner = changed_pairs(rows(values, *factors), torch.arange(4).repeat(300), generator())[:, 1].reshape(300, 4)
    assert [set(column.tolist()) for column in partner.T] == [{1, 2}, {0}, {0, 3}, {2}]


@pytest.mark.parametrize(
    "data",
    [
        MemoryDataset("bare", torch.zeros(4, 2)),
        rows([[0], [1], [2]]),
        rows([[0.1], [0.1]], Factor("age", "continuous")),
    ],
)
def test_data_that_share_nothing_are_refused(data):
    with pytest.raises(DataError, match="--factors"):
        changed_pairs(data, torch.tensor([0]), generator())


@pytest.mark.parametrize("changes", [0, 5])
def test_so_many_changes_are_refused(changes):
    with pytest.raises(DataError, match="1 to 4"):
        changed_pairs(Discs(), torch.tensor([0]), generator(), changes)
