import numpy as np
import pytest
import torch

from unbraid.core.method import Alone
from unbraid.losses.joint import cross_correlation, off_diagonal, spread, twice_cosine


def test_cross_correlation_and_what_is_off_its_diagonal():
    a, b = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(0)).unbind()
    c = cross_correlation(a, b, Alone())
    np.testing.assert_allclose(c.numpy(), np.einsum("ni,nj->ij", a.numpy(), b.numpy()) / 9, atol=1e-6)
    assert torch.equal(cross_correlation(a, b, Alone(), local_gradient=True), c)
    expected = c[~torch.eye(5, dtype=bool)]
    assert torch.equal(off_diagonal(c), expected)


def test_twice_the_cosine_is_a_squared_distance_of_unit_vectors():
    p, z = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0)).unbind()
    units = [v / v.norm(dim=1, keepdim=True) for v in (p, z)]
    torch.testing.assert_close(twice_cosine(p, z), (units[0] - units[1]).square().sum(1) - 2)


def test_spread_by_the_formulas_of_vicreg():
    z = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * torch.arange(4).double()
    short, shared = spread(z, Alone())
    deviation = np.sqrt(z.numpy().var(0, ddof=1) + 1e-4)
    c = np.cov(z.numpy().T)
    assert short.item() == pytest.approx(np.maximum(0, 1 - deviation).mean(), rel=1e-5)
    assert shared.item() == pytest.approx((np.square(c).sum() - np.square(np.diag(c)).sum()) / 4, rel=1e-5)
