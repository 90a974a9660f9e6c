import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.core.fields import Field
from unbraid.nets.conditional import AttributePrior, ConvTelling, ConvTold, DenseTelling, DenseTold


@pytest.mark.parametrize(("size", "depth"), [(8, 1), (16, 2), (32, 3), (64, 4), (128, 4), (48, 3)])
def test_maps_are_halved_down_to_four(size, depth):
    field = Field((3, size, size), unit=True)
    told, telling = ConvTold(field, 5, 6, width=16).eval(), ConvTelling(field, 5, 2).eval()
    y = torch.rand(2, 5)
    assert told(torch.rand(2, 3, size, size), y).shape == (2, 6)
    assert telling(torch.rand(2, 2), y).shape == (2, 3, size, size)
    assert sum(isinstance(m, torch.nn.Conv2d) for m in told.modules()) == depth
    assert sum(isinstance(m, torch.nn.ConvTranspose2d) for m in telling.modules()) == depth


def test_at_64_pixels_the_networks_are_those_of_the_recipe():
    field = Field((3, 64, 64), unit=True)
    told, telling = ConvTold(field, 40, 256), ConvTelling(field, 40, 128)
    assert told.plane.weight.shape == (4096, 40)
    assert [m.weight.shape[:2] for m in told.modules() if isinstance(m, torch.nn.Conv2d)] == [
        (32, 4),
        (64, 32),
        (128, 64),
        (256, 128),
    ]
    assert told.read[0].weight.shape == (512, 4096 + 40)
    assert told.read[2].weight.shape == (256, 512)
    assert telling.dense.weight.shape == (4096, 168)
    assert [m.weight.shape[:2] for m in telling.modules() if isinstance(m, torch.nn.ConvTranspose2d)] == [
        (256, 128),
        (128, 64),
        (64, 32),
        (32, 3),
    ]
    assert not isinstance(telling.maps[-1], torch.nn.ReLU)


@pytest.mark.parametrize("dense", [True, False])
def test_attributes_reach_both_networks(dense):
    field = Field((1, 8, 8), unit=True)
    told = (DenseTold if dense else ConvTold)(field, 3, 4, 16).eval()
    telling = (DenseTelling(field, 3, 2, 16) if dense else ConvTelling(field, 3, 2)).eval()
    x, z = torch.rand(2, 1, 8, 8), torch.rand(2, 2)
    one, other = torch.zeros(2, 3), torch.ones(2, 3)
    assert not torch.allclose(told(x, one), told(x, other))
    assert not torch.allclose(telling(z, one), telling(z, other))
    assert telling(z, one).shape == (2, 1, 8, 8)


def test_the_prior_begins_as_the_standard_one_and_can_leave_it():
    prior = AttributePrior(3, 2, 8)
    mean, logvar = prior(torch.rand(4, 3))
    assert not mean.any()
    assert not logvar.any()
    (mean.sum() + logvar.sum()).backward()
    assert prior.net[-1].weight.grad.any()


@pytest.mark.parametrize("shape", [(3, 64, 32), (3, 6, 6), (3, 50, 50), (7,)])
def test_images_must_be_square_and_halve(shape):
    with pytest.raises(DataError, match="square images"):
        ConvTold(Field(shape), 2, 2)


def test_perceptrons_have_as_many_hidden_layers_as_asked_for():
    field = Field((7,))
    for layers in (1, 3):
        for net in (DenseTold(field, 2, 4, 16, layers), DenseTelling(field, 2, 4, 16, layers)):
            assert sum(isinstance(m, torch.nn.Linear) for m in net.modules()) == layers + 1


def test_perceptrons_take_vectors_and_images():
    with pytest.raises(DataError, match="vectors"):
        DenseTold(Field((2, 2, 2, 2)), 2, 2)
