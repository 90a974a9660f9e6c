"""The hypercube has every vector, and the parities of its entries."""

import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.catalog import open_data
from unbraid.data.made.hypercube import Hypercube


def test_every_vector_is_there_and_its_parities_are_products():
    data = open_data("hypercube:d=4,repeat=2")
    x = data.take(torch.arange(len(data)))["x"]
    assert len(x) == 32
    assert len(x.unique(dim=0)) == 16
    values = torch.from_numpy(data.table(torch.arange(len(data))).values)
    torch.testing.assert_close(2 * values - 1, x.double().cumprod(1))


@pytest.mark.parametrize("options", [{"d": 1}, {"d": 13}, {"repeat": 0}])
def test_other_sizes_are_refused(options):
    with pytest.raises(DataError, match="2 to 12 entries"):
        Hypercube(**options)
