"""The DIP-VAEs by their formulas, and over two processes."""

import pytest
import torch

from unbraid.core.config import override
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.losses.total_correlation import covariance, covariance_gap
from unbraid.methods.latent.dip_vae import DIPVAE
from unbraid.testing import check_method
from unbraid.testing.made import tiny_images, tiny_vectors


def build(**changes):
    config = override(DIPVAE.Config(), {**DIPVAE.presets["tiny"], "network": "mlp", **changes})
    torch.manual_seed(0)
    return DIPVAE(config, Fields(x=Field((7,), unit=True)))


def posterior(n=6, latents=4):
    torch.manual_seed(1)
    return torch.randn(n, latents), 0.3 * torch.randn(n, latents)


@pytest.mark.parametrize("data", [tiny_vectors(), tiny_images()], ids=["vectors", "images"])
def test_contract(data):
    assert "sums" in check_method(DIPVAE, data)


@pytest.mark.parametrize("changes", DIPVAE.aliases.values())
def test_contract_of_the_variant(changes):
    config = override(DIPVAE.Config(), {**DIPVAE.presets["tiny"], **changes})
    assert "sums" in check_method(DIPVAE, tiny_vectors(), config)


def test_covariance_is_the_biased_one():
    mu, _ = posterior(9)
    torch.testing.assert_close(covariance(mu), torch.cov(mu.T, correction=0))
    off, on = covariance_gap(torch.tensor([[2.0, 0.5], [0.5, 1.0]]))
    assert (float(off), float(on)) == (0.5, 1.0)


@pytest.mark.parametrize(("of", "ratio"), [("means", 10.0), ("samples", 1.0)])
def test_dip_vae_by_its_formula(of, ratio):
    mu, logvar = posterior(9)
    terms = build(of=of, off_diagonal=3.0).regulariser(mu, mu, logvar, At())
    expected = torch.cov(mu.T, correction=0)
    if of == "samples":
        expected = expected + torch.diag(logvar.exp().mean(0))
    outside = expected - torch.diag(expected.diagonal())
    assert (terms["off_diagonal"][0], terms["diagonal"][0]) == (3.0, 3.0 * ratio)
    torch.testing.assert_close(terms["off_diagonal"][1], outside.square().sum())
    torch.testing.assert_close(terms["diagonal"][1], (expected.diagonal() - 1).square().sum())
    assert build(diagonal=7.0).regulariser(mu, mu, logvar, At())["diagonal"][0] == 7.0
