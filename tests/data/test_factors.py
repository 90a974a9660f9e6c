import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import Factor, FactorTable


def kinds(columns, told=None):
    return [f.kind for f in FactorTable.from_columns(columns, told).factors]


def test_kinds_are_told_from_values():
    assert kinds({"a": ["x", "y", ""], "b": [1, 2, 2], "c": [0.5, 1.5, 1], "d": ["1", "", "2"]}) == [
        "categorical",
        "ordinal",
        "continuous",
        "ordinal",
    ]
    assert kinds({"a": list(range(65))}) == ["continuous"]
    assert kinds({"a": [0.5, 0.6] * 10, "b": [0.5, 0.6] * 9 + [0.7, 0.8]}) == ["ordinal", "continuous"]
    assert kinds({"a": np.array([1.0, np.nan])}, {"a": "circular"}) == ["circular"]


def test_numbers_become_codes_in_their_order_and_keep_their_names():
    table = FactorTable.from_columns({"a": ["10", "9", "", "1234567"]})
    assert table.factors[0].labels == ("9", "10", "1234567")
    np.testing.assert_array_equal(table.column("a"), [1, 0, np.nan, 2])


def test_arrays_and_lists_are_read_alike():
    values = [3.0, float("nan"), 1.0, 3.0]
    for told in (None, {"a": "categorical"}, {"a": "continuous"}):
        a, b = (FactorTable.from_columns({"a": v}, told) for v in (values, np.array(values)))
        assert a.factors == b.factors
        np.testing.assert_array_equal(a.values, b.values)


def test_a_column_that_tells_nothing_is_no_error():
    table = FactorTable.from_columns({"a": ["", "nan", None]})
    assert (table.factors[0].size, np.isnan(table.values).all()) == (0, True)


def test_what_cannot_be_is_refused():
    with pytest.raises(DataError, match=r"row 1: .* infinity"):
        FactorTable.from_columns({"a": [1.0, float("inf")]})
    with pytest.raises(DataError, match="text"):
        FactorTable.from_columns({"a": ["x"]}, {"a": "continuous"})
    with pytest.raises(DataError, match="3 items"):
        FactorTable.empty(3).joined(FactorTable.empty(2))


def test_joining_keeps_the_later_column_of_a_name():
    a = FactorTable.from_columns({"s": ["x", "y"], "t": [1, 2]})
    b = FactorTable.from_columns({"t": [3, 4], "u": [5, 5]})
    joined = a.joined(b)
    assert joined.names == ("s", "t", "u")
    assert joined.factor("t").labels == ("3", "4")


def test_a_data_set_in_memory_with_more_factors_has_another_hash():
    data = MemoryDataset("d", torch.zeros(2, 3), FactorTable.from_columns({"s": ["x", "y"]}), ["a", "b"])
    more = data.with_factors(FactorTable([Factor("t", "ordinal", ("0",))], np.zeros((2, 1))))
    assert [f.name for f in more.factors] == ["s", "t"]
    assert data.hash != more.hash
    assert more.ids(torch.tensor([1])) == ["b"]
    assert more.take(torch.tensor([[0, 1]]))["factors"].shape == (1, 2, 2)
