"""The language model of the grammar learns it."""

from __future__ import annotations

import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.core.fields import Field, Fields
from unbraid.data.made.directions import Directions
from unbraid.data.made.ioi import Sentences
from unbraid.standins import grammar


def test_it_learns_and_leaves_chance_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar, "STEPS", 120)
    data, state = Sentences(names=4), torch.random.get_rng_state()
    net = grammar.GRAMMAR.make(data, seed=1)
    batch = data.take(torch.arange(0, len(data), 3))
    with torch.no_grad():
        said = net(batch["token"])[:, -1].argmax(1)
    assert float((said == batch["label"]).float().mean()) > 0.9
    assert torch.equal(state, torch.random.get_rng_state())
    monkeypatch.setattr(grammar, "_MADE", {})
    again = grammar.GRAMMAR.make(data, seed=1)
    assert again is not net
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_it_needs_a_vocabulary() -> None:
    with pytest.raises(DataError, match="known vocabulary"):
        grammar.GRAMMAR.shape(Fields(token=Field((4,), "int64")))


def test_vectors_are_handed_on() -> None:
    x = torch.rand(3, 5)
    assert torch.equal(grammar.GRAMMAR.make(Directions(values=3, width=5), seed=0)(x), x)
