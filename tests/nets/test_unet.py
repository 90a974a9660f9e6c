"""The U-Net and the strided tower."""

import pytest
import torch

from unbraid.core.errors import ConfigError
from unbraid.nets.strided import StridedTower
from unbraid.nets.unet import AtBottom, DoubleConv, UNet


@pytest.mark.parametrize("size", [(32,), (16, 80), (8, 8)])
def test_the_size_comes_back_and_the_bottleneck_is_where_it_says(size):
    torch.manual_seed(0)
    net = UNet(3, size, widths=(4, 6, 8, 8)).eval()
    x = torch.randn(2, 3, *size)
    assert net(x).shape == x.shape
    assert net.bottom == (8, *(n // 8 for n in size))
    shapes = []
    net.down[-1].register_forward_hook(lambda _m, _i, out: shapes.append(tuple(out.shape[1:])))
    plain, moved = net(x), net(x, torch.ones(2, *net.bottom))
    assert shapes[0] == net.bottom
    assert not torch.allclose(plain, moved)
    torch.testing.assert_close(net(x, torch.zeros(2, *net.bottom)), plain)


def test_at_the_published_widths_the_levels_are_the_published_ones():
    net = UNet(2, (16, 80))
    assert [level[0].in_channels for level in net.down] == [64, 128, 256, 512]
    assert [level[-3].out_channels for level in net.down] == [128, 256, 512, 512]
    assert [level[0].in_channels for level in net.up] == [1024, 512, 256, 128]
    assert [level[-3].out_channels for level in net.up] == [256, 128, 64, 64]
    assert net.bottom == (512, 1, 5)


def test_what_was_on_the_way_down_is_joined_on_the_way_up():
    torch.manual_seed(0)
    net = UNet(1, (16,), widths=(4, 4, 4)).eval()
    seen = {}
    net.start.register_forward_hook(lambda _m, _i, out: seen.update(first=out))
    net.up[-1].register_forward_hook(lambda _m, inputs, _o: seen.update(joined=inputs[0]))
    net(torch.randn(2, 1, 16))
    assert torch.equal(seen["joined"][:, :4], seen["first"])


def test_stretching_is_linear_between_corners():
    net = UNet(1, (4, 4), widths=(1, 1))
    x = torch.tensor([[0.0, 3.0], [6.0, 9.0]])[None, None]
    torch.testing.assert_close(net.stretch(x)[0, 0, 0], torch.tensor([0.0, 1.0, 2.0, 3.0]))


@pytest.mark.parametrize("size", [(12, 80), (0,), (16, 16, 16)])
def test_sizes_that_do_not_halve_are_refused(size):
    with pytest.raises(ConfigError, match="multiple of 16"):
        UNet(2, size)


def test_a_double_convolution_is_two_of_each():
    layers = [type(layer).__name__ for layer in DoubleConv(2, 3, 4, 1)]
    assert layers == ["Conv1d", "BatchNorm", "ReLU"] * 2
    assert AtBottom(3, (4, 1, 5)).dense.out_features == 20


def test_the_tower_ends_in_one_vector_whatever_the_size():
    tower = StridedTower(2, (16, 80), (18, 36, 72, 144, 288, 576), (1, 1, 2, 1, 2, 2), 512)
    assert tower[-2].kernel_size == (2, 10)
    assert type(tower[-1]).__name__ == "Flatten"
    assert StridedTower(2, (8, 40), (2,) * 6, (1, 1, 2, 1, 2, 2), 3)[-2].kernel_size == (1, 5)
    assert StridedTower(1, (5, 9), (2, 2), (2, 2), 3)(torch.zeros(4, 1, 5, 9)).shape == (4, 3)
