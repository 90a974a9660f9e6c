import pytest
import torch

from unbraid.core.errors import ConfigError
from unbraid.core.method import At
from unbraid.views.copies import TRANSFORMS, expand, transforms_for
from unbraid.views.image import Shift


def images(n=3):
    return torch.rand(n, 3, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "count"), [("rotation", 4), ("colours6", 6), ("rotation-colours6", 24)])
def test_copies_are_interleaved_and_the_first_is_the_image(name, count):
    x, made = images(), expand(images(), TRANSFORMS[name])
    assert len(made) == 3 * count
    torch.testing.assert_close(made[::count], x)
    assert len({tuple(row.flatten().tolist()) for row in made[:count]}) == count


def test_turns_are_the_outer_loop_of_a_product():
    x = images()
    made = expand(x, TRANSFORMS["rotation-colours3"])
    torch.testing.assert_close(made[3::12], x.rot90(1, (2, 3)))
    torch.testing.assert_close(made[4::12], x.rot90(1, (2, 3))[:, [1, 2, 0]])


def test_the_identity_must_be_first_and_shapes_stay():
    with pytest.raises(ConfigError, match="identity"):
        expand(images(), [lambda x: x.flip(3), lambda x: x])
    with pytest.raises(ConfigError, match="identity"):
        expand(images(), [])
    with pytest.raises(ConfigError, match="keep the shape"):
        expand(images(), [lambda x: x, lambda x: x[:, :, 1:]])
    assert len(expand(images(), [lambda x: x.clone(), lambda x: 1 - x])) == 6


def test_every_name_has_the_identity_first():
    for name in TRANSFORMS:
        x = images()
        assert transforms_for(name, (3, 6, 6))[0](x) is x


@pytest.mark.parametrize("border", ["constant", "reflect"])
def test_a_shift_is_a_crop_of_the_padded_image(border):
    x, view = images(40), Shift(2, border)
    draw = view.draw(x.shape, At())
    made = view.again(x, draw)
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2), mode=border)
    for i, (row, column) in enumerate(draw["corner"].tolist()):
        torch.testing.assert_close(made[i], padded[i, :, row : row + 6, column : column + 6])
    assert draw["corner"].unique().tolist() == [0, 1, 2, 3, 4]
