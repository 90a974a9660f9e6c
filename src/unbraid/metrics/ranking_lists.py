"""Ranked lists: the best items for each user out of all of them, and Recall and NDCG of what was held out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unbraid.core.errors import ConfigError

MASKED = -(2.0**20)
"""The score of an item that a user already has."""

_USERS, _ITEMS = 256, 8192
"""Users and items whose scores are held at a time."""


class Lists:
    """A list of items for each user, such as those seen in training.

    Args:
        pairs: User and item.
        n_users: Number of users.

    >>> lists = Lists(torch.tensor([[1, 7], [0, 3], [1, 5]]), n_users=3)
    >>> lists.sizes.tolist(), lists.of(torch.tensor([1, 2])).tolist()
    ([1, 2, 0], [[0, 5], [0, 7]])
    """

    def __init__(self, pairs: Int[Tensor, "pairs 2"], n_users: int) -> None:
        width = int(pairs[:, 1].max()) + 1 if len(pairs) else 1
        keys = torch.unique(pairs[:, 0].long() * width + pairs[:, 1].long())
        self.items = keys % width
        self.starts = torch.searchsorted(keys, torch.arange(n_users + 1, device=keys.device) * width)

    @property
    def sizes(self) -> Int[Tensor, " users"]:
        """Items in each user's list."""
        return self.starts.diff()

    def of(self, users: Int[Tensor, " batch"]) -> Int[Tensor, "pairs 2"]:
        """The pairs (position in `users`, item) of some users, sorted."""
        counts = self.sizes[users]
        rows = torch.arange(len(users), device=users.device).repeat_interleave(counts)
        before = counts.cumsum(0) - counts
        within = torch.arange(len(rows), device=users.device) - before[rows]
        return torch.stack([rows, self.items[self.starts[users][rows] + within]], 1)


def top_items(
    users: Float[Tensor, "batch dim"], items: Float[Tensor, "items dim"], seen: Int[Tensor, "pairs 2"], k: int
) -> tuple[Float[Tensor, "batch k"], Int[Tensor, "batch k"]]:
    """Scores and numbers of the items with the largest inner products for each user, best first.

    Items come by the thousand: no more than a block of the scores is ever held.

    Args:
        users: A row for each user.
        items: A row for each item.
        seen: Pairs (row of `users`, item) that rank last.
        k: How many, at most the number of items.

    Raises:
        ConfigError: There are fewer than `k` items.

    >>> top_items(torch.tensor([[1.0]]), torch.tensor([[3.0], [9.0], [5.0]]), torch.tensor([[0, 1]]), 2)[1].tolist()
    [[2, 0]]
    """
    if not 1 <= k <= len(items):
        raise ConfigError(f"1..{len(items)} items to rank", got=str(k), where="k")
    order = seen[:, 1].argsort()
    rows, masked = seen[order, 0], seen[order, 1].contiguous()
    size = max(_ITEMS, k)
    best, which = users.new_full((len(users), k), -torch.inf), rows.new_zeros((len(users), k))
    for start in range(0, len(items), size):
        scores = users @ items[start : start + size].T
        low, high = torch.searchsorted(masked, masked.new_tensor([start, start + size])).tolist()
        scores[rows[low:high], masked[low:high] - start] = MASKED
        values, where = scores.topk(k, dim=1) if not start else _above(scores, best[:, -1:])
        best, kept = torch.cat([best, values], 1).topk(k, dim=1)
        which = torch.cat([which, where + start], 1).gather(1, kept)
    return best, which


def _above(scores: Float[Tensor, "batch block"], least: Float[Tensor, "batch 1"]) -> tuple[Tensor, Tensor]:
    """The scores above each row's least, and where: there are few once a list is good, and a scan finds them sooner
    than a sort. Rows with fewer than others are filled up with -inf.
    """
    rows, columns = (scores > least).nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=len(scores))
    places = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    width = int(counts.max())
    values, where = scores.new_full((len(scores), width), -torch.inf), rows.new_zeros((len(scores), width))
    values[rows, places], where[rows, places] = scores[rows, columns], columns
    return values, where


def recall_ndcg(
    users: Float[Tensor, "users dim"],
    items: Float[Tensor, "items dim"],
    seen: Lists,
    held: Lists,
    ks: Sequence[int] = (20, 40),
) -> dict[str, float]:
    """Recall and NDCG of the held-out items in each user's list of the best, out of all items but those seen.

    Means over the users who have something held out. The ideal of NDCG at k is a list that begins with the user's
    held-out items, as many of them as fit in.

    Args:
        users: A row for each user.
        items: A row for each item; the inner product is the score.
        seen: What is left out of each user's list.
        held: What should be in it.
        ks: Lengths of the list.

    >>> seen, held = (Lists(torch.tensor([[0, item]]), n_users=1) for item in (0, 2))
    >>> recall_ndcg(torch.ones(1, 1), torch.tensor([[3.0], [2.0], [1.0]]), seen, held, ks=(1, 2))
    {'recall@1': 0.0, 'recall@2': 1.0, 'ndcg@1': 0.0, 'ndcg@2': 0.6309297535714575}
    """
    return mean_scores(_hits(users, items, seen, held, max(ks)), ks)


def mean_scores(
    hits: Iterator[tuple[Bool[Tensor, "batch k"], Int[Tensor, " batch"]]], ks: Sequence[int]
) -> dict[str, float]:
    """Recall and NDCG from which items of the lists were wanted, and how many were wanted in all, by the batch."""
    length = max(ks)
    gains = 1 / torch.arange(2, length + 2, dtype=torch.float64).log2()
    ideal = torch.cat([gains.new_zeros(1), gains.cumsum(0)])
    sums, count = dict.fromkeys((f"{name}@{k}" for name in ("recall", "ndcg") for k in ks), 0.0), 0
    for batch, wanted in hits:
        found, wanted = batch.cpu().double(), wanted.cpu()
        for k in ks:
            first = found[:, :k]
            sums[f"recall@{k}"] += float((first.sum(1) / wanted).sum())
            sums[f"ndcg@{k}"] += float((first @ gains[: first.shape[1]] / ideal[wanted.clamp(max=k)]).sum())
        count += len(wanted)
    return {name: total / count if count else float("nan") for name, total in sums.items()}


def _hits(
    users: Tensor, items: Tensor, seen: Lists, held: Lists, k: int
) -> Iterator[tuple[Bool[Tensor, "batch k"], Int[Tensor, " batch"]]]:
    k = min(k, len(items))
    for who in torch.split((held.sizes > 0).nonzero().squeeze(1), _USERS):
        _, ranked = top_items(users[who], items, seen.of(who), k)
        wanted = held.of(who)
        rows = torch.arange(len(who), device=who.device)[:, None]
        keys = wanted[:, 0] * len(items) + wanted[:, 1]
        yield torch.isin(rows * len(items) + ranked, keys), held.sizes[who]
