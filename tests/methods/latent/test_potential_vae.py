from functools import partial

import pytest
import torch

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.method import Alone, At
from unbraid.data.made.digit_flows import digit_flows
from unbraid.data.made.discs import Discs
from unbraid.data.made.tiny import tiny_vectors
from unbraid.losses.gaussian import bernoulli_nll, kl
from unbraid.losses.potential import rollout
from unbraid.methods.latent.potential.vae import PotentialVAE
from unbraid.testing import check_method
from unbraid.training.build import build
from unbraid.training.fit import fit


def made(data=None, **changes):
    data = data or digit_flows(size=8)
    config = override(PotentialVAE.Config(), {**PotentialVAE.presets["tiny"], **changes})
    return build(PotentialVAE, config, data.fields), data


def test_contract():
    check_method(PotentialVAE, digit_flows(size=8))


def test_the_loss_is_the_sum_of_its_terms():
    method, data = made(physics=0.5, follow=2.0, ahead=3.0)
    indices = data.moved(torch.arange(8) * 27, "angle", 0)
    batch = data.take(torch.stack([indices, indices + 1, indices + 2], 1))  # t = 1
    terms = method.loss(batch, At(generator=torch.Generator().manual_seed(3)))
    noise = torch.randn((8, 3, 6), generator=torch.Generator().manual_seed(3)).unbind(1)
    x = batch["x"].unbind(1)
    mu, logvar = zip(*(method.infer(one) for one in x), strict=True)
    z = [m + (v / 2).exp() * e for m, v, e in zip(mu, logvar, noise, strict=True)]
    rolled = rollout(partial(method.field, which=1), method.field.speed[1], z[0], 3, Alone())
    first, second = rolled.path[2], rolled.path[3]
    expected = {
        "reconstruction": (1, bernoulli_nll(method.decoder(z[0]), x[0])),
        "kl": (1, kl(mu[0], logvar[0]).sum(1)),
        "ahead": (3, bernoulli_nll(method.decoder(second), x[2])),
        "kl ahead": (3, kl(mu[2], logvar[2]).sum(1)),
        "initial": (0.5, rolled.initial),
        "residual": (0.5, rolled.residual),
        "step": (2, (z[2] - z[1] - (second - first)).square().mean(1)),
        "place": (2, (z[1] - first).square().mean(1)),
    }
    assert set(terms) == {*expected, "variation"}
    for name, (weight, raw) in expected.items():
        found = terms[name] if isinstance(terms[name], tuple) else (1, terms[name])
        assert found[0] == weight
        torch.testing.assert_close(found[1], raw)
    weight, variation = terms["variation"]
    nearby = (method.generate(first + 1e-3 * (second - first)) - method.generate(first)) / 1e-3
    assert weight == -0.5
    torch.testing.assert_close(variation, nearby.square().flatten(1).mean(1), rtol=0.05, atol=1e-5)


def test_the_moving_factor_and_its_step_are_read_from_the_batch():
    method, data = made()
    for factor, k in (("scale", 0), ("hue", 2)):
        at = [data.moved(torch.arange(4), factor, step) for step in (0, 2, 3)]
        assert method.moving(data.take(torch.stack(at, 1))["factors"]) == (k, 2)


def test_grids_of_factors_have_moves_too():
    method, data = made(Discs(), moves=("radius", "x"), network="conv", times=6)
    lines = fit(method, data, seed=0)
    assert lines[-1]["terms"]["fit/residual"] >= 0
    assert method.encode(data.take(torch.arange(3)))["potentials"].shape == (3, 2)


def test_the_published_network():
    method, data = made(network="funnel", width=4)
    batch = data.take(torch.arange(2))
    assert method.decode(method.encode(batch)).shape == batch["x"].shape
    assert (PotentialVAE.Config().latents, PotentialVAE.Config().width) == (324, 324)


def test_what_is_wrong_is_said():
    with pytest.raises(ConfigError, match="moves=NAME,NAME; did you mean 'scale'"):
        made(moves=("scal",))
    method, data = made(moves=("digit",))
    with pytest.raises(DataError, match="values have an order"):
        fit(method, data)
    with pytest.raises(ConfigError, match="name of a factor"):
        made(tiny_vectors())
    with pytest.raises(ConfigError, match="times"):
        made(times=2)
