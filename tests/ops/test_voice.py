import math

import numpy as np
import pytest
import torch
from scipy import signal

from unbraid.data.made.vowels import Vowels
from unbraid.ops.audio import a_weighting, loudness, overlap_add
from unbraid.ops.harmonic import harmonics, impulse_responses, ltv_filter, ltv_frames, quefrencies
from unbraid.ops.kmeans import kmeans, nearest_centre
from unbraid.ops.matching import matched, matched_elsewhere
from unbraid.ops.pitch import f0, yin


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------------------------------------- overlap and loudness


def test_overlap_add_is_the_sum_of_shifted_frames():
    frames = noise(2, 5, 12)
    theirs = torch.zeros(2, 4 * 5 + 12)
    for i in range(5):
        theirs[:, 4 * i : 4 * i + 12] += frames[:, i]
    torch.testing.assert_close(overlap_add(frames, 4), theirs[:, : 4 * 4 + 12])


def test_curve_a_by_its_standard():
    hertz = 10 ** (np.arange(15, 40, 3) / 10)  # 31.5, 63, 125, ... 8000 by their exact values
    standard = [-39.4, -26.2, -16.1, -8.6, -3.2, 0.0, 1.2, 1.0, -1.1]  # IEC 61672-1, table 3
    np.testing.assert_allclose(a_weighting(torch.tensor(hertz)).numpy(), standard, atol=0.1)


def test_ten_decibels_more_are_one_more():
    wave = torch.sin(2 * math.pi * 1000 / 8000 * torch.arange(8000))[None] * 0.1
    softer, louder = (loudness(w, 8000, 80, window=512)[0, 20:80] for w in (wave, wave * math.sqrt(10)))
    torch.testing.assert_close(louder - softer, torch.ones(60), atol=1e-3, rtol=0)


# -------------------------------------------------------------------------------------------------------------- pitch


