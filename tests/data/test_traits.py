"""Made traits: curved in channels of their own, correlated as told."""

from __future__ import annotations

import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.catalog import open_data
from unbraid.data.made.traits import Traits
from unbraid.ops.navigation import gradient


def test_each_trait_is_curved_in_eight_channels_that_no_other_uses() -> None:
    data = Traits(rows=50)
    x = data.take(torch.arange(50))["x"]
    used = [gradient(lambda w, k=k: data.scores(w)[:, k], x) for k in range(4)]
    channels = [set(g.abs().sum(0).nonzero()[:, 0].tolist()) for g in used]
    assert [len(c) for c in channels] == [8] * 4
    assert len(set.union(*channels)) == 32
    torch.testing.assert_close(used[0], data.weights[0] * x.cosh())


def test_traits_go_together() -> None:
    def correlation(of: float) -> float:
        table = Traits(rows=4000, correlation=of).take(torch.arange(4000))["factors"]
        return float(torch.corrcoef(table.T)[0, 1])

    assert abs(correlation(0.0)) < 0.05
    assert 0.35 < correlation(0.75) < correlation(0.95)


def test_by_name_and_with_a_seed() -> None:
    data = open_data("traits:rows=20,traits=2,width=16,seed=3")
    assert [f.name for f in data.factors] == ["trait_0", "trait_1"]
    assert data.hash == Traits(20, 16, 2, seed=3).hash != Traits(20, 16, 2, seed=4).hash
    with pytest.raises(DataError, match="8 channels for each trait"):
        Traits(width=20)
