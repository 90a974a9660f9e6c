"""Codes that are moved along a family of potentials."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from unbraid.core.errors import ConfigError, nearest
from unbraid.core.fields import Batch
from unbraid.core.parts import Parts, PartSpec
from unbraid.nets.potential import Field

CODE, FAMILY = "latents", "potentials"


class Moving:
    """What a method can do whose part `latents` moves along potentials, the part `potentials`; a second base.

    Attributes:
        field: The potentials.
        pace: By which their gradients are multiplied in a step.
    """

    field: Any
    pace: float

    def encode(self, batch: Batch) -> Parts:
        """The parts of each item."""
        raise NotImplementedError(f"{type(self).__name__}.encode")

    def decode(self, parts: Parts) -> Float[Tensor, "batch *item"]:
        """The items of parts."""
        raise NotImplementedError(f"{type(self).__name__}.decode")

    def read(self, z: Float[Tensor, "batch dim"]) -> Parts:
        """The parts of codes: these, and all potentials of them at time 0."""
        t = torch.zeros(1, device=z.device)
        return Parts({CODE: z, FAMILY: torch.stack([self.field(z, t, k) for k in range(self.field.count)], 1)})

    def moving_parts(self, width: int) -> tuple[PartSpec, ...]:
        """Their specs."""
        return PartSpec(CODE, "vec", (width,)), PartSpec(FAMILY, "fam", (self.field.count,), one=True, of=CODE)

    def roll(self, parts: Parts, part: str, steps: int) -> list[Parts]:
        """The parts after each of some steps along a potential; backwards where there are fewer than none.

        Args:
            parts: Where to start.
            part: A potential, such as "potentials[2]".
            steps: How many.

        Raises:
            ConfigError: There is no such potential.
        """
        path = self.path(parts[CODE], self._which(part), abs(steps), math.copysign(self.pace, steps))
        return [self.read(z) for z in path[1:]]

    def edit(self, batch: Batch, part: str, amount: float) -> Float[Tensor, "batch *item"]:
        """Items after a time along a potential; backwards where it is below 0."""
        which, whole = self._which(part), math.floor(abs(amount))
        pace = math.copysign(self.pace, amount)
        z = self.path(self.encode(batch)[CODE], which, whole, pace)[-1]
        z = z + (abs(amount) - whole) * pace * velocity(self.field, z, float(whole), which)
        return self.decode(self.read(z))

    def path(
        self, z: Float[Tensor, "batch dim"], which: int, steps: int, pace: float, *, unit: bool = False
    ) -> Float[Tensor, "stations batch dim"]:
        """The codes at times 0, 1, ..., steps: z <- z + pace grad u(z, t).

        Args:
            z: Where they start.
            which: The potential.
            steps: How many.
            pace: By which the gradients are multiplied.
            unit: Whether all steps have the length of `pace`, however long the gradients are.
        """
        path = [z]
        for step in range(steps):
            path.append(path[-1] + pace * velocity(self.field, path[-1], float(step), which, unit=unit))
        return torch.stack(path)

    def _which(self, part: str) -> int:
        names = [f"{FAMILY}[{k}]" for k in range(self.field.count)]
        if part not in names:
            raise ConfigError("the name of a potential", got=f"'{part}'", fix=nearest(part, names))
        return names.index(part)


def velocity(
    field: Field, z: Float[Tensor, "batch dim"], time: float, which: int, *, unit: bool = False
) -> Float[Tensor, "batch dim"]:
    """The gradient of a potential, or its direction alone where that is all that was learned."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        value = field(z, torch.full((1,), time, device=z.device), which)
        (found,) = torch.autograd.grad(value.sum(), z)
    return normalize(found, dim=1) if unit or field.unit else found
