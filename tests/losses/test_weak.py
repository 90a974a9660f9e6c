import numpy as np
import pytest
import torch

from unbraid.losses import weak
from unbraid.losses.gaussian import kl


def pairs(seed):
    torch.manual_seed(seed)
    return torch.randn(8, 2, 5).double(), torch.randn(8, 2, 5).double()


def test_distance_is_twice_the_divergence():
    mu, logvar = pairs(0)
    expected = 2 * kl(mu[:, 0], logvar[:, 0], mu[:, 1], logvar[:, 1])
    torch.testing.assert_close(weak.distance(mu, logvar), expected)


def test_kept_are_those_in_the_upper_of_two_bins():
    d = weak.distance(*pairs(1))
    for row, mask in zip(d.numpy(), weak.kept(d).numpy(), strict=True):
        edges = np.histogram_bin_edges(row, 2)
        assert mask.tolist() == (np.digitize(row, edges[1:2]) == 1).tolist()
        assert mask[row.argmax()]
        assert not mask[row.argmin()]


@pytest.mark.parametrize("how", ["gvae", "ml"])
def test_shared_posteriors_by_the_formulas(how):
    mu, logvar = pairs(2)
    kept = weak.kept(weak.distance(mu, logvar))
    new_mu, new_logvar = weak.share(mu, logvar, kept, how)
    for b in range(8):
        for k in range(5):
            (m1, m2), (v1, v2) = mu[b, :, k].tolist(), logvar[b, :, k].exp().tolist()
            var = (v1 + v2) / 2 if how == "gvae" else 2 * v1 * v2 / (v1 + v2)
            mean = (m1 + m2) / 2 if how == "gvae" else var / 2 * (m1 / v1 + m2 / v2)
            for i, (m, v) in enumerate([(m1, v1), (m2, v2)]):
                assert float(new_mu[b, i, k]) == pytest.approx(m if kept[b, k] else mean)
                assert float(new_logvar[b, i, k].exp()) == pytest.approx(v if kept[b, k] else var)


@pytest.mark.parametrize("how", ["gvae", "ml"])
def test_equal_posteriors_stay_what_they_are(how):
    mu, logvar = pairs(3)
    mu, logvar = mu[:, :1].expand(-1, 2, -1), logvar[:, :1].expand(-1, 2, -1)
    new_mu, new_logvar = weak.share(mu, logvar, torch.zeros(8, 5, dtype=torch.bool), how)
    torch.testing.assert_close(new_mu, mu)
    torch.testing.assert_close(new_logvar, logvar)
