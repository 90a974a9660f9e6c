"""A folder of sound files as waves: each at one rate, in one length, with what is real of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.core.fields import Field, Fields
from unbraid.data.codes import read_factors
from unbraid.data.dataset import Dataset, Device, content_hash, rows_of
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.readers.folders import class_table, find_files, name_table
from unbraid.data.readers.sounds import SUFFIXES, read_middle, seconds_of
from unbraid.ops.audio import resample

RATES = (2000, 96_000)
"""The least and the greatest rate that waves are brought to."""

LONGEST = 600.0
"""Most seconds of an item."""

_LOUDEST = 32767.0


class Waves(Dataset):
    """Sounds of one rate and length: the shorter ones followed by silence, of the longer ones the middle.

    Items have `wave` (T,) within -1..1, `length` (how many samples of it are real) and `valid` (T,), which are.

    Args:
        name: What it is called in reports.
        folder: Where the files are.
        files: Their paths in it.
        table: The factors of every row.
        rate: Samples per second they are brought to.
        seconds: Of an item.
        memory: Bytes that the waves may take, as 16-bit numbers; more than that are read as they are needed.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        files: Sequence[str],
        table: FactorTable,
        rate: int,
        seconds: float,
        memory: int = 2**30,
    ) -> None:
        self.rate: int = rate
        self.name, self._folder, self._files, self._table = name, folder, list(files), table
        self.factors = table.factors
        self.roles = roles_of(table.factors)
        self.count = round(rate * seconds)
        self.fields = wave_fields(self.count, self.factors)
        self._codes, self._known = table.codes()
        self.slow = len(files) * self.count * 2 > memory
        self._held: tuple[Tensor, Tensor] | None = None
        if not self.slow:
            self._held = self._load(torch.arange(len(files)))

    def __len__(self) -> int:
        return len(self._files)

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        where = indices.cpu()
        if self._held is None:
            waves, lengths = self._load(where.flatten())
            waves, lengths = waves.reshape(*where.shape, self.count), lengths.reshape(where.shape)
        else:
            waves, lengths = (rows_of(t, where) for t in self._held)
        batch = {
            **padded(waves.to(device).float() / _LOUDEST, lengths.to(device)),
            "index": where.to(device),
        }
        if self.factors:
            batch |= {"factors": self._codes[where].to(device), "known": self._known[where].to(device)}
        return batch

    def _load(self, rows: Int[Tensor, " n"]) -> tuple[Int[Tensor, "n t"], Int[Tensor, " n"]]:
        waves = torch.zeros(len(rows), self.count, dtype=torch.int16)
        lengths = torch.zeros(len(rows), dtype=torch.int64)
        for at, row in enumerate(rows.tolist()):
            wave = load_wave(self._folder / self._files[row], self.rate, self.count / self.rate)[: self.count]
            waves[at, : len(wave)] = (wave * _LOUDEST).round().short()
            lengths[at] = len(wave)
        return waves, lengths

    def table(self, indices: Int[Tensor, " n"]) -> FactorTable:
        return self._table.rows(indices.cpu())

    def observed(self, factor: str) -> bool:
        return not np.isnan(self._table.column(factor)).any()

    def ids(self, indices: Int[Tensor, " n"]) -> list[str]:
        return [self._files[int(i)] for i in indices]

    @property
    def hash(self) -> str:
        content = {"codes": self._codes, "known": self._known, "described": self.factors, "rate": self.rate}
        if self._held is not None:
            return content_hash({**content, "waves": self._held[0], "lengths": self._held[1]})
        sizes = [(self._folder / file).stat().st_size for file in self._files]
        return content_hash({**content, "files": self._files, "bytes": sizes, "count": self.count})


