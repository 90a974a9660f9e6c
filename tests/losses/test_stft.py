import numpy as np
import pytest
import torch
from scipy import signal

from unbraid.losses.adversarial import least_squares
from unbraid.losses.stft import multi_resolution_stft


def waves():
    return torch.randn(2, 3, 900, generator=torch.Generator().manual_seed(0), dtype=torch.float64).unbind(0)


def magnitudes(wave, size):
    hann = signal.get_window("hann", size)
    padded = np.pad(wave.numpy(), ((0, 0), (size // 2, size // 2)), mode="reflect")
    starts = range(0, padded.shape[1] - size + 1, size // 4)
    frames = np.stack([padded[:, s : s + size] * hann for s in starts], 1)
    return np.sqrt(np.maximum(np.abs(np.fft.rfft(frames)) ** 2, 1e-7))


def test_both_terms_by_their_formulas():
    made, real = waves()
    ours = multi_resolution_stft(made, real, (64, 256))
    pairs = [(magnitudes(made, size), magnitudes(real, size)) for size in (64, 256)]
    convergence = np.mean([np.linalg.norm(y - x) / np.linalg.norm(y) for x, y in pairs])
    magnitude = np.mean([np.abs(np.log(y) - np.log(x)).mean() for x, y in pairs])
    assert float(ours.convergence) == pytest.approx(convergence, rel=1e-6)
    assert float(ours.magnitude) == pytest.approx(magnitude, rel=1e-6)


def test_nothing_is_lost_between_equal_sounds_and_silence_has_a_gradient():
    made, real = waves()
    assert float(multi_resolution_stft(real, real, (64,)).convergence) < 1e-6
    assert float(multi_resolution_stft(real, real, (64,)).magnitude) == 0
    silent = torch.zeros_like(made, requires_grad=True)
    terms = multi_resolution_stft(silent, real, (64,))
    [slope] = torch.autograd.grad(terms.convergence + terms.magnitude, [silent])
    assert slope.isfinite().all()


def test_least_squares_over_scales():
    values = [torch.tensor([[0.5, 1.5]]), torch.tensor([[2.0]])]
    assert float(least_squares(values, 1.0)) == pytest.approx((0.25 + 1.0) / 2)
    assert float(least_squares(values, 0.0)) == pytest.approx((1.25 + 4.0) / 2)
