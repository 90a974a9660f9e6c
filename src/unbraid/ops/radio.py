"""Radio signals at complex baseband: the 802.15.4 waveform, what transmitters and channels do to it, synchronisation.

Signals are complex tensors with time as the last axis; in batches they travel as two real channels, I before Q
(see `to_channels`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

RATE = 10e6
"""Samples per second: ten in each chip of I or Q."""

CARRIER = 2.4e9
"""Hertz; a transmitter that is off by one part in a million is off by 2,400 Hz."""

SYMBOL = 160
"""Samples per symbol at `RATE`."""

_CHIPS_OF_ZERO = "11011001110000110101001000101110"
_PULSE = 10


# ---------------------------------------------------------------------------------------------------------- channels


def to_complex(x: Float[Tensor, "*batch 2 t"]) -> Complex[Tensor, "*batch t"]:
    """I + jQ of signals that travel as two channels."""
    return torch.complex(x[..., 0, :], x[..., 1, :])


def to_channels(x: Complex[Tensor, "*batch t"]) -> Float[Tensor, "*batch 2 t"]:
    """I and Q as two channels.

    >>> to_channels(torch.tensor([1 + 2j, 3 - 4j])).tolist()
    [[1.0, 3.0], [2.0, -4.0]]
    """
    return torch.stack([x.real, x.imag], -2)


def to_image(x: Float[Tensor, "*batch 2 t"], rows: int) -> Float[Tensor, "*batch 2 rows columns"]:
    """The signal as a picture of two channels, time running row by row.

    >>> to_image(torch.arange(8.0).reshape(2, 4), rows=2).tolist()
    [[[0.0, 1.0], [2.0, 3.0]], [[4.0, 5.0], [6.0, 7.0]]]
    """
    return x.reshape(*x.shape[:-1], rows, -1)


def unit_power(x: Complex[Tensor, "*batch t"]) -> Complex[Tensor, "*batch t"]:
    """The signal with a mean power of 1; silence stays silent.

    >>> unit_power(torch.tensor([3 + 4j, 3 - 4j]))
    tensor([0.6000+0.8000j, 0.6000-0.8000j])
    """
    power = x.abs().square().mean(-1, keepdim=True)
    return x / torch.where(power > 0, power, 1.0).sqrt()


# ---------------------------------------------------------------------------------------------------------- waveform


@cache
def _chip_table() -> Tensor:
    """The 32 chips (16, 32) of each symbol, +1 or -1: 802.15.4-2006, table 24."""
    zero = torch.tensor([1.0 if chip == "1" else -1.0 for chip in _CHIPS_OF_ZERO], dtype=torch.float64)
    first = torch.stack([zero.roll(4 * k) for k in range(8)])
    quadrature = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(16)
    return torch.cat([first, first * quadrature])


def oqpsk(symbols: Int[Tensor, "*batch n"]) -> Complex[Tensor, "*batch t"]:
    """The waveform of 802.15.4 symbols 0..15 at 2.4 GHz: offset QPSK with half-sine chips, complex128.

    Even chips go to I, odd ones to Q, half a chip later; so there are 160 samples per symbol and 5 after the last.

    >>> oqpsk(torch.zeros(8, dtype=torch.long)).shape
    torch.Size([1285])
    """
    chips = _chip_table()[symbols.cpu()].flatten(-2)
    pulse = torch.sin(math.pi * (torch.arange(_PULSE, dtype=torch.float64) + 0.5) / _PULSE)
    i, q = ((chips[..., part::2, None] * pulse).flatten(-2) for part in (0, 1))
    late = torch.nn.functional.pad
    wave = torch.complex(late(i, (0, _PULSE // 2)), late(q, (_PULSE // 2, 0)))
    return wave.to(symbols.device)


def preamble(samples: int) -> Complex[Tensor, " t"]:
    """The start of every packet, eight symbols 0, cut (or carried on) to so many samples."""
    return oqpsk(torch.zeros(-(-samples // SYMBOL), dtype=torch.long))[:samples]


# ------------------------------------------------------------------------------------------------------- transmitters


@dataclass(frozen=True)
class Transmitters:
    """The impairments of some transmitters, one entry of every tensor for each.

    Attributes:
        gain: How much stronger I is than it should be, relative.
        skew: How far I and Q are from a right angle, in radians.
        offset: Direct current that leaks in.
        memory: What is left of a sample in the next one.
        a3: Third-order coefficient of the amplifier.
        a5: Its fifth-order coefficient.
    """

    gain: Float[Tensor, "*n"]
    skew: Float[Tensor, "*n"]
    offset: Complex[Tensor, "*n"]
    memory: Complex[Tensor, "*n"]
    a3: Complex[Tensor, "*n"]
    a5: Complex[Tensor, "*n"]

    def __getitem__(self, which: Int[Tensor, "*m"]) -> Transmitters:
        """Some of them."""
        return Transmitters(**{name: value[which] for name, value in vars(self).items()})


def draw_transmitters(n: int, generator: torch.Generator, fifth: float = 0.0) -> Transmitters:
    """`n` transmitters with impairments of the size that cheap ones have.

    Args:
        n: How many.
        generator: Of the draw.
        fifth: The fifth-order coefficient in units of the third-order one.

    >>> draw_transmitters(3, torch.Generator().manual_seed(0)).memory.abs().max() < 0.18
    tensor(True)
    """
    normal = torch.randn(4, n, generator=generator, dtype=torch.float64)
    uniform = torch.rand(4, n, generator=generator, dtype=torch.float64)
    a3 = -torch.polar(0.02 + 0.12 * uniform[0], 1.8 * uniform[1] - 0.9)
    return Transmitters(
        gain=0.06 * normal[0],
        skew=math.radians(4) * normal[1],
        offset=0.02 * torch.complex(normal[2], normal[3]),
        memory=torch.polar(0.18 * uniform[2], 1.2 * uniform[3] - 0.6),
        a3=a3,
        a5=fifth * a3,
    )


def transmit(x: Complex[Tensor, "*n t"], by: Transmitters) -> Complex[Tensor, "*n t"]:
    """What the transmitters send when they mean `x`: imbalance of I and Q, direct current, memory, amplifier."""
    i = (1 + by.gain[..., None]) * x.real
    q = (1 - by.gain[..., None]) * (x.imag * by.skew.cos()[..., None] + x.real * by.skew.sin()[..., None])
    sent = torch.complex(i, q) + by.offset[..., None]
    sent = sent + by.memory[..., None] * delayed(sent, 1)
    return polynomial(sent, by.a3, by.a5)


def polynomial(x: Complex[Tensor, "*n t"], a3: Tensor, a5: Tensor) -> Complex[Tensor, "*n t"]:
    """An amplifier without memory: x (1 + a3 |x|^2 + a5 |x|^4).

    >>> polynomial(torch.tensor([2.0 + 0j]), torch.tensor(-0.1 + 0j), torch.tensor(0j))
    tensor([1.2000+0.j])
    """
    power = x.abs().square()
    return x * (1 + a3[..., None] * power + a5[..., None] * power.square())


def saleh(
    x: Complex[Tensor, "*n t"],
    amplitude: tuple[float, float] = (2.1587, 1.1517),
    phase: tuple[float, float] = (4.0, 9.1),
) -> Complex[Tensor, "*n t"]:
    """A travelling-wave amplifier (Saleh, 1981): amplitude a r / (1 + b r^2), phase turned by c r^2 / (1 + d r^2)."""
    power = x.abs().square()
    turn = phase[0] * power / (1 + phase[1] * power)
    return x * torch.polar(amplitude[0] / (1 + amplitude[1] * power), turn)


def rapp(x: Complex[Tensor, "*n t"], limit: float = 1.0, smoothness: float = 2.0) -> Complex[Tensor, "*n t"]:
    """A solid-state amplifier (Rapp, 1991), which nears amplitude `limit` and leaves the phase alone.

    >>> rapp(torch.tensor([0.01 + 0j, 100 + 0j])).abs()
    tensor([0.0100, 1.0000])
    """
    return x / (1 + (x.abs() / limit) ** (2 * smoothness)) ** (1 / (2 * smoothness))


def rotated(x: Complex[Tensor, "*n t"], hertz: Float[Tensor, "*n"], rate: float = RATE) -> Complex[Tensor, "*n t"]:
    """The signal with its carrier moved by so many hertz.

    >>> rotated(torch.ones(3, dtype=torch.complex64), torch.tensor(5e6)).real
    tensor([ 1., -1.,  1.])
    """
    time = torch.arange(x.shape[-1], device=x.device, dtype=torch.float64) / rate
    angle = 2 * math.pi * hertz.double()[..., None] * time
    return x * torch.polar(torch.ones_like(angle), angle).to(x.dtype)


def wandering(x: Complex[Tensor, "*n t"], steps: Float[Tensor, "*n t"]) -> Complex[Tensor, "*n t"]:
    """The signal with phase noise: each sample's phase is the sum of the steps, in radians, so far."""
    phase = steps.cumsum(-1)
    return x * torch.polar(torch.ones_like(phase), phase)


