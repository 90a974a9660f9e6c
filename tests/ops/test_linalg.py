import torch

from unbraid.ops.linalg import eigh_sorted


def test_a_symmetric_matrix_is_put_together_again():
    m = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(0))
    m = m + m.mT
    values, vectors = eigh_sorted(m)
    assert (values.diff() <= 0).all()
    torch.testing.assert_close(vectors @ (values[..., None] * vectors.mT), m)
    torch.testing.assert_close(vectors.mT @ vectors, torch.eye(6).expand(3, 6, 6), rtol=0, atol=1e-6)
    assert (vectors.gather(1, vectors.abs().argmax(1, keepdim=True)) > 0).all()
