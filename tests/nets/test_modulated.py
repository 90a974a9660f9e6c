"""Modulated convolutions against the grouped convolution of the paper; a generator with a code for each layer."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv2d

from unbraid.core.errors import ConfigError
from unbraid.nets.modulated import ModulatedConv2d, StyleGenerator


@pytest.mark.parametrize("normed", [True, False])
def test_scaling_maps_is_scaling_the_weights_of_each_item(normed: bool) -> None:
    layer, x, style = ModulatedConv2d(4, 6, 5, normed=normed), torch.randn(3, 4, 7, 7), torch.randn(3, 5)
    weights = layer.weight * layer.scale(style)[:, None, :, None, None]
    if normed:
        weights = weights / (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    grouped = conv2d(x.reshape(1, 12, 7, 7), weights.reshape(18, 4, 3, 3), padding=1, groups=3).reshape(3, 6, 7, 7)
    torch.testing.assert_close(layer(x, style), grouped + layer.bias[:, None, None], atol=1e-5, rtol=1e-4)


def test_a_code_of_a_layer_acts_from_that_layer_on() -> None:
    net = StyleGenerator(6, 3, 32, widths=(8, 8, 4))
    assert net.layers == 4
    codes = torch.randn(2, 4, 6)
    other = codes.clone()
    other[:, 3] += 1
    made, changed = net(codes).detach(), net(other).detach()
    assert bool(((made > 0) & (made < 1)).all())
    assert float((made - changed).abs().max()) > 0
    even = net(codes[:, 0])
    torch.testing.assert_close(even, net(codes[:, :1].expand(-1, 4, -1)))


def test_inputs_are_brought_to_one_length_before_they_are_mapped() -> None:
    net, z = StyleGenerator(6, 3, 8, widths=(8,), mapping=2), torch.randn(3, 6)
    assert net.mapping is not None
    torch.testing.assert_close(net.mapping(z), net.mapping(7 * z))


@pytest.mark.parametrize("size", [4, 20, 33])
def test_sizes_that_are_not_doubled_from_four(size: int) -> None:
    with pytest.raises(ConfigError, match=f"8, 16, 32, 64, ... pixels, got {size}"):
        StyleGenerator(6, 3, size)
