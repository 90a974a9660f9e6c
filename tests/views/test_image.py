import colorsys
import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps
from scipy import ndimage

from unbraid.core.method import At
from unbraid.views import image
from unbraid.views.image import (
    Affine,
    Blur,
    Crop,
    Flip,
    Grey,
    Jitter,
    Noise,
    Shift,
    Solarise,
    sampling,
    shift_hue,
    stretch_,
)
from unbraid.views.view import Composed, Sometimes, compose, two_views


def pictures(count=6, channels=3, size=20, seed=0):
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def at(seed=0):
    return At(generator=torch.Generator().manual_seed(seed))


class Rank:
    """One of two processes."""

    size = 2

    def __init__(self, rank):
        self.rank = rank


EVERY = compose(
    Crop(),
    Flip(),
    Sometimes(Jitter(), 0.8),
    Sometimes(Grey(), 0.3),
    Sometimes(Blur(), 0.5),
    Sometimes(Solarise(), 0.3),
    Affine(),
    Noise(),
    Shift(),
)


# ------------------------------------------------------------------------------------------------------- any view


@pytest.mark.parametrize("view", [*EVERY.views, EVERY], ids=lambda v: type(getattr(v, "view", v)).__name__)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_view_leaves_its_input_alone_and_comes_again_from_its_draw(view, channels):
    x = pictures(channels=channels)
    before = x.clone()
    seen = view(x, at(3))
    assert torch.equal(x, before)
    assert seen.shape == x.shape
    assert torch.isfinite(seen).all()
    assert torch.equal(seen, view.again(x, view.draw(x.shape, at(3))))
    if not isinstance(view, Affine | Noise | Composed):
        assert seen.min() >= -1e-6
        assert seen.max() <= 1 + 1e-6


@pytest.mark.parametrize("view", [*EVERY.views, EVERY], ids=lambda v: type(getattr(v, "view", v)).__name__)
def test_two_processes_see_what_one_sees(view):
    x = pictures(8)
    whole = view(x, at(5))
    halves = []
    for rank in (0, 1):
        side = at(5)
        side.world = Rank(rank)
        halves.append(view(x[rank * 4 : rank * 4 + 4], side))
    torch.testing.assert_close(whole, torch.cat(halves), rtol=0, atol=1e-6)


def test_the_batch_is_cut_into_pieces_without_a_trace(monkeypatch):
    x = pictures(8)
    whole = EVERY(x, at(5))
    monkeypatch.setattr("unbraid.views.view._CHUNK", 3 * x[0].numel())
    torch.testing.assert_close(whole, EVERY(x, at(5)), rtol=0, atol=1e-6)


def test_two_views_are_independent_and_side_by_side():
    x = pictures()
    both = two_views(Noise(), Flip(p=1))(x, at())
    assert both.shape == (6, 2, 3, 20, 20)
    assert torch.equal(both[:, 1], x.flip(3))
    same = two_views(Noise())(x, at())
    assert not torch.equal(same[:, 0], same[:, 1])


def test_sometimes_is_as_often_as_asked():
    x = pictures(400, 1, 2)
    changed = (Sometimes(Solarise(0.0), 0.3)(x, at()) != x).flatten(1).any(1).float().mean()
    assert abs(changed - 0.3) < 0.07


# --------------------------------------------------------------------------------------------------------- crops


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("box", "size"), [((2, 3, 13, 9), 20), ((0, 0, 20, 20), 7), ((5, 1, 4, 4), 12)])
@pytest.mark.parametrize("small", [10**6, 0])
def test_a_crop_is_that_of_pillow(kernel, box, size, small, monkeypatch):
    monkeypatch.setattr(image, "_SMALL", small)
    x = pictures(1, 1)
    top, left, h, w = box
    ours = Crop(size, kernel=kernel).again(x, {"box": torch.tensor([box]).float()})
    cut = Image.fromarray(x[0, 0, top : top + h, left : left + w].numpy(), "F")
    theirs = cut.resize((size, size), getattr(Image.Resampling, kernel.upper()))
    np.testing.assert_allclose(ours[0, 0].numpy(), np.clip(np.asarray(theirs), 0, 1), atol=2e-5)


def test_without_widening_a_kernel_takes_the_nearest_pixels():
    weights = sampling(torch.tensor([0.0]), torch.tensor([8.0]), 8, 4, "bilinear", antialias=False)
    expected = torch.zeros(4, 8)
    for i in range(4):
        expected[i, 2 * i : 2 * i + 2] = 0.5
    torch.testing.assert_close(weights[0], expected)


def test_boxes_have_the_published_distribution():
    draw = Crop(scale=(0.2, 0.5)).draw((4000, 3, 100, 100), at())["box"]
    top, left, h, w = draw.unbind(1)
    assert torch.equal(draw, draw.round())
    assert (top >= 0).all()
    assert (top + h <= 100).all()
    assert (left + w <= 100).all()
    area = h * w / 10_000
    assert abs(area.mean() - 0.35) < 0.01
    assert area.min() > 0.19
    assert area.max() < 0.51
    ratio = (w / h).log()
    assert abs(ratio.mean()) < 0.02
    assert abs(ratio.std() - 2 * math.log(4 / 3) / math.sqrt(12)) < 0.01
    assert abs((top / (100 - h)).mean() - 0.5) < 0.02


def test_where_no_box_fits_it_is_the_middle():
    """A share of the area of 1 fits into a wide image with no allowed ratio."""
    box = Crop(scale=(1.0, 1.0)).draw((5, 1, 10, 100), at())["box"]
    assert box.tolist() == [[0, 43, 10, 13]] * 5


# -------------------------------------------------------------------------------------------------------- colours


