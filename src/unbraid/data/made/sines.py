"""`sines`: short waves whose amplitude, frequency, trend and phase are known, recorded at two places."""

from __future__ import annotations

import math

import numpy as np
import torch

from unbraid.core.errors import DataError
from unbraid.data.dataset import MemoryDataset, content_hash
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.order import key_of
from unbraid.data.readers.check import plain_size

PLACES = ("here", "there")
"""The domains: at the second one every value is higher, and the noise is twice as strong."""

FREQUENCIES = (1, 2, 3, 4)
"""Periods in a series."""

_VERSION, _MEMORY, _PHASES = 1, 2**31, 12


class Sines(MemoryDataset):
    """Series (1, T): a sin(2 pi f t / T + phi) + trend t / T + noise, the clock of t running from 0 to T - 1.

    Factors, all independent:

    - `amplitude`: a, from 0.5 to 1.5.
    - `frequency`: f, 1 to 4 periods; the label.
    - `trend`: from -1 to 1 over the series.
    - `phase`: phi, 12 values around the circle, or only the first of them.
    - `place`: the domain; at "there" `offset` is added to every value, and the noise is twice as strong.

    Args:
        rows: Items.
        steps: T.
        offset: What is added to every value at the second place.
        noise: Standard deviation of the noise at the first place.
        phases: How many of the 12 phases there are.
        seed: Of everything.

    Raises:
        DataError: Numbers that make no world, or one that is too large.

    >>> data = Sines(rows=6, steps=16)
    >>> data.fields["x"].shape, [f.name for f in data.factors]
    ((1, 16), ['amplitude', 'frequency', 'trend', 'phase', 'place'])
    """

    roles = {"label": "frequency", "domain": "place"}

    def __init__(
        self,
        rows: int = 4000,
        steps: int = 32,
        offset: float = 1.0,
        noise: float = 0.1,
        phases: int = 12,
        seed: int = 0,
    ) -> None:
        _check(rows, steps, offset, noise, phases)
        self._options: dict[str, float] = {"rows": rows, "steps": steps, "offset": offset, "noise": noise}
        self._options |= {"phases": phases, "seed": seed}
        chance = np.random.default_rng(key_of(seed, "sines"))
        amplitude, trend = chance.uniform(0.5, 1.5, rows), chance.uniform(-1, 1, rows)
        frequency, phase = chance.integers(len(FREQUENCIES), size=rows), chance.integers(phases, size=rows)
        place = chance.integers(len(PLACES), size=rows)
        time = np.arange(steps) / steps
        turns = np.array(FREQUENCIES)[frequency, None] * time + phase[:, None] / _PHASES
        x = amplitude[:, None] * np.sin(2 * math.pi * turns) + trend[:, None] * time + offset * place[:, None]
        x += noise * (1 + place[:, None]) * chance.standard_normal((rows, steps))
        values = np.stack([amplitude, frequency, trend, phase, place], 1)
        name = "sines:" + ",".join(f"{key}={value}" for key, value in self._options.items())
        super().__init__(name, torch.from_numpy(x[:, None].astype(np.float32)), FactorTable(_factors(phases), values))

    @property
    def hash(self) -> str:
        return content_hash({"name": "sines", "version": _VERSION, **self._options})


def _factors(phases: int) -> tuple[Factor, ...]:
    named = tuple(f"{i}/{_PHASES}" for i in range(phases))
    return (
        Factor("amplitude", "continuous"),
        Factor("frequency", "ordinal", tuple(map(str, FREQUENCIES))),
        Factor("trend", "continuous"),
        Factor("phase", "circular" if phases == _PHASES else "ordinal", named),
        Factor("place", "categorical", PLACES),
    )


def _check(rows: int, steps: int, offset: float, noise: float, phases: int) -> None:
    for name, value, least in (("rows", rows, 1), ("steps", steps, 8)):
        if value < least:
            raise DataError(f"{least} or more", got=str(value), where=f"sines: {name}")
    if not 1 <= phases <= _PHASES:
        raise DataError(f"1 to {_PHASES}", got=str(phases), where="sines: phases")
    if not 0 <= noise <= 1e6:
        raise DataError("0 to 1,000,000", got=f"{noise:g}", where="sines: noise")
    if not abs(offset) <= 1e6:
        raise DataError("at most 1,000,000 either way", got=f"{offset:g}", where="sines: offset")
    if rows * steps * 16 > _MEMORY:
        got, fix = plain_size(rows * steps * 16), "use fewer rows or steps"
        raise DataError(f"series of at most {plain_size(_MEMORY)}", got=got, fix=fix, where="sines")
