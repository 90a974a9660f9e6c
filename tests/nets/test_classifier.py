import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.core.fields import Field
from unbraid.nets.affine import affine_of
from unbraid.nets.classifier import SmallClassifier


@pytest.mark.parametrize("shape", [(7,), (2, 40), (3, 16, 16), (1, 8, 8), (1, 28, 20)])
@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_vectors_series_and_images_have_logits(shape, norm):
    net = SmallClassifier(Field(shape), 5, width=4, embedding=6, norm=norm, hidden=(3,))
    x = torch.rand(2, *shape)
    assert net(x).shape == (2, 5)
    assert net.features(x).shape == (2, 6)
    assert bool(affine_of(net)) == (norm != "none")


def test_the_head_has_no_activation_between_its_layers():
    net = SmallClassifier(Field((7,)), 5, hidden=(3,))
    e = torch.randn(1, net.width)
    torch.testing.assert_close(net.head(2 * e) - net.head(e), net.head(3 * e) - net.head(2 * e))


def test_group_normalisation_sees_one_item_at_a_time():
    net = SmallClassifier(Field((3, 16, 16)), 2, width=4, norm="group").train()
    x = torch.rand(4, 3, 16, 16)
    torch.testing.assert_close(net(x)[:1], net(x[:1]))


@pytest.mark.parametrize("shape", [(), (2, 3, 8, 8), (3, 4, 4)])
def test_other_shapes_are_refused_in_one_line(shape):
    with pytest.raises(DataError, match="field 'x'"):
        SmallClassifier(Field(shape), 2)
