"""Probes and encoders of pictures."""

from __future__ import annotations

import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.core.fields import Field
from unbraid.nets.probe import FactorProbe, UnitEncoder


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 20, 28)])
def test_shapes(shape: tuple[int, ...]) -> None:
    x = torch.rand(2, *shape)
    probe = FactorProbe(Field(shape), ("a", "b", "c"))
    assert probe(x).shape == (2, 3)
    assert [m.shape[1] for m in probe.maps(x)] == [32, 64, 128]
    torch.testing.assert_close(UnitEncoder(Field(shape), 5)(x).norm(dim=1), torch.ones(2))


def test_items_are_looked_at_one_by_one() -> None:
    probe, x = FactorProbe(Field((3, 16, 16)), ("a",)), torch.rand(4, 3, 16, 16)
    torch.testing.assert_close(probe(x)[2:3], probe(x[2:3]))


def test_no_images() -> None:
    with pytest.raises(DataError, match="images \\(C, H, W\\) of 8 pixels or more"):
        FactorProbe(Field((7,)), ("a",))
