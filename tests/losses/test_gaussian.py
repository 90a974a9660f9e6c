import math

import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from unbraid.losses import gaussian


def posteriors(seed, shape=(5, 3)):
    torch.manual_seed(seed)
    return torch.randn(shape).double(), torch.randn(shape).double()


def test_kl_against_torch():
    (mu, logvar), (mu2, logvar2) = posteriors(0), posteriors(1)
    first, second = Normal(mu, (logvar / 2).exp()), Normal(mu2, (logvar2 / 2).exp())
    torch.testing.assert_close(gaussian.kl(mu, logvar, mu2, logvar2), kl_divergence(first, second))
    prior = Normal(torch.zeros(()).double(), torch.ones(()).double())
    torch.testing.assert_close(gaussian.kl(mu, logvar), kl_divergence(first, prior))


def test_kl_is_zero_between_equals_only():
    (mu, logvar), (mu2, logvar2) = posteriors(2), posteriors(3)
    assert gaussian.kl(mu, logvar, mu, logvar).abs().max() < 1e-12
    assert (gaussian.kl(mu, logvar, mu2, logvar2) > 0).all()


def test_sample_has_the_posteriors_moments():
    torch.manual_seed(0)
    z = gaussian.sample(torch.tensor(2.0), torch.tensor(math.log(9.0)), torch.randn(200_000))
    assert abs(z.mean() - 2) < 0.03
    assert abs(z.std() - 3) < 0.03


def test_likelihoods_against_torch():
    logits, noise = posteriors(4, (5, 3, 4, 4))
    x = noise.sigmoid().round()
    expected = -Bernoulli(logits=logits).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(gaussian.bernoulli_nll(logits, x), expected)
    expected = -Normal(logits, 1.0).log_prob(noise).sum((1, 2, 3)) - 24 * math.log(2 * math.pi)
    torch.testing.assert_close(gaussian.gaussian_nll(logits, noise), expected)


def test_cross_entropy_is_least_at_the_observation():
    _, noise = posteriors(5, (2, 6))
    x = noise.sigmoid()
    least = gaussian.bernoulli_nll(noise, x)
    assert (gaussian.bernoulli_nll(noise + 0.1, x) > least).all()
    assert (gaussian.bernoulli_nll(noise - 0.1, x) > least).all()
