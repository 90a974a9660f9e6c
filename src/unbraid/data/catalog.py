"""`open_data("sprites:size=32,colour=true")`: from the name or path on a command line to a data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unbraid.core.errors import DataError, nearest
from unbraid.data import worlds
from unbraid.data.codes import PLAIN, factors_of_npz, ids_of_npz, read_codes, read_factors
from unbraid.data.dataset import Dataset, MemoryDataset
from unbraid.data.official.registry import Official, named, official
from unbraid.data.readers import folders, idx
from unbraid.data.readers.arrays import Npz, one_array, read_npy
from unbraid.data.readers.check import LIMIT, brief
from unbraid.data.readers.observations import observations
from unbraid.data.worlds import Option

_IN_FOLDERS = (".wav", ".flac", ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Source:
    """A data set that can be opened by name.

    Attributes:
        name: The name.
        summary: One line on what it is.
        options: Option -> what it takes and its default, for people.
        there: Whether nothing has to be downloaded first.
    """

    name: str
    summary: str
    options: Mapping[str, str]
    there: bool = True


def _published_options(name: str, entries: tuple[Official, ...]) -> Mapping[str, Option]:
    first = entries[0]
    sizes = tuple(sorted({16, 32, 64, first.shape[0]}))
    options = {"size": Option(int, first.size, sizes)}
    if len(entries) > 1:
        options["variant"] = Option(str, first.variant, tuple(e.variant for e in entries))
    return {**options, "folder": Option(str, f"{name} below UNBRAID_DATA", help="where its files are")}


_PUBLISHED = {name: _published_options(name, entries) for name, entries in named().items()}
_NAMES = (*worlds.MADE, *_PUBLISHED)


KINDS = tuple(worlds.KINDS)
"""The words that say what kind of files a path leads to."""


def kinds() -> list[Source]:
    """What can be opened as `KIND:PATH`."""
    return [
        Source(name, k.summary, {n: _describe(o) for n, o in k.options.items()}) for name, k in worlds.KINDS.items()
    ]


def sources() -> list[Source]:
    """What is made or bundled and can be opened by name alone.

    >>> [s.name for s in sources()][:3]
    ['sprites', 'scenes', 'discs']
    """
    return [Source(name, m.summary, {k: _describe(o) for k, o in m.options.items()}) for name, m in worlds.MADE.items()]


def published() -> list[Source]:
    """The published sets, which can be opened by name once their files are there.

    >>> [s.name for s in published()][:2]
    ['dsprites', 'shapes3d']
    """
    from unbraid.data.official.places import is_there

    return [
        Source(
            name,
            entries[0].summary,
            {k: _describe(o) for k, o in _PUBLISHED[name].items()},
            any(is_there(entry) for entry in entries),
        )
        for name, entries in named().items()
    ]


def published_set(spec: str) -> tuple[Official, Path | None, int | None]:
    """The published set that `NAME:OPTION=VALUE,...` means, with the folder and the size it asks for.

    >>> published_set("mpi3d:variant=real")[0].files[0].name
    'mpi3d_real.npz'
    """
    name, _, tail = spec.partition(":")
    if name not in _PUBLISHED:
        raise DataError("a published data set", got=brief(name), fix=nearest(name, _PUBLISHED))
    options = _read_options(name, tail, _PUBLISHED[name])
    folder = _folder(name, options["folder"]) if "folder" in options else None
    return official(name, options.get("variant")), folder, options.get("size")


def _folder(name: str, text: str) -> Path:
    try:
        folder = Path(text).expanduser()
        folder.exists()
    except (OSError, RuntimeError):  # a name too long, a home of nobody
        raise DataError("a folder", got=brief(text, 120), where=f"--data {name}: folder") from None
    return folder


def open_data(
    spec: str,
    *,
    size: int | None = None,
    factors: Path | None = None,
    pattern: str | None = None,
    memory: int = 2**30,
    limit: int = LIMIT,
) -> Dataset:
    """The data set behind a name with options, a path, or a name below the folder `UNBRAID_DATA`.

    - `sprites:size=32,colour=true`, `scenes`, `discs`, `digits`: see `sources`.
    - `dsprites`, `shapes3d`, `mpi3d`, `cars3d`, `smallnorb`: their official files, see `published`.
    - `hf:NAME,split=train`: a data set of the Hugging Face hub, or a folder that `save_to_disk` wrote.
    - a folder of images: of any sizes, turned upright, the square in the middle scaled to `size`; grey if all are.
    - a folder of sounds, `.wav` or `.flac`: the second in the middle of each as `size` mel bands and frames. In a
      folder with both, what there is less of is passed over.
    - In either, subfolders give the factor `class` (and `folder`), names give others by a pattern such as
      `{digit}_{speaker}_{take}`, and `factors.csv` (its first column `file`) any others.
    - `.npz`, `.npy`: the array `x` (or `images`, `imgs`, or the only one there is) and factors, see `observations` and
      `read_codes`.
    - `.csv`, `.parquet`: columns of numbers are the observation, `id` and `factor:NAME` what they say.
    - IDX files such as MNIST's, or the folder they are in.
    - `trajectories:PATH,past=20,future=20`: see `unbraid.data.readers.trajectories`.
    - `KIND:PATH,option=value`, see `kinds`: `waves:PATH,rate=8000,seconds=1` for a folder of sounds as waves.

    Args:
        spec: The name or path.
        size: Height and width that images are brought to; None leaves arrays and IDX as they are, and is 64 for
            folders of images and 32 for folders of sounds.
        factors: A file with more factors, see `read_factors`; they replace those of the same name.
        pattern: What the names in a folder of images or sounds tell, see `name_table`.
        memory: Bytes that images of a folder, of the hub or of a published set may take; more than that are read as
            they are needed, while more sounds are refused.
        limit: Bytes that one file may unpack to.

    Raises:
        DataError: In one line: the file and row, what was expected, what came, what to do.

    >>> open_data("sprites:size=16,colour=true").fields["x"].shape
    (3, 16, 16)
    """
    name, _, tail = spec.partition(":")
    if size is not None and not 4 <= size <= 1024:
        raise DataError("a size from 4 to 1024 pixels", got=str(size), where="--size")
    if name in _NAMES:
        if factors is not None:
            raise DataError("a factor file only with your own data", got=str(factors), where=f"--data {name}")
        if pattern is not None:
            raise _no_names(spec)
        return _open_made(name, tail, size) if name in worlds.MADE else _open_published(spec, size, memory)
    if name == "hf":
        from unbraid.data.readers.hub import open_hub

        if pattern is not None:
            raise _no_names(spec)
        return open_hub(spec, tail, size, factors, memory)
    if name in worlds.KINDS:
        return _open_kind(name, tail, size, factors, pattern)
    path = _find(spec)
    if path.is_dir():
        return _open_folder(spec, path, size, factors, pattern, memory)
    if pattern is not None:
        raise _no_names(spec)
    return _open_file(spec, path, size, factors, limit)


def _open_kind(name: str, tail: str, size: int | None, factors: Path | None, pattern: str | None) -> Dataset:
    where, _, rest = tail.partition(",")
    known = worlds.KINDS[name].options
    options = _read_options(name, rest, known)
    asked = {"size": size, "factors": factors, "pattern": pattern}
    given = {option: value for option, value in asked.items() if value is not None}
    for option in given.keys() - {*worlds.KINDS[name].takes, *({"size"} & known.keys())}:
        raise DataError(f"no --{option} with {name}", got=str(given[option]), where=f"--{option}")
    for option in given.keys() & options.keys():
        raise DataError(f"{option} once", got=f"--{option}, and {option}= in the name", where=f"--data {name}")
    return worlds.KINDS[name].open(_find(where), **options, **given)


def _find(spec: str) -> Path:
    beside = os.environ.get("UNBRAID_DATA")
    places = [Path(spec)] + ([Path(beside) / spec] if beside else [])
    try:
        places = [place.expanduser() for place in places]
        found = [place for place in places if spec.strip() and place.exists()]
    except (OSError, RuntimeError):  # a name too long, a home of nobody
        found = []
    if found:
        return found[0]
    head = spec.partition(":")[0]
    known = {name for place in places for name in _children(place.parent)} | (set() if "/" in spec else {*_NAMES})
    hint = nearest(Path(head).name, known - {head})
    some = f"choose from what `unbraid data list` names, such as {', '.join(_NAMES[:4])}, or give a path"
    fix = hint if hint.startswith("did") else some
    got = f"nothing of that name here{' or below UNBRAID_DATA' if beside else ''}"
    raise DataError("a data set or a path", got=got, fix=fix, where=f"--data {brief(spec, 120)}")


def _children(folder: Path) -> list[str]:
    try:
        return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    except OSError:
        return []


def _no_names(spec: str) -> DataError:
    expected, got = "a folder of images or sounds, where a pattern is given", f"--data {brief(spec, 120)}"
    return DataError(expected, got=got, where="--pattern")


def _open_folder(
    name: str, folder: Path, size: int | None, factors: Path | None, pattern: str | None, memory: int
) -> Dataset:
    from unbraid.data.readers import images, sounds

    idx_file = idx.find_idx(folder)
    if idx_file is not None:
        if pattern is not None:
            raise _no_names(name)
        return _with_factors(idx.open_idx(name, idx_file, size), factors)
    pictures, recordings = (folders.find_files(folder, kind.SUFFIXES) for kind in (images, sounds))
    files = max(pictures, recordings, key=len)
    if not files:
        raise _nothing_in(folder)
    table = folders.class_table(files)
    if pattern is not None:
        table = table.joined(folders.name_table(files, pattern, folder))
    beside = folder / "factors.csv"
    for path in (beside if beside.exists() else None, factors):
        table = table if path is None else table.joined(read_factors(path, files, len(files)))
    if files is recordings:
        return sounds.open_sounds(name, folder, files, table, size or 32, memory)
    return images.open_images(name, folder, files, table, size or 64, memory)


def _nothing_in(folder: Path) -> DataError:
    found = _children(folder)
    readable = [name for name in found if Path(name).suffix.lower() in PLAIN]
    got = f"none ({', '.join(found[:4])}{', ...' if len(found) > 4 else ''})" if found else "an empty folder"
    fix = f"open a file in it: {folder / readable[0]}" if readable else "put .png, .jpg, .wav or .flac files in it"
    return DataError("a folder with images or sounds", got=got, fix=fix, where=str(folder))


def _open_file(name: str, path: Path, size: int | None, factors: Path | None, limit: int) -> Dataset:
    suffix = path.suffix.lower()
    if idx.is_idx(path):
        return _with_factors(idx.open_idx(name, path, size), factors)
    if suffix not in PLAIN:
        fix = "give the folder that holds it" if suffix in _IN_FOLDERS else "convert it to one of these"
        kinds = f"{', '.join(PLAIN)}, an IDX file or a folder of images or sounds"
        raise DataError(kinds, got=f"'{path.name}'", fix=fix, where=str(path))
    if suffix == ".npz":
        return _with_factors(_open_npz(name, path, size, limit), factors)
    if suffix == ".npy":
        x, unit = observations(read_npy(path, limit), str(path), size)
        return _with_factors(MemoryDataset(name, x, unit=unit), factors)
    if size is not None:
        raise DataError("images, where a size is asked for", got="a table", fix="leave --size out", where=str(path))
    codes = read_codes(path, limit)
    x = torch.from_numpy(np.concatenate(list(codes.parts.values()), 1))
    return _with_factors(MemoryDataset(name, x, codes.factors, codes.ids), factors)


def _open_npz(name: str, path: Path, size: int | None, limit: int) -> MemoryDataset:
    with Npz(path, limit) as npz:
        key = one_array(npz, path, ("x", "images", "imgs"), ("factors", "latents_classes"))
        x, unit = observations(npz.read(key), f"{path}: array '{key}'", size)
        table = factors_of_npz(npz, len(x), path, [key])
        return MemoryDataset(name, x, table, ids_of_npz(npz, len(x), path), unit=unit)


def _with_factors(data: MemoryDataset, factors: Path | None) -> MemoryDataset:
    return data if factors is None else data.with_factors(read_factors(factors, data.own_ids, len(data)))


def _open_made(name: str, tail: str, size: int | None) -> Dataset:
    made = worlds.MADE[name]
    options = _read_options(name, tail, made.options)
    if size is not None and "size" not in made.options:
        raise DataError("no size", got=str(size), fix=f"{name} has one size only", where="--size")
    if size is not None and "size" not in options:
        options["size"] = _read_value(name, "size", str(size), made.options["size"])
    if "folder" in options:
        options["folder"] = _folder(name, options["folder"])
    return made.open(**options)


def _open_published(spec: str, size: int | None, memory: int) -> Dataset:
    from unbraid.data.official.places import open_official

    entry, folder, asked = published_set(spec)
    if size is not None and asked is None:
        asked = _read_value(entry.name, "size", str(size), _PUBLISHED[entry.name]["size"])
    return open_official(entry, folder, asked, memory)


def _read_options(name: str, tail: str, known: Mapping[str, Option]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in tail.split(","))):
        key, equals, text = (part.strip() for part in item.partition("="))
        if key not in known:
            fix = nearest(key, known) if known else f"{name} takes none"
            raise DataError(f"an option of {name}", got=f"'{key}'", fix=fix, where=f"--data {name}")
        if not equals:
            raise DataError(
                f"{key}=VALUE", got=f"'{item}'", fix=f"{key} takes {_describe(known[key])}", where=f"--data {name}"
            )
        if key in options:
            raise DataError("each option once", got=f"'{key}' twice", where=f"--data {name}")
        options[key] = _read_value(name, key, text, known[key])
    return options


def _read_value(name: str, key: str, text: str, option: Option) -> Any:
    readers: Mapping[type, Callable[[str], Any]] = {bool: _read_bool, int: int, float: float, str: str}
    try:
        value = readers[option.kind](text)
    except ValueError:
        value = None
    if value is None or (option.allowed and value not in option.allowed):
        raise DataError(_describe(option), got=f"'{text}'", where=f"--data {name}: {key}")
    return value


def _read_bool(text: str) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


def _describe(option: Option) -> str:
    allowed = ", ".join(str(v).lower() for v in option.allowed)
    what = "; ".join(filter(None, (f"one of {allowed}" if allowed else "", option.help)))
    default = str(option.default)
    return f"{what} (default {default if option.kind is str else default.lower()})"