def drifting(x: Complex[Tensor, "*n t"], ppm: Float[Tensor, "*n"]) -> Complex[Tensor, "*n t"]:
    """The signal sampled by a clock that runs so many parts in a million too slowly: cubic between the samples.

    >>> x = torch.exp(0.3j * torch.arange(64.0))
    >>> torch.allclose(drifting(x, torch.tensor(0.0)), x)
    True
    """
    n = torch.arange(x.shape[-1], device=x.device, dtype=torch.float64)
    at = (n * (1 + 1e-6 * ppm.double()[..., None])).clamp(max=x.shape[-1] - 1)
    base = at.floor()
    s = (at - base).to(x.real.dtype)

    def around(k: int) -> Tensor:
        where = (base.long() + k).clamp(0, x.shape[-1] - 1)
        return x.gather(-1, where.expand(x.shape))

    before, here, next_, after = (around(k) for k in (-1, 0, 1, 2))
    return (
        here * (1 - s.square()) * (2 - s) / 2
        + next_ * s * (1 + s) * (2 - s) / 2
        - before * s * (1 - s) * (2 - s) / 6
        - after * s * (1 - s.square()) / 6
    )


# ----------------------------------------------------------------------------------------------------------- channels


def delayed(x: Complex[Tensor, "*n t"], samples: int) -> Complex[Tensor, "*n t"]:
    """The signal so many samples later; it begins with silence."""
    return torch.nn.functional.pad(x, (samples, 0))[..., : x.shape[-1]]


