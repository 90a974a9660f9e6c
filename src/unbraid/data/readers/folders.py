"""A folder of files, one an item: which there are, and what their folders and names tell of them."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from string import Formatter
from typing import get_args

from unbraid.core.errors import DataError
from unbraid.data.factors import FactorKind, FactorTable
from unbraid.data.readers.check import brief
from unbraid.data.readers.tables import Column, factor_table


def find_files(folder: Path, suffixes: Collection[str]) -> list[str]:
    """The files below a folder whose names end so, as sorted paths relative to it; hidden ones are passed over."""
    found = []
    for at, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".")]
        inside = Path(at).relative_to(folder)
        for file in files:
            if not file.startswith(".") and Path(file).suffix.lower() in suffixes:
                found.append((inside / file).as_posix())
    return sorted(found)


def class_table(files: Sequence[str]) -> FactorTable:
    """What the folders tell: `class`, the folder that holds each file, and `folder`, the first one on its way.

    A class is missing for files beside such folders; the second factor is there when folders lie in folders.

    >>> class_table(["train/cat/0.png", "test/dog/0.png"]).names
    ('folder', 'class')
    """
    way = [file.split("/")[:-1] for file in files]
    if not any(way):
        return FactorTable.empty(len(files))
    columns = {"class": [folders[-1] if folders else None for folders in way]}
    if any(len(folders) > 1 for folders in way):
        columns = {"folder": [folders[0] if folders else None for folders in way], **columns}
    return FactorTable.from_columns(columns, dict.fromkeys(columns, "categorical"))


def name_table(files: Sequence[str], pattern: str, where: Path) -> FactorTable:
    """What the files' names tell by a pattern such as `{digit}_{speaker}_{take}`; the kinds as in `factor_table`.

    A pattern is held against the name without its suffix, and against as many folders before it as it has slashes. A
    field may say its kind: `{angle:circular}`.

    Args:
        files: Paths relative to `where`.
        pattern: Names of factors in braces, and the text between them.
        where: The folder, for errors.

    Raises:
        DataError: The pattern is none, or a name does not fit, or fits in more than one way.

    >>> table = name_table(["0_ann_7.wav", "1_bob_7.wav"], "{digit}_{speaker}_{take}", Path())
    >>> [(f.name, f.kind, f.labels) for f in table.factors[:2]]
    [('digit', 'ordinal', ('0', '1')), ('speaker', 'categorical', ('ann', 'bob'))]
    """
    names, texts = _fields(pattern)
    depth = pattern.count("/") + 1
    rows = []
    for file in files:
        name = "/".join(Path(file).with_suffix("").as_posix().split("/")[-depth:])
        values = _cut(name, texts)
        if values is None:
            fix = "give a pattern that fits every name, or move the file away"
            raise DataError(f"a name like {brief(pattern, 60)}", got=brief(name, 60), fix=fix, where=str(where / file))
        if values != _cut_from_end(name, texts):
            got = f"{brief(name, 60)}, which fits in several ways"
            raise DataError(f"a name like {brief(pattern, 60)}", got=got, fix="rename it", where=str(where / file))
        rows.append(values)
    columns: dict[str, Column] = {name: [row[j] for row in rows] for j, name in enumerate(names)}
    return factor_table(columns, len(files))


def _fields(pattern: str) -> tuple[list[str], list[str]]:
    """The fields of a pattern, and the texts before, between and behind them."""
    names: list[str] = []
    texts = [""]
    try:
        for text, name, kind, conversion in Formatter().parse(pattern):
            texts[-1] += text
            if name is None:
                continue
            if not name or conversion:
                raise ValueError("a field without a name" if not name else f"'!{conversion}'")
            if names and not texts[-1]:
                raise ValueError(f"nothing between two fields before '{name}'")
            if kind and kind not in get_args(FactorKind):
                raise ValueError(f"the kind '{kind}'")
            names.append(f"{name}:{kind}" if kind else name)
            texts.append("")
        if not names:
            raise ValueError("no field")
    except ValueError as error:
        fix = "write names of factors in braces, with text between them: '{digit}_{speaker}'"
        raise DataError("a pattern", got=f"{brief(pattern, 60)} ({error})", fix=fix, where="--pattern") from None
    if len(set(names)) < len(names):
        raise DataError("fields that differ", got=brief(pattern, 60), where="--pattern")
    return names, texts


def _cut(name: str, texts: Sequence[str]) -> list[str] | None:
    """The values between the texts, each as short as can be from the left; None when the name does not fit."""
    first, *between, last = texts
    if not (name.startswith(first) and name.endswith(last) and len(name) > len(first) + len(last)):
        return None
    rest, values = name[len(first) : len(name) - len(last)], []
    for text in between:
        at = rest.find(text, 1)
        if at < 0:
            return None
        values.append(rest[:at])
        rest = rest[at + len(text) :]
    return [*values, rest] if rest else None


def _cut_from_end(name: str, texts: Sequence[str]) -> list[str] | None:
    values = _cut(name[::-1], [text[::-1] for text in reversed(texts)])
    return None if values is None else [value[::-1] for value in reversed(values)]
