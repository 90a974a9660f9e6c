import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.core.given import Standin
from unbraid.data.dataset import MemoryDataset
from unbraid.data.made.coloured import coloured_digits
from unbraid.data.wrapped import in_roles
from unbraid.standins.classifier import BATCH, GROUP, PLAIN, SmallOne
from unbraid.testing.made import tiny_images


def test_they_are_stand_ins():
    assert all(isinstance(one, Standin) for one in (BATCH, GROUP, PLAIN))


def test_it_is_a_function_of_data_and_seed_and_belongs_to_whoever_asked():
    data = in_roles(tiny_images(), ["label"], {})
    one, same, other = (SmallOne(epochs=1).make(data, seed) for seed in (0, 0, 1))
    kept = SmallOne(epochs=1)
    first = kept.make(data, 0)
    with torch.no_grad():
        first.head[0].weight.zero_()
    second = kept.make(data, 0)
    for a, b, c in zip(one.parameters(), same.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
    assert not torch.equal(one.head[0].weight, other.head[0].weight)
    assert not one.training


def test_it_is_trained_where_shifted_data_come_from():
    test = coloured_digits(bias=1.0, rho=0.0, noise=0.0)
    net = SmallOne(epochs=3, lr=3e-3).make(test, 0)
    for data, low, high in ((test.origin, 0.9, 1.0), (test, 0.0, 0.5)):
        batch = in_roles(data, ["label"], {}).take(torch.arange(300))
        with torch.no_grad():
            right = (net(batch["x"]).argmax(1) == batch["label"]).float().mean()
        assert low <= right <= high


def test_the_callers_chance_is_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    SmallOne(steps=1).make(in_roles(tiny_images(), ["label"], {}), 0)
    assert torch.equal(before, torch.get_rng_state())


def test_data_without_labels_are_refused_in_one_line():
    with pytest.raises(DataError, match="label"):
        BATCH.make(MemoryDataset("x", torch.rand(8, 3, 16, 16)), 0)
