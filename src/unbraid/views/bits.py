"""Views of vectors of signs whose densities are known: masks, blocks of them, and flips.

A masked entry is 0. Vectors of other numbers, none of them 0, may be masked as well.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unbraid.core.errors import ConfigError
from unbraid.views.view import Chance, Draw, View


@dataclass(frozen=True)
class Hidden(View):
    """Entries are masked; each of those kept changes its sign with probability `flip`.

    Attributes:
        ratio: Share of the entries that is masked.
        flip: Probability of each other entry.
    """

    ratio: float
    flip: float = 0.0

    def __post_init__(self) -> None:
        for name in ("ratio", "flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError("a share between 0 and 1", got=str(getattr(self, name)), where=name)

    @abstractmethod
    def masks(self, shape: Sequence[int], at: Chance) -> Bool[Tensor, "batch d"]:
        """Which entries are masked."""

    @abstractmethod
    def log_mask(self, masked: Bool[Tensor, "m d"]) -> Float[Tensor, " m"]:
        """Log probability of each set of masked entries."""

    @abstractmethod
    def complexity(self, d: int) -> float:
        """kappa^2 on all vectors of d signs, evenly distributed."""

    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        return {"masked": self.masks(shape, at), "flipped": at.rand(shape) < self.flip}

    def apply(self, x: Float[Tensor, "batch d"], draw: Draw) -> Float[Tensor, "batch d"]:
        return torch.where(draw["flipped"], -x, x).masked_fill_(draw["masked"], 0.0)

    def log_density(self, x: Float[Tensor, "n d"], a: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """Log p(a|x) of every pair, in double precision; -inf where a is no view of x.

        Args:
            x: Vectors without a 0.
            a: Views of any of them.
        """
        a, x = a.double(), x.double()
        masked = a == 0
        kept, turned = a.new_tensor([1 - self.flip, self.flip]).log()
        found = self.log_mask(masked).expand(len(x), -1).clone()
        for own, seen, hidden in zip(x.T, a.T, masked.T, strict=True):
            same, other = seen == own[:, None], seen == -own[:, None]
            found += torch.where(hidden, 0.0, torch.where(same, kept, torch.where(other, turned, -torch.inf)))
        return found


@dataclass(frozen=True)
class MaskBits(Hidden):
    """Each entry is masked by itself.

    >>> round(MaskBits(0.3).complexity(4), 4), round(MaskBits(0.3, flip=0.15).complexity(4), 4)
    (8.3521, 3.2531)
    """

    def masks(self, shape: Sequence[int], at: Chance) -> Bool[Tensor, "batch d"]:
        return at.rand(shape) < self.ratio

    def log_mask(self, masked: Bool[Tensor, "m d"]) -> Float[Tensor, " m"]:
        hidden = masked.sum(1).double()
        shares = torch.tensor([self.ratio, 1 - self.ratio], dtype=torch.float64, device=masked.device)
        return torch.xlogy(hidden, shares[0]) + torch.xlogy(masked.shape[1] - hidden, shares[1])

    def complexity(self, d: int) -> float:
        return (self.ratio + (1 - self.ratio) * _kept(self.flip)) ** d


@dataclass(frozen=True)
class MaskBlock(Hidden):
    """One block of entries is masked, round the end of the vector; always as many, the ratio rounded to entries.

    >>> MaskBlock(0.5).complexity(4), MaskBlock(0.5, flip=0.5).complexity(4)
    (4.0, 1.0)
    """

    def masks(self, shape: Sequence[int], at: Chance) -> Bool[Tensor, "batch d"]:
        d = shape[1]
        first = at.randint(d, (shape[0],))[:, None]
        return (torch.arange(d, device=first.device) - first) % d < self.length(d)

    def length(self, d: int) -> int:
        """Entries of a block."""
        return round(self.ratio * d)

    def log_mask(self, masked: Bool[Tensor, "m d"]) -> Float[Tensor, " m"]:
        d = masked.shape[1]
        length = self.length(d)
        begins = (masked & ~masked.roll(1, 1)).sum(1)
        block = (masked.sum(1) == length) & (begins == (1 if 0 < length < d else 0))
        chance = 0.0 if length in (0, d) else -math.log(d)
        return torch.full_like(block, chance, dtype=torch.float64).masked_fill_(~block, -torch.inf)

    def complexity(self, d: int) -> float:
        return _kept(self.flip) ** (d - self.length(d))


def _kept(flip: float) -> float:
    """What an entry that is seen multiplies the complexity by."""
    return 2 * ((1 - flip) ** 2 + flip**2)


def every_sign(d: int) -> Float[Tensor, "n d"]:
    """All vectors of d signs.

    >>> every_sign(2).tolist()
    [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]
    """
    return torch.tensor([*product([-1.0, 1.0], repeat=d)])


def every_view(d: int) -> Float[Tensor, "m d"]:
    """All vectors of signs and zeros: every view of them.

    >>> every_view(4).shape
    torch.Size([81, 4])
    """
    return torch.tensor([*product([-1.0, 0.0, 1.0], repeat=d)])
