"""How a network trained in blocks is judged: its answers, what each depth knows, and what a step keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.fields import Batch
from unbraid.core.method import Alone, Source
from unbraid.metrics.recognition import recognition
from unbraid.nets.norm import together
from unbraid.training.stepper import Stepper

if TYPE_CHECKING:
    from unbraid.methods.edge.momentum_auxiliary import MomentumAuxiliary

_AT_ONCE, _MOST = 256, 2000


@contextmanager
def still(net: nn.Module) -> Iterator[None]:
    """A network in eval mode and without gradients, for a while."""
    modes = [m.training for m in net.modules()]
    net.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in zip(net.modules(), modes, strict=True):
            module.training = mode


def _batches(method: MomentumAuxiliary, data: Source, most: int) -> Iterator[Batch]:
    device = method.head.weight.device
    for rows in torch.split(torch.arange(min(len(data), most)), _AT_ONCE):
        yield data.take(rows, device)


def accuracy(method: MomentumAuxiliary, data: Source) -> float:
    """Share of items whose class is told right."""
    with still(method):
        right = [method.predict(b).label == b["label"] for b in _batches(method, data, len(data))]
    return float(torch.cat(right).double().mean())


def read_by_depth(method: MomentumAuxiliary, data: Source) -> Float[Tensor, " blocks"]:
    """Share of up to 2,000 items whose class a linear probe reads from the pooled maps of each block, five-fold."""
    pooled, labels = [], []
    with still(method):
        for batch in _batches(method, data, _MOST):
            pooled.append([h.mean((2, 3)).cpu() for h in method.maps(batch["x"])])
            labels.append(batch["label"].cpu())
    y = torch.cat(labels).numpy()
    folds = np.random.default_rng(0).permutation(len(y)) % 5
    codes = [torch.cat(depth).numpy() for depth in zip(*pooled, strict=True)]
    return torch.tensor([recognition(z, y, folds).linear for z in codes])


def step_of(method: MomentumAuxiliary, batch: Batch) -> Callable[[], object]:
    """One step of training, which moves the method."""
    stage = method.stages()[0]
    stepper = Stepper(method, stage, seed=0, steps=1)

    def step() -> object:
        with together(Alone()):
            return stepper.step(batch, 0)

    return step
