import threading

import pytest
import torch
from torch.nn import functional

from unbraid.core.method import Alone
from unbraid.losses.contrastive import against, info_nce, nt_xent, pairs, spectral
from unbraid.testing.contract import _sides


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


def unit(*shape):
    z = torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)
    return functional.normalize(z, dim=1)


def test_simclr_row_by_row():
    a, b, t = unit(4, 3), unit(4, 5)[:, :3], 0.3
    z = functional.normalize(torch.cat([a, b]), dim=1)
    expected = []
    for i in range(8):
        s = [torch.exp(z[i] @ z[k] / t) for k in range(8)]
        expected.append(-torch.log(s[(i + 4) % 8] / sum(s[k] for k in range(8) if k != i)))
    torch.testing.assert_close(nt_xent(a, b, t, Alone()), torch.stack(expected).float(), rtol=1e-5, atol=1e-5)


def test_pairs_are_info_nce_row_by_row():
    q, k = unit(5, 3), unit(5, 4)[:, :3]
    torch.testing.assert_close(pairs(q, k, 0.2, Alone()).mean().double(), info_nce(q, k, 0.2), rtol=1e-5, atol=1e-5)


def test_the_key_is_told_from_the_queue():
    q, k, queue = unit(4, 3), unit(4, 5)[:, :3], unit(9, 3)
    k = functional.normalize(k, dim=1)
    own = torch.exp((q * k).sum(1) / 0.2)
    expected = -torch.log(own / (own + torch.exp(q @ queue.T / 0.2).sum(1)))
    torch.testing.assert_close(against(q, k, queue, 0.2), expected.float(), rtol=1e-5, atol=1e-5)


def test_the_spectral_loss_row_by_row():
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(5, 3, generator=g), torch.randn(5, 3, generator=g)
    agreement, overlap = spectral(a, b, Alone())
    for i in range(5):
        assert float(agreement[i]) == pytest.approx(-2 * float(a[i] @ b[i]), rel=1e-5)
        others = [float(a[i] @ b[j]) ** 2 for j in range(5) if j != i]
        assert float(overlap[i]) == pytest.approx(sum(others) / 4, rel=1e-5)


def spectral_of(a, b, _temperature, world):
    return sum(spectral(a, b, world))


@pytest.mark.parametrize("loss", [nt_xent, pairs, spectral_of])
def test_two_processes_contrast_as_one(loss):
    a, b = unit(6, 3).requires_grad_(), functional.normalize(unit(6, 5)[:, :3], dim=1).requires_grad_()
    whole = loss(a, b, 0.5, Alone()).mean()
    slopes = torch.autograd.grad(whole, (a, b))
    sides, found = _sides(), [None, None]

    def one(rank):
        rows = slice(3 * rank, 3 * rank + 3)
        found[rank] = loss(a[rows], b[rows], 0.5, sides[rank]).mean()

    threads = [threading.Thread(target=one, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    both = (found[0] + found[1]) / 2
    torch.testing.assert_close(both, whole)
    for mine, theirs in zip(torch.autograd.grad(both, (a, b)), slopes, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
