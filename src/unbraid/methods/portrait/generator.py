"""A given generator as a function of codes that are edited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.errors import ConfigError
from unbraid.core.given import Frozen


class Generator(nn.Module):
    """Items from codes; the codes themselves where no network is given.

    The network takes codes (B, D). Where it has a number `layers`, it takes one code for each (B, layers, D), of which
    an edit may change some. Where it has a function `mapping`, that makes codes of space "w" from those of space "z".

    Args:
        net: The network, or None.
        space: Which of its codes are edited.
        layers: From which to before which layer an edit acts.
    """

    def __init__(self, net: nn.Module | None, space: Literal["w", "z"], layers: tuple[int, int] | None) -> None:
        super().__init__()
        self.net = None if net is None else Frozen(net)
        self.space = space
        self.layers: int | None = getattr(net, "layers", None)
        if layers is not None and not 0 <= layers[0] < layers[1] <= (self.layers or 0):
            got = f"{layers[0]}:{layers[1]} of {self.layers or 'no'} layers"
            raise ConfigError("a range of the generator's layers", got=got, where="layers")
        if layers is not None and space == "z":
            raise ConfigError("space 'w' where layers are told apart", got="'z'", where="space")
        self.range = layers

    @property
    def mapping(self) -> Callable[[Tensor], Tensor] | None:
        """From codes of space "z" to those of space "w", where the network has that."""
        return getattr(self.net.inner, "mapping", None) if self.net is not None else None

    def forward(
        self, codes: Float[Tensor, "batch dim"], edited: Float[Tensor, "batch dim"] | None = None
    ) -> Float[Tensor, "batch *item"]:
        """The items of codes, or of edited codes in the layers where edits act."""
        edited = codes if edited is None else edited
        if self.net is None:
            return edited
        if self.space == "z" and self.mapping is not None:
            codes, edited = self.mapping(codes), self.mapping(edited)
        if self.layers is None:
            return self.net(edited)  # type: ignore[no-any-return]
        low, high = self.range or (0, self.layers)
        acts = torch.arange(self.layers, device=codes.device)
        acts = (acts >= low) & (acts < high)
        return self.net(torch.where(acts[:, None], edited[:, None], codes[:, None]))  # type: ignore[no-any-return]

    @torch.no_grad()
    def drawn(self, z: Float[Tensor, "n dim"], truncation: float) -> Float[Tensor, "n dim"]:
        """Codes of the space that is edited, those of space "w" drawn towards their mean."""
        if self.space == "z" or self.mapping is None:
            return z
        w = self.mapping(z)
        return w.mean(0) + truncation * (w - w.mean(0))
