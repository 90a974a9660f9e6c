import math

import pytest
import torch
from torch.autograd.functional import hessian, jacobian

from unbraid.core.errors import DataError
from unbraid.core.fields import Field
from unbraid.nets.funnel import FunnelDecoder, FunnelEncoder
from unbraid.nets.generator import BlockGenerator
from unbraid.nets.pairs import PairReader
from unbraid.nets.potential import LinearPotentials, Potentials, RadialPotentials, sinusoids
from unbraid.ops.derivatives import slope

NOW = torch.zeros(1)


def test_the_sinusoids_of_times():
    assert sinusoids(torch.zeros(1), 8).tolist() == [[0.0] * 4 + [1.0] * 4]
    found = sinusoids(torch.tensor([3.0]), 8)[0]
    expected = [f(3 * 10_000 ** (-i / 3)) for f in (math.sin, math.cos) for i in range(4)]
    torch.testing.assert_close(found, torch.tensor(expected))
    assert sinusoids(torch.ones(2), 7).shape == (2, 7)
    assert sinusoids(torch.ones(1), 2).isfinite().all()


def test_potentials_are_bounded_and_their_fields_free_of_curl():
    net, z = Potentials(3, 6), 3 * torch.randn(50, 6)
    assert net(z, torch.tensor([2.0]), 1).abs().max() < 1
    curvature = jacobian(lambda z: slope(net(z[None], NOW, 1), z), z[0])
    torch.testing.assert_close(curvature, curvature.T, atol=1e-5, rtol=0)
    torch.testing.assert_close(curvature, hessian(lambda z: net(z[None], NOW, 1)[0], z[0]))


def test_without_the_last_tanh_moves_are_longer_but_not_in_training():
    net = Potentials(2, 4, saturate=False)
    z = torch.randn(9, 4)
    bounded = net(z, NOW, 0)
    torch.testing.assert_close(net.eval()(z, NOW, 0).tanh(), bounded)


def test_one_time_for_all_is_that_time_for_each():
    net, z = Potentials(2, 4), torch.randn(5, 4)
    torch.testing.assert_close(net(z, torch.tensor([3.0]), 1), net(z, torch.full((5,), 3.0), 1))


def test_linear_potentials_have_unit_gradients_and_choose_row_by_row():
    net, z = LinearPotentials(3, 5), torch.randn(4, 5, requires_grad=True)
    which = torch.tensor([0, 2, 1, 0])
    found = slope(net(z, NOW, which), z)
    torch.testing.assert_close(found, torch.nn.functional.normalize(net.directions, dim=1)[which])


def test_radial_potentials_are_sums_of_bumps():
    net, z = RadialPotentials(3, 5, 2), torch.randn(4, 5)
    for k in range(3):
        bumps = [
            sign * torch.exp(-net.scales[k, i].exp() * (z - net.places[k, i]).square().sum(1))
            for i, sign in enumerate((1, 1, -1, -1))
        ]
        torch.testing.assert_close(net(z, NOW, k), sum(bumps))
    torch.testing.assert_close(net(z, NOW, torch.tensor([0, 1, 2, 2]))[3], net(z, NOW, 2)[3])
    opposite = net.places[1, 2][None]
    torch.testing.assert_close(net.places[1, 0].norm(), torch.tensor(2.5))
    bump = torch.exp(-net.scales[1, 0].exp() * (opposite - net.places[1, 0]).square().sum())
    torch.testing.assert_close(bump, torch.tensor(0.5))


@pytest.mark.parametrize(
    ("shape", "reader"), [((3, 16, 16), "lenet"), ((1, 32, 32), "auto"), ((1, 16, 16), "resnet"), ((5,), "auto")]
)
def test_readers_of_pairs(shape, reader):
    net = PairReader(Field(shape), 4, reader, 8)
    x = torch.rand(3, *shape)
    assert net(x, 1 - x).shape == (3, 4)
    assert not torch.allclose(net.eval()(x, 1 - x), net(1 - x, x))


def test_vectors_have_no_lenet():
    with pytest.raises(DataError, match="images"):
        PairReader(Field((5,)), 4, "lenet")


def test_the_funnel_is_as_published():
    encoder, decoder = FunnelEncoder(Field((3, 28, 28)), 4, 10), FunnelDecoder(5, Field((3, 28, 28)), 4)
    widths = [(c.in_channels, c.out_channels, c.kernel_size[0]) for c in encoder if hasattr(c, "kernel_size")]
    assert widths == [(3, 4, 4), (4, 8, 4), (8, 12, 7), (12, 8, 1), (8, 8, 1)]
    assert encoder(torch.rand(2, 3, 28, 28)).shape == (2, 10)
    assert decoder(torch.randn(2, 5)).shape == (2, 3, 28, 28)
    with pytest.raises(DataError, match="multiples of 4"):
        FunnelEncoder(Field((1, 18, 18)), 4, 10)


def test_the_block_generator_makes_the_world_of_blocks():
    from unbraid.data.made.blocks import Blocks

    batch = Blocks(rows=6).take(torch.arange(6))
    torch.testing.assert_close(BlockGenerator(8, 32)(batch["latent"]), batch["x"])
