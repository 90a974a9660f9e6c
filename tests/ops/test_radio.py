"""The waveform, the impairments, the channels and the synchronisation, each against its formula."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate, lfilter

from unbraid.ops import radio


def signal(n=64, batch=(3,), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.view_as_complex(torch.randn((*batch, n, 2), generator=generator, dtype=torch.float64))


def test_symbols_are_shifts_of_the_first_and_the_second_half_is_conjugate():
    waves = radio.oqpsk(torch.arange(16)[:, None])
    for k in range(1, 8):
        middle = slice(5 + 20 * k, 160)  # away from where the pulses of Q begin and end
        torch.testing.assert_close(waves[k, middle], waves[0, 5 : 160 - 20 * k])
    for k in range(8):
        torch.testing.assert_close(waves[k + 8], waves[k].conj())


def test_the_envelope_is_constant_but_for_the_ends():
    wave = radio.oqpsk(torch.tensor([[3, 9, 0, 15]]))[0]
    assert wave.shape == (645,)
    power = wave[5:-5].abs().square()
    torch.testing.assert_close(power, torch.ones_like(power), atol=1e-9, rtol=0)


@given(st.integers(0, 1000))
def test_channels_and_pictures_are_only_another_layout(seed):
    x = signal(48, (2,), seed)
    pairs = radio.to_channels(x)
    assert torch.equal(radio.to_complex(pairs), x)
    assert torch.equal(radio.to_image(pairs, 6).flatten(-2), pairs)
    torch.testing.assert_close(radio.unit_power(x).abs().square().mean(-1), torch.ones(2, dtype=torch.float64))


def test_silence_stays_silent():
    assert radio.unit_power(torch.zeros(4, dtype=torch.complex64)).abs().max() == 0


def test_a_transmitter_by_its_formulas():
    by = radio.draw_transmitters(5, torch.Generator().manual_seed(1), fifth=0.2)
    x = signal(20, (5,))
    sent = radio.transmit(x, by)
    for k in range(5):
        one = by[torch.tensor(k)]
        i = (1 + one.gain) * x[k].real
        q = (1 - one.gain) * (x[k].imag * math.cos(one.skew) + x[k].real * math.sin(one.skew))
        y = (i + 1j * q + one.offset).numpy()
        y = y + complex(one.memory) * np.concatenate([[0], y[:-1]])
        y = y * (1 + complex(one.a3) * abs(y) ** 2 + complex(one.a5) * abs(y) ** 4)
        np.testing.assert_allclose(sent[k].numpy(), y, rtol=1e-12)
    torch.testing.assert_close(by.a5, 0.2 * by.a3)


def test_drawn_impairments_have_the_stated_spread():
    by = radio.draw_transmitters(20_000, torch.Generator().manual_seed(0))
    assert float(by.gain.std()) == pytest.approx(0.06, rel=0.03)
    assert math.degrees(float(by.skew.std())) == pytest.approx(4, rel=0.03)
    assert float(by.offset.real.std()) == pytest.approx(0.02, rel=0.03)
    assert 0 <= float(by.memory.abs().min()) <= float(by.memory.abs().max()) <= 0.18
    assert 0.02 <= float(by.a3.abs().min()) <= float(by.a3.abs().max()) <= 0.14
    assert float((-by.a3).angle().abs().max()) <= 0.9
    assert by.a5.abs().max() == 0


def test_amplifiers_bend_large_amplitudes_and_leave_small_ones():
    x = torch.polar(torch.tensor([1e-4, 0.5, 1.0, 5.0]), torch.tensor([0.0, 1.0, 2.0, 3.0]))
    for amplifier, gain in ((radio.saleh, 2.1587), (radio.rapp, 1.0)):
        y = amplifier(x)
        assert float(y[0].abs() / x[0].abs()) == pytest.approx(gain, rel=1e-4)
        assert float(y[3].abs() / x[3].abs()) < 0.25 * gain
    turn = 4.0 * 25 / (1 + 9.1 * 25)
    assert float((radio.saleh(x)[3] / x[3]).angle()) == pytest.approx(turn, rel=1e-4)
    torch.testing.assert_close(radio.rapp(x).angle(), x.angle())


def test_carrier_phase_noise_and_clock():
    x, n = signal(200, (2,)), torch.arange(200, dtype=torch.float64)
    hertz = torch.tensor([1500.0, -40_000.0], dtype=torch.float64)
    expected = x * torch.exp(2j * math.pi * hertz[:, None] * n / 10e6)
    torch.testing.assert_close(radio.rotated(x, hertz), expected)
    steps = 0.01 * torch.randn(2, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(radio.wandering(x, steps), x * torch.exp(1j * steps.cumsum(-1)))
    tone = torch.exp(0.2j * n).expand(2, -1)
    slow = radio.drifting(tone, torch.tensor([0.0, 500.0], dtype=torch.float64))
    torch.testing.assert_close(slow[0], tone[0])
    torch.testing.assert_close(slow[1, 2:-3], torch.exp(0.2j * n * (1 + 5e-4))[2:-3], atol=1e-4, rtol=0)


def test_a_channel_is_a_causal_filter_and_an_augmentation_a_centred_correlation():
    x, taps = signal(40, (3,)), signal(9, (3,), seed=1)
    for k in range(3):
        causal = lfilter(taps[k].numpy(), [1.0], x[k].numpy())
        np.testing.assert_allclose(radio.through(x, taps)[k].numpy(), causal, atol=1e-12)
        centred = correlate(np.pad(x[k].numpy(), 4), taps[k].numpy().conj(), "valid")
        np.testing.assert_allclose(radio.filtered(x, taps)[k].numpy(), centred, atol=1e-12)
    only = torch.ones(3, 1, dtype=torch.complex128)
    assert torch.equal(radio.through(x, only), x)


def test_fading_has_the_stated_powers():
    powers = radio.decibels(0, -3, -9)
    drawn = radio.rayleigh(powers, (40_000,), torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.abs().square().mean(0), powers, rtol=0.03, atol=0)
    assert drawn.mean(0).abs().max() < 0.02
    profile = radio.exponential_profile(3.0)
    assert len(profile) == 19
    torch.testing.assert_close(profile[1:] / profile[:-1], torch.full((18,), math.exp(-1 / 3), dtype=torch.float64))


def test_noise_reaches_the_ratio_that_was_asked_for():
    x = 3 * signal(20_000, (2,))
    noise = torch.randn(2, 2, 20_000, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    added = radio.noisy(x, noise, torch.tensor([20.0, 5.0])) - x
    ratio = x.abs().square().mean(-1) / added.abs().square().mean(-1)
    torch.testing.assert_close(10 * ratio.log10(), torch.tensor([20.0, 5.0]).double(), atol=0.1, rtol=0)
    share = radio.noise_scale(x, 10.0, already=30.0) / radio.noise_scale(x, 10.0)
    torch.testing.assert_close(share, torch.full((2,), (1 / 1.001) ** 0.5, dtype=torch.float64))


@pytest.mark.parametrize("start", [0, 17])
def test_what_a_receiver_does_to_a_packet_is_taken_out(start):
    wave = radio.preamble(1280)
    hertz = torch.tensor([0.0, 1_730.0, -93_000.0, 150_400.0], dtype=torch.float64)
    phase = torch.tensor([0.1, 3.0, -2.0, 1.5], dtype=torch.float64)
    received = 5 * radio.turned(radio.rotated(wave.expand(4, -1), hertz), phase)
    received = torch.nn.functional.pad(received, (start, 40 - start))
    noise = torch.randn(4, 2, received.shape[-1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found, applied = radio.found_preamble(radio.noisy(received, noise, 25.0), wave)
    assert found.tolist() == [start] * 4
    assert (applied + hertz).abs().max() < 5_000
    clean = radio.synchronised(received, 1280)
    assert (clean - radio.unit_power(wave)).abs().max() < 1e-3


def test_the_repetition_tells_offsets_up_to_half_a_turn_each():
    wave = radio.preamble(1280)
    hertz = torch.tensor([0.0, 900.0, -10_000.0], dtype=torch.float64)
    torch.testing.assert_close(radio.fine_offset(radio.rotated(wave.expand(3, -1), hertz)), -hertz, atol=0.5, rtol=0)
    beyond = radio.fine_offset(radio.rotated(wave, torch.tensor(11_000.0)))
    assert float(beyond) == pytest.approx(10e6 / 480 - 11_000, abs=1)
    phases = torch.tensor([0.3, -2.0], dtype=torch.float64)
    torch.testing.assert_close(radio.phase_error(radio.turned(wave.expand(2, -1), phases), wave), phases)


def test_where_nothing_will_do_the_best_is_taken():
    generator = torch.Generator().manual_seed(0)
    noise = torch.view_as_complex(torch.randn(2, 1280, 2, generator=generator, dtype=torch.float64))
    start, hertz = radio.found_preamble(noise, radio.preamble(1280), reach=3_000)
    tried = torch.tensor([0.0, 1e3, -1e3, 2e3, -2e3, 3e3, -3e3], dtype=torch.float64)
    found = (radio.rotated(noise[:, None].expand(-1, 7, -1), tried) * radio.preamble(1280).conj()).sum(-1).abs()
    assert start.tolist() == [0, 0]
    assert hertz.tolist() == tried[found.argmax(-1)].tolist()
