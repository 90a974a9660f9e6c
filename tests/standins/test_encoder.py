import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.core.given import Standin
from unbraid.data.wrapped import in_roles
from unbraid.standins.encoder import SMALL, SmallEncoder
from unbraid.testing.made import tiny_images


def test_it_is_a_function_of_data_and_seed_and_its_numbers_are_standard():
    data = in_roles(tiny_images(), ["label"], {})
    assert isinstance(SMALL, Standin)
    one, same, other = (SmallEncoder(width=6, epochs=2).make(data, seed) for seed in (0, 0, 1))
    x = data.take(torch.arange(len(data)))["x"]
    with torch.no_grad():
        codes = one(x)
        assert torch.equal(codes, same(x))
        assert not torch.equal(codes, other(x))
    assert not one.training
    torch.testing.assert_close(codes.mean(0), torch.zeros(6), rtol=0, atol=1e-4)
    torch.testing.assert_close(codes.std(0, correction=0), torch.ones(6), rtol=1e-3, atol=0)


def test_without_labels_one_must_be_given():
    with pytest.raises(DataError, match="give an encoder"):
        SMALL.shape(tiny_images().fields)
