from types import SimpleNamespace

import pytest
import torch
from torch import nn

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.given import Given
from unbraid.core.method import At
from unbraid.data.made.placed_features import Placed, places
from unbraid.data.made.tiny import tiny_images
from unbraid.methods.joint.franca.rasa import RASA
from unbraid.standins.vit import PICTURES
from unbraid.testing import check_method
from unbraid.training.stepper import Stepper

DATA = Placed(rows=6, width=8, side=4)


def made(**changes):
    torch.manual_seed(0)
    return RASA(override(RASA.Config(), {"layers": 3, **changes}), DATA.fields)


def batch():
    return DATA.take(torch.arange(6))


def test_it_keeps_the_contract():
    assert "sums" in check_method(RASA)


def test_parts_are_the_published_steps_and_sum_to_the_patches():
    method, x = made(start="random"), batch()["x"]
    parts = method.encode({"x": x})
    torch.testing.assert_close(parts["content"] + parts["position"], x)
    left = x.flatten(2).mT
    for head in method.heads:
        u = head[0] / head[0].norm()
        v = head[1] / head[1].norm()
        v = v - (v @ u) * u
        v = v / v.norm()
        left = left - (left @ u)[..., None] * u - (left @ v)[..., None] * v
    torch.testing.assert_close(parts["content"].flatten(2).mT, left, rtol=1e-4, atol=1e-5)
    matrix = method.merge().arrays["matrix"]
    torch.testing.assert_close(x.flatten(2).mT @ matrix.T, left, rtol=1e-4, atol=1e-5)


def test_planes_that_were_not_learned_take_nothing_out():
    parts = made().encode(batch())
    assert not parts["position"].any()


def test_the_loss_is_the_squared_error_of_sigmoids_on_what_is_left():
    method = made(start="random")
    (term,) = method.loss(2, batch(), At()).values()
    left = batch()["x"].flatten(2).mT @ method.matrix(2).T
    error = ((left @ method.heads[2].T).sigmoid() - places(4)).square()
    torch.testing.assert_close(term, error.mean((1, 2)))
    term.sum().backward()
    assert method.heads[2].grad is not None
    assert all(method.heads[i].grad is None for i in (0, 1))


def test_each_stage_moves_its_own_plane():
    method = made()
    for i, stage in enumerate(method.stages()):
        before = [head.clone() for head in method.heads]
        Stepper(method, stage, seed=0, steps=2).step(batch(), 0)
        assert [not old.equal(new) for old, new in zip(before, method.heads, strict=True)] == [j == i for j in range(3)]


class Tokens(nn.Module):
    """Two rows of three patches of images of 4 x 6, behind a class token, in some wrapping."""

    def __init__(self, wrap):
        super().__init__()
        self.wrap = wrap

    def forward(self, x):
        z = nn.functional.avg_pool2d(x, 2)
        return self.wrap(z)


def in_front(z):
    tokens = z.flatten(2).mT
    return torch.cat([tokens[:, :1] * 0 + 9, tokens], 1)


@pytest.mark.parametrize(
    ("wrap", "skip"),
    [
        (lambda z: z, 0),
        (lambda z: z.flatten(2).mT, 0),
        (in_front, 1),
        (lambda z: SimpleNamespace(last_hidden_state=in_front(z)), 1),
        (lambda z: {"x_norm_patchtokens": z.flatten(2).mT}, 0),
    ],
)
def test_any_network_of_patches_will_do(wrap, skip):
    fields = Fields(x=Field((2, 4, 6), unit=True))
    method = RASA(RASA.Config(layers=1, skip=skip), fields, Given(encoder=Tokens(wrap)))
    x = torch.rand(5, 2, 4, 6)
    assert method.grid == (2, 3)
    torch.testing.assert_close(method.encode({"x": x})["content"], nn.functional.avg_pool2d(x, 2))


@pytest.mark.parametrize("wrap", [in_front, lambda z: z.mean((2, 3)), lambda z: "patches"])
def test_networks_of_something_else(wrap):
    with pytest.raises(DataError, match="encoder"):
        RASA(RASA.Config(), Fields(x=Field((2, 4, 6), unit=True)), Given(encoder=Tokens(wrap)))


def test_photographs_are_seen_by_a_transformer_and_maps_are_patches():
    assert PICTURES.fits(Fields(x=Field((3, 16, 16), unit=True)))
    assert not PICTURES.fits(DATA.fields)
    net = PICTURES.make(tiny_images(channels=2), 0)
    assert net(torch.rand(2, 2, 16, 16)).patches.shape == (2, 16, 48)


def test_patches_become_rows_with_their_places():
    method = made(start="random")
    rows = method.rows_of_patches(DATA, "patches")
    assert [f.name for f in rows.factors] == ["row", "column", "image"]
    got = rows.take(torch.arange(len(rows)))
    torch.testing.assert_close(got["x"], batch()["x"].flatten(2).mT.flatten(0, 1))
    assert got["factors"][5].tolist() == [1, 1, 0]


def test_place_is_read_before_and_less_after():
    data = Placed(rows=12, width=8, side=4)
    method = RASA(RASA.Config(layers=2, steps=100), data.fields)
    for stage in method.stages():
        stepper = Stepper(method, stage, seed=0, steps=100)
        for step in range(100):
            stepper.step(data.take(torch.arange(12)), step)
    found = method.examine(data)
    numbers = found.numbers
    assert numbers["error of new heads on content"] > 2 * numbers["error of new heads on patches"]
    assert numbers["place explained by position"] > 0.6
    assert numbers["error of a constant"] == pytest.approx(float(places(4).var(0, correction=0).mean()))
    assert len(found.arrays["place explained after each plane"]) == 3


@pytest.mark.parametrize(
    ("changes", "what"), [({"layers": 0}, "layers"), ({"skip": -1}, "skip"), ({"steps": 0}, "steps")]
)
def test_options_that_cannot_be_meant(changes, what):
    with pytest.raises(ConfigError, match=what):
        override(RASA.Config(), changes)


def test_items_that_are_no_maps():
    with pytest.raises(DataError, match=r"images \(C, H, W\)"):
        RASA(RASA.Config(), Fields(x=Field((12,))))
