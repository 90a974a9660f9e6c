"""Random views of packets, drawn from `at` alone."""

import pytest
import torch

from unbraid.core.method import At
from unbraid.ops.radio import to_complex
from unbraid.views.radio import filtered_at_random, noisier


def packets(n=64, t=2000):
    x = torch.randn(n, 2, t, generator=torch.Generator().manual_seed(0))
    return x / x.square().sum(1).mean(1)[:, None, None].sqrt()


def test_noise_comes_at_whole_decibels_from_5_to_29():
    x = packets(400)
    added = (noisier(x, At()) - x).square().sum(1).mean(1)
    decibels = -10 * (added * (1 + 1e-3)).log10()
    assert (decibels - decibels.round()).abs().max() < 0.3
    assert sorted(set(decibels.round().int().tolist())) == list(range(5, 30))


def test_a_filter_of_its_own_for_each_packet_with_unit_power_on_average():
    x = packets(400, 300)
    y = filtered_at_random(x, At())
    assert float(y.square().sum(1).mean()) == pytest.approx(1, rel=0.1)
    impulse = torch.zeros(50, 2, 31)
    impulse[:, 0, 15] = 1
    heard = to_complex(filtered_at_random(impulse, At())).abs()
    assert (heard[:, 11:20] > 0).all()
    assert heard[:, :11].abs().max() == heard[:, 20:].abs().max() == 0
    assert not torch.allclose(heard[0], heard[1])


@pytest.mark.parametrize("view", [noisier, filtered_at_random])
def test_the_same_chance_gives_the_same_view(view):
    x = packets(4)
    assert torch.equal(view(x, At()), view(x, At()))
    other = At()
    other.generator.manual_seed(1)
    assert not torch.equal(view(x, At()), view(x, other))
