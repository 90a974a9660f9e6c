"""The FactorVAE by its formulas, and over two processes."""

import math

import pytest
import torch
from torch.distributions import Normal

from unbraid.core.config import override
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.losses.total_correlation import density_ratio, shuffled_columns, tell_apart
from unbraid.methods.latent.factor_vae import FactorVAE
from unbraid.testing import check_method
from unbraid.testing.made import tiny_images, tiny_vectors
from unbraid.training.stepper import Stepper


def build(**changes):
    config = override(FactorVAE.Config(), {**FactorVAE.presets["tiny"], "network": "mlp", **changes})
    torch.manual_seed(0)
    return FactorVAE(config, Fields(x=Field((7,), unit=True)))


def posterior(n=6, latents=4):
    torch.manual_seed(1)
    return torch.randn(n, latents), 0.3 * torch.randn(n, latents)


@pytest.mark.parametrize("data", [tiny_vectors(), tiny_images()], ids=["vectors", "images"])
def test_contract(data):
    assert "sums" in check_method(FactorVAE, data)


def test_shuffled_columns_keep_each_column_and_break_the_rows():
    z = torch.arange(200.0)[:, None].expand(200, 3).contiguous()
    mixed = shuffled_columns(z, At())
    assert torch.equal(mixed.sort(0).values, z)
    assert (mixed[:, 0] != mixed[:, 1]).float().mean() > 0.9
    assert (mixed[:, 0] != z[:, 0]).float().mean() > 0.9


def test_a_discriminator_that_knows_the_densities_gives_the_total_correlation():
    torch.manual_seed(0)
    rho = 0.8
    z = torch.randn(200_000, 2, dtype=torch.float64)
    z[:, 1] = rho * z[:, 0] + (1 - rho**2) ** 0.5 * z[:, 1]
    joint = torch.distributions.MultivariateNormal(torch.zeros(2).double(), torch.tensor([[1, rho], [rho, 1]]).double())
    logits = torch.stack([joint.log_prob(z), Normal(0.0, 1.0).log_prob(z).sum(1)], 1)
    assert float(density_ratio(logits).mean()) == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.01)


def test_the_discriminator_descends_cross_entropy_and_its_sureness_is_bounded():
    came, mixed = torch.tensor([[0.5, -1.0], [50.0, -50.0]]), torch.tensor([[1.0, 0.0], [-60.0, 60.0]])
    p = torch.softmax(came, 1)[0, 0], torch.softmax(mixed, 1)[0, 1]
    found = tell_apart(came, mixed)
    torch.testing.assert_close(found[0], -0.5 * (p[0].log() + p[1].log()))
    assert float(found[1]) == pytest.approx(1e-6, rel=0.1)


def test_both_moves_see_the_same_codes_and_only_their_own_parameters():
    method = build(**{"critic_optim.lr": 1e-2})
    batch = {"x": torch.rand(8, 7)}
    at = At()
    terms = method.loss(batch, at)
    z = at.memo["z"]
    assert not z.requires_grad
    torch.testing.assert_close(terms["total_correlation"][1], density_ratio(method.discriminator(z)))
    critic = list(method.discriminator.parameters())
    encoder = list(method.encoder.parameters())
    assert any(g.abs().max() > 0 for g in torch.autograd.grad(terms["total_correlation"][1].mean(), encoder))
    loss = method.critic_loss(batch, at)["discrimination"].mean()
    assert all(g is None for g in torch.autograd.grad(loss, encoder, retain_graph=True, allow_unused=True))
    assert any(g.abs().max() > 0 for g in torch.autograd.grad(loss, critic))


def test_the_discriminator_sees_the_codes_from_before_the_vae_moved():
    method = build(**{"optim.lr": 0.1})
    batch, drawn = {"x": torch.rand(8, 7)}, []
    method.discriminator.register_forward_hook(lambda _module, inputs, _output: drawn.append(inputs[0].detach()))
    Stepper(method, method.stages()[0], seed=0, steps=2).step(batch, 0)
    asked_by_vae, asked_by_critic, _ = drawn
    assert torch.equal(asked_by_vae, asked_by_critic)


def test_without_weight_it_is_the_vae():
    mu, logvar = posterior()
    at = At()
    terms = build(gamma=0.0).regulariser(mu, mu, logvar, at)
    assert terms["total_correlation"][0] == 0


def test_the_discriminator_is_not_shipped():
    assert FactorVAE.scaffold == ("discriminator",)


def test_counts_below_one_are_refused():
    with pytest.raises(ConfigError, match="critic_layers"):
        build(critic_layers=0)
