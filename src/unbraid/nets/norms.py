"""What batch norm remembers."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def measure_norms(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Take the statistics of every batch norm anew, as plain averages over some batches; the net is left in eval mode.

    For networks that are used on other data than those they were last shown in training.

    Args:
        net: The network.
        batches: What it is used on, a few hundred items at a time.
    """
    norms = [layer for layer in net.modules() if isinstance(layer, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
    net.train()
    for batch in batches:
        net(batch)
    net.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
