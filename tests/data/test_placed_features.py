import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.catalog import open_data
from unbraid.data.made.placed_features import Placed, places


def test_features_are_content_and_place_and_noise():
    data = Placed(rows=300, width=6, side=4, kinds=3, seed=2)
    z = data.take(torch.arange(300))["x"].flatten(2).mT
    place = places(4)
    away = place - 0.5
    design = torch.cat([away, away.square(), torch.ones(16, 1)], 1)
    centres = torch.stack([z[data.contents == kind].mean(0) for kind in range(3)])
    left = z - centres[data.contents]
    told = design @ torch.linalg.lstsq(design, left.mean(0)).solution
    noise = left - told
    assert abs(float(noise.std()) - 0.5) < 0.03
    assert float(told.var(0).mean()) > 0.5
    assert data.factors[0].labels == ("0", "1", "2")
    first = data.take(torch.arange(300))["factors"][:, 0].long()
    assert first.equal(data.contents[:, 0])


def test_the_same_numbers_give_the_same_maps():
    one, two = (open_data("placed:rows=3,seed=4") for _ in range(2))
    assert one.hash == two.hash
    assert open_data("placed:rows=3,seed=5").hash != one.hash


def test_rows_of_a_place_come_first():
    assert places(3)[:4].tolist() == [[0, 0], [0, 0.5], [0, 1], [0.5, 0]]


@pytest.mark.parametrize("options", [{"rows": 0}, {"side": 1}, {"kinds": 0}, {"place": -1.0}])
def test_mistakes(options):
    with pytest.raises(DataError, match="--data placed"):
        Placed(**options)
