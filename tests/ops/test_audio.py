import math

import numpy as np
import pytest
import torch
from scipy import signal

from unbraid.ops.audio import MelSpec, log_mel, mel_filters, resample, stft


def tone(frequency, count=8000, rate=8000, dtype=torch.float64):
    return torch.sin(2 * math.pi * frequency / rate * torch.arange(count, dtype=dtype))[None]


def htk(frequency):
    return 2595 * np.log10(1 + frequency / 700)


@pytest.mark.parametrize(("rate", "fft", "bands"), [(8000, 512, 32), (16000, 1024, 64), (8000, 2048, 128)])
def test_filters_are_the_triangles_of_htk(rate, fft, bands):
    ours = mel_filters(rate, fft, bands).numpy()
    corners = 700 * (10 ** (np.linspace(0, htk(rate / 2), bands + 2) / 2595) - 1)
    bins = np.arange(fft // 2 + 1) * rate / fft
    theirs = [np.interp(bins, corners[i : i + 3], [0, 1, 0]) for i in range(bands)]
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    between = (bins >= corners[1]) & (bins <= corners[-2])
    np.testing.assert_allclose(ours.sum(0)[between], 1, atol=1e-6)
    assert (ours.max(1) > 0.3).all(), "a band without a bin"


@pytest.mark.parametrize(("fft", "hop", "window"), [(512, 250, 256), (512, 125, 200), (1024, 500, 500)])
def test_frames_are_fourier_transforms_about_the_middle_of_each_hop(fft, hop, window):
    wave = torch.randn(2, 8000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours = stft(wave, fft, hop, window)
    assert ours.shape == (2, fft // 2 + 1, 8000 // hop)
    hann = signal.get_window("hann", window)
    for frame in (3, 5):
        # torch puts the window in the middle of the samples that are transformed.
        first = frame * hop + hop - (fft + hop) // 2 + (fft - window) // 2
        under = wave[1, first : first + window].numpy() * hann
        np.testing.assert_allclose(ours[1, :, frame].abs(), np.abs(np.fft.rfft(under, fft)), atol=1e-9)


@pytest.mark.parametrize(("before", "after"), [(44100, 8000), (11025, 8000), (4000, 8000), (383_999, 8000), (7, 8000)])
def test_resampling_keeps_a_tone_at_its_frequency(before, after):
    low = 1 if before < 100 else 440
    kept = resample(tone(low, before, before), after)
    torch.testing.assert_close(kept, tone(low, after, after), atol=1e-8, rtol=0)


def test_resampling_leaves_out_what_would_fold_over():
    assert resample(tone(5000, 44100, 44100), 8000).abs().max() < 1e-8
    wave = torch.randn(3, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours = resample(wave, 51)
    np.testing.assert_allclose(ours, signal.resample(wave.numpy(), 51, axis=1), atol=1e-12)
    assert resample(wave, 100) is wave


def test_a_tone_is_loudest_in_its_own_band():
    spec = MelSpec()
    centres = 700 * (10 ** (np.linspace(0, htk(4000), 34)[1:-1] / 2595) - 1)
    for band in (6, 15, 30):
        picture = log_mel(tone(centres[band], dtype=torch.float32), spec)[0]
        assert picture.shape == (32, 32)
        assert (picture[:, 4:-4].argmax(0) == band).all()


def test_decibels_below_the_peak_whatever_the_volume():
    spec = MelSpec()
    wave = tone(1000, dtype=torch.float32)
    wave[:, 4000:] *= 10 ** (-40 / 20)
    picture = log_mel(wave, spec)
    assert picture.max() == 1
    band = picture[0].amax(1).argmax()
    assert picture[0, band, 24] == pytest.approx(0.5, abs=0.01)
    torch.testing.assert_close(log_mel(wave * 1e-4, spec), picture, atol=1e-3, rtol=0)
    assert log_mel(torch.cat([wave, wave * 0]), spec)[1].max() == 0
