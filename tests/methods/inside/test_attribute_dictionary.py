"""The dictionary of attributes: parts that add up, swaps that are the paper's edit, what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from unbraid.core.config import override
from unbraid.core.errors import ConfigError
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import FactorTable
from unbraid.data.made.directions import Directions
from unbraid.data.made.ioi import Sentences
from unbraid.methods.inside.dictionaries.attributes import AttributeDictionary
from unbraid.testing import check_method
from unbraid.training.build import build
from unbraid.training.fit import fit

WORLD = Directions(values=8, width=12)


def made(data: Any = WORLD, **changes: Any) -> AttributeDictionary:
    options = {"attributes": ("u", "v"), **changes}
    config = override(AttributeDictionary.Config(), options)
    method = build(AttributeDictionary, config, data.fields, given={"subject": nn.Identity()})
    fit(method, data)
    return method


def test_contract() -> None:
    check_method(AttributeDictionary)


@pytest.mark.parametrize("codes", ["mean", "least-squares"])
def test_sums_of_directions_are_taken_apart(codes: str) -> None:
    method, batch = made(codes=codes), WORLD.take(torch.arange(64))
    parts = method.encode(batch)
    assert list(parts) == ["u", "v", "bias", "rest"]
    assert float(parts["rest"].abs().max()) < 1e-4
    torch.testing.assert_close(method.decode(parts), batch["x"])
    u = WORLD.vectors[0] - WORLD.vectors[0].mean(0)
    if codes == "mean":
        torch.testing.assert_close(parts["u"], u[WORLD.factors_of(batch["index"])[:, 0]])


def test_to_swap_a_part_is_the_edit_of_the_paper() -> None:
    method = made()
    one, other = (WORLD.take(torch.tensor([i])) for i in (3, 60))
    parts, theirs = method.encode(one), method.encode(other)
    swapped = method.decode(parts.swap(theirs, "u")[0])
    codes = method.codes().vectors[0]
    old, new = (WORLD.factors_of(batch["index"])[:, 0] for batch in (one, other))
    torch.testing.assert_close(swapped, one["x"] - codes[old] + codes[new])


def test_two_factors_as_one_attribute() -> None:
    method = made(attributes=("u+v", "v"))
    assert [spec.name for spec in method.parts()] == ["u_v", "v", "bias", "rest"]
    batch = WORLD.take(torch.arange(64))
    labels = method.labels(batch["factors"], batch["known"])
    assert labels[:, 0].tolist() == list(range(64))
    assert labels[:, 1].tolist() == WORLD.factors_of(batch["index"])[:, 1].tolist()
    unknown = batch["known"].clone()
    unknown[0, 1] = False
    assert method.labels(batch["factors"], unknown)[0].tolist() == [-1, -1]


def test_shuffled_labels_explain_nothing() -> None:
    numbers = made(shuffled=True).examine(WORLD).numbers
    assert numbers["explained variance"] < 0.5
    assert made().examine(WORLD).numbers["explained variance"] == pytest.approx(1.0, abs=1e-4)
    assert made().examine(WORLD).numbers["u, edited"] == pytest.approx(1.0, abs=1e-4)


def test_data_without_the_attributes_are_refused() -> None:
    with pytest.raises(ConfigError, match="attributes: expected the name of a factor, got 'io'; set attributes"):
        made(attributes=("io",))
    number = FactorTable.from_columns({"age": np.linspace(0, 1, 100)})
    with pytest.raises(ConfigError, match="a factor of two listed values or more, got 'age'"):
        made(MemoryDataset("ages", torch.randn(100, 3), number), attributes=("age",))
    with pytest.raises(ConfigError, match="none called bias or rest, got rest"):
        AttributeDictionary.Config(attributes=("rest",))
    with pytest.raises(ConfigError, match="a plus between them, got 'a\\+b\\+c'"):
        made(attributes=("a+b+c",))


def test_places_of_a_transformer_by_token() -> None:
    from unbraid.nets.transformer import LanguageModel

    data = Sentences(names=3)
    torch.manual_seed(0)
    net = LanguageModel(len(data.vocabulary), 10, dim=16, depth=1, heads=2)
    config = AttributeDictionary.Config(at="token", position=6, attributes=("s",))
    method = build(AttributeDictionary, config, data.fields, given={"subject": net})
    fit(method, data)
    numbers = method.examine(data).numbers
    assert numbers["explained variance"] == pytest.approx(1.0, abs=1e-4)  # the embedding of the name, and nothing else
    assert numbers["s, edited"] == pytest.approx(1.0)
