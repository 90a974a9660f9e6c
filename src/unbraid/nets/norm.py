"""Normalisation by the statistics of a batch, of all processes together where they train together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.method import Alone, World

_ALONE = Alone()
_world: ContextVar[World] = ContextVar("world", default=_ALONE)


@contextmanager
def together(world: World) -> Iterator[None]:
    """Within it, every `BatchNorm` in train mode takes its statistics over all processes of a world.

    >>> with together(Alone()):
    ...     BatchNorm(2)(torch.tensor([[0.0, 1.0], [2.0, 5.0]])).round(decimals=3).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """
    token = _world.set(world)
    try:
        yield
    finally:
        _world.reset(token)


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation of (B, C) or (B, C, ...), synchronised within `together`.

    Gradients flow through the statistics of the other processes, too: value and gradient are those of one process that
    sees the whole batch.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of axes."""

    def forward(self, input: Float[Tensor, "batch c *place"]) -> Float[Tensor, "batch c *place"]:
        """The normalised batch."""
        world = _world.get()
        if not self.training or world.size == 1:
            return super().forward(input)
        mean, var = moments(input, world)
        if self.track_running_stats:
            self._remember(mean.detach(), var.detach(), input.numel() // input.shape[1] * world.size)
        shape = (1, -1, *[1] * (input.ndim - 2))
        out = (input - mean.view(shape)) * (var + self.eps).rsqrt().view(shape)
        return out if self.weight is None else out * self.weight.view(shape) + self.bias.view(shape)

    @torch.no_grad()
    def _remember(self, mean: Tensor, var: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(var * (count / max(1, count - 1)), share)


def moments(x: Float[Tensor, "batch c *place"], world: World) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
    """Mean and biased variance of each channel over the batches of all processes, which are equally large."""
    rows = x.movedim(1, -1).flatten(0, -2)
    mean = world.mean(rows.mean(0))
    return mean, world.mean((rows - mean).square().mean(0))


class BatchStandardise(nn.Module):
    """Columns of mean 0 and variance 1 over the batch of all processes, in train and in eval mode alike.

    Args:
        eps: Added to the biased variance.

    >>> z = BatchStandardise()(torch.tensor([[0.0, 1.0], [2.0, 5.0]]), Alone())
    >>> z.round(decimals=3).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, z: Float[Tensor, "batch d"], world: World) -> Float[Tensor, "batch d"]:
        """The standardised rows of this process."""
        mean, var = moments(z, world)
        return (z - mean) * (var + self.eps).rsqrt()
