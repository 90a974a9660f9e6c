import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.ops.weights import barrier, plane


def test_a_plane_contains_its_three_points_and_has_orthonormal_axes():
    points = torch.randn(3, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = plane(*points)
    torch.testing.assert_close(torch.stack([found.at(place) for place in found.places]), points)
    torch.testing.assert_close(found.axes @ found.axes.T, torch.eye(2, dtype=torch.float64))


def test_three_points_on_a_line_have_no_plane():
    a = torch.ones(4)
    with pytest.raises(DataError, match="one line"):
        plane(a, 2 * a, 3 * a)


def test_a_barrier_is_above_the_mean_of_the_ends():
    assert barrier(torch.tensor([0.1, 0.6, 0.3])) == pytest.approx(0.4)
