import pytest
import torch
from torch import nn

from unbraid.core.errors import DataError
from unbraid.core.fields import Field
from unbraid.nets.for_field import decoder_for, encoder_for
from unbraid.nets.mlp import mlp
from unbraid.nets.quantise import ScalarQuantiser


def test_mlp_by_its_formula():
    net = mlp((3, 4, 2))
    x = torch.randn(5, 3)
    hidden = (x @ net[0].weight.T + net[0].bias).clamp(min=0)
    torch.testing.assert_close(net(x), hidden @ net[2].weight.T + net[2].bias)


def test_mlp_norm_and_last():
    net = mlp((3, 4, 2), act=nn.GELU, norm=nn.LayerNorm, last=True)
    assert [type(m) for m in net] == [nn.Linear, nn.LayerNorm, nn.GELU] * 2


@pytest.mark.parametrize("network", ["conv", "style", "small", "mlp"])
@pytest.mark.parametrize("shape", [(7,), (1, 16, 16), (3, 28, 28)])
def test_networks_fit_their_field(network, shape):
    field = Field(shape)
    encoder, decoder = encoder_for(field, 6, 16, network), decoder_for(field, 6, 16, network)
    assert decoder(encoder(torch.rand(2, *shape))).shape == (2, *shape)


def test_vectors_take_two_hidden_layers():
    found = [(m.in_features, m.out_features) for m in encoder_for(Field((7,)), 4).modules() if isinstance(m, nn.Linear)]
    assert found == [(7, 256), (256, 256), (256, 4)]


@pytest.mark.parametrize("shape", [(), (1, 18, 18), (1, 12, 12), (1, 16, 20), (8, 100), (1, 4, 16, 16)])
@pytest.mark.parametrize("make", [encoder_for, decoder_for])
def test_other_shapes_are_refused_in_one_line(shape, make):
    with pytest.raises(DataError, match=r"16, 20, 24") as caught:
        make(Field(shape), 4)
    assert "\n" not in str(caught.value)
    assert str(shape) in str(caught.value)


def test_quantiser_takes_the_nearest_and_the_first_among_equals():
    quantiser = ScalarQuantiser(2, 5)
    torch.testing.assert_close(quantiser.values[1], torch.tensor([-0.5, -0.25, 0.0, 0.25, 0.5]))
    x = torch.tensor([[-9.0, 0.375], [0.125, 0.3]])
    found = quantiser(x)
    assert found.ids.tolist() == [[0, 3], [2, 3]]
    torch.testing.assert_close(found.quantised, torch.tensor([[-0.5, 0.25], [0.0, 0.25]]))
    torch.testing.assert_close(found.z, found.quantised)


def test_quantiser_passes_gradients_straight_through():
    torch.manual_seed(0)
    quantiser, x = ScalarQuantiser(3, 4), torch.randn(6, 3, requires_grad=True)
    found = quantiser(x)
    weight = torch.randn(6, 3)
    to_x, to_values = torch.autograd.grad((weight * found.z).sum(), [x, quantiser.values], allow_unused=True)
    assert torch.equal(to_x, weight)
    assert to_values is None
    to_x, to_values = torch.autograd.grad((weight * found.quantised).sum(), [x, quantiser.values], allow_unused=True)
    assert to_x is None
    for latent in range(3):
        for value in range(4):
            chosen = found.ids[:, latent] == value
            torch.testing.assert_close(to_values[latent, value], weight[chosen, latent].sum())


def test_quantiser_shared_book():
    quantiser = ScalarQuantiser(3, 4, shared=True)
    assert quantiser.values.shape == (1, 4)
    assert quantiser.book.shape == (3, 4)
    assert quantiser(torch.zeros(2, 3)).ids.unique().tolist() == [1]
