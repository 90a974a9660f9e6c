"""A given network as a function from codes to items."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Batch, Field, Fields
from unbraid.core.given import Frozen
from unbraid.core.method import Decodes, Infers, Method, Samples
from unbraid.core.parts import Parts, PartSpec


class Generator(nn.Module):
    """Items from codes, held still.

    The network is a method that decodes, whose parts are then put into one code one after the other, or any module
    that takes codes (B, D). Such a module may have a number `width` (D), a function `infer` from items to codes, and a
    function `mapping` from normal numbers to codes.

    Args:
        net: The network.
        fields: What the data are; its items must be of their shape.
        width: D, for a module that does not tell.

    Attributes:
        width: Numbers in a code.
        normal: Whether the codes of data are about standard normal, so that new ones can be drawn.

    Raises:
        ConfigError: The network does not decode numbers, does not tell the width of its codes, or lets no gradient
            through.
        DataError: Its items are of another shape.
    """

    def __init__(self, net: nn.Module, fields: Fields, width: int | None = None) -> None:
        super().__init__()
        self.net = Frozen(net)
        self.specs = _decoded(net) if isinstance(net, Method) else ()
        self.sizes = [math.prod(spec.shape) for spec in self.specs]
        self.width = sum(self.sizes) if self.specs else _width(net, fields, width)
        self.normal = not isinstance(net, Method) or isinstance(net, Infers)
        self._try(fields["x"])

    def _try(self, x: Field) -> None:
        device = next((t.device for t in self.net.inner.state_dict().values()), torch.device("cpu"))
        with torch.enable_grad():
            made = self(torch.zeros(1, self.width, device=device, requires_grad=True))
        if tuple(made.shape[1:]) != x.shape:
            got = f"{x.shape}"
            raise DataError(f"items as the generator makes them, {tuple(made.shape[1:])}", got=got, where="field 'x'")
        if not made.requires_grad:
            raise ConfigError("a generator that gradients flow through", got="one without", where="--given generator")

    @property
    def inner(self) -> nn.Module:
        """The network."""
        return self.net.inner

    def forward(self, z: Float[Tensor, "batch width"]) -> Float[Tensor, "batch *item"]:
        """The items of codes."""
        if not self.specs:
            return cast(Tensor, self.net(z))
        pieces = zip(self.specs, torch.split(z, self.sizes, 1), strict=True)
        parts = Parts({spec.name: piece.reshape(-1, *spec.shape) for spec, piece in pieces})
        return cast(Decodes, self.inner).decode(parts)

    @torch.no_grad()
    def codes(self, batch: Batch) -> Float[Tensor, "batch width"]:
        """The codes of items: what they were made from where that is known, else what the network infers.

        Raises:
            DataError: Neither is there.
        """
        if self.specs:
            parts = cast(Method[Any], self.inner).encode(batch)
            return torch.cat([parts[spec.name].flatten(1).float() for spec in self.specs], 1)
        if "latent" in batch:
            return cast(Tensor, batch["latent"])
        infer = getattr(self.inner, "infer", None)
        if infer is None:
            fix = "give a generator with a function `infer`, or data with the field 'latent'"
            raise DataError("the codes of the items", got="a generator that only makes items", fix=fix)
        return cast(Tensor, infer(batch["x"]))

    def mapped(self, z: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """Codes of normal numbers: these themselves where the network has no `mapping`."""
        mapping = getattr(self.inner, "mapping", None)
        return z if mapping is None else mapping(z)

    def drawn(self, n: int, generator: torch.Generator) -> Float[Tensor, "n *item"]:
        """New items as the network itself draws them.

        Raises:
            ConfigError: It does not.
        """
        if not isinstance(self.inner, Samples):
            raise ConfigError("a generator whose codes can be drawn", got="one that only decodes", where="sample")
        return self.inner.sample(n, generator)


def _decoded(net: Method[Any]) -> tuple[PartSpec, ...]:
    """The parts that make up a code."""
    name = net.card.name
    if not isinstance(net, Decodes):
        raise ConfigError("a method that decodes", got=f"'{name}', which only encodes", where="--given generator")
    specs = tuple(spec for spec in net.parts() if spec.of is None)
    if ids := [spec.name for spec in specs if spec.kind == "ids"]:
        raise ConfigError("parts that are numbers", got=f"'{ids[0]}', made of ids", where=f"--given generator ({name})")
    return specs


def _width(net: nn.Module, fields: Fields, width: int | None) -> int:
    told = width or getattr(net, "width", None)
    if told is None and "latent" in fields:
        (told,) = fields["latent"].shape
    if told is None:
        got = "a generator that does not tell"
        raise ConfigError("the numbers in a code", got=got, fix="say how many with --set latents=N", where="latents")
    return int(told)
