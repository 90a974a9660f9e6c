"""LARS: heavy-ball momentum with steps in proportion to the length of each tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rates (You et al., 2017).

    A gradient g of a tensor p becomes g + decay p; then, in a group with trust, it is scaled to `trust` times the
    length of p (left alone where either is zero); then m = momentum m + g, p = p - lr m.

    Args:
        params: Groups; "weight_decay" and "trust" of each replace the defaults.
        lr: Learning rate.
        momentum: Share of the direction that is kept.
        weight_decay: For groups that say nothing.
        trust: The coefficient; 0 for plain steps.
    """

    def __init__(
        self,
        params: Iterable[Mapping[str, Any]],
        lr: float = 0.2,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust}
        super().__init__([dict(group) for group in params], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            slopes = torch._foreach_add([p.grad for p in parameters], parameters, alpha=group["weight_decay"])
            if group["trust"]:
                self._trust_(slopes, parameters, group["trust"])
            for p in parameters:
                if "momentum_buffer" not in self.state[p]:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p)
            ways = [self.state[p]["momentum_buffer"] for p in parameters]
            torch._foreach_mul_(ways, group["momentum"])
            torch._foreach_add_(ways, slopes)
            torch._foreach_add_(parameters, ways, alpha=-group["lr"])

    @staticmethod
    def _trust_(slopes: tuple[Tensor, ...], parameters: list[Tensor], trust: float) -> None:
        lengths, steep = torch.stack(torch._foreach_norm(parameters)), torch.stack(torch._foreach_norm(slopes))
        ratio = torch.where((lengths > 0) & (steep > 0), trust * lengths / steep, 1.0)
        torch._foreach_mul_(slopes, list(ratio))
