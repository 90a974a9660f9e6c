"""Take a factor out of codes: fitted to some rows, applied to all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.data.factors import FactorTable
from unbraid.ops.erasure import Concept, Erasure, leace, rasa

How = Literal["leace", "rasa", "rasa-exact"]
"""LEACE in closed form; RASA's chain of planes with trained heads, or with least squares."""

ROUNDS = 9


@dataclass(frozen=True)
class Erased:
    """Codes without a factor.

    Attributes:
        parts: All parts; those that were asked for without the factor.
        maps: Part -> what was done to it, which also takes the factor out of new codes.
        rows: Items that the maps were fitted to.
    """

    parts: Mapping[str, Float[np.ndarray, "n d"]]
    maps: Mapping[str, Erasure]
    rows: int


def erase(
    parts: Mapping[str, Float[np.ndarray, "n d"]],
    table: FactorTable,
    factors: Sequence[str],
    *,
    how: How = "leace",
    rounds: int = ROUNDS,
    fit: Bool[np.ndarray, " n"] | None = None,
    names: Sequence[str] = (),
) -> Erased:
    """Take factors out of codes by a linear map for each part.

    Args:
        parts: Part -> codes (N, D).
        table: What is known of the items.
        factors: What to take out, all at once.
        how: The map.
        rounds: Planes at most that RASA takes out.
        fit: Items that the map is fitted to; all where None. Those of which a factor is not known are left out.
        names: The parts; all where there are none.

    Raises:
        ConfigError: No such factor, part or way.
        DataError: Nothing is known to fit to, or codes are not finite.

    >>> rng = np.random.default_rng(0)
    >>> site = np.arange(100) % 2
    >>> codes = rng.normal(size=(100, 4)) + 3.0 * site[:, None]
    >>> found = erase({"code": codes}, FactorTable.from_columns({"site": list("ab") * 50}), ["site"])
    >>> clean = found.parts["code"]
    >>> bool(np.abs(clean[site == 0].mean(0) - clean[site == 1].mean(0)).max() < 1e-12), found.maps["code"].rank
    (True, 1)
    """
    if how not in get_args(How):
        raise ConfigError(f"one of {', '.join(get_args(How))}", got=f"'{how}'", fix=nearest(how, get_args(How)))
    if rounds < 1:
        raise ConfigError("at least 1 round", got=str(rounds), where="rounds")
    for name in names:
        if name not in parts:
            raise ConfigError("the name of a part", got=f"'{name}'", fix=nearest(name, parts))
    if not factors:
        raise ConfigError("a factor to take out", got="none", fix=f"name one of {', '.join(table.names)}")
    known = np.ones(len(table), dtype=bool) if fit is None else fit.copy()
    for name in factors:
        known &= ~np.isnan(table.column(name))
    rows = torch.from_numpy(np.flatnonzero(known))
    concepts = [concept(table, name, rows) for name in factors]
    new, maps = dict(parts), {}
    for name in names or parts:
        codes = torch.from_numpy(np.asarray(parts[name]))
        if not codes.isfinite().all():
            raise DataError("finite codes", got="others", where=f"part '{name}'")
        maps[name] = leace(codes[rows], concepts) if how == "leace" else _rasa(codes[rows], concepts, rounds, how)
        new[name] = maps[name](codes).numpy()
    return Erased(new, maps, len(rows))


def _rasa(codes: Tensor, concepts: Sequence[Concept], rounds: int, how: How) -> Erasure:
    return rasa(codes, concepts, rounds, exact=how == "rasa-exact")


def concept(table: FactorTable, name: str, rows: Tensor) -> Concept:
    """A factor of some items as what a map takes out.

    Classes are one-hot. Values that have an order are numbers, from 0 to 1, so that they take up one direction and not
    as many as there are values; those on a circle are its two coordinates.

    Args:
        table: What is known of items.
        name: The factor.
        rows: Items, of all of which it is known.

    Raises:
        DataError: All items have the same value, or there are none.
    """
    factor = table.factor(name)
    values = torch.from_numpy(table.column(name))[rows]
    distinct, codes = torch.unique(values, return_inverse=True)
    if len(distinct) < 2:
        got = "no item with a value" if not len(distinct) else "one value"
        fix = "give more rows whose value is known"
        raise DataError("two values among the rows to fit to", got=got, fix=fix, where=f"factor '{name}'")
    if factor.kind == "categorical":
        return Concept(torch.nn.functional.one_hot(codes, len(distinct)).double(), classes=True)
    if factor.kind == "circular":
        angle = 2 * torch.pi * values / max(1, factor.size)
        return Concept(torch.stack([angle.sin() + 1, angle.cos() + 1], 1) / 2, classes=False)
    return Concept(((values - distinct[0]) / (distinct[-1] - distinct[0]))[:, None], classes=False)
