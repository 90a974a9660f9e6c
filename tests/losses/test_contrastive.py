import pytest
import torch
from torch.nn import functional

from unbraid.losses.contrastive import info_nce


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def formula(a, b, temperature, eps):
    a, b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
    similar = torch.exp(a @ b.T / temperature)
    return torch.stack([-torch.log(row[j] / (row.sum() + eps) + eps) for j, row in enumerate(similar)]).mean()


@pytest.mark.parametrize("eps", [0.0, 1e-8, 0.3])
@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_it_is_the_formula(temperature, eps):
    a, b = drawn(7, 3), drawn(7, 3, seed=1)
    torch.testing.assert_close(info_nce(a, b, temperature, eps), formula(a, b, temperature, eps))


def test_without_eps_it_is_cross_entropy():
    a, b = drawn(7, 3), drawn(7, 3, seed=1)
    logits = functional.normalize(a) @ functional.normalize(b).T / 0.001
    torch.testing.assert_close(info_nce(a, b, 0.001), functional.cross_entropy(logits, torch.arange(7)))


@pytest.mark.parametrize("cells", [2**22, 14])
@pytest.mark.parametrize("eps", [0.0, 0.3])
def test_gradients_also_by_blocks(monkeypatch, cells, eps):
    monkeypatch.setattr("unbraid.losses.contrastive._CELLS", cells)
    a, b = drawn(7, 3).requires_grad_(), drawn(7, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: info_nce(a, b, 0.5, eps), (a, b))


def test_lengths_of_rows_do_not_matter():
    a, b = drawn(7, 3), drawn(7, 3, seed=1)
    torch.testing.assert_close(info_nce(3 * a, b / 7), info_nce(a, b))


def test_small_temperatures_neither_overflow_nor_lose_the_gradient():
    a, b = drawn(50, 4).float().requires_grad_(), drawn(50, 4, seed=1).float()
    for eps in (0.0, 1e-8):
        loss = info_nce(a, b, 0.005, eps)
        assert torch.isfinite(loss)
        assert torch.isfinite(torch.autograd.grad(loss, a)[0]).all()
