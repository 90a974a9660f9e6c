"""The activations of a network as a data set: computed once, factors kept."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.fields import Batch, Field, Fields
from unbraid.data.dataset import Dataset, Device, content_hash, rows_of
from unbraid.data.factors import FactorTable

_BATCH = 1024
_KEPT = ("index", "factors", "known", "label", "negative", "group", "domain")


class Activations(Dataset):
    """What a network makes of each item of a data set, as the field `feature` (places, D).

    All of it is computed when the first batch is asked for, and held in memory; where it would not fit, each batch is
    computed when it is asked for. Factors, labels and groups stay, the observations do not.

    Args:
        data: The items.
        read: A batch to the activations (B, places, D).
        network: What tells this network and place from others, for the hash.
        memory: Bytes that the activations may take.

    >>> from unbraid.data.made.directions import Directions
    >>> data = Activations(Directions(values=4, width=6), lambda batch: 2 * batch["x"][:, None], network="twice")
    >>> data.take(torch.tensor([[0, 3]]))["feature"].shape, data.fields["feature"].shape
    (torch.Size([1, 2, 1, 6]), (1, 6))
    """

    def __init__(
        self,
        data: Dataset,
        read: Callable[[Batch], Float[Tensor, "batch places dim"]],
        network: str,
        memory: int = 2**30,
    ) -> None:
        self._data = data
        self._read = read
        self.name = f"activations of {network} on {data.name}"
        self.factors = data.factors
        places, dim = self._compute(torch.arange(1), "cpu").shape[1:]
        kept = {name: field for name, field in data.fields.items() if name in _KEPT}
        self.fields = Fields(feature=Field((places, dim)), **kept)
        self._network = network
        self._whole = 4 * len(data) * places * dim <= memory
        self._all: Tensor | None = None

    def __len__(self) -> int:
        return len(self._data)

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        kept = {name: t for name, t in self._data.take(indices, device).items() if name in _KEPT}
        return {"feature": self._features(indices, device), **kept}

    def _features(self, indices: Int[Tensor, "*index"], device: Device) -> Float[Tensor, "*index places dim"]:
        if not self._whole:
            found = self._compute(indices.flatten(), device)
            return found.reshape(*indices.shape, *found.shape[1:])
        if self._all is None:
            blocks = torch.split(torch.arange(len(self)), _BATCH)
            self._all = torch.cat([self._compute(block, device) for block in blocks])
        if self._all.device != torch.device(device):
            self._all = self._all.to(device)
        return rows_of(self._all, indices.to(device))

    @torch.no_grad()
    def _compute(self, indices: Int[Tensor, " n"], device: Device) -> Float[Tensor, "n places dim"]:
        return self._read(self._data.take(indices, device)).float().to(device)

    def table(self, indices: Int[Tensor, " n"]) -> FactorTable:
        return self._data.table(indices)

    @property
    def hash(self) -> str:
        return content_hash({"data": self._data.hash, "network": self._network})
