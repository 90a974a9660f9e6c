"""What each part was declared to know, in terms of factors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from unbraid.audit.rows import Declared
from unbraid.core.errors import ConfigError, nearest
from unbraid.core.parts import PartSpec

Declarations = Mapping[str, Sequence[str]]
"""Part (or column) -> roles or factors."""


@dataclass(frozen=True)
class Roles:
    """Declarations resolved against the factors that there are.

    Attributes:
        pairs: (part or column, factor) -> what was declared.
        unmapped: (part, role, what was declared) of roles that no factor is mapped to.
    """

    pairs: Mapping[tuple[str, str], Declared]
    unmapped: tuple[tuple[str, str, Declared], ...]

    def of(self, name: str, factor: str) -> Declared:
        """What the part or column was declared to do with the factor."""
        return self.pairs.get((name, factor), "")


def resolve(
    specs: Sequence[PartSpec] | None,
    carries: Declarations,
    free_of: Declarations,
    roles: Mapping[str, str],
    factors: Sequence[str],
    parts: Iterable[str],
) -> Roles:
    """Declarations of the parts' specs and of the caller; the caller's own must name what is there.

    Raises:
        ConfigError: The caller names a part or factor that is not there, or declares a pair both ways.
    """
    known = set(parts)
    for factor in roles.values():
        _check(factor, factors, "a factor that is there")
    pairs: dict[tuple[str, str], Declared] = {}
    unmapped: list[tuple[str, str, Declared]] = []
    declared: list[tuple[Declared, Declarations]] = [("carries", carries), ("free_of", free_of)]
    for what, declarations in declared:
        for part, names in declarations.items():
            _check(part, known, "a part that is there")
            for role in [names] if isinstance(names, str) else names:
                factor = roles.get(role, role)
                _check(factor, factors, "a factor that is there")
                if pairs.setdefault((part, factor), what) != what:
                    raise ConfigError("a factor either carried or absent", got=f"'{factor}' both ways", where=part)
    for spec in specs or ():
        for what, names in (("carries", spec.carries), ("free_of", spec.free_of)):
            for role in names:
                factor = roles.get(role, role)
                if factor in factors:
                    pairs.setdefault((spec.name, factor), what)
                else:
                    unmapped.append((spec.name, role, what))
    return Roles(pairs, tuple(unmapped))


def _check(name: str, known: Iterable[str], what: str) -> None:
    if name not in set(known):
        raise ConfigError(what, got=f"'{name}'", fix=nearest(name, known))
