"""The quantised InfoWGAN-GP by its formulas."""

import pytest
import torch

from unbraid.core.config import override
from unbraid.core.errors import DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At, capabilities
from unbraid.losses.adversarial import gradient_penalty
from unbraid.methods.latent.quantized_gan import QuantizedInfoGAN
from unbraid.testing import check_method
from unbraid.testing.made import tiny_images, tiny_vectors

VECTOR = Field((7,), unit=True)


def build(field=VECTOR, **changes):
    config = override(QuantizedInfoGAN.Config(), {**QuantizedInfoGAN.presets["tiny"], **changes})
    torch.manual_seed(0)
    return QuantizedInfoGAN(config, Fields(x=field))


@pytest.mark.parametrize("data", [tiny_vectors(), tiny_images()], ids=["vectors", "images"])
def test_contract(data):
    assert "sums" in check_method(QuantizedInfoGAN, data)


def test_contract_without_quantisation():
    changes = {**QuantizedInfoGAN.presets["tiny"], "quantise": False}
    config = override(QuantizedInfoGAN.Config(), changes)
    assert "sums" in check_method(QuantizedInfoGAN, tiny_vectors(), config)


def test_what_it_can_do():
    assert capabilities(QuantizedInfoGAN) == ("decodes", "samples")
    method = build(Field((3, 16, 16), unit=True), values=(3, 4, 5, 6))
    images = method.sample(5, torch.Generator().manual_seed(0))
    assert images.shape == (5, 3, 16, 16)
    assert 0 <= images.min() <= images.max() <= 1
    assert method.codes({"x": images}).max(0).values.tolist() <= [2, 3, 4, 5]
    with pytest.raises(DataError, match="observations in"):
        build(Field((7,)))


def test_the_published_networks_are_the_default():
    method = QuantizedInfoGAN(QuantizedInfoGAN.Config(), Fields(x=Field((3, 64, 64), unit=True)))
    assert sum(isinstance(m, torch.nn.Conv2d) for m in method.encoder.modules()) == 12
    assert method.encoder(torch.rand(2, 3, 64, 64)).shape == (2, 1 + method.config.latents)
    assert method.config.optim.betas == (0.0, 0.9)
    assert method.stages()[0].updates[1].every == 5


def test_draws_are_even_over_the_present_books_and_carry_their_gradient():
    method = build(values=(2, 3, 5, 5))
    with torch.no_grad():
        method.quantiser.values.mul_(4).add_(1)
    uniform = torch.rand(6000, 4, generator=torch.Generator().manual_seed(0))
    uniform[0] = 1 - 2**-24
    z = method.draw(uniform)
    for j, size in enumerate((2, 3, 5, 5)):
        values, counts = z[:, j].unique(return_counts=True)
        torch.testing.assert_close(values, method.quantiser.values[j, :size].sort().values)
        assert (counts / 6000 - 1 / size).abs().max() < 0.03
    [gradient] = torch.autograd.grad(z.sum(), [method.quantiser.values])
    assert gradient[0, :2].sum() == 6000
    assert gradient[0, 2:].abs().sum() == 0


def test_the_penalty_is_that_of_the_slope():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    real, fake, mix = torch.rand(5, 3, 2, 2), torch.rand(5, 3, 2, 2), torch.rand(5)
    found = gradient_penalty(lambda x: net(x)[:, 0], real, fake, mix)
    for i in range(5):
        point = (mix[i] * real[i] + (1 - mix[i]) * fake[i]).requires_grad_()
        [slope] = torch.autograd.grad(net(point[None]).sum(), [point])
        torch.testing.assert_close(found[i], (slope.square().sum().sqrt() - 1).square())
    assert any(g.abs().max() > 0 for g in torch.autograd.grad(found.mean(), [net[1].weight, net[3].weight]))


def test_losses_by_their_formulas():
    method, real = build(reading=200.0), torch.rand(6, 7)
    terms = method.critic_loss({"x": real}, At())
    at = At()
    z = method.draw(at.rand((6, 4))).detach()
    fake, mix = method.decoder(z).sigmoid(), at.rand((6,))
    out, on_real = method.encoder(fake), method.encoder(real)
    value, pre = out[:, 0], out[:, 1:]
    book = method.quantiser.book
    nearest = torch.stack([book[j][(pre[:, j, None] - book[j]).abs().argmin(1)] for j in range(4)], 1)
    torch.testing.assert_close(terms["value"], value - on_real[:, 0])
    assert {name: t[0] for name, t in terms.items() if isinstance(t, tuple)} == {
        "slope": 10.0,
        "reading": 200.0,
        "quantisation": 0.01,
        "commitment": 0.01,
    }
    torch.testing.assert_close(terms["reading"][1], (nearest - z).square().mean(1))
    torch.testing.assert_close(terms["quantisation"][1], (nearest - pre).square().mean(1))
    torch.testing.assert_close(terms["commitment"][1], (nearest - pre).square().mean(1))
    slope = gradient_penalty(lambda x: method.encoder(x)[:, 0], real, fake, mix)
    torch.testing.assert_close(terms["slope"][1], slope)
    torch.testing.assert_close(method.maker_loss({"x": real}, At())["value"], -value)


def test_reading_moves_the_books_when_the_generator_moves():
    """A drawn latent is a value of its book, so that the distance to what is read pulls at the book."""
    method = build()
    terms = method.maker_loss({"x": torch.rand(6, 7)}, At())
    [gradient] = torch.autograd.grad(terms["reading"][1].mean(), [method.quantiser.values])
    assert gradient.abs().max() > 0
