"""`open_data("sprites:size=32,colour=true")`: from the name or path on a command line to a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbraid.core.errors import DataError, nearest
from unbraid.data.dataset import Dataset


@dataclass(frozen=True)
class Source:
    """A data set that can be opened by name.

    Attributes:
        name: The name.
        summary: One line on what it is.
        options: Option -> what it takes and its default, for people.
    """

    name: str
    summary: str
    options: Mapping[str, str]


def _sprites(**options: Any) -> Dataset:
    from unbraid.data.made.sprites import Sprites

    return Sprites(**options)


def _discs() -> Dataset:
    from unbraid.data.made.discs import Discs

    return Discs()


def _digits(**options: Any) -> Dataset:
    from unbraid.data.digits import digits

    return digits(**options)


@dataclass(frozen=True)
class _Option:
    """How one option is read: its kind, its default, and the values it may take."""

    kind: type
    default: Any
    allowed: tuple[Any, ...] = ()
    help: str = ""


@dataclass(frozen=True)
class _Made:
    open: Callable[..., Dataset]
    summary: str
    options: Mapping[str, _Option]


_MADE: Mapping[str, _Made] = {
    "sprites": _Made(
        _sprites,
        "737,280 drawn shapes with the factors of dSprites: shape 3, scale 6, orientation 40, x 32, y 32",
        {
            "size": _Option(int, 32, (16, 32, 64)),
            "colour": _Option(bool, False, (True, False), "adds the circular factor hue 8"),
            "correlated": _Option(float, 0.0, help="a number from 0 to below 1: how strongly x and scale go together"),
        },
    ),
    "discs": _Made(_discs, "720 images of one disc, 16x16: x 6, y 6, radius 4, brightness 5", {}),
    "digits": _Made(
        _digits,
        "scikit-learn's 1,797 handwritten digits, with the factor digit",
        {"size": _Option(int, 16, (8, 16, 32))},
    ),
}


def sources() -> list[Source]:
    """Everything that can be opened by name alone.

    >>> [s.name for s in sources()][:3]
    ['sprites', 'discs', 'digits']
    """
    return [Source(name, m.summary, {k: _describe(o) for k, o in m.options.items()}) for name, m in _MADE.items()]


def open_data(spec: str, *, size: int | None = None, factors: Path | None = None) -> Dataset:
    """The data set of a name with options.

    >>> open_data("sprites:size=16,colour=true").fields["x"].shape
    (3, 16, 16)
    """
    name, _, tail = spec.partition(":")
    return _open_made(name, tail, size)


def _open_made(name: str, tail: str, size: int | None) -> Dataset:
    made = _MADE[name]
    options = _read_options(name, tail, made.options)
    if size is not None and "size" in made.options and "size" not in options:
        options["size"] = _read_value(name, "size", str(size), made.options["size"])
    return made.open(**options)


def _read_options(name: str, tail: str, known: Mapping[str, _Option]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in tail.split(","))):
        key, equals, text = (part.strip() for part in item.partition("="))
        if key not in known:
            fix = nearest(key, known) if known else f"{name} takes none"
            raise DataError(f"an option of {name}", got=f"'{key}'", fix=fix, where=f"--data {name}")
        if not equals:
            raise DataError(f"{key}=VALUE", got=f"'{item}'", fix=f"{key} takes {_describe(known[key])}", where=name)
        if key in options:
            raise DataError("each option once", got=f"'{key}' twice", where=f"--data {name}")
        options[key] = _read_value(name, key, text, known[key])
    return options


def _read_value(name: str, key: str, text: str, option: _Option) -> Any:
    readers: Mapping[type, Callable[[str], Any]] = {bool: _read_bool, int: int, float: float}
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


def _describe(option: _Option) -> str:
    allowed = ", ".join(str(v).lower() for v in option.allowed)
    what = "; ".join(filter(None, (f"one of {allowed}" if allowed else "", option.help)))
    return f"{what} (default {str(option.default).lower()})"