def test_hue_turns_as_in_the_hexagonal_cone():
    x = pictures(8, 3, 5)
    x[0, :, 0] = 0.4  # grey has no hue
    x[0, :, 1] = torch.tensor([0.2, 0.9, 0.9])[:, None]
    shift = torch.tensor([0.1, -0.1, 0.5, -0.5, 0.0, 0.3, -0.27, 0.01])
    ours = shift_hue(x, shift)
    for i, j, k in np.ndindex(8, 5, 5):
        h, s, v = colorsys.rgb_to_hsv(*x[i, :, j, k].tolist())
        expected = colorsys.hsv_to_rgb((h + float(shift[i])) % 1, s, v)
        np.testing.assert_allclose(ours[i, :, j, k].numpy(), expected, atol=2e-6)


def test_the_three_stretches_by_their_formulas():
    x = pictures(3)
    factor = torch.tensor([1.3, 0.6, 1.4])
    plain = (x * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    expected = [x[:1] * 1.3, (x[1:2] - plain[1].mean()) * 0.6 + plain[1].mean(), (x[2:] - plain[2:]) * 1.4 + plain[2:]]
    stretch_(x, factor, torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    torch.testing.assert_close(x, torch.cat(expected).clamp(0, 1))


def without_numba(monkeypatch):
    monkeypatch.setitem(sys.modules, "unbraid.views._jitter", None)


@pytest.mark.parametrize("at_hand", [2**18, 1, None])
def test_jitter_goes_through_the_four_in_the_order_of_each_image(at_hand, monkeypatch):
    if at_hand is None:
        pytest.importorskip("numba")
    else:
        without_numba(monkeypatch)
        monkeypatch.setattr(image, "_AT_HAND", at_hand)
    x = pictures(40)
    view = Jitter(0.8, 0.8, 0.8, 0.2)
    draw = view.draw(x.shape, at())
    assert len({tuple(o) for o in draw["order"].tolist()}) > 15
    ours = view.again(x, draw)
    for i in range(40):
        y = x[i : i + 1].clone()
        for which in draw["order"][i].tolist():
            amount = draw["amount"][i, which][None]
            if which == 3:
                y = shift_hue(y, amount)
            else:
                stretch_(y, amount, torch.tensor([[which == 1, which == 2]]).float())
        torch.testing.assert_close(ours[i : i + 1], y, rtol=0, atol=1e-6 if at_hand else 5e-6)


@given(
    arrays(np.uint8, (2, 3, 5, 5)),
    st.lists(st.floats(0, 1, width=32), min_size=8, max_size=8),
    st.permutations(range(4)),
)
def test_machine_code_and_tensors_say_the_same(pixels, u, order):
    pytest.importorskip("numba")
    x = torch.from_numpy(pixels).float() / 255
    amount = torch.tensor(u).reshape(2, 4) * torch.tensor([1.8, 1.8, 1.8, 1.0]) - torch.tensor([0, 0, 0, 0.5])
    draw = {"amount": amount, "order": torch.tensor([order, order[::-1]])}
    ours = Jitter().again(x, draw)
    with pytest.MonkeyPatch.context() as monkeypatch:
        without_numba(monkeypatch)
        theirs = Jitter().again(x, draw)
    steep = 2e-5  # a hue is a quotient by the chroma: rounding in one change grows in the next
    torch.testing.assert_close(ours, theirs, rtol=0, atol=steep)


def test_grey_has_no_saturation_or_hue():
    x = pictures(5, 1)
    draw = Jitter().draw(x.shape, at())
    draw["amount"][:, :2] = 1
    torch.testing.assert_close(Jitter().again(x, draw), x)
    torch.testing.assert_close(Grey()(x, at()), x)


def test_solarised_as_by_pillow():
    levels = torch.arange(256).reshape(1, 1, 16, 16) / 255
    theirs = np.asarray(ImageOps.solarize(Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))))
    np.testing.assert_allclose(Solarise()(levels, at())[0, 0].numpy() * 255, theirs, atol=1e-4)


# ----------------------------------------------------------------------------------------------- blur, affine, noise


def test_blur_is_that_of_scipy():
    x = pictures(3, 2, 17)
    sigma = torch.tensor([0.3, 1.0, 1.9])
    ours = Blur((0.1, 2.0)).again(x, {"sigma": sigma})
    for i in range(3):
        theirs = ndimage.gaussian_filter(x[i].numpy(), float(sigma[i]), mode="mirror", axes=(1, 2), radius=8)
        np.testing.assert_allclose(ours[i].numpy(), theirs, atol=1e-5)


def test_a_quarter_turn_and_a_shift():
    x = pictures(1, 1, 8)
    turn = {"angle": torch.tensor([math.pi / 2]), "scale": torch.ones(1), "shift": torch.zeros(1, 2)}
    torch.testing.assert_close(Affine().again(x, turn), x.rot90(-1, (2, 3)), rtol=0, atol=1e-5)
    shift = {"angle": torch.zeros(1), "scale": torch.ones(1), "shift": torch.tensor([[0.25, 0.0]])}
    torch.testing.assert_close(Affine().again(x, shift)[..., 1:], x[..., :-1], rtol=0, atol=1e-5)


def test_a_shift_is_a_window_of_the_padded_image():
    x = pictures(size=9)
    draw = Shift(3).draw(x.shape, at())
    seen = Shift(3).again(x, draw)
    for one, two, (top, left) in zip(x, seen, draw["corner"].tolist(), strict=True):
        padded = torch.zeros(3, 15, 15)
        padded[:, 3:12, 3:12] = one
        assert torch.equal(two, padded[:, top : top + 9, left : left + 9])
    corners = Shift(3).draw((500, 3, 9, 9), at())["corner"]
    assert corners.unique().tolist() == list(range(7))
