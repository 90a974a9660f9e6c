"""Sufficiency, necessity and edits on a network whose workings are known exactly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from unbraid.core.given import Given
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import FactorTable
from unbraid.data.made.directions import Directions
from unbraid.methods.inside.dictionaries.attributes import AttributeDictionary
from unbraid.methods.inside.dictionaries.judging import judge
from unbraid.methods.inside.dictionaries.sae import Sparse
from unbraid.methods.inside.dictionaries.subject import Subject
from unbraid.nets.dictionary import ReLUDictionary
from unbraid.nets.site import Site
from unbraid.training.build import build
from unbraid.training.fit import fit

VALUES = 5
WORLD = Directions(values=VALUES, width=64)


class Reader(nn.Module):
    """Says which u a vector holds; `mid` is the vector, `spare` is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.mid, self.spare = nn.Identity(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        self.spare(x)
        return self.mid(x) @ torch.linalg.pinv(WORLD.vectors.flatten(0, 1))[:, :VALUES]


def subject(at: str = "mid") -> Subject:
    return Subject(Given(subject=Reader()), Site(at), WORLD.fields)


def perfect() -> Sparse:
    """A feature for each direction, and nothing else."""
    rows = WORLD.vectors.flatten(0, 1)
    net = ReLUDictionary(64, 2 * VALUES)
    net.load_state_dict({**net.state_dict(), "encoder": torch.linalg.pinv(rows).T, "decoder": rows})
    net.bias.data.fill_(-0.5)  # so that rounding wakes no feature
    net.decoder.data *= 2.0
    return Sparse(subject(), net, torch.ones(()))


def test_perfect_features_are_perfect_in_every_way() -> None:
    found = judge(perfect(), WORLD)
    numbers = found.numbers
    for name in ("explained variance", "sufficiency", "necessity", "u, k=2", "v, k=2", "u, by meaning, k=2"):
        assert numbers[name] == pytest.approx(1.0, abs=1e-4), name
    for name in ("values of u found", "values of v found", "features that mean something"):
        assert numbers[name] == 1.0, name
    assert numbers["active features"] == pytest.approx(2.0)
    assert numbers["dead features"] == numbers["negative weights"] == 0.0
    assert numbers["u, none"] == 0.0
    assert numbers["v, none"] == 1.0  # the network does not look at v
    curve = found.arrays["sufficiency of features with F1 from 0, 0.2, .. 1 on"]
    torch.testing.assert_close(curve, torch.ones(6), rtol=1e-3, atol=1e-3)
    table = found.tables["control"].columns
    assert set(table["attribute"]) == {"u", "v"}
    magnitude = dict(zip(zip(table["attribute"], table["edit"], strict=True), table["magnitude"], strict=True))
    assert magnitude["u", "none"] == 0.0
    assert magnitude["u", "k=2"] == pytest.approx(1.0, abs=1e-4)


def test_features_that_mean_nothing_are_not_understood() -> None:
    judged = perfect()
    judged.dictionary.bias.data.fill_(0.5)  # every feature is active always
    numbers = judge(judged, WORLD).numbers
    assert numbers["values of u found"] == 0.0
    assert numbers["features that mean something"] == 0.0


def test_a_place_that_does_not_matter_is_called_inactive() -> None:
    method = build(
        AttributeDictionary,
        AttributeDictionary.Config(attributes=("u",), at="spare"),
        WORLD.fields,
        given={"subject": Reader()},
    )
    fit(method, WORLD)
    found = method.examine(WORLD)
    assert "sufficiency" not in found.numbers
    assert any("inactive" in note for note in found.notes)


def test_vectors_of_a_user_are_judged_without_a_network() -> None:
    everything = torch.arange(VALUES**2)
    table = FactorTable.from_columns(
        {f.name: WORLD.factors_of(everything)[:, i].numpy() for i, f in enumerate(WORLD.factors)}
    )
    data = MemoryDataset("mine", WORLD.take(everything)["x"], table)
    judged = perfect()
    plain = Sparse(Subject(Given(subject=nn.Identity()), Site(""), data.fields), judged.dictionary, judged.scale)
    found = judge(plain, data)
    assert found.numbers["u, none"] == 0.0
    assert found.numbers["u, k=2"] == pytest.approx(1.0, abs=1e-4)
    assert any("what a network says" in note for note in found.notes)
    unlabelled = MemoryDataset("unlabelled", WORLD.take(everything)["x"])
    assert judge(plain, unlabelled).numbers["explained variance"] == pytest.approx(1.0, abs=1e-4)
