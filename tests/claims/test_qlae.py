import dataclasses

import pytest
import torch

from unbraid.claims.claim import Gate
from unbraid.claims.qlae import gates
from unbraid.claims.verdict import judge_gate
from unbraid.core.parts import Parts
from unbraid.methods.latent.qlae import QLAE


class Through(QLAE):
    """Broken: the reconstruction's gradient reaches the books instead of the encoder."""

    def loss(self, batch, at):
        terms = dict(super().loss(batch, at))
        if self.config.quantise:
            terms["reconstruction"] = self.reconstruction(
                self.quantiser(self.encoder(batch["x"])).quantised, batch["x"]
            )
        return terms


class Mixed(QLAE):
    """Broken: the quantisation loss moves the encoder too."""

    def loss(self, batch, at):
        terms = dict(super().loss(batch, at))
        if self.config.quantise:
            pre = self.encoder(batch["x"])
            terms["quantisation"] = (0.01, (pre - self.quantiser(pre).quantised).square().mean(1))
        return terms


class Soft(QLAE):
    """Broken: codes lie near the books' values, not on them."""

    def encode(self, batch):
        found = super().encode(batch)["latents"]
        return Parts(latents=found + 1e-6 * torch.arange(len(found))[:, None])


def descending(**changes):
    class Other(QLAE):
        def stages(self):
            (stage,) = super().stages()
            (update,) = stage.updates
            optim = dataclasses.replace(update.optim, **changes)
            return [dataclasses.replace(stage, updates=[dataclasses.replace(update, optim=optim)])]

    return Other


def failed(cls):
    return [gate.claim for gate in gates(cls) if judge_gate(gate) != "holds"]


def test_qlae_passes_its_gates():
    found = gates(QLAE)
    assert len(found) == 10
    assert all(isinstance(gate, Gate) for gate in found)
    assert failed(QLAE) == []


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (Through, ["The reconstruction loss leaves the books alone.", "The reconstruction loss moves the encoder."]),
        (Mixed, ["The quantisation loss leaves the encoder alone."]),
        (Soft, ["Every code is an entry of its latent's book.", "No latent takes more values than its book has."]),
    ],
)
def test_a_broken_one_does_not(broken, expected):
    assert failed(broken) == expected


@pytest.mark.parametrize("changes", [{"clip": None}, {"groups": ()}, {"weight_decay": 0.0}, {"clip": "norm"}])
def test_another_descent_does_not(changes):
    from unbraid.core.method import Clip

    cls = descending(**({"clip": Clip("norm", 1.0)} if changes == {"clip": "norm"} else changes))
    (claim,) = failed(cls)
    assert claim.startswith("Entries of gradients are clipped")
