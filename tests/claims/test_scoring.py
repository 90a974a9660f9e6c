import math

import numpy as np
import pytest
import torch

from unbraid.claims.scoring import METRICS, Trained
from unbraid.core.config import override
from unbraid.core.method import Infers
from unbraid.core.parts import Parts, PartSpec
from unbraid.data.made.discs import Discs
from unbraid.methods.latent.qlae import QLAE
from unbraid.training.build import build


class Made:
    """Codes that are given, images that are the factors' own."""

    classes = None

    def __init__(self, codes, image=None):
        self.given, self.image = codes, image

    def parts(self):
        return (PartSpec("latents", "fam", (self.given.shape[1],), classes=self.classes),)

    def encode(self, batch):
        return Parts(latents=self.given)

    def decode(self, parts):
        return self.image


class Posterior(Made):
    def __init__(self, mu, logvar):
        super().__init__(mu)
        self.logvar = logvar

    def posterior(self, batch):
        return Parts(latents=self.given), Parts(latents=self.logvar)


def value(name, method):
    return METRICS[name].of(Trained(method, Discs()))


def test_perfect_codes_have_a_perfect_gap():
    factors = Discs().factors_of(torch.arange(720)).float()
    assert value("mig", Made(factors)) == pytest.approx(1.0, abs=0.01)
    assert value("mig", Made(torch.cat([factors, factors], 1))) == pytest.approx(0.0, abs=1e-9)


def test_the_mean_image_explains_nothing_and_the_images_everything():
    x = Discs().take(torch.arange(720))["x"]
    codes = torch.randn(720, 2)
    assert value("explained", Made(codes, x)) == 1.0
    assert value("explained", Made(codes, x.mean(0).expand_as(x))) == pytest.approx(0.0, abs=1e-6)


def test_total_correlation_of_codes_that_are_one_and_the_same():
    torch.manual_seed(0)
    mu, logvar = torch.zeros(720, 2), torch.zeros(720, 2)
    assert value("total correlation", Posterior(mu, logvar)) == pytest.approx(0.0, abs=1e-6)
    # Two latents that hold the same one of 720 far-away places: their mutual information is log 720.
    places = torch.arange(720.0)[:, None].repeat(1, 2) * 100
    assert value("total correlation", Posterior(places, logvar)) == pytest.approx(math.log(720), abs=1e-5)


def test_capacity_by_its_formula():
    mu, logvar = torch.randn(720, 3), torch.randn(720, 3)
    expected = 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum(1).mean()
    assert value("kl", Posterior(mu, logvar)) == pytest.approx(float(expected), rel=1e-5)
    assert isinstance(Posterior(mu, logvar), Infers)
    assert not isinstance(Made(mu), Infers)


def test_gaussian_total_correlation_by_its_formula():
    rng = np.random.default_rng(0)
    r = 0.8
    a, b = rng.standard_normal((2, 720))
    codes = torch.tensor(np.stack([a, r * a + math.sqrt(1 - r * r) * b, np.zeros(720)], 1))
    found = np.corrcoef(codes[:, :2].T.numpy())[0, 1]
    for name in ("gaussian total correlation", "gaussian total correlation of means"):
        assert value(name, Made(codes)) == pytest.approx(-0.5 * math.log(1 - found**2), rel=1e-9)
    assert value("correlation", Made(codes)) == pytest.approx(abs(found), rel=1e-9)
    noisy = Posterior(codes[:, :2], torch.full((720, 2), 3.0))
    assert value("gaussian total correlation", noisy) < value("gaussian total correlation of means", noisy)


def test_codes_in_bins_are_read_value_by_value():
    x = Discs().factors_of(torch.arange(720)).double()
    continuous = Made(x)
    assert value("infoe in bins", continuous) > 0.95
    method = build(QLAE, override(QLAE.Config(), QLAE.presets["tiny"]), Discs().fields, 0)
    trained = Trained(method.eval(), Discs())
    assert trained.discrete
    assert METRICS["infoe in bins"].of(trained) == METRICS["infoe"].of(trained)


def test_every_metric_of_a_real_method():
    from unbraid.methods.latent.vae import VAE

    method = build(VAE, override(VAE.Config(), {**VAE.presets["tiny"], "network": "mlp"}), Discs().fields, 0).eval()
    trained = Trained(method, Discs())
    values = {name: metric.of(trained) for name, metric in METRICS.items()}
    assert all(math.isfinite(v) for v in values.values()), values
