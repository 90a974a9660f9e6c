import math

import pytest
import torch
from torch.distributions import Normal

from unbraid.core.method import At
from unbraid.losses.gaussian import kl, sample
from unbraid.losses.total_correlation import between_segments, decompose, shuffled_segments, total_correlation


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


def test_information_of_a_batch_is_bounded_by_its_size_and_reached_where_no_posteriors_meet():
    mu = 100 * torch.arange(8.0).double()[:, None].expand(8, 3)
    logvar = torch.zeros_like(mu)
    apart = decompose(mu + torch.randn_like(mu), mu, logvar, n=8)
    torch.testing.assert_close(apart.mi, torch.full((8,), math.log(8)).double())
    alike = decompose(torch.randn_like(mu), torch.zeros_like(mu), logvar, n=8)
    torch.testing.assert_close(alike.mi, torch.zeros(8).double())
    z, mu, logvar = posteriors(6, (30, 4))
    assert decompose(z, mu, logvar, n=30).mi.max() <= math.log(30) + 1e-12


def test_one_latent_has_no_dependence_and_a_copy_of_it_adds_some():
    z, mu, logvar = posteriors(7, (50, 1))
    torch.testing.assert_close(decompose(z, mu, logvar, n=50).tc, torch.zeros(50).double())
    twice = [t.repeat(1, 2) for t in (z, mu, logvar)]
    assert decompose(*twice, n=50).tc.mean() > 0.1


def test_halves_of_a_batch_decompose_as_the_whole():
    z, mu, logvar = posteriors(8)
    whole = decompose(z, mu, logvar, n=20)
    for first in (0, 3):
        half = decompose(z[first : first + 3], mu, logvar, n=20, first=first)
        for a, b in zip(half, whole, strict=True):
            torch.testing.assert_close(a, b[first : first + 3])


def test_dependence_between_segments():
    z, mu, logvar = posteriors(9, (7, 3))
    density = Normal(mu, (logvar / 2).exp()).log_prob(z[:, None]).exp()
    joint, one, other = (density[:, :, part].prod(2).mean(1).log() for part in (slice(3), slice(2), slice(2, 3)))
    torch.testing.assert_close(between_segments(z, mu, logvar, (2, 1)), joint - one - other)
    by_one = decompose(z, mu, logvar, n=7).tc
    torch.testing.assert_close(between_segments(z, mu, logvar, (1, 1, 1)), by_one)


def test_segments_are_shuffled_as_wholes():
    z = torch.arange(12.0)[:, None] * torch.tensor([1.0, 1.0, -1.0, -1.0])
    mixed = shuffled_segments(z, (2, 2), At())
    assert torch.equal(mixed[:, :2], z[:, :2])
    assert torch.equal(mixed[:, 2], mixed[:, 3])
    assert torch.equal(mixed[:, 2].sort().values, z[:, 2].sort().values)
    assert not torch.equal(mixed, z)
