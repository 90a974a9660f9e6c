"""Batches of a data set, read ahead by worker processes where taking them is slow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from unbraid.core.errors import UnbraidError
from unbraid.data.dataset import Dataset, Device

Taken = dict[str, Tensor]


def batches(
    dataset: Dataset, index_batches: Iterable[Tensor], device: Device = "cpu", workers: int = 2
) -> Iterator[tuple[Tensor, Taken]]:
    """The batches of some index tensors, in their order.

    Nobody else's source of chance is touched, and errors come out as they went in.

    Args:
        dataset: Where the items come from.
        index_batches: One index tensor, of any shape, per batch; may be endless.
        device: Where the batches shall lie.
        workers: Processes that read ahead when the data set is slow; with 0 this process reads by itself.

    Yields:
        The indices and their batch.
    """
    if not dataset.slow or workers == 0:
        yield from ((indices, dataset.take(indices, device)) for indices in index_batches)
        return
    on_gpu = torch.device(device).type == "cuda"
    loader: DataLoader[Taken | _Failure] = DataLoader(
        _Taking(dataset),
        batch_size=None,
        sampler=index_batches,  # whole index tensors in the place of numbers
        num_workers=workers,
        prefetch_factor=2,
        pin_memory=on_gpu,
        generator=torch.Generator(),  # or it draws its seed from the global one
    )
    for batch in loader:
        if isinstance(batch, _Failure):
            raise batch.error()
        yield batch["index"], {name: value.to(device, non_blocking=on_gpu) for name, value in batch.items()}


@dataclass(frozen=True)
class _Failure:
    """An error on its way out of a worker: raised there it would come back as a traceback in a message."""

    kind: type[UnbraidError]
    told: dict[str, str]

    def error(self) -> UnbraidError:
        return self.kind(**self.told)


class _Taking(TorchDataset["Taken | _Failure"]):
    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def __getitem__(self, indices: Tensor) -> Taken | _Failure:
        try:
            return self._dataset.take(indices)
        except UnbraidError as error:
            told = {name: getattr(error, name) for name in ("expected", "got", "fix", "where")}
            return _Failure(type(error), told)
