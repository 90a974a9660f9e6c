import pytest
import torch

from unbraid.nets.recurrent import SeriesDecoder, SeriesEncoder


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_shapes(forced, layers):
    torch.manual_seed(0)
    x = torch.randn(3, 2, 10)
    z = SeriesEncoder(2, 5, hidden=8, layers=layers)(x)
    decoder = SeriesDecoder(5, 2, 10, hidden=8, layers=layers, forced=forced)
    assert decoder(z).shape == decoder(z, x).shape == x.shape


def test_a_decoder_that_is_not_forced_never_sees_the_series():
    torch.manual_seed(0)
    decoder, z = SeriesDecoder(4, 1, 9, hidden=8), torch.randn(2, 4)
    assert torch.equal(decoder(z), decoder(z, torch.randn(2, 1, 9)))


def test_a_forced_decoder_sees_the_steps_before_and_no_others():
    torch.manual_seed(0)
    decoder, z = SeriesDecoder(4, 1, 9, hidden=8, forced=True), torch.randn(2, 4)
    x = torch.randn(2, 1, 9)
    other = x.clone()
    other[..., 5:] += 1
    one, two = decoder(z, x), decoder(z, other)
    torch.testing.assert_close(one[..., :6], two[..., :6])
    assert not torch.allclose(one[..., 6:], two[..., 6:])


def test_a_forced_decoder_left_alone_sees_what_it_made():
    torch.manual_seed(0)
    decoder, z = SeriesDecoder(4, 2, 9, hidden=8, forced=True), torch.randn(3, 4)
    made = decoder(z)
    torch.testing.assert_close(decoder(z, made), made)
