"""How much of the forward pass is kept for the backward pass."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


def peak_saved_bytes(step: Callable[[], object], weights: Iterable[Tensor] = ()) -> int:
    """The most bytes that automatic differentiation held at once while `step` ran, counted and not measured.

    A storage that several operations keep counts once, and no longer when the last graph that keeps it is gone. The
    same on every machine.

    Args:
        step: Forward and backward passes.
        weights: Tensors that are there anyway, and do not count.

    >>> import torch
    >>> x = torch.ones(4, requires_grad=True)
    >>> def step():
    ...     y = x * 2  # keeps nothing
    ...     return torch.autograd.grad((y.exp() + y.sin()).sum(), x)  # keep exp(y) and y, 16 bytes each
    >>> peak_saved_bytes(step)
    32
    """
    count = _Count({_key(w) for w in weights})
    with saved_tensors_hooks(count.keep, lambda kept: kept.tensor):
        step()
    return count.peak


class _Kept:
    """Stands in a graph for a tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _Count:
    def __init__(self, free: set[int]) -> None:
        self.free, self.holders = free, Counter[int]()
        self.now = self.peak = 0

    def keep(self, tensor: Tensor) -> _Kept:
        kept, key = _Kept(tensor), _key(tensor)
        if key not in self.free:
            size = tensor.untyped_storage().nbytes()
            self.holders[key] += 1
            if self.holders[key] == 1:
                self.now += size
                self.peak = max(self.peak, self.now)
            weakref.finalize(kept, self.let_go, key, size)
        return kept

    def let_go(self, key: int, size: int) -> None:
        self.holders[key] -= 1
        if not self.holders[key]:
            self.now -= size


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
