"""Views of two sizes."""

import torch

from unbraid.core.method import At
from unbraid.views.image import Crop, Grey
from unbraid.views.view import MultiCrop


def test_large_and_small_views_lie_side_by_side():
    x = torch.rand(3, 3, 12, 12)
    seen = MultiCrop((Crop(), Grey()), Crop(6, (0.05, 0.3)), 4)(x, At())
    assert seen["x"].shape == (3, 2, 3, 12, 12)
    assert seen["crops"].shape == (3, 4, 3, 6, 6)
    torch.testing.assert_close(seen["x"][:, 1, 0], seen["x"][:, 1, 2])
    assert not torch.allclose(seen["crops"][:, 0], seen["crops"][:, 1])
    assert set(MultiCrop((Crop(),), Crop(6), 0)(x, At())) == {"x"}
