"""Batches in a given order: taken directly from fast sets, read ahead by worker processes from slow ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

Pair = tuple[Tensor, dict[str, Tensor]]


def batches(
    dataset: Any, index_batches: Iterable[Int[Tensor, "*index"]], device: torch.device | str, workers: int = 2
) -> Iterator[Pair]:
    """Each index tensor with its batch, in order.

    Args:
        dataset: Has `take`; a true attribute `slow` sends it through worker processes.
        index_batches: Index tensors of any shape.
        device: Where the batches shall lie.
        workers: Processes that read ahead of a slow set.
    """
    if not getattr(dataset, "slow", False):
        for indices in index_batches:
            yield indices, dataset.take(indices, device)
        return
    ahead: DataLoader[Any] = DataLoader(
        _ByBatch(dataset), batch_size=None, sampler=_Order(index_batches), num_workers=workers
    )
    for indices, batch in ahead:
        yield indices, {name: t.to(device) for name, t in batch.items()}


class _ByBatch(TorchDataset[Any]):
    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitem__(self, indices: Tensor) -> Pair:
        return indices, self.dataset.take(indices)


class _Order(torch.utils.data.Sampler[Any]):
    def __init__(self, index_batches: Iterable[Tensor]) -> None:
        self.index_batches = index_batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.index_batches)