def through(x: Complex[Tensor, "*n t"], taps: Complex[Tensor, "*n taps"]) -> Complex[Tensor, "*n t"]:
    """The signal after a channel: the sum of its echoes, `taps[l]` of it l samples late.

    >>> through(torch.tensor([1 + 0j, 2, 0]), torch.tensor([1 + 0j, 0.5j]))
    tensor([1.+0.0000j, 2.+0.5000j, 0.+1.0000j])
    """
    return sum((taps[..., k, None] * delayed(x, k) for k in range(1, taps.shape[-1])), taps[..., :1] * x)


def rayleigh(
    powers: Float[Tensor, " taps"], shape: tuple[int, ...], generator: torch.Generator
) -> Complex[Tensor, "*shape taps"]:
    """Channels whose taps are complex normal numbers of these mean powers."""
    normal = torch.randn((*shape, len(powers), 2), generator=generator, dtype=torch.float64)
    return torch.view_as_complex(normal) * (powers.double() / 2).sqrt()


def exponential_profile(spread: float) -> Float[Tensor, " taps"]:
    """The mean powers, 1 in all, of an indoor channel whose echoes die away over `spread` samples.

    >>> exponential_profile(1.0).shape, round(float(exponential_profile(2.0).sum()), 6)
    (torch.Size([7]), 1.0)
    """
    powers = torch.exp(-torch.arange(int(6 * spread) + 1, dtype=torch.float64) / spread)
    return powers / powers.sum()


def decibels(*levels: float) -> Float[Tensor, " n"]:
    """Powers of levels in decibels.

    >>> decibels(0, -10).tolist()
    [1.0, 0.1]
    """
    return 10 ** (torch.tensor(levels, dtype=torch.float64) / 10)


def noise_scale(
    x: Complex[Tensor, "*n t"], snr: float | Float[Tensor, "*n"], already: float | None = None
) -> Float[Tensor, "*n"]:
    """Standard deviation of the noise in I and in Q that gives a signal-to-noise ratio in decibels.

    Args:
        x: The signals.
        snr: What the ratio to the noise added shall be.
        already: The ratio that the signals, noise included, have from their capture; None where they have none.
    """
    power = x.abs().square().mean(-1)
    clean = power if already is None else power / (1 + 10 ** (-already / 10))
    return (clean / 10 ** (torch.as_tensor(snr, dtype=power.dtype, device=power.device) / 10) / 2).sqrt()


def noisy(
    x: Complex[Tensor, "*n t"],
    noise: Float[Tensor, "*n 2 t"],
    snr: float | Float[Tensor, "*n"],
    already: float | None = None,
) -> Complex[Tensor, "*n t"]:
    """The signal with white noise at a signal-to-noise ratio in decibels; see `noise_scale`."""
    return x + to_complex(noise * noise_scale(x, snr, already)[..., None, None])


