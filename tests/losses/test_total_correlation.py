import math

import pytest
import torch
from torch.distributions import Normal

from unbraid.losses.gaussian import kl, sample
from unbraid.losses.total_correlation import decompose, total_correlation


def posteriors(seed, shape=(6, 3)):
    torch.manual_seed(seed)
    mu, logvar = torch.randn(shape).double(), torch.randn(shape).double()
    return sample(mu, logvar, torch.randn(shape).double()), mu, logvar


def test_minibatch_sums_one_by_one():
    z, mu, logvar = posteriors(0)
    for j, value in enumerate(total_correlation(z, mu, logvar)):
        density = [
            [Normal(mu[i, k], (logvar[i, k] / 2).exp()).log_prob(z[j, k]).exp() for k in range(3)] for i in range(6)
        ]
        joint = sum(math.prod(float(d) for d in row) for row in density)
        marginals = [sum(float(row[k]) for row in density) for k in range(3)]
        assert float(value) == pytest.approx(math.log(joint) - sum(map(math.log, marginals)))


def test_order_of_items_and_of_latents_does_not_matter():
    z, mu, logvar = posteriors(1)
    rows, columns = torch.randperm(6), torch.randperm(3)
    expected = total_correlation(z, mu, logvar)
    torch.testing.assert_close(total_correlation(z, mu[rows], logvar[rows]), expected)
    torch.testing.assert_close(total_correlation(*(t[:, columns] for t in (z, mu, logvar))), expected)


def test_halves_of_a_batch_against_all_posteriors_average_to_the_whole():
    z, mu, logvar = posteriors(2)
    halves = [total_correlation(z[half], mu, logvar).mean() for half in (slice(3), slice(3, 6))]
    torch.testing.assert_close(sum(halves) / 2, total_correlation(z, mu, logvar).mean())


def test_decomposition_adds_up_to_the_divergence():
    z, mu, logvar = posteriors(3, (40, 3))
    parts = decompose(z, mu, logvar, n=1000)
    sampled = Normal(mu, (logvar / 2).exp()).log_prob(z).sum(1) - Normal(0.0, 1.0).log_prob(z).sum(1)
    torch.testing.assert_close(sum(parts), sampled)


def test_whole_set_is_exact():
    z, mu, logvar = posteriors(4, (12, 2))
    mixture = Normal(mu, (logvar / 2).exp()).log_prob(z[:, None])
    joint = mixture.sum(2).exp().mean(1).log()
    parts = decompose(z, mu, logvar, n=12)
    torch.testing.assert_close(parts.tc, joint - mixture.exp().mean(1).log().sum(1))
    torch.testing.assert_close(total_correlation(z, mu, logvar), parts.tc - (2 - 1) * math.log(12))


@pytest.mark.parametrize(("n", "within"), [(2000, 0.04), (100_000, 0.15)])
def test_gaussian_codes_have_their_known_values(n, within):
    torch.manual_seed(5)
    correlation, noise = 0.8, 0.2
    spread = torch.tensor([[1.0, correlation], [correlation, 1.0]]).double()
    mu = torch.randn(2000, 2).double() @ torch.linalg.cholesky(spread).T
    logvar = torch.full_like(mu, math.log(noise))
    parts = decompose(sample(mu, logvar, torch.randn_like(mu)), mu, logvar, n)
    total = spread + noise * torch.eye(2)
    assert float(parts.tc.mean()) == pytest.approx(-0.5 * math.log(total.det() / (1 + noise) ** 2), abs=within)
    assert float(parts.mi.mean()) == pytest.approx(0.5 * math.log(total.det() / noise**2), abs=within)
    assert float(sum(p.mean() for p in parts)) == pytest.approx(float(kl(mu, logvar).sum(1).mean()), abs=0.05)
