"""Who took what: pairs of a user and an item, some of them held out, with what is known of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.core.fields import Field, Fields
from unbraid.data.dataset import Dataset, Device, content_hash, rows_of
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.order import key_of, shuffled

Split = Literal["random", "time"]


@dataclass(frozen=True)
class Side:
    """All users, or all items.

    Attributes:
        ids: What each is called in the file.
        table: What is known of each.
        titles: What people call each; empty where nobody said.
    """

    ids: Sequence[str]
    table: FactorTable
    titles: Sequence[str] = ()

    @classmethod
    def plain(cls, count: int) -> Side:
        """So many, of which nothing is known."""
        return cls([str(i) for i in range(count)], FactorTable.empty(count))


class Nodes(Dataset):
    """The users, then the items, as what is encoded and audited.

    Factors are `kind` (user or item), `degree` (interactions in training, by powers of two) and what is known of
    either side; what is known of one side only is missing on the other.
    """

    def __init__(self, name: str, users: Side, items: Side, degrees: Int[Tensor, " nodes"]) -> None:
        self.name = name
        self._ids = [*(f"user {i}" for i in users.ids), *(f"item {i}" for i in items.ids)]
        self._table = _node_table(users.table, items.table, degrees)
        self._codes, self._known = self._table.codes()
        self.factors = self._table.factors
        n, k = len(self._ids), len(self.factors)
        self.fields = Fields(
            node=Field((), "int64", classes=n),
            index=Field((), "int64"),
            factors=Field((k,)),
            known=Field((k,), "bool"),
        )

    def __len__(self) -> int:
        return len(self._ids)

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        where = indices.cpu()
        factors, known = rows_of(self._codes, where), rows_of(self._known, where)
        where = where.to(device)
        return {"node": where, "index": where, "factors": factors.to(device), "known": known.to(device)}

    def table(self, indices: Int[Tensor, " n"]) -> FactorTable:
        return self._table.rows(indices.cpu())

    @property
    def hash(self) -> str:
        return content_hash({"ids": self._ids, "factors": self._codes, "known": self._known, "names": self.factors})

    def ids(self, indices: Int[Tensor, " n"]) -> list[str]:
        return [self._ids[int(i)] for i in indices]


class Interactions(Dataset):
    """The interactions to learn from, each a user and an item, in the order of the users.

    Args:
        name: What it is called in reports.
        train: Pairs (user, item) to learn from.
        held: Pairs held out.
        users: All users.
        items: All items.
        roles: Role of a part -> factor of the nodes that it should know.
        table: What is known of each pair of `train`.
        notes: What a reader of results should know.

    Attributes:
        starts: Where the interactions of each user begin, and the number of all.
        held: The pairs held out.

    >>> pairs = torch.tensor([[1, 0], [0, 2], [1, 2]])
    >>> data = Interactions("three", pairs, pairs[:0], Side.plain(2), Side.plain(3))
    >>> batch = data.take(torch.tensor([0, 2]))
    >>> batch["user"].tolist(), batch["item"].tolist(), len(data.audited)
    ([0, 1], [2, 2], 5)
    """

    def __init__(
        self,
        name: str,
        train: Int[Tensor, "pairs 2"],
        held: Int[Tensor, "held 2"],
        users: Side,
        items: Side,
        roles: dict[str, str] | None = None,
        table: FactorTable | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        if not len(train):
            raise DataError("at least one interaction to learn from", got="none", where=name)
        order = (train[:, 0] * len(items.ids) + train[:, 1]).argsort(stable=True)
        self.name, self.notes, self.roles = name, tuple(notes), dict(roles or {})
        self.users, self.items = users, items
        self._pairs, self.held = train[order], held
        self._table = (table if table is not None else FactorTable.empty(len(train))).rows(order)
        self._codes, self._known = self._table.codes()
        self.factors = self._table.factors
        self.starts = torch.searchsorted(self._pairs[:, 0].contiguous(), torch.arange(len(users.ids) + 1))
        fields: dict[str, Field] = {
            "user": Field((), "int64", classes=len(users.ids)),
            "item": Field((), "int64", classes=len(items.ids)),
            "index": Field((), "int64"),
        }
        if self.factors:
            fields |= {"factors": Field((len(self.factors),)), "known": Field((len(self.factors),), "bool")}
        self.fields = Fields(**fields)
        nodes = torch.cat([self._pairs[:, 0], len(users.ids) + self._pairs[:, 1]])
        degrees = torch.bincount(nodes, minlength=len(users.ids) + len(items.ids))
        self._nodes = Nodes(f"{name} (users and items)", users, items, degrees)

    def __len__(self) -> int:
        return len(self._pairs)

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        where = indices.cpu()
        pairs = rows_of(self._pairs, where).to(device)
        batch = {"user": pairs[..., 0], "item": pairs[..., 1], "index": where.to(device)}
        if self.factors:
            batch |= {
                "factors": rows_of(self._codes, where).to(device),
                "known": rows_of(self._known, where).to(device),
            }
        return batch

    def table(self, indices: Int[Tensor, " n"]) -> FactorTable:
        return self._table.rows(indices.cpu())

    @property
    def audited(self) -> Nodes:
        return self._nodes

    @property
    def hash(self) -> str:
        content = {"train": self._pairs, "held": self.held, "codes": self._codes, "factors": self.factors}
        return content_hash({**content, "nodes": self._nodes.hash})

    def ids(self, indices: Int[Tensor, " n"]) -> list[str]:
        pairs = self._pairs[indices.cpu()].tolist()
        return [f"{self.users.ids[user]} {self.items.ids[item]}" for user, item in pairs]


def by_user(source: Any, indices: Int[Tensor, " batch"], generator: torch.Generator) -> Int[Tensor, " batch"]:
    """As many interactions, each of a user drawn evenly among the users, who takes one of his own evenly.

    Raises:
        DataError: The data are not interactions.
    """
    if not isinstance(source, Interactions):
        raise DataError("interactions of users with items", got=type(source).__name__, fix="use interactions:PATH")
    counts = source.starts.diff()
    active = counts.nonzero().squeeze(1)
    users = active[torch.randint(len(active), (len(indices),), generator=generator)]
    within = torch.rand(len(indices), generator=generator, dtype=torch.float64) * counts[users]
    return source.starts[users] + within.long()


def in_core(users: Int[np.ndarray, " n"], items: Int[np.ndarray, " n"], core: int) -> Bool[np.ndarray, " n"]:
    """Which pairs are left once users and items with fewer than `core` of them are taken out, again and again.

    >>> in_core(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 1]), 2).tolist()
    [True, True, True, True, False]
    """
    left = np.ones(len(users), dtype=bool)
    while True:
        enough = left.copy()
        for side in (users, items):
            counts = np.bincount(side[left], minlength=int(side.max(initial=0)) + 1)
            enough &= counts[side] >= core
        if (enough == left).all():
            return left
        left = enough


def hold_out(
    users: Int[np.ndarray, " n"], share: float, *, time: Float[np.ndarray, " n"] | None = None, seed: int = 0
) -> Bool[np.ndarray, " n"]:
    """Which pairs are held out: of each user the share, rounded to whole pairs, but never all.

    Args:
        users: The user of each pair.
        share: From 0 to below 1.
        time: When each pair came about: the last of each user are held out. None draws them by the seed.
        seed: Which of the many ways.

    >>> hold_out(np.array([3, 3, 3, 3, 7]), 0.25, time=np.array([4.0, 1.0, 2.0, 3.0, 0.0])).tolist()
    [True, False, False, False, False]
    """
    if not 0 <= share < 1:
        raise DataError("a share from 0 to below 1", got=f"{share:g}", where="test")
    n = len(users)
    drawn = shuffled(n, key_of(seed, "held out"), torch.arange(n)).numpy() if n else np.zeros(0, dtype=np.int64)
    order = np.lexsort((drawn, drawn if time is None else time, users))
    _, first, counts = np.unique(users[order], return_index=True, return_counts=True)
    kept = np.maximum(counts - np.floor(counts * share + 0.5).astype(np.int64), 1)
    held = np.zeros(n, dtype=bool)
    held[order] = np.arange(n) - np.repeat(first, counts) >= np.repeat(kept, counts)
    return held


def _node_table(users: FactorTable, items: FactorTable, degrees: Int[Tensor, " nodes"]) -> FactorTable:
    n, m = len(users), len(items)
    kind = np.repeat([0.0, 1.0], [n, m])
    bins = np.floor(np.log2(np.maximum(degrees.numpy(), 0.5))) + 1  # 0, 1, 2-3, 4-7, ...
    labels = ("0", "1", *(f"{2**j}-{2 ** (j + 1) - 1}" for j in range(1, int(bins.max(initial=1)))))
    factors = [Factor("kind", "categorical", ("user", "item")), Factor("degree", "ordinal", labels)]
    values = [kind, bins]
    clash = {"kind", "degree"} | (set(users.names) & set(items.names))
    for side, table, before, after in (("user", users, 0, m), ("item", items, n, 0)):
        for j, f in enumerate(table.factors):
            name = f"{side}_{f.name}" if f.name in clash else f.name
            factors.append(Factor(name, f.kind, f.labels))
            values.append(np.concatenate([np.full(before, np.nan), table.values[:, j], np.full(after, np.nan)]))
    return FactorTable(factors, np.stack(values, 1))