def filtered(x: Complex[Tensor, "*n t"], taps: Complex[Tensor, "*n taps"]) -> Complex[Tensor, "*n t"]:
    """Correlation with an odd number of taps about each sample, silence beyond the ends (an augmentation).

    >>> filtered(torch.tensor([1 + 0j, 2, 3]), torch.tensor([0j, 0, 1])).real
    tensor([2., 3., 0.])
    """
    half = taps.shape[-1] // 2
    padded = torch.nn.functional.pad(x, (half, half))
    t = x.shape[-1]
    return sum(
        (taps[..., k, None] * padded[..., k : k + t] for k in range(1, taps.shape[-1])), taps[..., :1] * padded[..., :t]
    )


# ---------------------------------------------------------------------------------------------------- synchronisation


def found_preamble(
    x: Complex[Tensor, "*n t"],
    template: Complex[Tensor, " length"],
    reach: int = 200_000,
    step: int = 1_000,
    accept: float = 0.7,
) -> tuple[Int[Tensor, "*n"], Float[Tensor, "*n"]]:
    """Where the template starts, and the hertz to apply to it, of 0, +-`step`, ... +-`reach`.

    The first offset at which the two correlate at least `accept` (0 to 1, whatever the phase) is taken, counting
    outwards from 0, the positive before the negative; where none does, the one at which they correlate best.

    Args:
        x: As long as the template, or longer by the number of starts that are tried besides the first.
        template: What is looked for.
        reach: The largest offset tried.
        step: From one offset to the next.
        accept: The correlation that will do.
    """
    hertz = torch.arange(1, reach // step + 1, device=x.device, dtype=torch.float64) * step
    tried = torch.cat([hertz.new_zeros(1), torch.stack([hertz, -hertz], 1).flatten()])
    turns = rotated(template.conj().to(x).expand(len(tried), -1), tried)
    stretches = x.unfold(-1, len(template), 1)  # (*n, starts, length)
    size = (stretches.norm(dim=-1, keepdim=True) * template.norm()).clamp(min=1e-12)
    found, start = ((stretches @ turns.mT).abs() / size).max(-2)
    good = found >= accept
    which = torch.where(good.any(-1), good.int().argmax(-1), found.argmax(-1))
    return start.gather(-1, which[..., None])[..., 0], tried[which].to(x.real.dtype)


def fine_offset(
    x: Complex[Tensor, "*n t"], first: int = SYMBOL, lag: int = 3 * SYMBOL, rate: float = RATE
) -> Float[Tensor, "*n"]:
    """The hertz to apply, told by how the preamble turns from one repetition to the next.

    `lag` samples from `first` on are compared with as many behind them; clear up to half of `rate / lag` (10.4 kHz).

    >>> wave = preamble(1280)
    >>> round(float(fine_offset(rotated(wave, torch.tensor(1730.0)))))
    -1730
    """
    early, late = x[..., first : first + lag], x[..., first + lag : first + 2 * lag]
    return (early * late.conj()).mean(-1).angle() / (2 * math.pi * lag) * rate


def phase_error(x: Complex[Tensor, "*n t"], template: Complex[Tensor, " t"]) -> Float[Tensor, "*n"]:
    """How far the signal is turned against the template on average, in radians."""
    return (x * template.conj()).mean(-1).angle()


def turned(x: Complex[Tensor, "*n t"], radians: Float[Tensor, "*n"]) -> Complex[Tensor, "*n t"]:
    """The signal with its phase turned by so much."""
    return x * torch.polar(torch.ones_like(radians), radians)[..., None]


def synchronised(x: Complex[Tensor, "*n t"], samples: int | None = None) -> Complex[Tensor, "*n samples"]:
    """Received preambles with unit power, their start, carrier offset and phase found and taken out.

    Args:
        x: At least 1,120 samples: two stretches of three symbols, and one before them, are compared.
        samples: Length of what is kept; None keeps all, so that the preamble must start at once.

    >>> wave = preamble(1280)
    >>> received = torch.nn.functional.pad(3j * rotated(wave, torch.tensor(43_210.0)), (9, 11))
    >>> bool((synchronised(received, 1280) - unit_power(wave)).abs().max() < 1e-3)
    True
    """
    template = preamble(samples or x.shape[-1]).to(x.device, x.dtype)
    start, hertz = found_preamble(x, template)
    where = start[..., None] + torch.arange(len(template), device=x.device)
    x = rotated(unit_power(x.gather(-1, where)), hertz)
    x = rotated(x, fine_offset(x))
    return turned(x, -phase_error(x, template))
