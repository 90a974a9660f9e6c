"""What a method says about itself: its paper, its parts' purpose, and where each default comes from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from unbraid.core.given import Port

Provenance = Literal["paper", "code", "second", "memory", "ours"]
"""Who says that a default is right: the paper, the authors' code, a second source, memory, or we ourselves."""


@dataclass(frozen=True)
class Card:
    """The identity of a method.

    Attributes:
        name: The name on the command line.
        title: The paper's title, or the usual name of the method.
        paper: An identifier such as "arXiv:2305.18378".
        year: Year of publication.
        number: The system's number among the 51, or None.
        summary: One sentence: what it learns and how.
        needs: Batch fields that the method reads.
        wants: Batch fields that it reads where the data have them, to judge itself by.
        partly: Fields among these that may be unknown for some items, which then have -1 there.
        scope: What `encode` depends on: one item, its batch, or the whole data set.
        claim: What `unbraid verify` tests, in one sentence.
        extras: Optional dependencies.
        ports: Networks that it takes from outside.
        example: Data to try it on, as `open_data` takes them.
        tiny: Very few data of the kind it needs, on which the contract is checked; made vectors where empty.
        family: What kind of objective it has, within its wing.
    """

    name: str
    title: str
    paper: str
    year: int
    summary: str
    number: int | None = None
    modality: tuple[str, ...] = ("image", "vector")
    needs: tuple[str, ...] = ("x",)
    wants: tuple[str, ...] = ()
    partly: tuple[str, ...] = ()
    scope: Literal["item", "batch", "data"] = "item"
    claim: str = ""
    extras: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    example: str = "sprites"
    tiny: str = ""
    family: str = ""


def told(default: Any, by: Provenance) -> Any:
    """A config field with its default and the provenance of that default.

    >>> @dataclass(frozen=True)
    ... class Config:
    ...     beta: float = told(4.0, by="paper")
    >>> provenance(Config)
    {'beta': 'paper'}
    """
    return dataclasses.field(default=default, metadata={"by": by})


def provenance(config: type) -> dict[str, str]:
    """Config field -> who says that its default is right ("ours" when nobody was named)."""
    return {f.name: f.metadata.get("by", "ours") for f in dataclasses.fields(config)}
