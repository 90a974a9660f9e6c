"""The processes that train together under `torchrun`, with differentiable sum, mean and gather."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from unbraid.core.errors import ConfigError
from unbraid.core.method import Alone, World


class _Sum(torch.autograd.Function):
    """All-reduce whose backward is an all-reduce, so that gradients averaged over ranks equal one process's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total


class Processes:
    """The world of an initialised process group."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()

    def sum(self, x: Tensor) -> Tensor:
        """The sum over the processes."""
        summed: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
        return summed

    def mean(self, x: Tensor) -> Tensor:
        """The mean over the processes."""
        return self.sum(x) / self.size

    def gather(self, x: Tensor) -> Tensor:
        """The rows of all processes, in the order of the global batch."""
        everywhere = x.new_zeros((self.size, *x.shape))
        placed = torch.cat([everywhere[: self.rank], x[None], everywhere[self.rank + 1 :]])
        return self.sum(placed).flatten(0, 1)


def average_(gradients: Sequence[Tensor], world: World) -> None:
    """Replace gradients by their mean over the processes, in one flat all-reduce per dtype."""
    if world.size == 1:
        return
    for dtype in {g.dtype for g in gradients}:
        mine = [g for g in gradients if g.dtype == dtype]
        flat = torch.cat([g.flatten() for g in mine])
        dist.all_reduce(flat)
        flat /= world.size
        for g, new in zip(mine, torch.split(flat, [g.numel() for g in mine]), strict=True):
            g.copy_(new.view_as(g))


def any_process(flag: bool, world: World, device: torch.device) -> bool:
    """Whether the flag is up in any process."""
    if world.size == 1:
        return flag
    raised = torch.tensor(float(flag), device=device)
    dist.all_reduce(raised)
    return bool(raised)


@contextmanager
def processes(device: torch.device) -> Iterator[World]:
    """The world that `torchrun` started, or the world of one process."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Alone()
        return
    if dist.is_initialized():
        yield Processes()
        return
    if device.type == "mps":
        raise ConfigError("one process on mps", got=os.environ["WORLD_SIZE"], fix="use --device cpu", where="--device")
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes()
        dist.barrier()  # a process that ends while another is still in a collective takes it down
    finally:
        dist.destroy_process_group()
