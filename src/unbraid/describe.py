"""What a method is, as text and as a documentation page; generated from its card, config and parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from unbraid.core.action import actions
from unbraid.core.card import provenance
from unbraid.core.catalog import Entry
from unbraid.core.config import override, to_json
from unbraid.core.errors import ConfigError, nearest
from unbraid.core.method import capabilities


def describe(entry: Entry) -> str:
    """A method in plain text, for the terminal."""
    cls = entry.load()
    card = cls.card
    lines = [f"{entry.name}: {card.title} ({card.paper}, {card.year})", entry.summary, ""]
    lines += [f"parts:  {_parts(cls)}", f"can:    {', '.join(('encodes', *capabilities(cls)))}"]
    lines += [f"takes:  {port.name}: {port.help}" for port in card.ports]
    lines += [f"action: {a.name}: {a.summary}" for a in actions(cls).values()]
    lines += [f"claim:  {card.claim or 'none'}", f"presets: {', '.join(('paper', *cls.presets))}", "", "options:"]
    lines += [f"  {name} = {value}  ({by})" for name, value, by in options(entry)]
    return "\n".join(lines)


def listing(entries: Mapping[str, Entry]) -> list[str]:
    """The methods by wing, one a line: name, year, whether its claim holds, its parts, and what it does."""
    return _grouped(entries, {name: e.wing for name, e in entries.items()})


def wing_listing(entries: Mapping[str, Entry], wing: str) -> list[str]:
    """The methods of one wing by the kind of their objective.

    Raises:
        ConfigError: There is no such wing.
    """
    wings = {e.wing for e in entries.values()}
    if wing not in wings:
        raise ConfigError("the name of a wing", got=f"'{wing}'", fix=nearest(wing, wings), where="--wing")
    inside = {name: e for name, e in entries.items() if e.wing == wing}
    return _grouped(inside, {name: e.load().card.family or "others" for name, e in inside.items()})


def _grouped(entries: Mapping[str, Entry], groups: Mapping[str, str]) -> list[str]:
    from unbraid.claims.table import by_method, measured
    from unbraid.claims.verdict import of_method

    verdicts = {name: of_method(rows) for name, rows in by_method(measured()).items()}
    lines: list[str] = []
    for group in sorted(set(groups.values())):
        lines += [*([""] if lines else []), group]
        for name, e in entries.items():
            if groups[name] == group:
                claim = verdicts.get(name) or ("as " + _owner(name, entries) if e.overrides else "no claim")
                lines.append(f"  {name:<18} {e.year or '':<5} {claim:<16} {', '.join(e.parts):<32} {e.summary}")
    return lines


def _owner(name: str, entries: Mapping[str, Entry]) -> str:
    return next(n for n, e in entries.items() if e.target == entries[name].target and not e.overrides)


def options(entry: Entry) -> list[tuple[str, str, str]]:
    """Option, default and who says so, for each field of a method's config."""
    config = override(entry.load().Config(), entry.overrides)
    by = provenance(type(config))
    names = [f.name for f in dataclasses.fields(config)]
    told = {name: "alias" if name in entry.overrides else by[name] for name in names}
    return [(name, _short(to_json(getattr(config, name))), told[name]) for name in names]


def _short(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return ", ".join(f"{k} {_short(v)}" for k, v in value.items() if v not in (None, 0, 0.0, [], {}))


def _parts(cls: Any) -> str:
    from unbraid.verbs.trying import tiny_method

    said = []
    for spec in tiny_method(cls).parts():
        roles = [*(f"carries {r}" for r in spec.carries), *(f"free of {r}" for r in spec.free_of)]
        roles += ["each column one factor"] if spec.one else []
        roles += [f"{spec.classes} values each" if spec.classes else "continuous"]
        said.append(f"{spec.name} ({spec.kind}; {', '.join(roles)})")
    return "; ".join(said)
