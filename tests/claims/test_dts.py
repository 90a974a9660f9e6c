"""The gates of the claims on disentangled series, and that they see what breaks."""

import pytest

from unbraid.claims.dts import gates
from unbraid.claims.dts_group import gates as group_gates
from unbraid.claims.verdict import judge_gate
from unbraid.methods.signal.dts import DTS, DTSGroup


class Priced(DTS):
    """Pays for information as a VAE does."""

    def divergence(self, z, mu, logvar, at):
        return {k: v for k, v in super().divergence(z, mu, logvar, at).items() if k != "information"} | {
            "information": (0.0, mu.sum(1))
        }


class Peeking(DTSGroup):
    """Learns from the labels of the target."""

    def known(self, batch):
        return batch["label"] >= 0


class Friendly(DTSGroup):
    """Does not reverse the gradient of the place."""

    def knowledge(self, batch, z, at):
        terms = dict(super().knowledge(batch, z, at))
        weight, told = terms["domain_adversary"]
        return terms | {"domain_adversary": (weight, -told)}


@pytest.mark.parametrize(
    ("cls", "of", "broken"),
    [
        (DTS, gates, []),
        (Priced, gates, ["information has the weight", "nothing is added"]),
        (DTSGroup, group_gates, []),
        (Peeking, group_gates, ["Other labels"]),
        (Friendly, group_gates, ["the other way"]),
    ],
)
def test_gates(cls, of, broken):
    failed = [gate.claim for gate in of(cls) if judge_gate(gate) != "holds"]
    assert len(failed) == len(broken)
    assert all(text in claim for text, claim in zip(broken, failed, strict=True))
