"""A twin of a network that follows it by an exponential moving average."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn


class EMA(nn.Module):
    """A frozen twin, saved with the method that holds it.

    Args:
        net: The network to follow.
        decay: Share of the old value that is kept at each `follow`.
        buffers: What happens to buffers such as running statistics: "copy" them, average them ("ema"), or let the
            twin keep its "own".
        live: Whether the twin goes into train mode with its owner, to normalise by the batch; it never does otherwise.
    """

    def __init__(
        self, net: nn.Module, decay: float, buffers: Literal["copy", "ema", "own"] = "copy", *, live: bool = False
    ) -> None:
        super().__init__()
        self.twin = copy.deepcopy(net).requires_grad_(False).eval()
        self.decay = decay
        self.buffer_rule = buffers
        self.live = live

    def train(self, mode: bool = True) -> EMA:
        """Stays in eval mode whatever is asked, unless it is live."""
        return super().train(mode and self.live)

    @torch.no_grad()
    def follow(self, net: nn.Module, decay: float | None = None) -> None:
        """Move the twin: old * decay + new * (1 - decay)."""
        keep = self.decay if decay is None else decay
        torch._foreach_lerp_(list(self.twin.parameters()), [p.detach() for p in net.parameters()], 1 - keep)
        if self.buffer_rule == "own":
            return
        for mine, theirs in zip(self.twin.buffers(), net.buffers(), strict=True):
            if self.buffer_rule == "ema" and mine.is_floating_point():
                mine.lerp_(theirs, 1 - keep)
            else:
                mine.copy_(theirs)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The twin's output."""
        out: Tensor = self.twin(*inputs)
        return out
