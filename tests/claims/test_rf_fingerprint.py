"""The gates and metrics of the radio fingerprint's claim, and that they see what breaks."""

import pytest
import torch

from unbraid.claims.rf_fingerprint import CLAIM, gates, kept, told
from unbraid.claims.scoring import Trained
from unbraid.claims.verdict import judge_gate
from unbraid.core.config import override
from unbraid.data.catalog import open_data
from unbraid.data.wrapped import in_roles
from unbraid.methods.signal.rf_fingerprint import RFFingerprint
from unbraid.testing.made import tiny_config
from unbraid.training.build import build


class Attached(RFFingerprint):
    """Lets the gradients of swapped packets into Q and G."""

    def recognise(self, batch, at):
        x, y = self.pictures(batch["second"]["x"]), batch["first"]["label"]
        z = self.extractor(self.pictures(batch["first"]["x"]))
        swapped = self.logits(self.extractor(self.generator(self.background(x), self.placed(z))), y)
        return self.recognition(self.logits(z, y), y, swapped, y)


class Deaf(RFFingerprint):
    """Does not let what F says of a background reach Q."""

    def answers(self, b):
        return super().answers(b.detach())


@pytest.mark.parametrize(
    ("cls", "broken"), [(RFFingerprint, set()), (Attached, {"leave Q", "leave G"}), (Deaf, {"moves Q"})]
)
def test_gates(cls, broken):
    failed = {gate.claim for gate in gates(cls) if judge_gate(gate) != "holds"}
    assert len(failed) == len(broken)
    assert all(any(word in claim for claim in failed) for word in broken)


def arm(cls=RFFingerprint):
    data = in_roles(open_data(RFFingerprint.card.tiny), RFFingerprint.card.needs, {})
    return Trained(build(cls, tiny_config(RFFingerprint), data.fields).eval(), data)


def test_metrics_are_what_they_say():
    trained = arm()
    method, train = trained.method, trained.method.sources(trained.data)["train"]
    batch = train.take(torch.arange(len(train)))
    with torch.no_grad():
        p = method.answers(method.background(method.pictures(batch["x"]))).softmax(1)
        expected = (p[torch.arange(len(p)), batch["label"]] * p.shape[1]).log().mean()
    assert told(trained) == pytest.approx(float(expected), abs=1e-5)
    assert 0 <= kept(trained) <= 1


def test_what_swapped_packets_keep_is_the_device_of_the_fingerprint(monkeypatch):
    trained = arm()
    monkeypatch.setattr(trained.method, "decode", lambda parts: parts["device"])
    monkeypatch.setattr(
        trained.method, "predict", lambda batch: type("Said", (), {"label": closest(trained, batch["x"])})
    )
    assert kept(trained) == 1.0


def closest(trained, z):
    train = trained.method.sources(trained.data)["train"]
    batch = train.take(torch.arange(len(train)))
    known = trained.method.encode(batch)["device"]
    return batch["label"][torch.cdist(z, known).argmin(1)]


def test_the_arms_differ_as_they_say():
    configs = {a.name: override(override(RFFingerprint.Config(), CLAIM.settings), a.changes) for a in CLAIM.arms}
    assert configs["swaps"].swap == configs["label of the background"].swap == 0.5
    assert configs["no swaps"].swap == 0
    assert configs["label of the background"].quirks == {"label_y2"}
    assert {c.steps for c in configs.values()} == {350}
