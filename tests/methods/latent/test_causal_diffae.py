from dataclasses import replace

import pytest
import torch

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.method import At
from unbraid.data.made.causes import Bars, Pendulum
from unbraid.data.made.tiny import tiny_vectors
from unbraid.losses.gaussian import kl
from unbraid.methods.latent.causal_diffae import CausalDiffAE, label_divergence
from unbraid.training.build import build
from unbraid.training.fit import fit
from unbraid.training.stepper import Stepper


def made(world=None, **changes):
    data = world or Bars(rows=40, size=8)
    config = override(CausalDiffAE.Config(), {**CausalDiffAE.presets["tiny"], **changes})
    return build(CausalDiffAE, config, data.fields), data


def batch_of(data, n=12):
    return data.take(torch.arange(n))


def test_every_variable_has_a_part_of_its_own_and_the_graph_is_the_data_s():
    method, _ = made(Pendulum(rows=10, size=8), code=8)
    assert [s.name for s in method.parts()] == ["angle", "light", "length", "position", "noise"]
    assert [s.carries for s in method.parts()][:2] == [("angle",), ("light",)]
    assert method.graph.edges == (
        ("angle", "length"),
        ("angle", "position"),
        ("light", "length"),
        ("light", "position"),
    )
    assert made(graph="none")[0].graph.edges == ()
    assert made(graph="intensity -> thickness")[0].graph.edges == (("intensity", "thickness"),)
    assert [s.name for s in made(variables=("intensity",))[0].parts()] == ["intensity", "noise"]


def test_the_loss_is_the_sum_of_its_three_terms():
    method, data = made(drop=0.0, noises=100)
    method.middle.copy_(torch.tensor([0.3, 0.5]))
    method.spread.copy_(torch.tensor([0.1, 0.2]))
    method.eval()
    batch, at = batch_of(data), At(step=2, generator=torch.Generator().manual_seed(5))
    terms = method.loss(batch, at)
    g = torch.Generator().manual_seed(5)
    x = 2 * batch["x"] - 1
    mean, variance = method.core.encoder(x)
    u = mean.reshape(12, 2, 2)
    f, g_ = method.core.mechanisms.functions
    z = torch.stack([f(0 * u[:, 0]), g_(u[:, 0])], 1) + u
    code = z.flatten(1) + (0.001 * variance).sqrt() * torch.randn(mean.shape, generator=g)
    torch.rand(12, generator=g)
    t, noise = torch.randint(100, (12,), generator=g), torch.randn(x.shape, generator=g)
    betas = torch.linspace(1e-3, 0.2, 100, dtype=torch.float64)
    kept = (1 - betas).cumprod(0).float()[t][:, None, None, None]
    found = method.core.denoiser(kept.sqrt() * x + (1 - kept).sqrt() * noise, t, code)
    torch.testing.assert_close(terms["noise"], (found - noise).square().mean((1, 2, 3)))
    weight, exogenous = terms["exogenous"]
    assert weight == 0.5
    torch.testing.assert_close(exogenous, 0.5 * (mean**2 + variance - 1 - variance.log()).sum(1).mean())
    label = (batch["factors"] - torch.tensor([0.3, 0.5])) / torch.tensor([0.1, 0.2])
    torch.testing.assert_close(terms["label"][1], 0.5 * (z - label[..., None]).square().sum((1, 2)).mean())


def test_the_weight_grows_from_nothing_and_stays():
    method, data = made(ramp=100, prior=2.0)
    weights = [method.loss(batch_of(data), At(step=s))["exogenous"][0] for s in (0, 50, 100, 900)]
    assert weights == [0.0, 1.0, 2.0, 2.0]


def test_items_that_lose_their_code_have_no_divergence():
    method, data = made(drop=0.5)
    batch, at = batch_of(data), At(generator=torch.Generator().manual_seed(1))
    terms = method.loss(batch, at)
    g = torch.Generator().manual_seed(1)
    torch.randn((12, 4), generator=g)
    keep = torch.rand(12, generator=g) >= 0.5
    mean, variance = method.core.encoder(2 * batch["x"] - 1)
    torch.testing.assert_close(
        terms["exogenous"][1], kl(mean, variance.log()).sum(1)[keep].mean(), rtol=1e-4, atol=1e-4
    )


def test_unknown_labels_are_not_asked_for():
    z, label = torch.randn(3, 2, 4), torch.randn(3, 2)
    known = torch.tensor([[True, False], [False, False], [True, True]])
    found = label_divergence(z, label, known)
    assert found[1] == 0
    torch.testing.assert_close(found[0], 0.5 * (z[0, 0] - label[0, 0]).square().sum())
    assert label_divergence(label[..., None].expand(3, 2, 4), label, known).abs().max() == 0


