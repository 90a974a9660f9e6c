import pytest
import torch

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field
from unbraid.nets.backbones import Encoder
from unbraid.nets.heads import predictor, projector
from unbraid.nets.norm import BatchNorm
from unbraid.nets.resnet import BasicBlock, Bottleneck, ResNet


def count(net):
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(("depth", "parameters"), [(18, 11_176_512), (34, 21_284_672), (50, 23_508_032)])
def test_the_published_depths_have_the_published_number_of_parameters(depth, parameters):
    with torch.device("meta"):
        net = ResNet(depth)
    assert count(net) == parameters


def test_maps_of_both_stems():
    with torch.device("meta"):
        large, small = ResNet(50), ResNet(18, stem="cifar")
        shapes = [tuple(b.shape) for b in large.blocks(torch.zeros(1, 3, 224, 224))]
        assert shapes[0] == (1, 64, 56, 56)
        assert shapes[1:] == [(1, 256, 56, 56), (1, 512, 28, 28), (1, 1024, 14, 14), (1, 2048, 7, 7)]
        assert large(torch.zeros(1, 3, 224, 224)).shape == (1, 2048)
        assert [b.shape[-1] for b in small.blocks(torch.zeros(1, 3, 32, 32))] == [32, 32, 16, 8, 4]
    assert (large.width, small.width) == (2048, 512)


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_block_may_start_as_the_identity(block):
    net = block(4 * block.expansion, 4, 1).eval()
    x = torch.rand(2, 4 * block.expansion, 5, 5)
    assert not torch.equal(net(x), x)
    torch.nn.init.zeros_(net.last.weight)
    torch.testing.assert_close(net(x), x)


def test_a_basic_block_by_its_formula():
    net = BasicBlock(3, 6, 2).eval()
    x = torch.randn(2, 3, 8, 8)
    conv = torch.nn.functional.conv2d
    scale = (1 + 1e-5) ** -0.5
    h = (conv(x, net.conv1.weight, stride=2, padding=1) * scale).relu()
    h = conv(h, net.conv2.weight, padding=1) * scale + conv(x, net.shortcut[0].weight, stride=2) * scale
    torch.testing.assert_close(net(x), h.relu())


def test_heads():
    head = projector(6, (8, 8, 4), affine=False)
    assert count(head) == 6 * 8 + 8 * 8 + 8 * 4
    assert [layer.affine for layer in head if isinstance(layer, BatchNorm)] == [False, False]
    assert predictor(6, 3)(torch.randn(4, 6)).shape == (4, 6)
    assert count(predictor(6, 3)) == 6 * 3 + 3 + 2 * 3 + 3 * 6 + 6


def test_encoders_and_misfits():
    small = Encoder(Field((1, 16, 16)), "conv", 10)
    assert small(torch.rand(3, 1, 16, 16)).shape == (3, small.width) == (3, 10)
    assert Encoder(Field((3, 32, 32)), "resnet8", 4).width == 16
    with pytest.raises(DataError, match="images"):
        Encoder(Field((12,)), "resnet8", 4)
    with pytest.raises(DataError, match="square"):
        Encoder(Field((1, 16, 20)), "conv", 4)
    with pytest.raises(ConfigError, match="depths"):
        ResNet(11)


def test_a_shortcut_without_weights_and_the_published_sizes_for_small_images():
    with torch.device("meta"):
        nets = [ResNet(d, stem="cifar", width=16, shortcut="zeros") for d in (32, 110)]
    assert [count(net) + 650 for net in nets] == [464_154, 1_727_962]
    block = BasicBlock(2, 4, 2, "zeros")
    torch.nn.init.zeros_(block.last.weight)
    x = torch.rand(1, 2, 6, 6)
    made = block.eval()(x)
    torch.testing.assert_close(made[:, :2], x[:, :, ::2, ::2])
    assert made[:, 2:].abs().max() == 0