def open_waves(
    folder: Path,
    *,
    rate: int | None = None,
    seconds: float | None = None,
    only: str = "*",
    without: str = "",
    pattern: str | None = None,
    factors: Path | None = None,
    memory: int = 2**30,
) -> Waves:
    """The sounds of a folder and its subfolders, `.wav` or `.flac`, as waves.

    Subfolders give the factor `class` (and `folder`), names others by a pattern such as `{digit}_{speaker}_{take}`,
    and `factors.csv` (its first column `file`) any others.

    Args:
        folder: Where the files are.
        rate: Samples per second; None takes the first file's.
        seconds: Of an item, the middle of longer files; None takes the longest file's.
        only: Files whose names fit, as a shell would say it: `*_ann_*`.
        without: Files whose names fit are left out.
        pattern: What the names tell, see `unbraid.data.readers.folders.name_table`.
        factors: A file with more factors.
        memory: Bytes to hold; more than that are read as they are needed.

    Raises:
        DataError: There are no sounds, or one cannot be read, or an option is out of bounds.
    """
    if not folder.is_dir():
        raise DataError("a folder of .wav or .flac files", got="something else", where=str(folder))
    found = find_files(folder, SUFFIXES)
    files = [f for f in found if fnmatchcase(Path(f).name, only) and not fnmatchcase(Path(f).name, without)]
    if not files:
        got = f"none of {len(found)} with such a name" if found else "none in it"
        raise DataError("a folder of .wav or .flac files", got=got, where=str(folder))
    rate = rate if rate is not None else read_middle(folder / files[0], 0.01)[0]
    if not RATES[0] <= rate <= RATES[1]:
        raise DataError(f"{RATES[0]} to {RATES[1]} samples a second", got=str(rate), where="rate")
    seconds = seconds if seconds is not None else max(seconds_of(folder / file) for file in files)
    if not 1 / rate <= seconds <= LONGEST:
        expected = f"items of at least one sample and at most {LONGEST:g} seconds"
        raise DataError(expected, got=f"{seconds:g} seconds", fix="say how many: seconds=...", where=str(folder))
    table = class_table(files)
    if pattern is not None:
        table = table.joined(name_table(files, pattern, folder))
    beside = folder / "factors.csv"
    for path in (beside if beside.exists() else None, factors):
        table = table if path is None else table.joined(read_factors(path, files, len(files)))
    return Waves(folder.name, folder, files, table, rate, seconds, memory)


def load_wave(path: Path, rate: int, seconds: float = LONGEST) -> Float[Tensor, " t"]:
    """The seconds about the middle of a file at another rate, its channels mixed; scaled down only where beyond -1..1.

    Raises:
        DataError: It is no sound, holds none, or claims what cannot be.
    """
    own, block = read_middle(path, seconds)
    scale = max(1.0, float(np.abs(block).max()))
    mixed = (block / scale).mean(1, dtype=np.float64)
    count = max(1, round(len(mixed) * rate / own))
    return resample(torch.from_numpy(mixed)[None], count)[0].float().clamp(-1, 1)


def padded(waves: Float[Tensor, "*index t"], lengths: Int[Tensor, "*index"]) -> dict[str, Tensor]:
    """The fields of waves of which only so many samples are real.

    >>> padded(torch.ones(1, 3), torch.tensor([2]))["valid"].tolist()
    [[True, True, False]]
    """
    valid = torch.arange(waves.shape[-1], device=waves.device) < lengths[..., None]
    return {"wave": waves, "length": lengths, "valid": valid}


def wave_fields(count: int, factors: Sequence[Factor]) -> Fields:
    """The fields of waves of so many samples."""
    fields = {
        "wave": Field((count,)),
        "length": Field((), "int64"),
        "valid": Field((count,), "bool"),
        "index": Field((), "int64"),
    }
    if factors:
        fields |= {"factors": Field((len(factors),)), "known": Field((len(factors),), "bool")}
    return Fields(**fields)


def roles_of(factors: Sequence[Factor]) -> Mapping[str, str]:
    """Who speaks is the unit that splits must not cut, and what is said is the label, where they are known.

    >>> roles_of([Factor("digit", "ordinal", ("0",)), Factor("speaker", "categorical", ("ann",))])
    {'group': 'speaker', 'label': 'digit', 'phone': 'digit'}
    """
    names = [f.name for f in factors]
    said = ("phone", "digit", "word")
    guesses = {"group": ("speaker",), "label": said, "phone": said}
    return {role: next(n for n in names if n in known) for role, known in guesses.items() if {*known} & {*names}}
