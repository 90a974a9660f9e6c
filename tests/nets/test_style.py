import pytest
import torch
from torch import nn

from unbraid.nets.style import StyleBlock, StyleDecoder, StyleEncoder


def layers(net, kind):
    return [m for m in net.modules() if isinstance(m, kind)]


def test_encoder_at_64_is_the_published_one():
    net = StyleEncoder(3, 64, out=12)
    convs = layers(net, nn.Conv2d)
    assert [c.out_channels for c in convs] == [32] * 3 + [64] * 3 + [128] * 3 + [256] * 3
    assert [c.kernel_size[0] for c in convs] == [3, 3, 4] * 4
    assert [c.stride[0] for c in convs] == [1, 1, 2] * 4
    assert all(c.padding == (1, 1) and c.bias is None for c in convs)
    assert all(n.affine and n.eps == 1e-6 for n in layers(net, nn.InstanceNorm2d))
    assert len(layers(net, nn.InstanceNorm2d)) == len(layers(net, nn.LeakyReLU)) == 12
    assert [(d.in_features, d.out_features) for d in layers(net, nn.Linear)] == [(4096, 256), (256, 256), (256, 12)]


def test_decoder_at_64_is_the_published_one():
    net = StyleDecoder(12, 3, 64)
    convs = layers(net, nn.ConvTranspose2d)
    assert [c.out_channels for c in convs] == [256] * 3 + [128] * 3 + [64] * 3 + [32] * 3
    assert [(c.kernel_size[0], c.stride[0]) for c in convs] == [(3, 1), (3, 1), (4, 2)] * 4
    assert all(c.padding == (1, 1) and c.bias is None for c in convs)
    assert net.constant.shape == (256, 4, 4)
    assert (net.constant == 0.1).all()
    assert net.image.kernel_size == (3, 3)
    assert net.image.bias is None
    assert [b.affine.out_features for b in net.blocks] == [2 * c.out_channels for c in convs]


def test_small_variant():
    encoder, decoder = StyleEncoder(3, 64, 12, variant="small"), StyleDecoder(12, 3, 64, variant="small")
    assert [(c.out_channels, c.kernel_size[0], c.stride[0]) for c in layers(encoder, nn.Conv2d)] == [
        (w, 4, 2) for w in (64, 128, 256, 512)
    ]
    assert [(c.out_channels, c.kernel_size[0]) for c in layers(decoder, nn.ConvTranspose2d)] == [
        (w, 4) for w in (512, 256, 128, 64)
    ]


@pytest.mark.parametrize("size", [16, 20, 28, 32, 36, 44, 96])
@pytest.mark.parametrize("variant", ["style", "small"])
def test_any_size_there_and_back(size, variant):
    x = torch.rand(2, 3, size, size)
    z = StyleEncoder(3, size, out=5, width=16, variant=variant)(x)
    assert z.shape == (2, 5)
    assert StyleDecoder(5, 3, size, width=16, variant=variant)(z).shape == x.shape


def test_block_by_its_formula():
    torch.manual_seed(0)
    block, x, style = StyleBlock(4, 3, 5, kernel=3, stride=1), torch.randn(2, 4, 6, 6), torch.randn(2, 5)
    h = block.conv(x)
    h = torch.where(h > 0, h, 0.2 * h)
    mean, var = h.mean((2, 3), keepdim=True), h.var((2, 3), keepdim=True, correction=0)
    affine = (style @ block.affine.weight.T + block.affine.bias).clamp(min=0)
    expected = (h - mean) / (var + 1e-6).sqrt() * affine[:, :3, None, None] + affine[:, 3:, None, None]
    torch.testing.assert_close(block(x, style), expected)


def test_a_shift_is_never_negative():
    block = StyleBlock(4, 3, 5, kernel=4, stride=2, odd=1)
    out = block(torch.randn(8, 4, 3, 3), torch.randn(8, 5))
    assert out.shape == (8, 3, 7, 7)
    assert out.mean((2, 3)).min() > -1e-5
