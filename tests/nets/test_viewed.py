import pytest
import torch

from unbraid.nets.viewed import FlatViewDecoder, FlatViewEncoder, ViewDecoder, ViewEncoder, sizes_of

PAPER = (4, 8, 16, 32, 64, 128)


def test_the_published_sizes():
    assert [h for h, _ in sizes_of((120, 120), 6)] == [120, 60, 30, 15, 8, 4, 2]
    encoder, decoder = ViewEncoder((3, 120, 120), PAPER, 24), ViewDecoder(24, (3, 120, 120), PAPER)
    assert encoder.mean.in_features == 512
    assert decoder.start == (128, 2, 2)
    mean, logvar = encoder(torch.rand(2, 3, 120, 120))
    assert mean.shape == logvar.shape == (2, 24)
    assert decoder(mean).shape == (2, 3, 120, 120)


@pytest.mark.parametrize("shape", [(1, 24, 24), (3, 17, 30)])
def test_any_size_comes_back(shape):
    for encoder, decoder in (
        (ViewEncoder(shape, (4, 6, 8), 5), ViewDecoder(5, shape, (4, 6, 8))),
        (FlatViewEncoder(shape, 8, 5), FlatViewDecoder(5, shape, 8)),
    ):
        image = decoder(encoder(torch.rand(2, *shape))[0])
        assert image.shape == (2, *shape)
        assert image.min() > 0
        assert image.max() < 1


@pytest.mark.parametrize("encoder", [ViewEncoder((1, 16, 16), (4, 4), 3, 2), FlatViewEncoder((1, 16, 16), 8, 3, 2)])
def test_what_is_given_besides_the_image_matters(encoder):
    x = torch.rand(2, 1, 16, 16)
    one, other = (encoder(x, given)[0] for given in (torch.zeros(2, 2), torch.ones(2, 2)))
    assert not torch.allclose(one, other)
