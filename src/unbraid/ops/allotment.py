"""Which numbers of a code belong to which steps of noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Allotment:
    """Steps 0..T-1 in groups, early to late, each with a stretch of the code of its own.

    Attributes:
        group: Of each step.
        ends: One past the last number of each group; a group's stretch begins where the one before it ends.

    Source:
        Yue et al. (2024), section 4.2; DiTi, `_build_model` and `get_mask_end_dim`.

    >>> allotment = Allotment.balanced(steps=10, groups=2, width=4)
    >>> allotment.group.tolist(), allotment.ends, allotment.until[0].tolist()
    ([0, 0, 0, 0, 0, 1, 1, 1, 1, 1], (2, 4), [1.0, 1.0, 0.0, 0.0])
    """

    group: Int[Tensor, " steps"]
    ends: tuple[int, ...]

    @classmethod
    def balanced(cls, steps: int, groups: int, width: int) -> Allotment:
        """As many numbers for each group as for any other, but for rounding; the last one takes what remains."""
        return cls(_groups(steps, groups), (*(int(width / groups * (i + 1)) for i in range(groups - 1)), width))

    @classmethod
    def staged(cls, steps: int, groups: int, bounds: Sequence[int], widths: Sequence[int]) -> Allotment:
        """As many numbers for the groups of a stage as it is given, the last of them taking what remains.

        A group belongs to the stage of its first step.

        Args:
            steps: T.
            groups: How many, of equally many steps.
            bounds: One past the last step of each stage.
            widths: Numbers of each stage.

        >>> Allotment.staged(12, 6, bounds=(4, 12), widths=(2, 7)).ends
        (1, 2, 3, 4, 5, 9)
        """
        group = _groups(steps, groups)
        first = torch.searchsorted(group, torch.arange(groups))
        stage = torch.searchsorted(torch.tensor(bounds), first, right=True).tolist()
        ends: list[int] = []
        for s, width in enumerate(widths):
            count, before = stage.count(s), sum(widths[:s])
            ends += [before + width // count * (i + 1) for i in range(count - 1)]
            ends += [before + width] * (count > 0)
        return cls(group, tuple(ends))

    @property
    def starts(self) -> tuple[int, ...]:
        """The first number of each group."""
        return (0, *self.ends[:-1])

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers of each group."""
        return tuple(end - start for start, end in zip(self.starts, self.ends, strict=True))

    @cached_property
    def until(self) -> Float[Tensor, "groups width"]:
        """1 at the numbers of a group and of those before it, else 0."""
        return _below(self.ends, self.ends[-1])

    @cached_property
    def before(self) -> Float[Tensor, "groups width"]:
        """1 at the numbers of the groups before, else 0."""
        return _below(self.starts, self.ends[-1])

    @cached_property
    def own(self) -> Float[Tensor, "groups width"]:
        """1 at the numbers of a group, else 0."""
        return self.until - self.before


def _groups(steps: int, groups: int) -> Int[Tensor, " steps"]:
    """floor(t / (T / k)), the quotient rounded as published."""
    return (torch.arange(steps, dtype=torch.float64) / (steps / groups)).long()


def _below(bounds: Sequence[int], width: int) -> Float[Tensor, "groups width"]:
    return (torch.arange(width) < torch.tensor(bounds)[:, None]).float()
