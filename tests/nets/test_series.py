import pytest
import torch

from unbraid.core.errors import ConfigError, DataError
from unbraid.nets.series import SeriesDecoder, SeriesEncoder, shrunk


@pytest.mark.parametrize(("time", "widths", "kernel"), [(256, (32, 64), 6), (64, (2, 3, 4), 4), (32, (5,), 2)])
def test_the_decoder_undoes_the_shapes_of_the_encoder(time, widths, kernel):
    x = torch.randn(3, 6, time)
    z = SeriesEncoder(6, time, 7, widths, kernel, 8)(x)
    assert z.shape == (3, 7)
    assert SeriesDecoder(7, 6, time, widths, kernel, 8)(z).shape == x.shape
    with torch.no_grad():
        convolved = SeriesEncoder(6, time, 7, widths, kernel, 8).layers[: 2 * len(widths)](x)
    assert convolved.shape[1:] == shrunk(6, time, widths, kernel)


def test_the_first_layer_is_a_strided_convolution():
    encoder = SeriesEncoder(1, 16, 2, (1,), 4, 3)
    conv = encoder.layers[0]
    x = torch.randn(1, 1, 16)
    padded = torch.nn.functional.pad(x, (1, 1))[0, 0]
    expected = torch.stack([padded[2 * i : 2 * i + 4] @ conv.weight[0, 0] + conv.bias[0] for i in range(8)])
    torch.testing.assert_close(conv(x)[0, 0], expected)


def test_series_and_options_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="T a multiple of 4 and not shorter than 6, got 6 channels of 250"):
        SeriesEncoder(6, 250, 4)
    with pytest.raises(DataError):
        SeriesDecoder(4, 6, 4)
    with pytest.raises(ConfigError, match="an even kernel"):
        SeriesEncoder(6, 256, 4, kernel=5)
    with pytest.raises(ConfigError):
        SeriesEncoder(6, 256, 4, widths=())
