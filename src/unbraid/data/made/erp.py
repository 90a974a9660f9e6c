"""`erp`: event-related potentials of made people, whose components, noise and artefacts are known."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unbraid.core.errors import DataError, need
from unbraid.data.dataset import content_hash
from unbraid.data.epochs import SPAN, Epochs, trial_table
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.order import key_of
from unbraid.data.readers.check import plain_size

ELECTRODES, CONDITIONS = ("Fz", "Cz", "Pz"), ("neutral", "positive")
COMPONENTS = ("P1", "N1", "P3", "LPP", "LPP difference", "N1 latency", "P3 latency", "gain")
"""What a person's potentials are made of: amplitudes in microvolts, latencies in seconds, and a factor on all."""

POINTS, RATE = 256, 250.0

_TIMES = torch.linspace(*SPAN, POINTS, dtype=torch.float64)
_BEFORE = int((_TIMES <= 1e-9).sum())  # samples up to the event, whose mean is the baseline
_SCALP = {  # of each component at the electrodes
    "P1": (0.1, 0.5, 1.0),
    "N1": (0.7, 1.0, 0.6),
    "P3": (0.4, 0.8, 1.0),
    "LPP": (0.3, 0.8, 1.0),
    "blink": (1.0, 0.3, 0.1),
}
_SHARED, _LINE, _BLINK = 0.5, 50.0, 60.0
_VERSION, _MEMORY = 1, 2**31


