"""What a method is, as text and as a documentation page; generated from its card, config and parts."""

from __future__ import annotations

import dataclasses
from typing import Any

from unbraid.core.card import provenance
from unbraid.core.catalog import Entry
from unbraid.core.config import override, to_json
from unbraid.core.method import capabilities


def describe(entry: Entry) -> str:
    """A method in plain text, for the terminal."""
    cls = entry.load()
    card = cls.card
    lines = [f"{entry.name}: {card.title} ({card.paper}, {card.year})", card.summary, ""]
    lines += [f"parts:  {_parts(cls)}", f"can:    {', '.join(('encodes', *capabilities(cls)))}"]
    lines += [f"claim:  {card.claim or 'none'}", f"presets: {', '.join(('paper', *cls.presets))}", "", "options:"]
    lines += [f"  {name} = {value}  ({by})" for name, value, by in options(entry)]
    return "\n".join(lines)


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
    from unbraid.core.fields import Field, Fields
    from unbraid.training.build import build

    config = override(cls.Config(), cls.presets.get("tiny", {}))
    method = build(
        cls, config, Fields(**{**{name: Field(()) for name in cls.card.needs}, "x": Field((1, 16, 16), unit=True)})
    )
    said = []
    for spec in method.parts():
        roles = [*(f"carries {r}" for r in spec.carries), *(f"free of {r}" for r in spec.free_of)]
        roles += ["each column one factor"] if spec.one else []
        roles += [f"{spec.classes} values each" if spec.classes else "continuous"]
        said.append(f"{spec.name} ({spec.kind}; {', '.join(roles)})")
    return "; ".join(said)
