"""Recordings of the brain, cut into epochs about their events: averages of each participant, or single trials."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from unbraid.core.errors import DataError, nearest, need
from unbraid.data.codes import factors_of_npz, ids_of_npz, read_factors
from unbraid.data.epochs import SPAN, Epochs, trial_table
from unbraid.data.factors import FactorTable
from unbraid.data.readers.arrays import Npz
from unbraid.data.readers.check import LIMIT, brief, check_finite, plain_size
from unbraid.data.readers.folders import find_files
from unbraid.data.readers.tables import factor_table, id_column, read_table

SUFFIXES = (".edf", ".bdf", ".fif")

_MINE = re.compile(r"(?:^|[/_])(sub-[A-Za-z0-9]+)(?=[/_.]|$)")
_BAD = ("bad", "edge")
_MISSING = {"", "n/a", "na", "nan"}
_COLUMNS = ("participant_id", "participant", "subject", "id")
_MICRO, _POINTS, _NAMED = 1e6, 65_536, 6

Trials = Float[np.ndarray, "n c t"]


@dataclass(frozen=True)
class Cut:
    """How recordings become epochs; see `open_eeg`."""

    tmin: float
    tmax: float
    points: int
    channels: tuple[str, ...]
    events: tuple[str, ...]
    baseline: bool
    reject: float


def open_eeg(
    path: Path,
    *,
    tmin: float = SPAN[0],
    tmax: float = SPAN[1],
    points: int = 256,
    channels: str = "",
    events: str = "",
    baseline: bool = True,
    reject: float = 0.0,
    single: bool = False,
    only: str = "*",
    factors: Path | None = None,
    memory: int = 2**30,
    limit: int = LIMIT,
) -> Epochs:
    """Recordings as series (conditions x channels, points) in microvolts.

    A condition is what annotations (or else the values of a trigger channel) call an event; annotations that begin with
    "bad" or "edge" make the epochs that they touch be left out. The conditions of a participant are stacked: first all
    channels of the first condition. Whose a recording is, its path says as BIDS does (`sub-01`), or else its name;
    several of one participant are taken together. `participants.tsv` or `.csv` beside them tells of the people.

    An archive `.npz` holds epochs that were cut before, in microvolts: `x` (N, channels, points) or (N, points,
    channels), the points being more, and factors; of the options `tmin` and `tmax` say when they begin and end.

    Args:
        path: A recording, a folder of them, or an archive.
        tmin: First second of an epoch, from its event on.
        tmax: Last second.
        points: Samples of an epoch, to which recordings are resampled; 0 keeps their rate, which must be one.
        channels: Names joined by "+"; all EEG channels where empty.
        events: Conditions joined by "+", in the order in which they are stacked; all, sorted, where empty.
        baseline: Whether the mean up to the event is taken off each epoch.
        reject: Epochs of which a channel spans more microvolts are left out; 0 keeps all.
        single: Whether the k-th trials of all conditions are an item, as many as the rarest has; else averages are.
        only: Recordings of a folder whose names fit, as a shell would say it: `*_task-pictures_*`.
        factors: A file with more factors, by participant.
        memory: Bytes that the series may take.
        limit: Bytes that one recording may take.

    Raises:
        DataError: A file cannot be read, has no events or other channels, or nothing is left.
    """
    cut = _asked(tmin, tmax, points, channels, events, baseline, reject)
    if path.suffix.lower() == ".npz":
        return _open_array(path, cut, factors, limit)
    people: dict[str, dict[str, list[Trials]]] = {}
    names: list[str] = []
    known: set[str] = set()
    rate: float | None = None
    size = 0
    for file, who in _recordings(path, only):
        raw = _opened(file, limit)
        names = _channels(raw, cut.channels, names, file)
        rate = _one_rate(raw, rate, cut, file)
        seconds, said = _events(raw, file)
        known |= set(said)
        when = {name: [s for s, d in zip(seconds, said, strict=True) if d == name] for name in cut.events or set(said)}
        found = _epochs(raw, names, when, cut, rate, file, limit)
        size += sum(trials.nbytes for trials in found.values())
        if size > 2 * memory:  # read in double precision, kept in single
            fix = "take fewer channels or points"
            raise DataError(f"epochs of at most {plain_size(memory)}", got="more", fix=fix, where=str(path))
        for condition, trials in found.items():
            people.setdefault(who, {}).setdefault(condition, []).append(trials)
    for name in cut.events:
        if name not in known:
            raise DataError("the name of an event", got=f"'{name}'", fix=nearest(name, known), where=f"{path}: events")
    assert rate is not None
    first, last = (sample / rate for sample in _ends(cut, rate))
    return _stacked(path, people, names, cut.events, (first, last), single, factors)


def _open_array(path: Path, cut: Cut, factors: Path | None, limit: int) -> Epochs:
    """Epochs that were cut before: the array `x` of an archive, and its factors."""
    with Npz(path, limit) as npz:
        if "x" not in npz.headers:
            fix = "name the epochs 'x'"
            raise DataError("an array 'x'", got=", ".join(npz.headers) or "none", fix=fix, where=str(path))
        x = np.asarray(npz.read("x"))
        if x.ndim != 3 or x.dtype.kind not in "iuf" or 0 in x.shape:
            got = f"{x.dtype} {x.shape}"
            raise DataError("epochs (N, channels, points) or (N, points, channels)", got=got, where=f"{path}: x")
        table, ids = factors_of_npz(npz, len(x), path, ["x"]), ids_of_npz(npz, len(x), path)
    x = np.ascontiguousarray(x if x.shape[1] <= x.shape[2] else x.swapaxes(1, 2), dtype=np.float32)
    check_finite(x, f"{path}: x")
    channels = [f"channel {c + 1}" for c in range(x.shape[1])]
    names = ids if ids is not None else [str(i) for i in range(len(x))]
    data = Epochs(f"eeg:{path}", torch.from_numpy(x), table, names, channels, (cut.tmin, cut.tmax))
    return data if factors is None else data.with_factors(read_factors(factors, ids, len(x)))


def _asked(tmin: float, tmax: float, points: int, channels: str, events: str, baseline: bool, reject: float) -> Cut:
    if not -60 <= tmin < tmax <= 60:
        raise DataError("tmin before tmax, both within a minute", got=f"{tmin:g} and {tmax:g}", where="eeg: tmin")
    if points != 0 and not 4 <= points <= _POINTS:
        raise DataError(f"4 to {_POINTS} points, or 0", got=str(points), where="eeg: points")
    if not 0 <= reject < float("inf"):
        raise DataError("microvolts above 0, or 0 for none", got=f"{reject:g}", where="eeg: reject")
    if baseline and tmin >= 0:
        fix = "begin before the event, or say baseline=false"
        raise DataError("samples before the event for a baseline", got=f"tmin {tmin:g}", fix=fix, where="eeg: baseline")
    return Cut(tmin, tmax, points, _listed(channels), _listed(events), baseline, reject)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (word.strip() for word in text.split("+"))))


# ------------------------------------------------------------------------------------------------------------ one file


def _recordings(path: Path, only: str) -> list[tuple[Path, str]]:
    """The files, and whose each is."""
    if path.is_dir():
        found = find_files(path, SUFFIXES)
        files = [(path / name, name) for name in found if fnmatchcase(Path(name).name, only)]
        if not files:
            got = f"none of {len(found)} with such a name" if found else "none in it"
            raise DataError("a folder of .edf, .bdf or .fif recordings", got=got, where=str(path))
    elif path.suffix.lower() in SUFFIXES:
        files = [(path, path.name)]
    else:
        raise DataError("a recording .edf, .bdf or .fif, or a folder of them", got=f"'{path.name}'", where=str(path))
    return [(file, m[1] if (m := _MINE.search(name)) else file.stem) for file, name in files]


def _opened(file: Path, limit: int) -> Any:
    """A recording, its samples still on the disk."""
    mne = need("mne", extra="eeg")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            raw = mne.io.read_raw(file, preload=False, verbose="ERROR")
    except Exception as error:  # mne's readers raise whatever a damaged file leads them to
        raise _unreadable(file, error) from None
    size = 8 * raw.n_times * len(raw.ch_names)
    if size > limit:
        fix = "cut the recording into several"
        raise DataError(f"a recording of at most {plain_size(limit)}", got=plain_size(size), fix=fix, where=str(file))
    return raw


def _unreadable(file: Path, error: Exception) -> DataError:
    got = brief(" ".join(str(error).split()) or type(error).__name__, 80)
    return DataError("a whole EDF, BDF or FIF recording", got=got, where=str(file))


def _channels(raw: Any, asked: Sequence[str], before: Sequence[str], file: Path) -> list[str]:
    """The channels to take, which must be the same in every file."""
    for name in asked:
        if name not in raw.ch_names:
            raise DataError("the name of a channel", got=f"'{name}'", fix=nearest(name, raw.ch_names), where=str(file))
    kinds = raw.get_channel_types()
    names = list(asked) or [name for name, kind in zip(raw.ch_names, kinds, strict=True) if kind == "eeg"]
    if not names:
        raise DataError(
            "EEG channels", got=", ".join(sorted(set(kinds))), fix="name some: channels=...", where=str(file)
        )
    if before and list(before) != names:
        got = ", ".join(names[:_NAMED])
        fix = "name those that all have: channels=..."
        raise DataError(f"the channels {', '.join(before[:_NAMED])}, as before", got=got, fix=fix, where=str(file))
    return names


def _one_rate(raw: Any, before: float | None, cut: Cut, file: Path) -> float:
    """Samples a second of the epochs, which must be those of every file."""
    own = float(raw.info["sfreq"])
    if not cut.points and before is not None and own != before:
        fix = "resample all: points=256"
        raise DataError(f"{before:g} samples a second, as before", got=f"{own:g}", fix=fix, where=str(file))
    return (cut.points - 1) / (cut.tmax - cut.tmin) if cut.points else own


def _epochs(
    raw: Any,
    names: Sequence[str],
    when: Mapping[str, Sequence[float]],
    cut: Cut,
    rate: float,
    file: Path,
    limit: int,
) -> dict[str, Trials]:
    """Condition -> its epochs, from the seconds of its events."""
    mne = need("mne", extra="eeg")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            raw = raw.copy().pick(list(names)).load_data(verbose="ERROR")
            if 8 * len(names) * raw.times[-1] * rate > limit:
                raise DataError(f"a recording of at most {plain_size(limit)}", got="more", where=f"{file}: points")
            if abs(rate / raw.info["sfreq"] - 1) > 1e-6:
                # Its other method puts samples half a step too early where it pads, and wraps ends otherwise.
                raw = raw.resample(rate, method="polyphase", verbose="ERROR")
            return {name: _cut(mne, raw, at, cut, rate) for name, at in when.items() if at}
    except DataError:
        raise
    except Exception as error:  # the samples are read only now
        raise _unreadable(file, error) from None


def _events(raw: Any, file: Path) -> tuple[list[float], list[str]]:
    """Seconds from the first sample and names of the events: annotations, or else values of a trigger channel."""
    mne = need("mne", extra="eeg")
    names: dict[str, int] = {}
    for name in raw.annotations.description:
        if not str(name).lower().startswith(_BAD):
            names.setdefault(str(name), len(names) + 1)
    found, called = np.zeros((0, 3), dtype=int), {number: name for name, number in names.items()}
    if names:
        found, _ = mne.events_from_annotations(raw, event_id=names, regexp=None, verbose="ERROR")
    elif "stim" in raw.get_channel_types():
        found = mne.find_events(raw, shortest_event=1, verbose="ERROR")
        called = {int(value): str(value) for value in found[:, 2]}
    if len(found):
        return list((found[:, 0] - raw.first_samp) / raw.info["sfreq"]), [called[int(v)] for v in found[:, 2]]
    fix = "annotate it, or give it a trigger channel"
    raise DataError("annotations that say what happened when", got="none", fix=fix, where=str(file))


def _cut(mne: Any, raw: Any, seconds: Sequence[float], cut: Cut, rate: float) -> Trials:
    """The epochs about some events, without those that are cut off, marked as bad, or too large."""
    start, last = _ends(cut, rate)
    samples = sorted({raw.first_samp + round(second * rate) for second in seconds})
    events = np.stack([samples, np.zeros(len(samples)), np.ones(len(samples))], 1).astype(int)
    epochs = mne.Epochs(
        raw,
        events,
        tmin=start / rate,
        tmax=last / rate,
        baseline=(None, 0) if cut.baseline else None,
        picks="all",
        preload=True,
        verbose="ERROR",
    )
    x = np.asarray(epochs.get_data(copy=False, verbose="ERROR")) * _MICRO
    return x[np.ptp(x, axis=2).max(1) <= cut.reject] if cut.reject and len(x) else x


# ---------------------------------------------------------------------------------------------------------- all of them


def _ends(cut: Cut, rate: float) -> tuple[int, int]:
    """First and last sample of an epoch, from its event on.

    >>> _ends(Cut(-0.248, 0.772, 256, (), (), True, 0.0), 250.0)
    (-62, 193)
    """
    start = round(cut.tmin * rate)
    return start, start + cut.points - 1 if cut.points else round(cut.tmax * rate)


def _stacked(
    path: Path,
    people: Mapping[str, Mapping[str, list[Trials]]],
    names: Sequence[str],
    events: Sequence[str],
    span: tuple[float, float],
    single: bool,
    factors: Path | None,
) -> Epochs:
    """The conditions of each participant side by side."""
    conditions = events or sorted({name for found in people.values() for name in found})
    items: dict[str, Trials] = {}
    for who, found in sorted(people.items()):
        each = [np.concatenate(found[name]) for name in conditions if name in found]
        count = min(map(len, each), default=0)
        if len(each) == len(conditions) and count:
            items[who] = np.concatenate([t[:count] if single else t.mean(0, keepdims=True) for t in each], 1)
    if not items:
        got = "no epoch of each in any recording"
        fix = "reject less, or say which events are conditions: events=neutral+positive"
        raise DataError(f"epochs of {' and '.join(conditions[:_NAMED])}", got=got, fix=fix, where=str(path))
    x = torch.from_numpy(np.ascontiguousarray(np.concatenate(list(items.values())), dtype=np.float32))
    kept, counts = list(items), [len(item) for item in items.values()]
    table, ids = _participants(path, kept, factors), kept
    if single:
        table = table.rows(torch.arange(len(kept)).repeat_interleave(torch.tensor(counts)))
        table = table.joined(trial_table(kept, counts))
        ids = [f"{name}/{k + 1}" for name, count in zip(kept, counts, strict=True) for k in range(count)]
    channels = [f"{condition}/{name}" for condition in conditions for name in names] if conditions[1:] else names
    data = Epochs(f"eeg:{path}", x, table, ids, channels, span)
    if lost := sorted(set(people) - set(items)):
        data.notes = (f"Left out, because no epoch of some condition remained: {', '.join(lost[:_NAMED])}.",)
    return data


def _participants(path: Path, who: Sequence[str], factors: Path | None) -> FactorTable:
    """What is said of each participant: `participants.tsv` or `.csv`, and a file that was named."""
    folder = path if path.is_dir() else path.parent
    table = FactorTable.empty(len(who))
    beside = next((p for s in (".tsv", ".csv") if (p := folder / f"participants{s}").is_file()), None)
    if beside is not None:
        table = table.joined(_told(beside, who))
    return table if factors is None else table.joined(read_factors(factors, who, len(who)))


def _told(file: Path, who: Sequence[str]) -> FactorTable:
    """The rows of a table of participants, which may tell of others, too."""
    read = read_table(file, lambda _: True)
    name = next((c for c in _COLUMNS if c in read.other), None)
    own = id_column(read, [name], str(file)) if name else None
    if own is None:
        got = ", ".join(read.other)
        raise DataError(
            "a column participant_id", got=got, fix="name the column of the participants so", where=str(file)
        )
    row = {text.removeprefix("sub-"): i for i, text in enumerate(own)}
    absent = [one for one in who if one.removeprefix("sub-") not in row]
    if absent:
        raise DataError(f"a row for {absent[0]}", got=f"{brief(own[0])}, ...", fix="add one", where=str(file))
    order = [row[one.removeprefix("sub-")] for one in who]
    columns = {c: [_present(v[i]) for i in order] for c, v in read.other.items() if c != name}
    return factor_table(columns, len(who))


def _present(value: object) -> object:
    """A cell, or None where BIDS says that nothing is known."""
    return None if isinstance(value, str) and value.strip().lower() in _MISSING else value
