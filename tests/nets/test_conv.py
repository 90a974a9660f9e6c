import math

import pytest
import torch
from torch import nn

from unbraid.nets.conv import ConvDecoder, ConvEncoder, Doubling2d, SameConv2d, depth_for, halvings

SIZES = [16, 20, 24, 28, 32, 36, 44, 48, 60, 64, 96]


def layers(net, kind):
    return [m for m in net.modules() if isinstance(m, kind)]


def test_encoder_at_64_is_the_published_one():
    net = ConvEncoder(3, 64, out=20)
    found = [(c.in_channels, c.out_channels, c.kernel_size, c.stride) for c in layers(net, nn.Conv2d)]
    two, four = (2, 2), (4, 4)
    assert found == [(3, 32, four, two), (32, 32, four, two), (32, 64, two, two), (64, 64, two, two)]
    assert [(d.in_features, d.out_features) for d in layers(net, nn.Linear)] == [(1024, 256), (256, 20)]


def test_decoder_at_64_is_the_published_one():
    net = ConvDecoder(10, 3, 64)
    found = [(c.in_channels, c.out_channels, c.kernel_size, c.stride) for c in layers(net, nn.ConvTranspose2d)]
    assert found == [(a, b, (4, 4), (2, 2)) for a, b in [(64, 64), (64, 32), (32, 32), (32, 3)]]
    assert [(d.in_features, d.out_features) for d in layers(net, nn.Linear)] == [(10, 256), (256, 1024)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_there_and_back(size, channels):
    x = torch.rand(2, channels, size, size)
    z = ConvEncoder(channels, size, out=5, width=16)(x)
    assert z.shape == (2, 5)
    assert ConvDecoder(5, channels, size, width=16)(z).shape == x.shape
    assert 3 <= halvings(size)[-1] <= 6
    assert all(b == math.ceil(a / 2) for a, b in zip(halvings(size), halvings(size)[1:], strict=False))
    assert len(halvings(size)) == depth_for(size) + 1


@pytest.mark.parametrize(("size", "kernel", "pads"), [(8, 4, (1, 1)), (7, 4, (1, 2)), (8, 2, (0, 0)), (7, 2, (0, 1))])
def test_same_padding_by_its_rule(size, kernel, pads):
    conv = SameConv2d(2, 3, kernel, stride=2)
    x = torch.randn(1, 2, size, size)
    padded = torch.zeros(1, 2, size + sum(pads), size + sum(pads))
    padded[..., pads[0] : pads[0] + size, pads[0] : pads[0] + size] = x
    windows = padded.unfold(2, kernel, 2).unfold(3, kernel, 2)
    expected = torch.einsum("bcijkl,ockl->boij", windows, conv.weight) + conv.bias[:, None, None]
    torch.testing.assert_close(conv(x), expected)


@pytest.mark.parametrize("size", [7, 8])
def test_doubling_is_the_adjoint_of_same_convolution(size):
    torch.manual_seed(0)
    down, up = SameConv2d(2, 3, 4, stride=2, bias=False).double(), Doubling2d(3, 2, size).double()
    up.weight.data, up.bias.data = down.weight.data, torch.zeros(2).double()
    x, y = torch.randn(1, 2, size, size).double(), torch.randn(1, 3, 4, 4).double()
    torch.testing.assert_close((down(x) * y).sum(), (x * up(y)).sum())


def test_start_is_glorot_without_biases():
    net = ConvEncoder(1, 64, out=20)
    limit = math.sqrt(6 / (1024 + 256))
    assert net.dense.weight.abs().max() <= limit
    assert net.dense.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.02)
    assert all(not p.any() for name, p in net.named_parameters() if name.endswith("bias"))
