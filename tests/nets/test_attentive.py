import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.nets.attentive import AttentiveEncoder
from unbraid.nets.denoiser import Attention


@pytest.mark.parametrize("size", [8, 16, 28, 64])
def test_maps_are_halved_down_to_four_pixels_with_attention_behind_the_second(size):
    net = AttentiveEncoder((3, size, size), 7, width=8)
    kinds = [type(layer) for layer in net.convs]
    convs = [i for i, kind in enumerate(kinds) if kind is torch.nn.Conv2d]
    assert len(convs) == {8: 1, 16: 2, 28: 3, 64: 4}[size]
    attention = [i for i, kind in enumerate(kinds) if kind is Attention]
    assert attention == [conv + 1 for conv in convs[1:2]]
    assert net(torch.rand(2, 3, size, size)).shape == (2, 7)


def test_too_small_images_are_refused():
    with pytest.raises(DataError, match="8 pixels"):
        AttentiveEncoder((1, 4, 4), 3)
