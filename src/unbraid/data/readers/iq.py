"""Radio captures: arrays of complex samples, and SigMF recordings cut into packets by their annotations."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unbraid.core.errors import DataError
from unbraid.data.codes import factors_of_npz, ids_of_npz, read_factors
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import FactorTable
from unbraid.data.readers.arrays import Npz, one_array, read_npy
from unbraid.data.readers.check import LIMIT, brief, check_finite, check_size, open_bytes, plain_size

SAMPLES = 1280
"""Of a packet, where a recording is cut and nobody says how long one is: the preamble of 802.15.4 at 10 MHz."""

META, DATA = ".sigmf-meta", ".sigmf-data"

_TYPE = re.compile(r"^(?P<complex>[cr])(?P<kind>f32|f64|i32|i16|i8|u32|u16|u8)(?P<end>_le|_be)?$")
_DRY = frozenset(  # what is said of a recording and tells nothing of its packets
    f"core:{name}"
    for name in (
        "datatype",
        "version",
        "sha512",
        "num_channels",
        "offset",
        "dataset",
        "trailing_bytes",
        "metadata_only",
        "collection",
        "extensions",
        "license",
        "meta_doi",
        "data_doi",
        "description",
        "sample_start",
        "sample_count",
        "global_index",
        "header_bytes",
        "uuid",
    )
)
_META_LIMIT, _COLUMNS, _FILES = 64 * 2**20, 256, 10_000


def open_iq(
    path: Path,
    samples: int | None = None,
    most: int | None = None,
    factors: Path | None = None,
    memory: int = 2**30,
    limit: int = LIMIT,
) -> MemoryDataset:
    """A data set of packets (2, samples), I before Q, as float32.

    - `.npy`: complex (N, T), or real (N, 2, T) or (N, T, 2).
    - `.npz`: such an array `x` (or `iq`, or the only one there is), and factors, see `factors_of_npz`.
    - `.sigmf-meta`, `.sigmf-data`, or a folder with such pairs: every annotation is cut into packets, and where there
      is none the whole recording. What annotations, captures and recordings say of them gives the factors, and so
      does `recording` where there are several. Whole numbers become -1..1.

    Args:
        path: The file or folder.
        samples: Of a packet: the first of every row of an array; None takes all, and 1,280 of recordings.
        most: Packets cut from one annotation, spread evenly; None takes as many as there are.
        factors: A file with more factors, see `read_factors`.
        memory: Bytes that the packets may take.
        limit: Bytes that one array may unpack to.

    Raises:
        DataError: Naming the file that cannot be read, and what in it.
    """
    name = f"iq:{path}"
    for option, value in (("samples", samples), ("most", most)):
        if value is not None and value < 1:
            raise DataError("1 or more", got=str(value), where=f"{name}: {option}")
    if path.suffix.lower() in (".npy", ".npz"):
        data = _open_array(name, path, samples, limit)
    else:
        data = _open_recordings(name, path, samples or SAMPLES, most, memory)
    if factors is None:
        return data
    more = data.with_factors(read_factors(factors, data.own_ids, len(data)))
    more.notes = data.notes
    return more


# ------------------------------------------------------------------------------------------------------------- arrays


def _open_array(name: str, path: Path, samples: int | None, limit: int) -> MemoryDataset:
    if path.suffix.lower() == ".npy":
        return MemoryDataset(name, _packets(read_npy(path, limit), str(path), samples))
    with Npz(path, limit) as npz:
        key = one_array(npz, path, ("x", "iq"))
        x = _packets(npz.read(key), f"{path}: array '{key}'", samples)
        return MemoryDataset(name, x, factors_of_npz(npz, len(x), path, [key]), ids_of_npz(npz, len(x), path))


def _packets(x: np.ndarray, where: str, samples: int | None = None) -> torch.Tensor:
    """Packets (N, 2, T) of an array.

    >>> _packets(np.array([[1 + 2j, 3 + 4j, 5]]), "", 2).tolist()
    [[[1.0, 3.0], [2.0, 4.0]]]
    """
    if x.dtype.kind not in "biufc":
        raise DataError("numbers, complex or real", got=f"dtype {x.dtype}", where=where)
    x = _two_channels(x, where)
    if 0 in x.shape or (samples is not None and x.shape[2] < samples):
        wanted = f"{samples} samples or more" if samples else "at least one sample"
        raise DataError(f"packets of {wanted}", got=f"{len(x)} of {x.shape[2]}", where=where)
    with np.errstate(over="ignore", invalid="ignore"):
        out = np.ascontiguousarray(x[:, :, :samples], dtype=np.float32)
    check_finite(out, where)
    return torch.from_numpy(out)


def _two_channels(x: np.ndarray, where: str) -> np.ndarray:
    if x.dtype.kind == "c" and x.ndim == 2:
        return np.stack([x.real, x.imag], 1)
    if x.dtype.kind != "c" and x.ndim == 3 and 2 in x.shape[1:]:
        return x if x.shape[1] == 2 else x.swapaxes(1, 2)
    got = f"{'complex' if x.dtype.kind == 'c' else 'real'} {x.shape}"
    raise DataError("complex numbers (N, T), or real ones (N, 2, T) or (N, T, 2)", got=got, where=where)


# -------------------------------------------------------------------------------------------------------------- SigMF


@dataclass(frozen=True)
class Stretch:
    """A part of a recording of which something is known.

    Attributes:
        start: Its first sample.
        count: Its length in samples.
        said: Name -> what is said of it.
    """

    start: int
    count: int
    said: Mapping[str, object]


class Recording:
    """A SigMF recording: one channel of complex samples, with what its meta file says of them.

    Args:
        meta: The `.sigmf-meta` file.

    Raises:
        DataError: It is no such file, or something else than complex samples of one channel.
    """

    def __init__(self, meta: Path) -> None:
        self.path = meta
        self.name = meta.name.removesuffix(META)
        document = _json(meta)
        self._global = _mapping(document.get("global"), meta, "global")
        captures = _list(document, "captures", meta)
        starts = [_whole(c.get("core:sample_start", 0), meta, "capture: core:sample_start") for c in captures]
        self._captures = [captures[i] for i in sorted(range(len(starts)), key=starts.__getitem__)]
        self._starts = sorted(starts)
        self._annotations = _list(document, "annotations", meta)
        self.dtype, self._scale, self._middle = _sample_type(self._global.get("core:datatype"), meta)
        channels = self._global.get("core:num_channels", 1)
        if channels != 1:
            raise self._wrong("one channel", brief(channels), "split it into one recording for each")
        if any(capture.get("core:header_bytes") for capture in self._captures):
            raise self._wrong("samples alone", "core:header_bytes", "remove the headers from the data file")
        self.data = meta.with_name(self._data_name())
        self.length = self._length()

    def _data_name(self) -> str:
        named = self._global.get("core:dataset")
        if named is None:
            return self.name + DATA
        if not isinstance(named, str) or Path(named).name != named or not named.strip():
            raise self._wrong("the name of a file beside it as core:dataset", brief(named))
        return named

    def _length(self) -> int:
        try:
            there = self.data.is_file()
        except OSError:  # a name too long
            there = False
        if not there:
            raise DataError("the samples of a recording", got="no such file", where=str(self.data))
        trailing = _whole(self._global.get("core:trailing_bytes", 0), self.path, "core:trailing_bytes")
        length = (self.data.stat().st_size - trailing) // (2 * self.dtype.itemsize)
        if length < 1:
            raise DataError("at least one sample", got="none", where=str(self.data))
        return length

    @cached_property
    def stretches(self) -> list[Stretch]:
        """What each annotation is about; the whole recording where there is none."""
        whole = [Stretch(0, self.length, self._said({}, 0))]
        return [self._annotated(a, i) for i, a in enumerate(self._annotations)] or whole

    def _annotated(self, annotation: Mapping[str, Any], number: int) -> Stretch:
        where = f"annotation {number}"
        start = _whole(annotation.get("core:sample_start"), self.path, f"{where}: core:sample_start")
        rest = max(0, self.length - start)
        count = _whole(annotation.get("core:sample_count", rest), self.path, f"{where}: core:sample_count")
        if start + count > self.length:
            got = f"{where}, samples {start}..{start + count - 1}"
            raise self._wrong(f"annotations of the recording's {self.length} samples", got)
        return Stretch(start, count, self._said(annotation, start))

    def _said(self, annotation: Mapping[str, Any], start: int) -> dict[str, object]:
        """Of the recording, the capture that a sample lies in, and the annotation; the nearest source is believed."""
        before = bisect_right(self._starts, start)
        said: dict[str, object] = {}
        for source in (self._global, self._captures[before - 1] if before else {}, annotation):
            said |= dict(_scalars({k: v for k, v in source.items() if k not in _DRY}))
        return said

    def read(self, starts: Sequence[int], samples: int) -> np.ndarray:
        """Packets (N, 2, samples) float32 from these samples on."""
        out = np.empty((len(starts), 2, samples), dtype=np.float32)
        size = 2 * self.dtype.itemsize
        with open_bytes(self.data) as stream:
            for row, start in enumerate(starts):
                stream.seek(start * size)
                block = stream.read(samples * size)
                if len(block) < samples * size:
                    raise DataError("the samples it had when opened", got="fewer", where=str(self.data))
                with np.errstate(over="ignore", invalid="ignore"):
                    pairs = np.frombuffer(block, self.dtype).reshape(samples, 2).astype(np.float32)
                    out[row] = (pairs.T - self._middle) * self._scale
        check_finite(out, str(self.data))
        return out

    def _wrong(self, expected: str, got: str, fix: str = "") -> DataError:
        return DataError(expected, got=got, fix=fix, where=str(self.path))


@dataclass(frozen=True)
class _Packet:
    """One item to be: where it starts in its recording, and what is said of it."""

    recording: Recording
    start: int
    said: Mapping[str, object]

    @property
    def id(self) -> str:
        return f"{self.recording.name}@{self.start}"


def _open_recordings(name: str, path: Path, samples: int, most: int | None, memory: int) -> MemoryDataset:
    recordings = [Recording(meta) for meta in _metas(path)]
    packets = _cut(recordings, name, samples, most, memory // (samples * 8))
    if not packets:
        longest = max(stretch.count for r in recordings for stretch in r.stretches)
        fix = f"ask for fewer, such as samples={max(1, longest)}"
        raise DataError(f"stretches of {samples} samples", got=f"at most {longest}", fix=fix, where=name)
    x = np.concatenate([r.read([p.start for p in of], samples) for r, of in groupby(packets, lambda p: p.recording)])
    table, constant = _factors([p.said for p in packets], [p.recording.name for p in packets], str(path))
    ids = [packet.id for packet in packets]
    data = MemoryDataset(name, torch.from_numpy(x), table, ids if len(set(ids)) == len(ids) else None)
    short = sum(stretch.count < samples for r in recordings for stretch in r.stretches)
    left = [f"{short} stretches shorter than {samples} samples were left out."] if short else []
    data.notes = (*constant, *left)
    return data


def _cut(recordings: Sequence[Recording], name: str, samples: int, most: int | None, room: int) -> list[_Packet]:
    """The packets of all stretches: one after the other, or `most` of these, spread evenly."""
    packets: list[_Packet] = []
    for recording in recordings:
        for stretch in recording.stretches:
            there = stretch.count // samples
            n = there if most is None else min(most, there)
            if len(packets) + n > room:
                got, fix = f"more than {room}", "take so many of each annotation: most=100"
                raise DataError(f"packets of at most {plain_size(room * samples * 8)}", got=got, fix=fix, where=name)
            starts = (stretch.start + samples * (i * there // n) for i in range(n))
            packets += [_Packet(recording, start, stretch.said) for start in starts]
    return packets


def _factors(
    said: Sequence[Mapping[str, object]], recordings: list[str], where: str
) -> tuple[FactorTable, tuple[str, ...]]:
    """What differs between packets, and a sentence on what does not."""
    names = list(dict.fromkeys(name for one in {id(s): s for s in said}.values() for name in one))
    if len(names) > _COLUMNS:
        raise DataError(f"at most {_COLUMNS} different fields", got=str(len(names)), where=where)
    columns: dict[str, list[object]] = {name: [one.get(name) for one in said] for name in names}
    constant = {name: values[0] for name, values in columns.items() if len(set(map(str, values))) == 1}
    columns = {name: values for name, values in columns.items() if name not in constant}
    if len(set(recordings)) > 1:
        columns["recording"] = list(recordings)
    table = FactorTable.from_columns(columns) if columns else FactorTable.empty(len(said))
    shown = ", ".join(f"{name} {brief(value)}" for name, value in list(constant.items())[:8])
    return table, ((f"The same for all packets: {shown}.",) if constant else ())


def _metas(path: Path) -> list[Path]:
    """The meta files that a path means."""
    if path.is_dir():
        found = sorted(p for p in path.rglob(f"*{META}") if p.is_file())
        if not found:
            raise DataError(f"a folder with {META} files, or an .npy or .npz file", got="none of them", where=str(path))
        if len(found) > _FILES:
            raise DataError(f"at most {_FILES} recordings", got=str(len(found)), where=str(path))
        return found
    if path.name.endswith(DATA):
        path = path.with_name(path.name.removesuffix(DATA) + META)
    if not path.name.endswith(META):
        fix = "unpack it first" if path.suffix == ".sigmf" else "convert it to one of these"
        raise DataError(f"{META}, {DATA}, .npy, .npz or a folder", got=brief(path.name), fix=fix, where=str(path))
    if not path.is_file():
        raise DataError("the meta file of a recording", got="no such file", where=str(path))
    return [path]


def _sample_type(name: object, where: Path) -> tuple[np.dtype[Any], float, float]:
    """How numbers are stored, their scale, and the value that means 0."""
    match = _TYPE.match(name) if isinstance(name, str) else None
    if match is None:
        got, fix = brief(name), "cf32_le and ci16_le are common"
        raise DataError("a core:datatype of SigMF", got=got, fix=fix, where=str(where))
    if match["complex"] == "r":
        raise DataError("complex samples", got=f"{name}, real ones", where=str(where))
    kind, bits = match["kind"][0], int(match["kind"][1:])
    if bits > 8 and match["end"] is None:
        raise DataError("a byte order, such as _le, in core:datatype", got=brief(name), where=str(where))
    dtype = np.dtype(f"{'>' if match['end'] == '_be' else '<'}{kind}{bits // 8}")
    whole = 2.0 ** (bits - 1)
    return dtype, 1.0 if kind == "f" else 1 / whole, whole if kind == "u" else 0.0


def _json(path: Path) -> Mapping[str, Any]:
    with open_bytes(path) as stream:
        check_size(path, _META_LIMIT)
        content = stream.read()
    try:
        return _mapping(json.loads(content.decode("utf-8")), path, "the file")
    except (ValueError, RecursionError) as error:
        got = " ".join(str(error).split())[:80]
        raise DataError("a SigMF meta file as JSON", got=got, where=str(path)) from None


def _mapping(value: object, path: Path, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise DataError(f"a JSON object as {what}", got=brief(type(value).__name__), where=str(path))
    return value


def _list(document: Mapping[str, Any], key: str, path: Path) -> list[Mapping[str, Any]]:
    value = document.get(key, [])
    if not isinstance(value, list):
        raise DataError(f"a JSON list as {key}", got=brief(type(value).__name__), where=str(path))
    return [_mapping(entry, path, f"an entry of {key}") for entry in value]


def _whole(value: object, path: Path, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**62:
        raise DataError("a whole number from 0 on", got=brief(value), where=f"{path}: {what}")
    return value


def _scalars(fields: Mapping[str, Any], prefix: str = "", depth: int = 4) -> Iterator[tuple[str, object]]:
    """Names without their namespace, and texts and numbers; of objects those within, joined by dots."""
    for key, value in fields.items():
        name = prefix + (key.rpartition(":")[2] or key)
        if isinstance(value, Mapping) and depth:
            yield from _scalars(value, f"{name}.", depth - 1)
        elif isinstance(value, bool | str) or (isinstance(value, int) and abs(value) >= 2**63):
            yield _text(name), _text(value)
        elif isinstance(value, int | float):
            yield _text(name), value


def _text(value: object) -> str:
    """As text that can be written again: JSON may hold halves of characters."""
    return str(value)[:200].encode("utf-8", "replace").decode("utf-8")
