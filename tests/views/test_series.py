import numpy as np
import pytest
import torch

from unbraid.core.method import At
from unbraid.views.series import BandMask, Drop, Equalise, Gain, Mask, Shift, Stretch, WhiteNoise, Window
from unbraid.views.view import Sometimes, compose

EVERY = compose(
    Window(40), Shift(0.2), Stretch(), Gain(flip=0.5), WhiteNoise(), Sometimes(Mask(), 0.5), BandMask(most=0.5), Drop()
)
SHAPES = {"waves": (6, 48), "series": (6, 5, 48), "bands": (6, 1, 5, 48)}


def signals(name="series", seed=0):
    return torch.randn(SHAPES[name], generator=torch.Generator().manual_seed(seed))


def at(seed=0):
    return At(generator=torch.Generator().manual_seed(seed))


class Rank:
    size = 2

    def __init__(self, rank):
        self.rank = rank


ALL = [*EVERY.views, Equalise(), EVERY]


@pytest.mark.parametrize("view", ALL, ids=lambda v: type(getattr(v, "view", v)).__name__)
@pytest.mark.parametrize("name", SHAPES)
def test_a_view_leaves_its_input_alone_comes_again_and_is_shared_by_processes(view, name):
    if name == "waves" and (isinstance(view, BandMask) or view is EVERY):
        pytest.skip("a wave has no bands")
    x = signals(name)
    before, seen = x.clone(), view(x, at(3))
    assert torch.equal(x, before)
    assert seen.shape == view.after(x.shape)
    assert torch.isfinite(seen).all()
    assert torch.equal(seen, view.again(x, view.draw(x.shape, at(3))))
    halves = []
    for rank in (0, 1):
        side = at(3)
        side.world = Rank(rank)
        halves.append(view(x[rank * 3 : rank * 3 + 3], side))
    torch.testing.assert_close(seen, torch.cat(halves), rtol=1e-6, atol=1e-6)


def test_a_window_is_a_stretch_of_the_item():
    x = torch.arange(20.0).expand(50, 20)
    seen = Window(7)(x, at())
    assert torch.equal(seen - seen[:, :1], torch.arange(7.0).expand(50, 7))
    assert set(seen[:, 0].tolist()) == set(map(float, range(14)))
    assert Window(99)(x, at()).shape == (50, 20)


def test_a_shift_is_a_roll():
    x = signals()
    draw = {"by": torch.tensor([0, 3, -5, 48, 1, -1])}
    expected = [np.roll(item.numpy(), int(by), -1) for item, by in zip(x, draw["by"], strict=True)]
    np.testing.assert_array_equal(Shift().again(x, draw).numpy(), np.stack(expected))
    assert Shift(0.25).draw((500, 100), at())["by"].abs().max() == 25


def test_a_stretch_is_an_interpolation():
    x = signals("waves")
    rates = torch.tensor([1.0, 0.5, 2.0, 0.91, 1.1, 1.3])
    seen = Stretch().again(x, {"rate": rates})
    time = np.arange(48)
    for item, rate, got in zip(x, rates, seen, strict=True):
        expected = np.interp(time * float(rate), time, item.numpy(), right=0.0)
        np.testing.assert_allclose(got.numpy(), expected, atol=1e-5)


def test_gain_is_in_decibels():
    x = signals()
    louder = Gain((20.0, 20.0), flip=1.0)(x, at())
    torch.testing.assert_close(louder, -10 * x)


def test_noise_has_the_power_asked_for():
    x = 3 * torch.randn(40, 2, 4000, generator=torch.Generator().manual_seed(1))
    added = WhiteNoise((10.0, 10.0))(x, at()) - x
    ratio = 10 * torch.log10(x.square().mean((1, 2)) / added.square().mean((1, 2)))
    assert (ratio - 10).abs().max() < 0.3
    assert WhiteNoise()(torch.zeros(2, 50), at()).abs().max() == 0


@pytest.mark.parametrize(("view", "axis"), [(Mask(1, 0.3), 2), (BandMask(1, 0.3), 1)])
def test_a_mask_hides_one_stretch_and_no_more_than_asked(view, axis):
    x = torch.ones(300, 40, 40)
    hidden = view(x, at()) == 0
    other = 3 - axis
    lines = hidden.any(other)
    assert torch.equal(hidden.all(other), lines)
    assert lines.sum(1).max() <= 13
    changes = (lines[:, 1:] != lines[:, :-1]).sum(1)
    assert changes.max() <= 2
    assert 4 < lines.sum(1).float().mean() < 8


def test_channels_are_dropped_by_themselves():
    off = (Drop(0.25)(torch.ones(200, 10, 7), at()) == 0).all(2)
    assert abs(off.float().mean() - 0.25) < 0.03
    assert not torch.equal(off[0], off[1])


def test_an_equaliser_scales_sines():
    time = torch.arange(64)
    x = torch.cos(2 * torch.pi * 16 * time / 64).expand(2, 64)
    curve = torch.tensor([[6.0, 6.0, 6.0], [-20.0, 20.0, -20.0]])
    seen = Equalise().again(x, {"curve": curve})
    torch.testing.assert_close(seen[0], x[0] * 10 ** (6 / 20), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(seen[1], x[1] * 10, rtol=1e-4, atol=1e-4)
