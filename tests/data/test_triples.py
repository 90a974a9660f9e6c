import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.catalog import open_data
from unbraid.data.made.digit_flows import DigitFlows, digit_flows
from unbraid.data.made.discs import Discs
from unbraid.data.made.tiny import tiny_images
from unbraid.data.triples import moved_triples


def drawn(data, factors, steps=9, seed=0, n=40):
    return moved_triples(data, torch.arange(n), torch.Generator().manual_seed(seed), factors, steps)


def test_one_factor_moves_by_one_step_and_the_digit_stays():
    data = digit_flows(split="all", size=8)
    seen = set()
    for seed in range(60):
        codes = data.take(drawn(data, ("scale", "angle", "hue"), seed=seed))["factors"]
        assert (codes[:, :, 0] == codes[:, :1, 0]).all()
        assert (codes[:, 0, 1:] == 0).all()
        column = int((codes[0, 2] != codes[0, 1]).nonzero())
        t = codes[:, 1, column]
        assert (codes[:, 2, column] == t + 1).all()
        assert len(t.unique()) == 1
        seen.add((column, int(t[0])))
    assert {column for column, _ in seen} == {1, 2, 3}
    assert {t for _, t in seen} == set(range(8))


def test_in_a_grid_the_others_stay():
    data = Discs()
    codes = data.factors_of(drawn(data, ("radius",), n=720))
    assert (codes[:, :, [0, 1, 3]] == codes[:, :1, [0, 1, 3]]).all()
    assert (codes[:, :, [0, 1, 3]] == data.factors_of(torch.arange(720))[:, None, [0, 1, 3]]).all()
    assert (codes[:, 0, 2] == 0).all()


def test_data_that_know_nothing_of_it():
    with pytest.raises(DataError, match="values have an order, got 'kind'"):
        drawn(tiny_images(), ("kind",))
    with pytest.raises(DataError, match="such as digit-flows"):
        drawn(tiny_images(), ("level",))
    with pytest.raises(DataError, match=r"one of scale, angle, hue at step 0\.\.8"):
        digit_flows(size=8).moved(torch.arange(2), "scale", 9)


def test_the_first_step_is_the_digit_in_red_and_colours_turn():
    data = digit_flows(split="all", size=8)
    one = data.take(torch.tensor([0, 9, 18, 24, 26]))["x"]
    assert torch.equal(one[0], one[1])
    assert torch.equal(one[0], one[2])
    assert one[0, 1:].abs().max() == 0
    assert one[0, 0].max() > 0.9
    torch.testing.assert_close(one[3, 1], one[0, 0])  # 120 degrees: green
    assert one[3, [0, 2]].abs().max() == 0
    torch.testing.assert_close(one[4, 2] / one[4, 1].clamp(min=0.01), torch.full((8, 8), 2 / 3) * (one[4, 1] > 0))


def test_digits_turn_and_grow():
    blob = torch.zeros(1, 16, 16)
    blob[0, 7:9, 12:14] = 1  # to the right of the middle
    data = DigitFlows("blob", blob, torch.tensor([3]), torch.tensor([0]))
    grown, turned = data.take(torch.tensor([5, 18 - 1]))["x"][:, 0]
    across = torch.arange(16) + 0.5 - 8
    assert float((grown * across).sum() / grown.sum()) == pytest.approx(5 * 1.5, abs=0.6)
    middle = [float((turned * a).sum() / turned.sum()) for a in (across, across[:, None])]
    assert middle == pytest.approx([5 * 0.1736, -5 * 0.9848], abs=0.2)  # 80 degrees, against the clock


def test_a_fifth_of_the_digits_is_audited_instead():
    train, test, both = (digit_flows(split=split, size=8) for split in ("train", "test", "all"))
    assert (len(train), len(test)) == (27 * 1438, 27 * 359)
    assert len(both) == len(train) + len(test)
    assert train.audited.hash == test.hash != train.hash
    assert test.audited is test
    assert open_data("digit-flows:split=test,size=8").hash == test.hash
    assert train.table(torch.tensor([4])).values[0, 1:].tolist() == [4.0, 0.0, 0.0]


def test_without_mnist_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("UNBRAID_DATA", str(tmp_path))
    with pytest.raises(DataError, match="MNIST's IDX files"):
        open_data("digit-flows:source=mnist")
