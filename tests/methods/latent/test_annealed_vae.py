"""The annealed VAE by its formula, and over two processes."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from unbraid.core.config import override
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.methods.latent.annealed_vae import AnnealedVAE
from unbraid.testing import check_method
from unbraid.testing.made import tiny_images, tiny_vectors


def build(**changes):
    config = override(AnnealedVAE.Config(), {**AnnealedVAE.presets["tiny"], "network": "mlp", **changes})
    torch.manual_seed(0)
    return AnnealedVAE(config, Fields(x=Field((7,), unit=True)))


def posterior(n=6, latents=4):
    torch.manual_seed(1)
    return torch.randn(n, latents), 0.3 * torch.randn(n, latents)


@pytest.mark.parametrize("data", [tiny_vectors(), tiny_images()], ids=["vectors", "images"])
def test_contract(data):
    assert "sums" in check_method(AnnealedVAE, data)


@pytest.mark.parametrize(("step", "allowed"), [(0, 0.0), (25, 2.5), (100, 10.0), (4000, 10.0)])
def test_capacity_grows_and_stays(step, allowed):
    mu, logvar = posterior()
    at = At(step=step)
    method = build(capacity=10.0, growing=100, gamma=3.0)
    weight, raw = method.regulariser(mu, mu, logvar, at)["capacity"]
    held = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum(1).mean()
    assert weight == 3.0
    torch.testing.assert_close(raw, (held - allowed).abs())
    assert float(at.notes["allowed"]) == pytest.approx(allowed)


def test_counts_below_one_are_refused():
    with pytest.raises(ConfigError, match="growing"):
        build(growing=0)
