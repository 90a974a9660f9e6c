"""Generates `unbraid/methods/index.json` from the method modules: `python -m unbraid.testing.index`."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import unbraid.methods
from unbraid.core.errors import ConfigError
from unbraid.core.method import Method
from unbraid.verbs.trying import tiny_method


def entries() -> dict[str, dict[str, Any]]:
    """Name or alias -> entry, for every method class with a card of its own.

    Raises:
        ConfigError: Two classes claim one name.
    """
    found: dict[str, dict[str, Any]] = {}
    for cls in _classes():
        target, card = f"{cls.__module__}:{cls.__qualname__}", cls.card
        own = {card.name: {}, **(cls.aliases if "aliases" in vars(cls) else {})}
        for name, overrides in own.items():
            if name in found:
                raise ConfigError(f"one owner of the name '{name}'", got=f"{found[name]['target']} and {target}")
            found[name] = {
                "target": target,
                "overrides": dict(overrides),
                "summary": cls.about.get(name, card.summary),
                "year": card.year,
                "parts": [spec.name for spec in tiny_method(cls, overrides).parts()],
            }
    return dict(sorted(found.items()))


def rendered() -> str:
    """The text of the index file."""
    return json.dumps(entries(), indent=1, ensure_ascii=False) + "\n"


def _classes() -> Iterator[type[Method[Any]]]:
    for module in pkgutil.walk_packages(unbraid.methods.__path__, "unbraid.methods."):
        for value in vars(importlib.import_module(module.name)).values():
            mine = isinstance(value, type) and issubclass(value, Method) and value.__module__ == module.name
            if mine and "card" in vars(value):
                yield value


if __name__ == "__main__":
    text = rendered()  # before the file is touched, for the methods themselves may need it
    with open(str(files("unbraid.methods").joinpath("index.json")), "w", encoding="utf-8") as file:
        file.write(text)
