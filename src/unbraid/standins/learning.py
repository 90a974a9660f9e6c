"""How stand-ins learn: Adam over batches in epoch order, all of it a function of the seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from unbraid.core.fields import Batch
from unbraid.core.method import Source
from unbraid.data.order import epoch_positions, key_of


@contextmanager
def chance(*parts: int | str) -> Iterator[None]:
    """Draws told from these alone within the block; the caller's generator is as it was afterwards.

    >>> with chance("probe", 3):
    ...     one = torch.rand(1)
    >>> with chance("probe", 3):
    ...     print(torch.equal(one, torch.rand(1)))
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(key_of(*parts))
        yield


def descend(
    net: nn.Module,
    source: Source,
    loss: Callable[[Batch], Tensor],
    seed: int,
    *,
    steps: int,
    batch: int,
    lr: float,
    cosine: bool = False,
) -> None:
    """Descend a loss of a network in place; the network is in train mode meanwhile and in eval mode afterwards.

    Args:
        net: Whose parameters move.
        source: Where batches come from.
        loss: Of a batch.
        seed: Of the order.
        steps: How many.
        batch: Items per step.
        lr: Learning rate.
        cosine: Whether it falls to 0 along a cosine.
    """
    net.train()
    device = next(p.device for p in net.parameters())
    optimizer = torch.optim.Adam(net.parameters(), lr, fused=True)
    for step in range(steps):
        rows = epoch_positions(torch.arange(step * batch, (step + 1) * batch), len(source), seed)
        read = source.take(rows, device)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss(read))
        if cosine:
            optimizer.param_groups[0]["lr"] = 0.5 * lr * (1 + math.cos(math.pi * step / steps))
        optimizer.step()
    net.eval()
