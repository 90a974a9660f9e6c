"""`hf:NAME,split=train`: data sets in the format of the Hugging Face library `datasets`."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from unbraid.core.errors import DataError, nearest, need
from unbraid.data.codes import read_factors
from unbraid.data.dataset import Dataset, MemoryDataset, content_hash
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.readers.check import LIMIT, brief, plain_size
from unbraid.data.readers.images import FolderDataset, is_grey, load_bytes, quiet
from unbraid.data.readers.observations import observations
from unbraid.data.readers.tables import factor_table, unique

_NUMBERS = ("int", "uint", "float")
_ROWS = 1024


def open_hub(
    spec: str, told: str, size: int | None = None, factors: Path | None = None, memory: int = 2**30
) -> Dataset:
    """A data set of the hub, or one that `save_to_disk` wrote into a folder; no code that comes with it is ever run.

    The first column of images is the observation: turned upright, its middle square scaled to `size` (64 unless told
    otherwise). Without images it is the columns of lists of numbers. Class labels, whole numbers, numbers and text
    are factors; `id` names the rows; other columns are passed over.

    Args:
        spec: What it was opened by.
        told: `NAME`, then `split=...` (train unless told otherwise) and `config=...`, separated by commas.
        size: Height and width that images are brought to.
        factors: A file with more factors.
        memory: Bytes that images may take; more than that are read as they are needed.

    Raises:
        DataError: There is no such data set, or nothing in it to look at.
    """
    table = _loaded(spec, told)
    if not len(table):
        raise DataError("at least one row", got="none", where=f"--data {spec}")
    known, ids = _factors(table, spec)
    if factors is not None:
        known = known.joined(read_factors(factors, ids, len(table)))
    images = _columns(table, "Image")
    if images:
        return _open_images(spec, table, images[0], known, ids, size or 64, memory)
    x, unit = observations(_numbers(table, spec), spec, size)
    return MemoryDataset(spec, x, known, ids, unit=unit)


def _loaded(spec: str, told: str) -> Any:
    name, options = _asked(spec, told)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    library = need("datasets", extra="hf")
    try:
        place = Path(name).expanduser()
        if place.exists():
            found = library.load_from_disk(str(place))
        else:
            # Later versions cannot run such code at all, and do not know the option.
            safe = {"trust_remote_code": False} if int(library.__version__.partition(".")[0]) < 4 else {}
            found = library.load_dataset(name, options.get("config"), **safe)
    except Exception as error:  # whatever the library, the network and the file system raise
        got = brief(" ".join(str(error).split()) or type(error).__name__, 160)
        fix = "name one of the hub, or a folder that save_to_disk wrote"
        raise DataError("a data set that can be loaded", got=got, fix=fix, where=f"--data {spec}") from None
    return _split(library, found, spec, options.get("split"))


def _asked(spec: str, told: str) -> tuple[str, dict[str, str]]:
    name, *rest = (part.strip() for part in told.split(","))
    options: dict[str, str] = {}
    for item in filter(None, rest):
        key, equals, value = (part.strip() for part in item.partition("="))
        if key not in ("split", "config") or not equals or not value:
            raise DataError("split=NAME or config=NAME", got=brief(item), where=f"--data {spec}")
        options[key] = value
    if not name:
        raise DataError("hf:NAME", got=brief(spec), fix="name a data set of the hub, or a folder", where="--data")
    return name, options


def _split(library: ModuleType, found: Any, spec: str, split: str | None) -> Any:
    """One table, without the format that whoever saved it had in mind."""
    if isinstance(found, library.Dataset):
        if split is not None:
            fix = "leave split out"
            raise DataError("a data set in splits", got="a single one", fix=fix, where=f"--data {spec}")
        return found.with_format(None)
    names = list(found)
    chosen = split or ("train" if "train" in names else names[0] if len(names) == 1 else "")
    if chosen not in names:
        got = brief(split) if split else f"none, of {', '.join(names)}"
        raise DataError("the name of a split", got=got, fix=nearest(split or "", names), where=f"--data {spec}")
    return found[chosen].with_format(None)


def _kind(feature: Any) -> str:
    """`Image`, `ClassLabel`, `Value`, `Numbers`, or "" for what is of no use here."""
    name = type(feature).__name__
    if name in ("Image", "ClassLabel"):
        return name
    if name == "Value":
        return name if str(feature.dtype).startswith((*_NUMBERS, "bool", "string", "large_string")) else ""
    inner = feature if name.startswith("Array") else getattr(feature, "feature", None)
    numeric = str(getattr(inner, "dtype", "")).startswith(_NUMBERS)
    return "Numbers" if numeric and type(inner).__name__ in (name, "Value") else ""


def _columns(table: Any, kind: str) -> list[str]:
    return [name for name, feature in table.features.items() if _kind(feature) == kind]


def _factors(table: Any, spec: str) -> tuple[FactorTable, list[str] | None]:
    plain = {name: list(table[name]) for name in _columns(table, "Value")}
    ids = next((plain.pop(name) for name in ("id", "ids") if name in plain), None)
    known = factor_table(plain, len(table))
    for name in _columns(table, "ClassLabel"):
        labels = tuple(map(str, table.features[name].names))
        codes = [np.nan if code is None or code < 0 else float(code) for code in table[name]]
        known = known.joined(FactorTable([Factor(name, "categorical", labels)], np.array(codes)[:, None]))
    return known, None if ids is None else unique([str(i) for i in ids], f"{spec}: column 'id'")


def _numbers(table: Any, spec: str) -> np.ndarray:
    """The columns of numbers: one as it is, several side by side."""
    names = _columns(table, "Numbers")
    if not names:
        got = ", ".join(list(table.features)[:8])
        fix = "choose a data set that has one"
        raise DataError("a column of images or of lists of numbers", got=got, fix=fix, where=f"--data {spec}")
    read = [_array(table, name, f"{spec}: column '{name}'") for name in names]
    return read[0] if len(read) == 1 else np.concatenate([part.reshape(len(part), -1) for part in read], 1)


def _array(table: Any, name: str, where: str) -> np.ndarray:
    first = np.asarray(table[0][name], dtype=np.float32)
    needed = len(table) * max(1, first.size) * first.itemsize
    if needed > LIMIT:
        raise DataError(f"at most {plain_size(LIMIT)} of numbers", got=plain_size(needed), where=where)
    out = np.empty((len(table), *first.shape), dtype=np.float32)
    for start in range(0, len(table), _ROWS):
        try:
            out[start : start + _ROWS] = np.asarray(table[start : start + _ROWS][name], dtype=np.float32)
        except (ValueError, TypeError):
            got = f"others in rows {start} to {min(len(table), start + _ROWS) - 1}"
            raise DataError(f"numbers of shape {first.shape} in each row", got=got, where=where) from None
    return out


def _open_images(
    spec: str, table: Any, column: str, known: FactorTable, ids: list[str] | None, size: int, memory: int
) -> Dataset:
    stored = _Stored(table, column, spec)
    names = ids if ids is not None else [str(row) for row in range(len(table))]
    if 3 * len(table) * size * size > memory:
        channels = 1 if all(stored.is_grey(row) for row in range(len(table))) else 3
        return HubImages(spec, stored, names, known, size, channels)
    x = torch.empty(len(table), 3, size, size, dtype=torch.uint8)
    grey = True
    with quiet():
        for row in range(len(table)):
            pixels = stored.load(row, size)
            grey = grey and len(pixels) == 1
            x[row] = torch.from_numpy(pixels)
    return MemoryDataset(spec, x[:, :1].contiguous() if grey else x, known, ids)


class _Stored:
    """A column of images, as the bytes of their files."""

    def __init__(self, table: Any, column: str, spec: str) -> None:
        library = need("datasets", extra="hf")
        self.fingerprint = str(table._fingerprint)
        self._table = table.select_columns([column]).cast_column(column, library.Image(decode=False))
        self._column, self._spec = column, spec

    def load(self, row: int, size: int, channels: int | None = None) -> np.ndarray:
        return load_bytes(*self._bytes(row), size, channels)

    def is_grey(self, row: int) -> bool:
        return is_grey(*self._bytes(row))

    def _bytes(self, row: int) -> tuple[bytes, str]:
        where = f"{self._spec}: column '{self._column}' row {row}"
        image = self._table[row][self._column] or {}
        if image.get("bytes") is not None:
            return image["bytes"], where
        try:
            return Path(image.get("path") or "").read_bytes(), where
        except OSError:
            got = brief(image.get("path") or "nothing")
            raise DataError("an image", got=got, fix="leave such rows out", where=where) from None


class HubImages(FolderDataset):
    """Images of a hub's table too many for the memory, each read when it is taken.

    Its hash is the library's own fingerprint of the table, and the size.
    """

    def __init__(
        self, name: str, stored: _Stored, ids: list[str], table: FactorTable, size: int, channels: int
    ) -> None:
        super().__init__(name, Path(), ids, table, size, channels)
        self._stored = stored

    def _load(self, row: int, size: int, channels: int) -> np.ndarray:
        return self._stored.load(row, size, channels)

    @property
    def hash(self) -> str:
        shape = self.fields["x"].shape
        known = {"codes": self._codes, "known": self._known, "described": self.factors}
        return content_hash({"fingerprint": self._stored.fingerprint, "shape": shape, **known})
