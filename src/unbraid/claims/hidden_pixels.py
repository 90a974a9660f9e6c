"""What the claims of MAE and SimMIM share: hidden pixels are told from what is seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from unbraid.claims.claim import Arm, Contrast, Gate
from unbraid.claims.self_supervised import UNTRAINED, drawn, tiny
from unbraid.core.method import At

if TYPE_CHECKING:
    from unbraid.core.method import Method


def arms(method: str) -> tuple[Arm, ...]:
    """The method, and its network as it was made."""
    return Arm(method, method), Arm("untrained", method, UNTRAINED)


def contrasts(method: str) -> tuple[Contrast, ...]:
    """The error in what is hidden is asserted, how the network is read only reported."""
    better = "Hidden pixels of new images are told better than by the mean image, by a quarter at least."
    return (
        Contrast(better, "held out", method, 0.75),
        Contrast("A probe, over an untrained network.", "probe", method, "untrained", expect="report"),
        Contrast("Neighbours, over an untrained network.", "votes", method, "untrained", expect="report"),
    )


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """What is seen and what is not."""
    return list(_gates(cls))


def _gates(cls: type[Method[Any]]) -> Iterator[Gate]:
    method = tiny(cls)
    x = torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))

    def at() -> At:
        return At(generator=torch.Generator().manual_seed(1))

    told, mask = method.fill(x, at())
    pixels = mask.view(-1, 4, 4).repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None]
    other = torch.where(pixels, drawn(6, 1, 16, 16).sigmoid(), x)
    leak = float((method.fill(other, at())[0] - told).abs().max().detach())
    yield Gate("What is hidden is not seen.", "largest change of what is told", leak, 0.0, margin=1e-5)
    other = torch.where(pixels, x, drawn(6, 1, 16, 16).sigmoid())
    seen = float((method.fill(other, at())[0] - told).abs().max().detach())
    yield Gate("What is not hidden is.", "largest change of what is told", seen, 1e-4, "better")
