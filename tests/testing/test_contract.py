from dataclasses import replace

import pytest
import torch
from stubs import STUBS, Declines, Stub, card
from torch import nn

from unbraid.core.catalog import catalog
from unbraid.core.errors import ContractError
from unbraid.core.method import Optim, Update
from unbraid.core.parts import Parts
from unbraid.testing import check_method
from unbraid.testing.made import tiny_config, tiny_data, tiny_vectors


@pytest.mark.parametrize("cls", STUBS, ids=lambda c: c.__name__)
def test_unlike_methods_keep_the_contract(cls):
    assert len(check_method(cls, tiny_vectors())) == 13


@pytest.mark.parametrize("name", sorted(catalog()))
@pytest.mark.parametrize("images", [True, False], ids=["images", "vectors"])
def test_every_method_of_the_catalog_keeps_the_contract(name, images):
    entry = catalog()[name]
    cls = entry.load()
    if images and (cls.card.tiny or "image" not in cls.card.modality or "vector" not in cls.card.modality):
        pytest.skip("one kind of data")
    assert check_method(cls, tiny_data(cls, images=images), tiny_config(cls, entry.overrides))


class Simple(Stub):
    card = card("simple")

    def stages(self):
        return [self.stage("fit", Update("fit", self.loss, lambda: [self.encoder, self.decoder], Optim(lr=1e-2)))]

    def loss(self, batch, at):
        return {"error": self.error(batch["x"])}


class HiddenCounter(Simple):
    count = 0

    def loss(self, batch, at):
        self.count += 1
        return {"error": self.error(batch["x"]) * self.count}


class BareSum(Simple):
    def loss(self, batch, at):
        return {"error": self.error(batch["x"]).sum()}


class OwnChance(Simple):
    generator = torch.Generator().manual_seed(0)

    def loss(self, batch, at):
        return {"error": self.error(batch["x"] + torch.randn(batch["x"].shape, generator=self.generator))}


class TouchesOthers(Simple):
    def __init__(self, config, fields):
        super().__init__(config, fields)
        self.other = nn.Linear(2, 2)

    def loss(self, batch, at):
        with torch.no_grad():
            self.other.weight += 1
        return {"error": self.error(batch["x"])}


class OtherParts(Simple):
    def encode(self, batch):
        return Parts(wrong=self.encoder(batch["x"]))


class BatchDependent(Simple):
    def encode(self, batch):
        code = self.encoder(batch["x"])
        return Parts(code=code - code.mean(0))


class ForgetsToSave(Simple):
    def __init__(self, config, fields):
        super().__init__(config, fields)
        self.register_buffer("shift", torch.zeros(()), persistent=False)

    def stages(self):
        [fit] = super().stages()
        return [replace(fit, after=self.drift)]

    def drift(self, batch, at):
        self.shift += 0.01

    def loss(self, batch, at):
        return {"error": self.error(batch["x"]) * (1 + self.shift)}


@pytest.mark.parametrize(
    ("cls", "check"),
    [
        (HiddenCounter, "state"),
        (BareSum, "sums"),
        (OwnChance, "chance"),
        (TouchesOthers, "descent"),
        (OtherParts, "parts"),
        (BatchDependent, "scope"),
        (ForgetsToSave, "resume"),
    ],
)
def test_each_law_is_held(cls, check):
    with pytest.raises(ContractError, match=f"check '{check}'"):
        check_method(cls, tiny_vectors())


def test_a_foreign_parameter_is_refused():
    class Foreign(Simple):
        def stages(self):
            alien = nn.Linear(2, 2)
            return [self.stage("fit", Update("fit", self.loss, lambda: [alien], Optim()))]

    with pytest.raises(ContractError, match="parameters that the method owns"):
        check_method(Foreign, tiny_vectors())


def test_declined_updates_move_nothing():
    from unbraid.training.build import build
    from unbraid.training.stepper import Stepper

    data = tiny_vectors()
    method = build(Declines, Declines.Config(), data.fields)
    stepper = Stepper(method, method.stages()[0], seed=0, steps=9)
    before = method.encoder.weight.clone()
    report = stepper.step(data.take(torch.arange(8)), 1)
    assert torch.equal(before, method.encoder.weight)
    assert list(report.terms) == ["often/error"]