def test_an_intervention_moves_its_effects_and_nothing_else():
    method, data = made(Pendulum(rows=12, size=8), code=8)
    with torch.no_grad():
        u = method.chance(2 * batch_of(data)["x"] - 1)
        before = method.core.mechanisms(u)
        root = method.intervened(u, {"angle": torch.full((12,), 0.5)})
        child = method.intervened(u, {"length": torch.full((12,), 0.5)})
    moved = [not torch.allclose(before[:, i], root[:, i]) for i in range(4)]
    assert moved == [True, False, True, True]
    assert [not torch.allclose(before[:, i], child[:, i]) for i in range(4)] == [False, False, True, False]
    assert torch.equal(root[:, 0], torch.full((12, 2), 0.5))


def test_without_a_graph_equal_chance_is_an_equal_block():
    method, _ = made(graph="none")
    u = torch.randn(2, 2, 2)
    u[1, 0] = u[0, 0]
    z = method.core.mechanisms(u)
    assert torch.equal(z[0, 0], z[1, 0])


def test_guidance_of_one_is_the_conditional_and_of_none_the_unconditional():
    method, data = made()
    for p in method.core.denoiser.parameters():
        torch.nn.init.normal_(p, std=0.3)
    x, z, t = 2 * batch_of(data)["x"] - 1, torch.randn(12, 2, 2), torch.full((12,), 3)
    bare = method.core.denoiser(x, t, torch.zeros(12, 4))
    torch.testing.assert_close(method._predict(z, 0.0)(x, t), bare)
    torch.testing.assert_close(method._predict(z, 1.0)(x, t), method.core.denoiser(x, t, z.flatten(1)))


def test_what_was_encoded_is_decoded():
    method, data = made(noises=100, drawn=100, steps=300, batch=20, width=32, **{"optim.lr": 3e-3})
    fit(method, data, seed=0)
    batch = batch_of(data)
    with torch.no_grad():
        back = method.decode(method.encode(batch))
    mean = data.take(torch.arange(40))["x"].mean(0)
    assert (back - batch["x"]).abs().mean() < 0.5 * (mean - batch["x"]).abs().mean()


def test_labels_are_standardised_by_the_data_and_the_average_is_kept():
    method, data = made()
    fit(method, data, seed=0)
    factors = data.take(torch.arange(40))["factors"]
    torch.testing.assert_close(method.middle, factors.mean(0))
    torch.testing.assert_close(method.spread, factors.std(0, correction=0))
    for kept, mean in zip(method.core.parameters(), method.average.twin.parameters(), strict=True):
        assert torch.equal(kept, mean)


def test_the_average_follows_every_step():
    method, data = made()
    stage = method.stages()[0]
    before = [p.clone() for p in method.average.twin.parameters()]
    Stepper(method, stage, seed=0, steps=9).step(batch_of(data), 0)
    moved = zip(before, method.core.parameters(), method.average.twin.parameters(), strict=True)
    for old, new, mean in moved:
        torch.testing.assert_close(mean, 0.5 * old + 0.5 * new.detach())


def test_partial_inversion_and_actions():
    method, data = made()
    method.eval()
    with torch.no_grad():
        drawn = method.under(batch_of(data), {"thickness": torch.full((12,), 0.4)}, inversion="partial")
    assert drawn.shape == (12, 1, 8, 8)
    pictures = method.counterfactual(("thickness=0.4", "intensity=0.2"), data, items=3)
    assert pictures.images.shape == (6, 1, 8, 8)
    assert pictures.labels[-1] == "thickness=0.4, intensity=0.2"


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"code": 5}, ConfigError, "a multiple of 2 variables, got 5"),
        ({"graph": "thickness -> colour"}, ConfigError, "name of a variable, got 'colour'"),
        ({"variables": ("colour",)}, ConfigError, "name of a variable, got 'colour'"),
        ({"drop": 1.0}, ConfigError, "drop"),
        ({"drawn": 0}, ConfigError, "drawn: expected 1 or more"),
    ],
)
def test_what_is_wrong_is_said(changes, error, said):
    with pytest.raises(error, match=said):
        made(**changes)


def test_data_must_be_images_and_assignments_numbers():
    with pytest.raises(DataError, match="images"):
        made(tiny_vectors())
    method, data = made()
    with pytest.raises(ConfigError, match="variable=value, got 'thickness'"):
        method.counterfactual(("thickness",), data)
    with pytest.raises(ConfigError, match="did you mean 'thickness'"):
        method.counterfactual(("thicknes=1",), data)


def test_the_published_network_builds_and_steps():
    small = {"network": "unet", "width": 8, "factors": (1, 2), "blocks": 1}
    method, data = made(**small)
    report = Stepper(method, replace(method.stages()[0]), seed=0, steps=9).step(batch_of(data), 0)
    assert set(report.terms) == {"fit/noise", "fit/exogenous", "fit/label"}
