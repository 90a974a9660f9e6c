"""The range of a part's codes over the data: outside it a decoder was never asked, and its pictures mean nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from unbraid.core.errors import ConfigError
from unbraid.core.parts import Parts, PartSpec

SHARE = 0.98
"""Share of the data's codes that lie in the range of a continuous column; the rest is cut off evenly at both ends."""


@dataclass(frozen=True, eq=False)
class Range:
    """Where the codes of a part, or of one column, lie over the data.

    Attributes:
        name: The part or column.
        low: Lower end of each entry, of the part's shape; () for a column.
        high: Upper end, likewise.
        values: For discrete parts, the observed values of each entry in ascending order; None for continuous ones.
    """

    name: str
    low: Float[Tensor, "*part"]
    high: Float[Tensor, "*part"]
    values: tuple[Float[Tensor, " values"], ...] | None = None

    def __post_init__(self) -> None:
        if not (self.low.isfinite().all() and self.high.isfinite().all()):
            raise ConfigError("codes that are finite numbers", got="NaN or infinity", where=self.name)

    def steps(self, n: int, beyond: float = 0.0) -> Float[Tensor, " steps"]:
        """Evenly spaced values from the lower to the upper end of a column.

        Args:
            n: How many; a discrete column gives at most as many as were observed.
            beyond: How far to go past both ends, as a share of the range's width; discrete columns have no beyond.

        >>> Range("z[0]", torch.tensor(-1.0), torch.tensor(1.0)).steps(3, beyond=0.5).tolist()
        [-2.0, 0.0, 2.0]
        """
        if self.low.ndim:
            fix = f"name a column, such as '{self.name}[0]'"
            raise ConfigError("a part that is one number per item", got=f"'{self.name}'", fix=fix)
        if self.values is not None:
            known = self.values[0]
            return known[torch.linspace(0, len(known) - 1, min(n, len(known))).round().long()]
        low, high = self._widened(beyond)
        return torch.linspace(float(low), float(high), n)

    def inside(self, value: Shaped[Tensor, "*batch_part"], beyond: float = 0.0) -> Float[Tensor, "*batch_part"]:
        """The nearest codes within the range: clamped where continuous, the nearest observed value where discrete.

        >>> Range("z[0]", torch.tensor(-1.0), torch.tensor(1.0)).inside(torch.tensor([0.5, 3.0])).tolist()
        [0.5, 1.0]
        """
        value = value.float()
        if self.values is None:
            low, high = self._widened(beyond)
            return value.clamp(low, high)
        flat = value.reshape(-1, len(self.values))
        columns = [_nearest(flat[:, i], known) for i, known in enumerate(self.values)]
        return torch.stack(columns, 1).reshape(value.shape)

    def checked(self, value: Shaped[Tensor, "*batch_part"], beyond: float = 0.0) -> Float[Tensor, "*batch_part"]:
        """`inside`, but a value outside the range is refused.

        Raises:
            ConfigError: The value lies outside the range of the data and `beyond` does not allow it.
        """
        low, high = self._widened(0.0 if self.values is not None else beyond)
        slack = 1e-6 * (1 + self.high.abs())  # a range that was printed and typed again is still inside
        outside = (value < low - slack) | (value > high + slack) | value.isnan()
        if not outside.any():
            return self.inside(value, beyond)
        got = f"{float(value[outside].flatten()[0]):g}"
        fix = "" if self.values is not None else "allow more with beyond (a share of the range's width)"
        ends = f"from {float(low.min()):g} to {float(high.max()):g}"
        raise ConfigError(f"codes within those of the data, {ends}", got=got, fix=fix, where=self.name)

    def _widened(self, beyond: float) -> tuple[Tensor, Tensor]:
        if not 0 <= beyond < math.inf:
            raise ConfigError("a share of the range's width, 0 or more", got=f"{beyond:g}", where="beyond")
        margin = beyond * (self.high - self.low)
        return self.low - margin, self.high + margin


def code_range(codes: Parts, name: str, specs: Sequence[PartSpec] = ()) -> Range:
    """The range of a part or column over the codes of data.

    Args:
        codes: Codes of a few thousand items.
        name: A part, or a column such as "latents[3]".
        specs: The parts that the method declares; says which are discrete.

    Returns:
        For continuous codes the central 98 % of the data; for discrete ones the values observed.

    Raises:
        ConfigError: No such part or column, no items, or codes that are not finite.

    >>> codes = Parts(latents=torch.linspace(0, 1, 101)[:, None], symbol=torch.tensor([2, 0, 2]).repeat(34)[:101])
    >>> specs = [PartSpec("latents", "fam", (1,)), PartSpec("symbol", "ids", (), classes=3)]
    >>> span = code_range(codes, "latents[0]", specs)
    >>> round(float(span.low), 2), round(float(span.high), 2), code_range(codes, "symbol", specs).values
    (0.01, 0.99, (tensor([0., 2.]),))
    """
    spec = next((s for s in specs if s.name == name.partition("[")[0]), None)
    part = codes[name].detach().float().cpu()
    if not len(part):
        raise ConfigError("codes of at least one item", got="none", where=name)
    if spec is not None and (spec.classes is not None or spec.kind == "ids"):
        flat = part.reshape(len(part), -1)
        values = tuple(torch.unique(column) for column in flat.unbind(1))
        return Range(name, part.amin(0), part.amax(0), values)
    ordered = part.sort(0).values
    low, high = (_quantile(ordered, q) for q in ((1 - SHARE) / 2, (1 + SHARE) / 2))
    return Range(name, low, high)


def _quantile(ordered: Float[Tensor, "n *part"], q: float) -> Float[Tensor, "*part"]:
    """As `torch.quantile`, which refuses more than 16 million numbers."""
    at = q * (len(ordered) - 1)
    below = ordered[math.floor(at)]
    return below + (at - math.floor(at)) * (ordered[math.ceil(at)] - below)


def _nearest(value: Tensor, known: Tensor) -> Tensor:
    known = known.to(value.device)
    return known[(value[:, None] - known).abs().argmin(1)]
