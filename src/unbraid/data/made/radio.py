"""`radio`: packets of many transmitters over many channels, each telling who sent it and through what."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Complex
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.dataset import MemoryDataset, content_hash
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.order import key_of
from unbraid.data.readers.check import plain_size
from unbraid.ops.radio import (
    CARRIER,
    Transmitters,
    decibels,
    draw_transmitters,
    drifting,
    exponential_profile,
    noisy,
    phase_error,
    preamble,
    rayleigh,
    rotated,
    through,
    to_channels,
    transmit,
    turned,
    unit_power,
    wandering,
)

CHANNELS = ("static", "los", "r9", "r6", "r3", "m1", "m2", "m3")
"""A direct path and one weak echo that stay for a whole capture ("static") or change from packet to packet ("los"); a
direct path and echoes from -9, -6 or -3 dB on; no direct path, echoes that die away over 1, 2 or 3 samples."""

_ECHOES = {"r9": decibels(-9, -12), "r6": decibels(-6, -9, -12), "r3": decibels(-3, -6, -9, -12)}
_SPREADS = {"m1": 1.0, "m2": 2.0, "m3": 3.0}
_PPM, _RESIDUAL, _WANDER = 40.0, 150.0, 1e-3
_VERSION, _MEMORY = 1, 2**31


class Radio(MemoryDataset):
    """Preambles of 802.15.4 packets (2, samples), I and Q at 10 MHz, with unit power.

    Every device has imbalances, a memory, an amplifier and, where packets are raw, an oscillator of its own. It sends
    `captures` times over a static channel of its own for each capture, and as often over each of the channels that
    change from packet to packet. Factors:

    - `device`; the last `unknown` of them are never trained on.
    - `channel`: see `CHANNELS`.
    - `capture`: 1, 2, ... of the static channel.
    - `split`: "train" for the first half of the captures of known devices, "validation" for the next, else "test".

    Device and channel are confounded in training, as they are wherever transmitters stand somewhere.

    Args:
        devices: How many transmitters.
        unknown: How many of them are held out of training.
        captures: Stretches of packets over a static channel, for each device.
        packets: In each stretch, and over each changing channel.
        samples: Of each packet; 160 make a symbol, 1,280 the preamble.
        snr: Decibels.
        raw: Whether the carrier is where the device's oscillator puts it (up to 40 parts in a million off, and the
            sampling clock with it) and the phase anywhere; else both are corrected but for 150 Hz.
        seed: Of everything.

    Raises:
        DataError: Numbers that make no world, or one that is too large.

    >>> data = Radio(devices=3, unknown=1, captures=2, packets=2, samples=320)
    >>> len(data), data.fields["x"].shape, [f.name for f in data.factors]
    (54, (2, 320), ['device', 'channel', 'capture', 'split'])
    """

    roles = {"label": "device", "domain": "channel"}

    def __init__(
        self,
        devices: int = 54,
        unknown: int = 9,
        captures: int = 9,
        packets: int = 10,
        samples: int = 1280,
        snr: float = 30.0,
        raw: bool = False,
        seed: int = 0,
    ) -> None:
        self._options: dict[str, float] = {
            "devices": devices,
            "unknown": unknown,
            "captures": captures,
            "packets": packets,
        }
        self._options |= {"samples": samples, "snr": snr, "raw": raw, "seed": seed}
        _check(devices, unknown, captures, packets, samples, snr)
        name = "radio:" + ",".join(f"{key}={str(value).lower()}" for key, value in self._options.items())
        table = _table(devices, unknown, captures, packets)
        world = _World(devices, samples, snr, raw, seed)
        stretches = [*((0, c) for c in range(captures)), *((kind, 0) for kind in range(1, len(CHANNELS)))]
        x = torch.empty(devices, len(stretches), packets, 2, samples)
        for device in range(devices):
            for at, (kind, capture) in enumerate(stretches):
                x[device, at] = to_channels(world.packets(device, CHANNELS[kind], capture, packets))
        super().__init__(name, x.flatten(0, 2), table)

    @property
    def hash(self) -> str:
        return content_hash({"name": "radio", "version": _VERSION, **self._options})


class _World:
    """What does not change from packet to packet."""

    def __init__(self, devices: int, samples: int, snr: float, raw: bool, seed: int) -> None:
        chance = torch.Generator().manual_seed(key_of(seed, "radio", "devices"))
        self.samples, self.snr, self.raw, self.seed = samples, snr, raw, seed
        self.template = preamble(samples)
        self.transmitters: Transmitters = draw_transmitters(devices, chance)
        self.ppm = _PPM * (2 * torch.rand(devices, generator=chance, dtype=torch.float64) - 1)
        self.sent = transmit(self.template.expand(devices, -1), self.transmitters)

    def packets(self, device: int, kind: str, capture: int, n: int) -> Complex[Tensor, "n t"]:
        """One stretch of packets."""
        chance = torch.Generator().manual_seed(key_of(self.seed, "radio", device, kind, capture))
        shape = (n, self.samples)
        ppm = self.ppm[device].expand(n) if self.raw else torch.zeros(n, dtype=torch.float64)
        hertz = ppm * 1e-6 * CARRIER
        if not self.raw:
            hertz = _RESIDUAL * torch.randn(n, generator=chance, dtype=torch.float64)
        steps = _WANDER * torch.randn(shape, generator=chance, dtype=torch.float64)
        phase = 2 * math.pi * torch.rand(n, generator=chance, dtype=torch.float64)
        noise = torch.randn((n, 2, self.samples), generator=chance, dtype=torch.float64)
        x = self.sent[device].expand(shape)
        x = drifting(x, ppm) if self.raw else x
        x = through(wandering(rotated(x, hertz), steps), taps(kind, n, chance))
        x = noisy(unit_power(x), noise, self.snr)
        return turned(x, phase if self.raw else -phase_error(x, self.template))


def taps(kind: str, n: int, generator: torch.Generator) -> Complex[Tensor, "n taps"]:
    """Channels of one of `CHANNELS` for `n` packets."""
    if kind in _SPREADS:
        return rayleigh(exponential_profile(_SPREADS[kind]), (n,), generator)
    if kind in _ECHOES:
        direct = torch.ones(n, 1, dtype=torch.complex128)
        return torch.cat([direct, rayleigh(_ECHOES[kind], (n,), generator)], 1)
    different = 1 if kind == "static" else n
    angle = 2 * math.pi * torch.rand(different, 1, generator=generator, dtype=torch.float64)
    direct = torch.polar(torch.ones_like(angle), angle)
    return torch.cat([direct, rayleigh(decibels(-12), (different,), generator)], 1).expand(n, -1)


def _table(devices: int, unknown: int, captures: int, packets: int) -> FactorTable:
    stretches = captures + len(CHANNELS) - 1
    shape = (devices, stretches, packets)
    device, stretch, _ = (axis.ravel() for axis in np.indices(shape))
    static = stretch < captures
    channel = np.where(static, 0, stretch - captures + 1)
    capture = np.where(static, stretch, np.nan)
    learned = max(1, captures // 2)
    known = static & (device < devices - unknown)
    split = np.where(known & (stretch < learned), 0, np.where(known & (stretch == learned), 1, 2))
    factors = (
        Factor("device", "categorical", tuple(map(str, range(devices)))),
        Factor("channel", "categorical", CHANNELS),
        Factor("capture", "ordinal", tuple(str(c + 1) for c in range(captures))),
        Factor("split", "categorical", ("train", "validation", "test")),
    )
    return FactorTable(factors, np.stack([device, channel, capture, split], 1).astype(np.float64))


def _check(devices: int, unknown: int, captures: int, packets: int, samples: int, snr: float) -> None:
    for name, value, least in (("captures", captures, 1), ("packets", packets, 1), ("samples", samples, 16)):
        if value < least:
            raise DataError(f"{least} or more", got=str(value), where=f"radio: {name}")
    if devices < 2 or not 0 <= unknown <= devices - 2:
        got = f"{devices}, {unknown} of them unknown"
        raise DataError("2 or more known devices", got=got, where="radio: devices")
    if not -40 <= snr <= 120:
        raise DataError("-40 to 120 decibels", got=f"{snr:g}", where="radio: snr")
    size = devices * (captures + len(CHANNELS) - 1) * packets * samples * 8
    if size > _MEMORY:
        fix = "use fewer devices, captures or packets"
        raise DataError(f"packets of at most {plain_size(_MEMORY)}", got=plain_size(size), fix=fix, where="radio")
