"""The batches of a stage: pure functions of (seed, stage, step), from any step on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch
from unbraid.core.method import Source, Stage, Stream, World
from unbraid.data.loader import batches
from unbraid.data.order import epoch_positions, iid, key_of

_BLOCK = 64


def budget(stage: Stage, sources: Mapping[str, Source]) -> int:
    """Steps that a stage will take.

    Raises:
        ConfigError: Neither steps nor epochs are given, or epochs without a stream.
    """
    if not stage.updates:
        return 0
    if stage.budget.steps is not None:
        return stage.budget.steps
    if stage.budget.epochs is None or not stage.feed:
        raise ConfigError("a budget in steps, or in epochs over a stream", got="none", where=f"stage '{stage.name}'")
    stream = next(iter(stage.feed.values()))
    return math.ceil(stage.budget.epochs * len(source(stream, sources)) / stream.batch)


def source(stream: Stream, sources: Mapping[str, Source]) -> Source:
    """The data set that a stream draws from."""
    if stream.source not in sources:
        raise ConfigError(f"data for the stream source '{stream.source}'", got=", ".join(sources))
    return sources[stream.source]


def feed(
    stage: Stage,
    sources: Mapping[str, Source],
    *,
    seed: int,
    first: int,
    steps: int,
    world: World,
    device: torch.device,
) -> Iterator[tuple[float, Batch]]:
    """Epoch and batch of each step from `first` to `steps`; one stream named "" gives flat batches.

    Raises:
        ConfigError: A stream's batch cannot be shared evenly by the processes.
    """
    streams = {
        name: _stream(name, stream, source(stream, sources), stage.name, seed, first, steps, world, device)
        for name, stream in stage.feed.items()
    }
    lead = next(iter(stage.feed.values()), None)
    for step in range(first, steps):
        epoch = step * lead.batch / len(source(lead, sources)) if lead else 0.0
        drawn = {name: next(stream) for name, stream in streams.items()}
        yield epoch, drawn[""] if list(drawn) == [""] else drawn


def _stream(
    name: str,
    stream: Stream,
    data: Source,
    stage: str,
    seed: int,
    first: int,
    steps: int,
    world: World,
    device: torch.device,
) -> Iterator[dict[str, Tensor]]:
    if stream.batch % world.size:
        got = f"{stream.batch} for {world.size} processes"
        raise ConfigError("a batch that the processes share evenly", got=got, where=f"stream '{name}'")
    order = _order(stream, len(data), f"{stage}/{name}", seed)
    share = stream.batch // world.size
    mine = slice(world.rank * share, (world.rank + 1) * share)

    def indices() -> Iterator[Tensor]:
        for block in range(first - first % _BLOCK, steps, _BLOCK):  # aligned, so that a resumed run draws the same
            until = min(block + _BLOCK, steps)
            drawn = torch.split(order(torch.arange(block * stream.batch, until * stream.batch)), stream.batch)
            for step, chosen in zip(range(block, until), drawn, strict=True):
                if step >= first:
                    yield _drawn(stream, data, chosen, key_of(seed, stage, name, step))[mine]

    return _batches(data, indices(), device)


def _batches(data: Any, indices: Iterator[Tensor], device: torch.device) -> Iterator[dict[str, Tensor]]:
    return (batch for _, batch in batches(data, indices, device))


def _drawn(stream: Stream, data: Source, chosen: Tensor, key: int) -> Tensor:
    return stream.draw(data, chosen, torch.Generator().manual_seed(key)) if stream.draw else chosen


def _order(stream: Stream, n: int, name: str, seed: int) -> Callable[[Int[Tensor, " batch"]], Int[Tensor, " batch"]]:
    if stream.order == "sequential":
        return lambda positions: positions % n
    if stream.order == "iid":
        return lambda positions: iid(n, key_of(seed, name, int(positions[0])), len(positions))
    return lambda positions: epoch_positions(positions, n, seed, name)
