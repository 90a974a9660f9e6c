"""Classifiers of what became another between two items."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.errors import DataError
from unbraid.core.fields import Field
from unbraid.nets.mlp import mlp
from unbraid.nets.norm import BatchNorm
from unbraid.nets.resnet import ResNet, stem_for

Reader = Literal["auto", "lenet", "resnet", "mlp"]


class PairReader(nn.Module):
    """Numbers that are told from two items of one shape, put one behind the other.

    Images go one after the other as channels into a LeNet or a ResNet of 18 layers, anything else, flattened, into a
    perceptron with one hidden layer.

    Args:
        field: An item.
        out: Numbers for a pair.
        reader: Which network; "auto" takes the LeNet for images.
        hidden: Width of the perceptron.

    Raises:
        DataError: The items are not images, and the network is one for images.
    """

    def __init__(self, field: Field, out: int, reader: Reader = "auto", hidden: int = 128) -> None:
        super().__init__()
        image = len(field.shape) == 3
        reader = ("lenet" if image else "mlp") if reader == "auto" else reader
        if not image and reader != "mlp":
            raise DataError("images", got=f"items of shape {field.shape}", fix="use reader=mlp", where=reader)
        self.net = _NETS[reader](field, out, hidden)

    def forward(
        self, before: Float[Tensor, "batch *item"], after: Float[Tensor, "batch *item"]
    ) -> Float[Tensor, "batch out"]:
        """The numbers of each pair."""
        read: Tensor = self.net(torch.cat([before, after], 1))
        return read


class _Mean(nn.Module):
    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c"]:
        """The mean over all positions."""
        return x.mean((2, 3))


def _lenet(field: Field, out: int, _hidden: int) -> nn.Module:
    padding = 0 if min(field.shape[1:]) >= 32 else 2  # below, nothing would be left of the maps
    layers: list[nn.Module] = []
    widths = (2 * field.shape[0], 6, 16, 120)
    for i in range(3):
        layers += [nn.Conv2d(widths[i], widths[i + 1], 5, padding=padding), BatchNorm(widths[i + 1]), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if i < 2 else []
    return nn.Sequential(*layers, _Mean(), *mlp((120, 84, out), norm=BatchNorm))


def _resnet(field: Field, out: int, _hidden: int) -> nn.Module:
    trunk = ResNet(18, 2 * field.shape[0], stem_for(field.shape[1]))
    return nn.Sequential(trunk, nn.Linear(trunk.width, out))


def _perceptron(field: Field, out: int, hidden: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), *mlp((2 * math.prod(field.shape), hidden, out)))


_NETS: Mapping[str, Callable[[Field, int, int], nn.Module]] = {
    "lenet": _lenet,
    "resnet": _resnet,
    "mlp": _perceptron,
}