def test_yin_by_its_definition():
    frames, most = noise(3, 60), 20
    ours, span = yin(frames, most), 40
    for frame, row in zip(frames, ours, strict=True):
        d = [float((frame[:span] - frame[lag : lag + span]).square().sum()) for lag in range(most + 1)]
        theirs = [1.0] + [d[lag] * lag / sum(d[1 : lag + 1]) for lag in range(1, most + 1)]
        np.testing.assert_allclose(row.numpy(), theirs, atol=1e-4)


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("hertz", [80.0, 150.0, 333.0])
def test_the_pitch_of_a_tone_with_harmonics(rate, hertz):
    time = torch.arange(rate, dtype=torch.float32) / rate
    wave = sum((2 * math.pi * hertz * h * time + h).sin() / h for h in range(1, 6))[None]
    found = f0(wave + 0.01 * noise(1, rate), rate, rate // 100)
    assert found.shape == (1, 101)
    torch.testing.assert_close(found[0, 5:95], torch.full((90,), hertz), atol=0, rtol=0.01)


def test_the_pitch_of_made_voices_is_what_they_were_made_with():
    data = Vowels(takes=1)
    batch = data.take(torch.arange(0, len(data), 5))
    found = f0(batch["wave"], data.rate, 80)[:, 8:25]
    level = batch["factors"][:, 2].long()
    asked = torch.tensor([float(v) for v in data.factors[2].labels])[level][:, None]
    assert ((found / asked - 1).abs() < 0.1).float().mean() > 0.98


def test_noise_and_silence_have_no_pitch():
    assert (f0(noise(4, 8000), 8000, 80) > 0).float().mean() < 0.2
    assert f0(torch.zeros(1, 4000), 8000, 80).max() == 0


def test_pitch_does_not_depend_on_the_rest_of_the_batch():
    wave = Vowels(speakers=2, levels=1, takes=1).take(torch.tensor([3, 9]))["wave"]
    torch.testing.assert_close(f0(wave, 8000, 80)[1:], f0(wave[1:], 8000, 80))


# ----------------------------------------------------------------------------------------------- harmonics and filters


@pytest.mark.parametrize(("hertz", "rate", "count"), [(200.0, 8000, 200), (90.0, 8000, 7), (1500.0, 24000, 200)])
def test_harmonics_are_the_sum_of_cosines(hertz, rate, count):
    pitch = torch.full((1, 30), hertz)
    ours = harmonics(pitch, rate, 40, count)[0].double()
    turns = (torch.full((1200,), hertz, dtype=torch.float64) / rate).cumsum(0)
    theirs = sum((2 * math.pi * h * turns).cos() for h in range(1, count + 1) if h * hertz < rate / 2)
    torch.testing.assert_close(ours, 0.1 * theirs, atol=1e-5, rtol=1e-5)


def test_a_constant_pitch_sounds_at_its_multiples_alone():
    wave = harmonics(torch.full((1, 100), 200.0), 8000, 80)
    power = torch.fft.rfft(wave[0]).abs()
    peaks = (power > 0.01 * power.max()).nonzero()[:, 0]
    assert (peaks % 200 == 0).all()
    assert peaks.max() < 4000
    assert len(peaks) == 19
    assert harmonics(torch.zeros(1, 10), 8000, 80).abs().max() == 0


def test_a_cepstrum_of_zeros():
    published = impulse_responses(torch.zeros(1, 1, 6), 1024)[0, 0]
    assert published[0] == pytest.approx(1024 / 1025)
    assert published[1:].abs().max() < 1.1 / 1025
    centred = impulse_responses(torch.zeros(1, 1, 6), 1024, centred=True)[0, 0]
    assert centred[512] == pytest.approx(1.0)
    assert centred.abs().sum() == pytest.approx(1.0, abs=1e-4)
    impulse = torch.zeros(1, 960)
    impulse[0, 400] = 1.0
    heard = ltv_filter(impulse, impulse_responses(torch.zeros(1, 4, 6), 1024), 240)
    assert heard.abs().max() < 0.002, "as published, zeros are no pass-through"
    taps = impulse_responses(torch.zeros(1, 4, 6), 1024, centred=True)
    torch.testing.assert_close(ltv_filter(impulse, taps, 240, centred=True), impulse, atol=1e-5, rtol=0)


def test_frames_are_correlated_with_their_taps():
    excitation, taps, hop = noise(2, 24), noise(2, 3, 9), 8
    ours = ltv_frames(excitation, taps, hop)
    padded = np.pad(excitation.numpy(), ((0, 0), (hop, 0)))
    for b in range(2):
        for t in range(3):
            frame = np.pad(padded[b, t * hop : (t + 2) * hop], (4, 4))
            theirs = np.correlate(frame, taps[b, t].numpy(), "valid")
            np.testing.assert_allclose(ours[b, t].numpy(), theirs, atol=1e-5)


def test_a_centred_filter_that_never_changes_is_a_convolution():
    cepstrum = 0.3 * noise(1, 1, 6) / quefrencies(6)
    taps = impulse_responses(cepstrum.expand(1, 10, 6), 32, centred=True)
    excitation = noise(1, 640)
    ours = ltv_filter(excitation, taps, 64, centred=True)[0].numpy()
    theirs = signal.correlate(excitation[0].numpy(), taps[0, 0].numpy(), "same")
    # Frames are silent outside themselves, where their windows fade out.
    assert np.abs(ours - theirs)[64:-64].max() < 0.1 * np.abs(theirs).max()


# ------------------------------------------------------------------------------------------------------------ matching


def test_matching_by_hand():
    query, keys, values = noise(7, 5), noise(30, 5, seed=1), noise(30, 3, seed=2)
    near = 1 - torch.nn.functional.cosine_similarity(query[:, None], keys[None], dim=2)
    theirs = values[near.argsort(1)[:, :4]].mean(1)
    torch.testing.assert_close(matched(query, keys, values, 4), theirs)


def test_matching_elsewhere_by_hand():
    keys, values = noise(20, 5), noise(20, 3, seed=1)
    owner = torch.arange(20) // 5
    ours, enough = matched_elsewhere(keys, values, owner, 4)
    for i in range(20):
        others = owner != owner[i]
        torch.testing.assert_close(ours[i], matched(keys[i : i + 1], keys[others], values[others], 4)[0])
    assert enough.all()
    assert not matched_elsewhere(keys[:5], values[:5], owner[:5], 4)[1].any()


def test_kmeans_finds_clusters_that_are_there():
    centres = torch.tensor([[0.0, 0.0], [5.0, 5.0], [-5.0, 5.0]])
    x = centres.repeat(50, 1) + 0.1 * noise(150, 2)
    found, nearest = kmeans(x, 3, torch.Generator().manual_seed(0))
    assert torch.cdist(centres, found).min(1).values.max() < 0.1
    assert all(len(nearest[i::3].unique()) == 1 for i in range(3))
    assert torch.equal(nearest, nearest_centre(x, found))
    again = kmeans(x, 3, torch.Generator().manual_seed(0))[0]
    assert torch.equal(found, again)
