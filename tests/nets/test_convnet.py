import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.core.fields import Field
from unbraid.nets.convnet import ConvNet


def test_the_head_reads_the_last_maps():
    net = ConvNet(Field((3, 16, 12)), (4, 6), out=7).eval()
    x = torch.rand(2, 3, 16, 12)
    assert net.width == 6 * 4 * 3
    torch.testing.assert_close(net.head(net.features(x)), net(x))


def test_a_block_is_convolution_norm_relu_and_mean():
    net = ConvNet(Field((1, 4, 4)), (5,), out=2).train()
    x = torch.rand(3, 1, 4, 4)
    maps = torch.nn.functional.conv2d(x, net.features[0][0].weight, net.features[0][0].bias, padding=1)
    maps = (maps - maps.mean((0, 2, 3), keepdim=True)) / (maps.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    pooled = maps.relu().unflatten(3, (2, 2)).unflatten(2, (2, 2)).mean((3, 5))
    torch.testing.assert_close(net.features(x), pooled.flatten(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 7, 8), (8,), (2, 40)])
def test_what_is_no_image_or_too_small_is_refused(shape):
    with pytest.raises(DataError, match="at least 8 x 8 pixels"):
        ConvNet(Field(shape), (4, 4, 4), out=2)
