import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.catalog import open_data
from unbraid.data.made.grain import Grain


def test_every_coin_moves_its_own_patch_and_shades_move_it_further():
    data = Grain(rows=400, size=8)
    x, table = data.take(torch.arange(400))["x"], data.table(torch.arange(400))
    patches = x.reshape(400, 2, 4, 2, 4).permute(0, 1, 3, 2, 4).reshape(400, 4, 4, 4)
    sign = 1 - 2.0 * ((torch.arange(4)[:, None] + torch.arange(4)) % 2)
    for i in range(4):
        shade, weave = (torch.from_numpy(2 * table.column(f"{n}_{i}") - 1) for n in ("shade", "weave"))
        bright, woven = patches[:, i].mean((1, 2)) - 0.5, (patches[:, i] * sign).mean((1, 2))
        assert torch.equal(bright.sign(), shade)
        assert torch.equal(woven.sign(), weave)
        assert bright.abs().min() > 3 * woven.abs().max()
    assert x.min() >= 0
    assert x.max() <= 1


def test_coins_are_fair_and_independent():
    values = torch.from_numpy(Grain(rows=3000).table(torch.arange(3000)).values)
    assert values.mean(0).sub(0.5).abs().max() < 0.04
    assert torch.corrcoef(values.T).fill_diagonal_(0).abs().max() < 0.07


def test_a_world_is_what_its_seed_says():
    one, same, other = (Grain(rows=20, seed=s) for s in (0, 0, 1))
    rows = torch.arange(20)
    assert torch.equal(one.take(rows)["x"], same.take(rows)["x"])
    assert one.hash == same.hash != other.hash
    assert not torch.equal(one.take(rows)["x"], other.take(rows)["x"])
    assert open_data("grain:rows=20,size=8").fields["x"].shape == (1, 8, 8)


@pytest.mark.parametrize("options", [{"rows": 1}, {"size": 5}, {"contrast": 0.0}, {"contrast": 0.5}])
def test_what_cannot_be_made_is_said(options):
    with pytest.raises(DataError, match="2 rows, an even size"):
        Grain(**options)
