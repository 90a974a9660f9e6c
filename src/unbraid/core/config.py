"""Configs as plain data: to JSON and back, and changed by "key=value" texts, with one clear line for a wrong one."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, TypeVar, Union

from unbraid.core.errors import ConfigError, nearest

T = TypeVar("T")


def to_json(config: Any) -> Any:
    """A frozen dataclass as dicts, lists and scalars."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: to_json(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, tuple | list):
        return [to_json(v) for v in config]
    if isinstance(config, frozenset):
        return sorted(config)
    return config


def from_json(cls: type[T], data: Mapping[str, Any], where: str = "") -> T:
    """The dataclass that `to_json` came from; missing keys keep their defaults.

    Raises:
        ConfigError: Naming the key, what is allowed and what came.
    """
    hints = typing.get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for key in data:
        if key not in known:
            raise ConfigError("the name of an option", got=f"'{where}{key}'", fix=nearest(key, known))
    return cls(**{key: _typed(hints[key], value, f"{where}{key}") for key, value in data.items()})


def override(config: T, changes: Mapping[str, Any]) -> T:
    """The config with some options changed; keys may be dotted, values may be text.

    Raises:
        ConfigError: Naming the key, what is allowed and what came.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Config:
    ...     widths: tuple[int, ...] = (8, 8)
    ...     lr: float = 1e-3
    >>> override(Config(), {"lr": "1e-4", "widths": "16,32"})
    Config(widths=(16, 32), lr=0.0001)
    """
    for key, value in changes.items():
        config = _override(config, key.split("."), value, key)
    return config


def _override(config: Any, path: list[str], value: Any, key: str) -> Any:
    known = [f.name for f in dataclasses.fields(config)]
    if path[0] not in known:
        raise ConfigError("the name of an option", got=f"'{key}'", fix=nearest(path[0], known))
    if len(path) > 1:
        inner = getattr(config, path[0])
        if not dataclasses.is_dataclass(inner):
            raise ConfigError(f"'{path[0]}' alone, which has no options of its own", got=f"'{key}'")
        return dataclasses.replace(config, **{path[0]: _override(inner, path[1:], value, key)})
    hint = typing.get_type_hints(type(config))[path[0]]
    return dataclasses.replace(config, **{path[0]: _typed(hint, value, key)})


def _typed(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _union(args, value, where)
    if origin is Literal:
        if value not in args:
            raise ConfigError("one of " + ", ".join(map(str, args)), got=f"'{value}'", where=where)
        return value
    if origin in (tuple, frozenset):
        return _sequence(origin, args, value, where)
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise ConfigError("a table of names and values", got=repr(value), where=where)
        return {str(key): _typed(args[1], inner, f"{where}.{key}") for key, inner in value.items()}
    if dataclasses.is_dataclass(hint):
        if isinstance(value, Mapping):
            return from_json(typing.cast(type[Any], hint), value, f"{where}.")
        if isinstance(value, typing.cast(type[Any], hint)):
            return value
        raise ConfigError(
            "its options one by one", got=f"'{value}'", fix=f"set {where}.lr=... for example", where=where
        )
    return _scalar(hint, value, where)


def _union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None or (value == "none" and type(None) in args):
        return None
    tried = [a for a in args if a is not type(None)]
    for hint in tried[:-1]:
        try:
            return _typed(hint, value, where)
        except ConfigError:
            continue
    return _typed(tried[-1], value, where)


def _sequence(origin: Any, args: tuple[Any, ...], value: Any, where: str) -> Any:
    if isinstance(value, str):
        value = _listed(value)
    if not isinstance(value, list | tuple | set | frozenset):
        raise ConfigError("values separated by commas", got=f"'{value}'", where=where)
    if origin is tuple and len(args) == 2 and args[1] is not Ellipsis and len(value) != 2:
        raise ConfigError("two values separated by a comma", got=f"'{value}'", where=where)
    inner = args[0] if args else str
    return origin(_typed(inner, v, where) for v in value)


def _listed(text: str) -> list[Any]:
    """Values of a text: a list in JSON, in which they may hold commas themselves, or separated by commas."""
    with suppress(ValueError):
        if isinstance(found := json.loads(text), list):
            return found
    return [v for v in text.strip("()[] ").replace(" ", "").split(",") if v]


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is bool:
        text = str(value).lower()
        if text not in ("true", "false", "1", "0", "yes", "no"):
            raise ConfigError("true or false", got=f"'{value}'", where=where)
        return text in ("true", "1", "yes")
    if hint in (int, float):
        try:
            number = float(value)
            if number != number or (hint is int and number != int(number)):
                raise ValueError
            return hint(number)
        except (TypeError, ValueError, OverflowError):
            kind = "a whole number" if hint is int else "a number"
            raise ConfigError(kind, got=f"'{value}'", where=where) from None
    if hint is str:
        return str(value)
    return value
