import torch

from unbraid.nets.norm import BatchNorm
from unbraid.nets.vgg import VGG, VGG3


def test_eleven_layers_have_eight_convolutions_and_no_normalisation():
    net = VGG(3)
    widths = [m.out_channels for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert widths == [64, 128, 256, 256, 512, 512, 512, 512]
    assert not any(isinstance(m, BatchNorm) for m in net.modules())


def test_three_layers_normalise_and_average_over_any_image():
    net = VGG(1, 4, VGG3, norm=True)
    assert sum(isinstance(m, BatchNorm) for m in net.modules()) == 3
    assert net(torch.rand(2, 1, 9, 7)).shape == (2, 16)
