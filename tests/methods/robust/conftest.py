import pytest
import torch

from unbraid.core.config import override
from unbraid.core.fields import Field, Fields
from unbraid.core.given import Given
from unbraid.nets.classifier import SmallClassifier

FIELDS = Fields(x=Field((3, 16, 16), unit=True))


@pytest.fixture
def classifier():
    """A small untrained one, whose norms are not at their start."""
    torch.manual_seed(0)
    net = SmallClassifier(FIELDS["x"], 4, width=4)
    for parameter in net.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 0.5, 0.5)
    return net


@pytest.fixture
def images():
    return torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def make(classifier):
    """Build a method of adaptation around the classifier."""

    def build(cls, net=classifier, fields=FIELDS, **changes):
        return cls(override(cls.Config(), changes), fields, Given(classifier=net))

    return build
