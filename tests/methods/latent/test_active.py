import numpy as np
import pytest
import torch
from torch import nn

from unbraid.core.config import override
from unbraid.core.errors import ConfigError
from unbraid.core.parts import Parts
from unbraid.data.made.discs import Discs
from unbraid.methods.latent.active import ActiveVariables
from unbraid.metrics.polarised import regime
from unbraid.training.build import build
from unbraid.training.fit import fit


class Known(nn.Module):
    """A posterior that is known: column 0 active, column 1 active on bright images only, the others passive."""

    def __init__(self, other=False):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.other = other

    def posterior(self, batch):
        x = batch["x"].flatten(1)
        bright = (x.amax(1) > 0.5).float()
        place = (x * torch.linspace(-1, 1, x.shape[1])).sum(1)
        mean = torch.stack([place, bright * x.sum(1), 1e-3 * place, 1e-3 * x.sum(1)], 1) * self.scale
        variance = torch.tensor([0.01, 0.0, 1.0, 0.95]).repeat(len(x), 1)
        variance[:, 1] = 1 - 0.98 * bright
        parts = Parts(z=mean), Parts(z=variance.log())
        return (
            (Parts(first=mean[:, :1], z=mean), Parts(first=variance[:, :1], z=variance.log())) if self.other else parts
        )


def made(subject=None, **changes):
    data = Discs()
    config = override(ActiveVariables.Config(), {**ActiveVariables.presets["tiny"], **changes})
    method = build(ActiveVariables, config, data.fields, given={"subject": subject or Known()})
    fit(method, data)
    return method.eval(), data


def test_the_latents_are_sorted_and_every_group_is_a_part():
    method, data = made()
    assert (method.regime.active, method.regime.mixed, method.regime.passive) == ((0,), (1,), (2, 3))
    parts = method.encode(data.take(torch.arange(5)))
    assert [s.name for s in method.parts()] == list(parts) == ["latents", "active", "mixed", "passive"]
    assert torch.equal(sum(parts[g] for g in ("active", "mixed", "passive")), parts["latents"])
    assert torch.equal(parts["active"][:, 0], parts["latents"][:, 0])
    assert not parts["active"][:, 1:].any()
    _, variance = method.gathered(data)
    assert method.regime.names == regime(variance).names


def test_the_subject_stays_as_it_is_and_is_not_stored():
    subject = Known()
    method, _ = made(subject)
    assert set(method.tensors()) == {"group", "variance", "differs"}
    assert subject.scale.item() == 1


def test_another_part_may_be_meant():
    method, _ = made(Known(other=True), part="z")
    assert method.width == 4
    assert made(Known(other=True))[0].width == 1
    with pytest.raises(ConfigError, match="the name of a part, got 'y'; choose from z"):
        made(Known(), part="y")


def test_what_the_examination_says():
    method, data = made(train=(30, 100, 5000), test=200)
    found = method.examine(data)
    assert [found.numbers[f"{g} latents"] for g in ("active", "mixed", "passive")] == [1, 1, 2]
    gap = found.numbers["total correlation of mean, full"] - found.numbers["total correlation of sampled, full"]
    assert gap > 5  # latent 2 is a line through latent 0
    assert (
        found.numbers["correlation of passive latents, mean"]
        > 3 * found.numbers["correlation of passive latents, sampled"]
    )
    rows = found.tables["subsets"].rows()
    assert {row[1] for row in rows} == {"full", "passive", "active+mixed", "active+passive", "mixed+passive"}
    accuracy = found.tables["accuracy"]
    assert set(accuracy.columns["train"]) == {30, 100, 0}
    kept = {row[:3]: row[3] for row in accuracy.rows()}
    assert kept["sampled", "active+mixed", 100] > kept["sampled", "passive", 100]
    assert kept["none", "none", 0] == pytest.approx((1 / 6 + 1 / 6 + 1 / 4 + 1 / 5) / 4)
    assert "fewer than a thousand" in found.notes[0]
    assert found.numbers == method.examine(data).numbers


def test_pruned_codes_are_those_of_the_kept_latents_with_factors_and_ids():
    method, data = made()
    pruned = method.prune(data)
    mean, _ = method.gathered(data)
    rows = torch.tensor([0, 719])
    assert np.allclose(pruned.take(rows)["x"], mean[rows][:, :2], atol=1e-6)
    assert [f.name for f in pruned.factors] == [f.name for f in data.factors]
    noisy = method.prune(data, code="sampled", keep="active")
    assert noisy.fields["x"].shape == (1,)
    assert (
        0.005 < float((noisy.take(torch.arange(720))["x"][:, 0].double() - torch.from_numpy(mean[:, 0])).var()) < 0.02
    )
    with pytest.raises(ConfigError, match="groups of latents"):
        method.prune(data, keep="some")
    method.group.fill_(2)
    with pytest.raises(ConfigError, match="a group with a latent in it"):
        method.prune(data)


def test_bad_input_is_one_line():
    with pytest.raises(ConfigError, match="a trained method with a Gaussian posterior, got Linear; give the folder"):
        made(nn.Linear(2, 2))
    for changes in ({"items": 1}, {"spread": 0.7}, {"margin": 0.0}, {"train": (1,)}, {"test": 0}):
        with pytest.raises(ConfigError, match=next(iter(changes))):
            override(ActiveVariables.Config(), changes)


def test_the_stand_in_is_a_small_vae_for_the_data():
    from unbraid.data.made.tiny import tiny_vectors
    from unbraid.methods.latent.standins import SmallVAE

    data = tiny_vectors()
    small = SmallVAE()
    first, again = small.make(data, 1), small.make(data, 1)
    assert first is not again
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(next(iter(small.shape(data.fields).parameters())), next(iter(first.parameters())))
