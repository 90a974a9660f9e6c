"""Few examples of classes never seen: episodes in which the nearest mean tells the class."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.errors import DataError


def episodes(
    codes: Float[Tensor, "n views d"],
    labels: Int[Tensor, " n"],
    ways: int,
    shots: int,
    queries: int,
    count: int,
    seed: int = 0,
) -> dict[str, Float[Tensor, " count"]]:
    """Share of queries told right in each episode, by the first view ("single") and by all of them ("aggregated").

    An episode draws some classes, some examples of each, and other items of them as queries. A query is of the class
    whose mean of examples is nearest in squared distance; with several views, the mean over views of the distance of
    the query's view to the class's mean of that view (prototypical networks, Snell et al., 2017).

    Args:
        codes: Embeddings of each item, one for each view.
        labels: The class of each.
        ways: Classes in an episode.
        shots: Examples of each.
        queries: Items of each class to tell.
        count: Episodes.
        seed: Of the draws.

    Raises:
        DataError: There are too few classes with enough items.

    >>> codes = torch.eye(2).repeat_interleave(4, 0)[:, None]
    >>> episodes(codes, torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), 2, 2, 2, 3)["single"].tolist()
    [1.0, 1.0, 1.0]
    """
    if min(ways - 1, shots, queries, count) < 1:
        got = f"{ways} classes, {shots} examples, {queries} queries, {count} episodes"
        raise DataError("at least 2 classes and 1 of everything else", got=got)
    names, sizes = torch.unique(labels.cpu(), return_counts=True)
    fit = names[sizes >= shots + queries]
    if len(fit) < ways:
        got = f"{len(fit)} with {shots} examples and {queries} queries"
        raise DataError(f"at least {ways} classes with enough items", got=got, fix="ask for fewer")
    members = {int(k): (labels.cpu() == k).nonzero()[:, 0] for k in fit}
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, list[Tensor]] = {"single": [], "aggregated": []}
    for _ in range(count):
        chosen = fit[torch.randperm(len(fit), generator=generator)[:ways]]
        rows = torch.stack([_some(members[int(k)], shots + queries, generator) for k in chosen])
        z = codes[rows.to(codes.device)]
        means = z[:, :shots].mean(1)  # (ways, views, d)
        away = (z[:, shots:, None] - means).square().sum(-1)  # (ways, queries, ways, views)
        true = torch.arange(ways, device=codes.device)[:, None]
        for name, distance in (("single", away[..., 0]), ("aggregated", away.mean(-1))):
            found[name].append((distance.argmin(2) == true).double().mean())
    return {name: torch.stack(right) for name, right in found.items()}


def _some(members: Int[Tensor, " m"], count: int, generator: torch.Generator) -> Int[Tensor, " count"]:
    return members[torch.randperm(len(members), generator=generator)[:count]]
