import numpy as np
import torch

from unbraid.core.method import Alone
from unbraid.losses.joint import cross_correlation, off_diagonal, twice_cosine


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
