"""Normalisation layers of any network: their affine parameters, and the statistics they use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from unbraid.core.method import Alone, World

AFFINE = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
"""Layers whose weight and bias a method may adapt."""

Norm = Callable[[int], nn.Module]
"""Makes the normalisation of some channels."""


def affine_of(net: nn.Module, skip: Sequence[str] = ()) -> dict[str, nn.Parameter]:
    """The weights and biases of normalisation layers by dotted name.

    Args:
        net: Any network.
        skip: Modules to leave out with all they contain, by dotted name from the root: "layer4" leaves out
            "layer4.0.bn1" but not "neck.layer4".

    >>> list(affine_of(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Sequential(nn.BatchNorm2d(2)))))
    ['1.weight', '1.bias', '2.0.weight', '2.0.bias']
    >>> list(affine_of(nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2)), skip=("1",)))
    ['0.weight', '0.bias']
    """
    left_out = tuple(f"{name}." for name in skip)
    return {
        f"{name}.{leaf}" if name else leaf: parameter
        for name, module in net.named_modules()
        if isinstance(module, AFFINE) and not f"{name}.".startswith(left_out)
        for leaf, parameter in module.named_parameters(recurse=False)
    }


class hold_statistics(TorchFunctionMode):  # noqa: N801 - used like a function: `with hold_statistics():`
    """Within it, batch normalisation uses the statistics of the batch; the running ones are neither used nor moved.

    This holds whatever mode the layers are in, for layers of any library that come down to torch's own functions, and
    only in the thread that entered it: nothing is written to a module. One value a channel has no statistics: there the
    running ones are used after all.

    Args:
        world: The processes over which a batch is spread; statistics are those of the whole batch.
        affine: id of a weight or bias of a normalisation layer -> what takes its place.

    >>> layer = nn.BatchNorm1d(2).eval()
    >>> with hold_statistics():
    ...     y = layer(torch.tensor([[1.0, 10.0], [3.0, 30.0]]))
    >>> y.round(decimals=3).tolist(), layer.running_mean.tolist()
    ([[-1.0, -1.0], [1.0, 1.0]], [0.0, 0.0])
    """

    def __init__(self, world: World | None = None, affine: Mapping[int, Tensor] = MappingProxyType({})) -> None:
        super().__init__()
        self._world, self._affine = world or Alone(), affine

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if func not in (functional.batch_norm, functional.layer_norm, functional.group_norm):
            return func(*args, **named)
        if self._affine:
            args = tuple(self._affine.get(id(arg), arg) for arg in args)
            named = {name: self._affine.get(id(arg), arg) for name, arg in named.items()}
        # Sums, and with them the bits, shall not depend on the layout in memory; and torch 2.13 crashes in the backward
        # pass of a group norm whose channels come last and whose input needs no gradient.
        x = args[0].contiguous()
        return self._batch_norm(x, *args[1:], **named) if func is functional.batch_norm else func(x, *args[1:], **named)

    def _batch_norm(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if self._world.size > 1:
            return _normalised_together(input, weight, bias, eps, self._world)
        alone = input.numel() == input.shape[1] and running_mean is not None
        kept = (running_mean, running_var) if alone else (None, None)
        return functional.batch_norm(input, *kept, weight, bias, not alone, 0.0, eps)


def _normalised_together(
    x: Float[Tensor, "batch channels *more"], weight: Tensor | None, bias: Tensor | None, eps: float, world: World
) -> Float[Tensor, "batch channels *more"]:
    """Batch normalisation by the biased statistics of all processes' rows; some may have none."""
    axes, shape = [d for d in range(x.ndim) if d != 1], (-1, *[1] * (x.ndim - 2))
    count = world.sum(torch.tensor(float(x.numel() // x.shape[1]), device=x.device))
    mean = world.sum(x.sum(axes)) / count
    centred = x - mean.reshape(shape)
    variance = world.sum(centred.square().sum(axes)) / count
    y = centred * (variance + eps).rsqrt().reshape(shape)
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)