class Erp(Epochs):
    """Potentials (6, 256) of people who see neutral and positive pictures: three electrodes for each condition.

    A person's potential is P1 (100 ms), N1 (about 160 ms), P3 (from 300 ms) and a late positive plateau (LPP, from
    400 ms), each with a scalp distribution and an amplitude of the person's own. Trials add pink noise, mains hum and
    now and then a blink; each is corrected by its mean before the event, and averages are of those without a blink.
    Factors:

    - `reactivity`: by how much positive pictures raise the LPP: 0.5 (blunted) or 4 microvolts (strong) on average;
    - `timing`: whether the N1 is early (145 ms) or late (175 ms);
    - `age`: 18 to 70, lowers the P3 and makes it later;
    - `sex`: whose P1 is larger;
    - `site`: an amplifier of gain 1.1, and more hum.

    Args:
        people: How many.
        trials: Of each condition.
        single: Whether every pair of trials is an item, the factors `participant` and `trial` with it; else the
            averages are, one item for each person.
        noise: Standard deviation of the pink noise in a trial, in microvolts.
        blinks: Share of trials with one.
        seed: Of everything.

    Raises:
        DataError: Numbers that make no world, or one that is too large.

    >>> data = Erp(people=4, trials=2)
    >>> len(data), data.fields["x"].shape, data.channels[3], [f.name for f in data.factors]
    (4, (6, 256), 'positive/Fz', ['reactivity', 'timing', 'age', 'sex', 'site'])
    """

    def __init__(
        self,
        people: int = 300,
        trials: int = 40,
        single: bool = False,
        noise: float = 8.0,
        blinks: float = 0.03,
        seed: int = 0,
    ) -> None:
        self._options: dict[str, Any] = {"people": people, "trials": trials, "single": single}
        self._options |= {"noise": noise, "blinks": blinks, "seed": seed}
        _check(people, trials, single, noise, blinks)
        self.people, self.trials, self._noise, self._blinks, self._seed = people, trials, noise, blinks, seed
        self.traits, self._components = _people(people, seed)
        each = trials if single else 1
        x = torch.empty(people, each, 6, POINTS)
        for person in range(people):
            drawn, blinked = self._drawn(person)
            trial = corrected(drawn)
            x[person] = trial.transpose(0, 1).flatten(1, 2) if single else averaged(trial, ~blinked).flatten(0, 1)
        clean = corrected(potentials(self._components)).flatten(1, 2).float().repeat_interleave(each, 0)
        names = person_names(people)
        table = self.traits.rows(torch.arange(people).repeat_interleave(each))
        ids = [f"{name}/{k + 1}" for name in names for k in range(trials)] if single else names
        if single:
            table = table.joined(trial_table(names, [trials] * people))
        name = "erp:" + ",".join(f"{key}={str(value).lower()}" for key, value in self._options.items())
        channels = [f"{condition}/{electrode}" for condition in CONDITIONS for electrode in ELECTRODES]
        super().__init__(name, x.flatten(0, 1), table, ids, channels, SPAN, clean)

    @property
    def hash(self) -> str:
        return content_hash({"name": "erp", "version": _VERSION, **self._options})

    def component(self, name: str) -> Float[Tensor, " n"]:
        """One of `COMPONENTS` of every item."""
        return self._components[:, COMPONENTS.index(name)].repeat_interleave(len(self) // self.people).float()

    def recorded(self, person: int) -> Float[Tensor, "2 trials 3 t"]:
        """The trials of a person as an amplifier gives them, condition by condition."""
        return self._drawn(person)[0]

    def _drawn(self, person: int) -> tuple[Float[Tensor, "2 trials 3 t"], Bool[Tensor, "2 trials"]]:
        """These, and which of them have a blink."""
        chance = torch.Generator().manual_seed(key_of(self._seed, "erp", "trials", person))
        shape, one = (2, self.trials, 3, POINTS), (2, self.trials, 1, 1)
        site = int(self.traits.column("site")[person])
        noise = _SHARED**0.5 * pink((*one[:3], POINTS), chance) + (1 - _SHARED) ** 0.5 * pink(shape, chance)
        phase, at, lid = (torch.rand(one, generator=chance, dtype=torch.float64) for _ in range(3))
        hum = (0.3, 1.5)[site] * torch.sin(2 * math.pi * (_LINE * _TIMES + phase))
        blinked = lid < self._blinks
        blink = blinked * _BLINK * _bump(SPAN[0] + (SPAN[1] - SPAN[0]) * at, 0.06) * _scalp("blink")
        true = potentials(self._components[person : person + 1])[0][:, None]
        return (true + self._noise * noise + hum + blink).float(), blinked[:, :, 0, 0]


def potentials(components: Float[Tensor, "n k"]) -> Float[Tensor, "n 2 3 t"]:
    """The potentials of people at three electrodes under both conditions, from `COMPONENTS`."""
    p1, n1, p3, lpp, more, early, late, gain = components.double()[:, :, None, None].unbind(1)
    plateau = torch.sigmoid((_TIMES - 0.42) / 0.03) * torch.sigmoid((0.95 - _TIMES) / 0.08)
    same = p1 * _bump(0.1, 0.018) * _scalp("P1") + n1 * _bump(early, 0.022) * _scalp("N1")
    same = same + p3 * _bump(late, 0.05) * _scalp("P3")
    return torch.stack([gain * (same + level * plateau * _scalp("LPP")) for level in (lpp, lpp + more)], 1)


def corrected(x: Float[Tensor, "*more t"]) -> Float[Tensor, "*more t"]:
    """Epochs less their mean up to the event."""
    baseline: Tensor = x[..., :_BEFORE].mean(-1, keepdim=True)
    return x - baseline


def averaged(x: Float[Tensor, "2 trials 3 t"], keep: Bool[Tensor, "2 trials"]) -> Float[Tensor, "2 3 t"]:
    """The mean of the trials of each condition that are kept; of all where that is none."""
    keep = keep | ~keep.any(1, keepdim=True)
    return (x * keep[:, :, None, None]).sum(1) / keep.sum(1)[:, None, None]


def pink(shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "*shape"]:
    """Noise whose power falls as 1 / frequency along the last axis, of unit variance and without a mean.

    >>> x = pink((100, 256), torch.Generator().manual_seed(0))
    >>> round(x.std().item(), 1)
    1.0
    """
    white = torch.fft.rfft(torch.randn(shape, generator=generator, dtype=torch.float64))
    weight = torch.arange(white.shape[-1], dtype=torch.float64).clamp(min=1).rsqrt()
    weight[0] = 0
    power = (2 * weight[1:].square().sum() - weight[-1].square() * (1 - shape[-1] % 2)) / shape[-1]
    out: Tensor = torch.fft.irfft(white * weight / power.sqrt(), shape[-1])
    return out


def person_names(people: int) -> list[str]:
    """Names of participants, of one length.

    >>> person_names(2)
    ['sub-01', 'sub-02']
    """
    digits = max(2, len(str(people)))
    return [f"sub-{person + 1:0{digits}d}" for person in range(people)]


def write_recordings(world: Erp, folder: Path | str, suffix: str = ".edf") -> Path:
    """Write what the amplifier gave as a recording for each person, with annotations, and `participants.tsv`.

    Args:
        world: Whose.
        folder: A new folder, laid out as BIDS does.
        suffix: ".edf" (needs the library edfio, too) or ".fif".

    Returns:
        The folder.
    """
    if suffix not in (".edf", ".fif"):
        raise DataError("'.edf' or '.fif'", got=f"'{suffix}'", where="suffix")
    mne = need("mne", extra="eeg")
    if suffix == ".edf":
        need("edfio", extra="dev")
    folder = Path(folder)
    names = person_names(world.people)
    info = mne.create_info(list(ELECTRODES), RATE, "eeg", verbose="ERROR")
    for person, name in enumerate(names):
        # Trials of the conditions take turns, one epoch after the other.
        x = world.recorded(person).permute(2, 1, 0, 3).flatten(1).double().numpy() / 1e6
        count = 2 * world.trials
        raw = mne.io.RawArray(x, info, verbose="ERROR")
        onsets = (POINTS * np.arange(count) - round(SPAN[0] * RATE)) / RATE
        raw.set_annotations(mne.Annotations(onsets, 0.0, list(CONDITIONS) * world.trials))
        path = folder / name / "eeg" / f"{name}_task-pictures_{'raw' if suffix == '.fif' else 'eeg'}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".fif":
            raw.save(path, overwrite=True, verbose="ERROR")
        else:
            mne.export.export_raw(path, raw, fmt="edf", overwrite=True, verbose="ERROR")
    _write_participants(world, names, folder / "participants.tsv")
    return folder


def _write_participants(world: Erp, names: list[str], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["participant_id", *world.traits.names])
        for name, row in zip(names, world.traits.values, strict=True):
            said = (f.labels[int(v)] if f.size else f"{v:.1f}" for f, v in zip(world.traits.factors, row, strict=True))
            writer.writerow([name, *said])


def _people(people: int, seed: int) -> tuple[FactorTable, Float[Tensor, "people k"]]:
    """The factors of the people, and `COMPONENTS` of each."""
    rows = [torch.Generator().manual_seed(key_of(seed, "erp", "person", person)) for person in range(people)]
    u = torch.stack([torch.rand(5, generator=g, dtype=torch.float64) for g in rows])
    n = torch.stack([torch.randn(8, generator=g, dtype=torch.float64) for g in rows])
    strong, late, male, second = ((u[:, k] < 0.5).double() for k in (0, 1, 3, 4))
    age = 18 + 52 * u[:, 2]
    components = (
        2.5 + 1.5 * male + 0.3 * n[:, 0],
        -5 + 0.5 * n[:, 1],
        7 - 0.06 * (age - 18) + 0.4 * n[:, 2],
        2.5 + 0.4 * n[:, 3],
        0.5 + 3.5 * strong + 0.5 * n[:, 4],
        0.145 + 0.03 * late + 0.003 * n[:, 5],
        0.3 + 0.001 * (age - 18) + 0.004 * n[:, 6],
        1 + 0.1 * second + 0.03 * n[:, 7],
    )
    factors = (
        Factor("reactivity", "categorical", ("blunted", "strong")),
        Factor("timing", "categorical", ("early", "late")),
        Factor("age", "continuous"),
        Factor("sex", "categorical", ("female", "male")),
        Factor("site", "categorical", ("first", "second")),
    )
    table = FactorTable(factors, torch.stack([strong, late, age, male, second], 1).numpy())
    return table, torch.stack(components, 1)


def _bump(at: Tensor | float, width: float) -> Tensor:
    return (-0.5 * ((_TIMES - at) / width).square()).exp()


def _scalp(component: str) -> Float[Tensor, "3 1"]:
    return torch.tensor(_SCALP[component], dtype=torch.float64)[:, None]


def _check(people: int, trials: int, single: bool, noise: float, blinks: float) -> None:
    for name, value, least in (("people", people, 2), ("trials", trials, 1)):
        if value < least:
            raise DataError(f"{least} or more", got=str(value), where=f"erp: {name}")
    if not 0 <= noise <= 1000:
        raise DataError("0 to 1,000 microvolts", got=f"{noise:g}", where="erp: noise")
    if not 0 <= blinks <= 1:
        raise DataError("a share from 0 to 1", got=f"{blinks:g}", where="erp: blinks")
    size = people * (trials if single else 1) * 6 * POINTS * 8  # with the clean ones
    if size > _MEMORY or trials > 10_000:
        raise DataError(f"epochs of at most {plain_size(_MEMORY)}", got=plain_size(size), fix="use fewer", where="erp")
