"""Executable claims: does a method do what it is known for, here, now, against its own ablation?

A module of this package that defines `CLAIM` holds the claim of the method it is named after (dashes as underscores).
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unbraid.core.catalog import Entry, catalog, find
from unbraid.core.errors import ConfigError, nearest

if TYPE_CHECKING:
    from unbraid.claims.claim import Claim, Result
    from unbraid.training.progress import Progress

__all__ = ["claim_of", "claimed", "verify", "verify_command"]


def verify(
    names: str | Sequence[str], seeds: Sequence[int] | None = None, progress: Progress | None = None
) -> list[Result]:
    """Measure what methods are claimed to do.

    Args:
        names: One method or several; an alias runs its method's claim with the alias's options.
        seeds: Instead of those that each claim reports.
        progress: Who is told how far it is.

    Returns:
        One row per assertion and per reported number, method by method.

    Raises:
        ConfigError: A name is unknown or has no claim.
    """
    asked = [names] if isinstance(names, str) else list(names)
    claims = [(name, claim_of(name)) for name in dict.fromkeys(asked)]
    from unbraid.claims.run import run

    return run(claims, seeds, progress)


def verify_command(
    names: Sequence[str],
    all_: bool = False,
    seeds: str | None = None,
    json_: Path | None = None,
    progress: Progress | None = None,
) -> str:
    """What `unbraid verify` does.

    Args:
        names: Methods.
        all_: Every method that has a claim.
        seeds: As text, separated by commas; each claim's own where None.
        json_: Where the rows go, complete or not at all.
        progress: Who is told how far it is.

    Returns:
        The table for the terminal.

    Raises:
        ConfigError: Nothing was named, or something wrong.
    """
    if not names and not all_:
        raise ConfigError("the names of methods, or --all", got="none", fix=f"choose from {', '.join(claimed())}")
    chosen = None if seeds is None else seeds_of(seeds)
    if json_ is not None and (json_.is_dir() or not json_.absolute().parent.is_dir()):
        raise ConfigError("a file in a folder that exists", got=str(json_), where="--json")
    results = verify([*names, *(claimed() if all_ else ())], chosen, progress)
    if json_ is not None:
        from unbraid.training.files import write_json

        write_json(json_, [result.to_json() for result in results])
    from unbraid.claims.table import terminal

    return terminal(results)


def claimed() -> list[str]:
    """The names of the catalog that can be verified."""
    return [name for name, entry in catalog().items() if _module(name) and _claims(name, entry)]


def claim_of(name: str) -> Claim:
    """The claim of a method or alias.

    Raises:
        ConfigError: No such method, or it has no claim.
    """
    find(name)
    module = _module(name)
    if module is None:
        raise ConfigError("a method that has a claim", got=f"'{name}'", fix=nearest(name, claimed()))
    claim: Claim = importlib.import_module(module).CLAIM
    if not _claims(name, find(name)):
        fix = f"run `unbraid verify {claim.method}`, which may have it among its arms"
        raise ConfigError("a method with a claim of its own", got=f"'{name}', a variant", fix=fix)
    return claim


def seeds_of(text: str) -> list[int]:
    """Different whole numbers from a text.

    >>> seeds_of("11, 12")
    [11, 12]
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and word.isascii() for word in words) or len(set(map(int, words))) < len(words):
        raise ConfigError("different whole numbers separated by commas", got=f"'{text}'", where="--seeds")
    return [int(word) for word in words]


def _claims(name: str, entry: Entry) -> bool:
    """Whether a name is a method's own, or that of an alias which claims the same."""
    module = _module(name)
    return not entry.overrides or (module is not None and name in importlib.import_module(module).CLAIM.aliases)


def _module(name: str) -> str | None:
    """The module with the claim of a name; aliases look where their method does."""
    target = find(name).target
    owner = next((n for n, e in catalog().items() if e.target == target and not e.overrides), name)
    stem = owner.replace("-", "_")
    module = f"{__name__}.{stem}"
    if not stem.isidentifier() or importlib.util.find_spec(module) is None:
        return None
    return module if hasattr(importlib.import_module(module), "CLAIM") else None
