"""Name or alias -> method, by a generated index for ours and by entry points for everybody's."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from unbraid.core.errors import ConfigError, nearest

ENTRY_POINTS = "unbraid.methods"
"""The entry-point group in which other packages name their methods: `my-method = "my_package.module:MyMethod"`."""


@dataclass(frozen=True)
class Entry:
    """Where a name leads.

    Attributes:
        name: The name or alias.
        target: "module:Class".
        overrides: Options that an alias sets.
        summary: One sentence.
        year: Year of the paper.
        parts: Names of the parts it learns; empty for methods of other packages.
    """

    name: str
    target: str
    overrides: Mapping[str, Any]
    summary: str
    year: int
    parts: tuple[str, ...] = ()

    @property
    def wing(self) -> str:
        """What it pulls apart: the package that its module is in, or the package of others."""
        path = self.target.partition(":")[0].split(".")
        return path[2] if path[:2] == ["unbraid", "methods"] else path[0]

    def load(self) -> Any:
        """The method class."""
        module, _, name = self.target.partition(":")
        return getattr(importlib.import_module(module), name)


@cache
def catalog() -> Mapping[str, Entry]:
    """Every known name, ours first.

    Raises:
        ConfigError: Two methods claim one name.
    """
    text = files("unbraid.methods").joinpath("index.json").read_text(encoding="utf-8")
    ours = {name: Entry(name, **{**e, "parts": tuple(e.get("parts", ()))}) for name, e in json.loads(text).items()}
    return merge(ours, foreign())


def foreign() -> list[Entry]:
    """Methods of other packages."""
    entries = []
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        entries.append(Entry(point.name, point.value, {}, f"from the package {point.module.partition('.')[0]}", 0))
    return entries


def merge(known: Mapping[str, Entry], others: list[Entry]) -> Mapping[str, Entry]:
    """All entries by name; a name claimed twice is refused.

    >>> merge({}, [Entry("a", "m:A", {}, "", 0), Entry("a", "n:A", {}, "", 0)])
    Traceback (most recent call last):
    unbraid.core.errors.ConfigError: method 'a': expected one owner of the name, got m:A and n:A; rename one of them
    """
    merged = dict(known)
    for entry in others:
        if entry.name in merged:
            owners = f"{merged[entry.name].target} and {entry.target}"
            raise ConfigError(
                "one owner of the name", got=owners, fix="rename one of them", where=f"method '{entry.name}'"
            )
        merged[entry.name] = entry
    return merged


def find(name: str) -> Entry:
    """The entry of a name.

    Raises:
        ConfigError: No such method; the nearest name is suggested.
    """
    known = catalog()
    if name not in known:
        raise ConfigError("the name of a method", got=f"'{name}'", fix=nearest(name, known))
    return known[name]
