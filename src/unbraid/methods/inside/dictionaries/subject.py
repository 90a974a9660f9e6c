"""The network whose activations a dictionary explains."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Frozen, Given, Hooked, Port
from unbraid.core.method import Method, Predicts
from unbraid.nets.site import Site

PORT = Port(
    "subject",
    "a network that takes the tokens or observations, to read its activations",
    standin="unbraid.standins.grammar:GRAMMAR",
)
_LISTED = 8


class Subject(Frozen):
    """A network held still, and the place in it whose activation is meant.

    Where the network is the identity, the observations themselves are the activations.

    Args:
        given: With the network.
        site: Where the activation is; where its module is "", the network's last module called `mid`.
        fields: What the network is given: `token`, or else `x`.
    """

    def __init__(self, given: Given, site: Site, fields: Fields) -> None:
        net = given[PORT.name]
        super().__init__(net)
        self.plain = isinstance(net, nn.Identity)
        self.field = "token" if "token" in fields else "x"
        self.site = site
        if not self.plain and "feature" not in fields:
            self.site = Site(site.module or _last_mid(net), site.position, site.columns)
        self.places, self.width = self._shape(fields)

    def _shape(self, fields: Fields) -> tuple[int, int]:
        if "feature" in fields:
            places, width = fields["feature"].shape
            return places, width
        item = fields[self.field]
        if self.plain and len(item.shape) != 1:
            fix = "give a network that reads them with --given subject=SOURCE, or vectors"
            raise DataError("vectors (D,)", got=f"shape {item.shape}", fix=fix, where=f"field '{self.field}'")
        blank = torch.zeros(1, *item.shape, dtype=getattr(torch, item.dtype), device=self._device)
        found = self.activations({self.field: blank})
        return found.shape[1], found.shape[2]

    @property
    def _device(self) -> torch.device:
        return next((p.device for p in self.inner.parameters()), torch.device("cpu"))

    @torch.no_grad()
    def activations(self, batch: Batch) -> Float[Tensor, "batch places dim"]:
        """The activation of each item; those that a batch brings along as `feature` are not computed again."""
        if "feature" in batch:
            known: Tensor = batch["feature"]
            return known
        if self.plain:
            return self.site.get(batch[self.field])
        _, seen = self._run(batch, read=(self.site.module,))
        return self.site.get(seen[self.site.module])

    @torch.no_grad()
    def logits(
        self, batch: Batch, new: Float[Tensor, "batch places dim"] | None = None
    ) -> Float[Tensor, "batch classes"] | None:
        """What the network says of each item, with other activations in their place; of sequences, at their end. On the
        CPU, where dictionaries are judged.

        None where it says nothing: observations without a network, or a network without logits.
        """
        if self.plain or self.field not in batch:
            return None
        write = {} if new is None else {self.site.module: lambda output: self.site.put(output, new)}
        said, _ = self._run(batch, write=write)
        logits = _logits(said)
        return None if logits is None else logits.cpu()

    def _run(self, batch: Batch, **hooks: Any) -> tuple[Any, dict[str, Tensor]]:
        hooked = Hooked(self.inner)
        if isinstance(self.inner, Method):
            hooked.net = _Asked(self.inner)
        return hooked.run(batch[self.field].to(self._device), **hooks)


class _Asked(nn.Module):
    """A method of ours as a network: what it predicts, or else encodes."""

    def __init__(self, method: Method[Any]) -> None:
        super().__init__()
        self.__dict__["method"] = method

    def forward(self, x: Tensor) -> Any:
        method: Any = self.__dict__["method"]
        return method.predict({"x": x}).logits if isinstance(method, Predicts) else method.encode({"x": x})


def _last_mid(net: nn.Module) -> str:
    names = [str(name) for name, _ in net.named_modules() if name]
    found = [name for name in names if name.rpartition(".")[2] == "mid"]
    if found:
        return found[-1]
    listed = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    raise ConfigError("the name of the module to read", got="none", fix=f"set at=NAME; there are {listed}", where="at")


def _logits(said: Any) -> Float[Tensor, "batch classes"] | None:
    found = said[0] if isinstance(said, tuple) and said else getattr(said, "logits", said)
    if not isinstance(found, Tensor) or found.ndim not in (2, 3):
        return None
    return found[:, -1] if found.ndim == 3 else found
