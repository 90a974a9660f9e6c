"""What a run's `run.json` says, in words: what was trained on what, and how to do it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from unbraid.report.words import DASH, duration, finite, listed, number

Facts = Mapping[str, Any]

_ASKED = ("preset", "steps", "seed", "precision", "device")


def data_name(facts: Facts) -> str:
    """The data set as the user named it."""
    data = facts.get("data")
    named = data.get("name") or data.get("source") if isinstance(data, Mapping) else data
    return str(named or (facts.get("request") or {}).get("data") or "data")


def short_data_name(facts: Facts) -> str:
    """Without options and folders.

    >>> short_data_name({"data": {"name": "sprites:size=32,colour=false"}}), short_data_name({"data": "../d/mnist/"})
    ('sprites', 'mnist')
    """
    name = data_name(facts)
    return (name.partition(":")[0] if "/" not in name else name.rstrip("/").rpartition("/")[2]) or name


def sentence(facts: Facts) -> str:
    """What was trained, on what, for how long."""
    method = str(facts.get("method", "A method"))
    said = f"{method} was trained on {short_data_name(facts)}"
    if about := _about_data(facts):
        said += f" ({about})"
    steps, seconds = _steps(facts), _seconds(facts)
    said += f" for {number(steps)} steps" if steps is not None else ""
    said += f" in {duration(seconds)}" if seconds is not None else ""
    said += f" with seed {facts['seed']}" if facts.get("seed") is not None else ""
    status = facts.get("status")
    if status in ("starting", "training"):
        said += "; it is not finished"
    summary = str(facts.get("summary") or "").rstrip(".")
    summary = summary[:1].upper() + summary[1:]
    return f"{said}. {summary}." if summary else f"{said}."


def paper(facts: Facts) -> str:
    """Title and identifier of the method's paper."""
    return ", ".join(str(facts[k]) for k in ("title", "paper", "year") if facts.get(k))


def command(facts: Facts) -> str:
    """The command line that makes this run again."""
    request = facts.get("request") or {}
    if said := request.get("command") or facts.get("command"):
        return said if isinstance(said, str) else shlex.join(str(word) for word in said)
    words = ["unbraid", "train", str(facts.get("method") or request.get("method") or ""), "--data"]
    words.append(str(request.get("data") or data_name(facts)))
    for name in _ASKED:
        value = request.get(name, facts.get(name) if name == "seed" else None)
        words += [f"--{name}", str(value)] if value is not None else []
    changes = request.get("set") or {}
    pairs = [f"{k}={v}" for k, v in changes.items()] if isinstance(changes, Mapping) else list(changes)
    for pair in pairs:
        words += ["--set", str(pair)]
    return shlex.join(word for word in words if word)


def reproduction(facts: Facts) -> list[tuple[str, str]]:
    """What must be the same for the same bits, and what else is on record."""
    data = facts.get("data")
    hashed = data.get("hash") if isinstance(data, Mapping) else facts.get("hash")
    versions = facts.get("versions") or {}
    said = {
        "Seed": facts.get("seed"),
        "Data": data_name(facts),
        "Data hash": hashed,
        "Device": facts.get("device"),
        "Threads": facts.get("threads"),
        "Processes": facts.get("processes") if facts.get("processes") != 1 else None,
        "Precision": facts.get("precision"),
        "Versions": listed([f"{k} {v}" for k, v in versions.items()], "and") if isinstance(versions, Mapping) else "",
        "Started": facts.get("started"),
        "Duration": duration(_seconds(facts)) if _seconds(facts) is not None else None,
    }
    return [(name, str(value)) for name, value in said.items() if value not in (None, "", DASH)]


def options(config: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A config as dotted names and values.

    >>> options({"beta": 4.0, "optim": {"lr": 0.001}, "widths": [8, 8]})
    [('beta', '4.0'), ('optim.lr', '0.001'), ('widths', '8, 8')]
    """
    if not isinstance(config, Mapping):
        return []
    found: list[tuple[str, str]] = []
    for name, value in config.items():
        if isinstance(value, Mapping):
            found += options(value, f"{prefix}{name}.")
        elif value is not None and value != []:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            found.append((f"{prefix}{name}", text))
    return found


def _about_data(facts: Facts) -> str:
    data = facts.get("data")
    items = finite(data.get("items") or data.get("size")) if isinstance(data, Mapping) else None
    shape = ((facts.get("fields") or {}).get("x") or {}).get("shape") or []
    said = [f"{number(items)} items"] if items is not None else []
    said += [" × ".join(str(n) for n in shape) + (" numbers" if len(shape) == 1 else "")] if shape else []
    return " of ".join(said)


def _steps(facts: Facts) -> float | None:
    for place in (facts, facts.get("budget"), facts.get("config"), facts.get("request")):
        if isinstance(place, Mapping) and (steps := finite(place.get("steps"))) is not None:
            return steps
    return None


def _seconds(facts: Facts) -> float | None:
    for name in ("seconds", "duration"):
        if (seconds := finite(facts.get(name))) is not None:
            return seconds
    return None
