import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.catalog import open_data
from unbraid.data.epochs import clean_of, epochs_of
from unbraid.data.made.erp import COMPONENTS, Erp, averaged, pink, potentials
from unbraid.data.wrapped import Subset, in_roles


@pytest.fixture(scope="module")
def world():
    return Erp(people=60, trials=4, noise=3.0)


def all_of(data):
    return torch.arange(len(data))


def test_a_label_shows_where_it_should_and_nowhere_else(world):
    clean, times = world.clean(all_of(world)).numpy(), world.times
    late = (times > 0.5) & (times < 0.7)
    difference = (clean[:, 3:] - clean[:, :3])[:, :, late].mean((1, 2))
    strong = world.table(all_of(world)).column("reactivity") == 1
    assert difference[strong].min() > difference[~strong].max()
    early = times < 0.3
    assert np.abs((clean[:, 3:] - clean[:, :3])[:, :, early]).max() < 0.15
    trough = times[early][clean[:, 1, early].argmin(1)]
    slow = world.table(all_of(world)).column("timing") == 1
    assert trough[slow].min() > trough[~slow].max()
    np.testing.assert_allclose(trough, world.component("N1 latency"), atol=0.008)


def test_age_sex_and_site_are_in_their_components(world):
    table = world.table(all_of(world))
    assert np.corrcoef(table.column("age"), world.component("P3"))[0, 1] < -0.8
    assert np.corrcoef(table.column("age"), world.component("P3 latency"))[0, 1] > 0.8
    assert np.corrcoef(table.column("sex"), world.component("P1"))[0, 1] > 0.8
    assert np.corrcoef(table.column("site"), world.component("gain"))[0, 1] > 0.8
    factors = {f.name: f for f in world.factors}
    assert factors["age"].kind == "continuous"
    assert 18 <= table.column("age").min() < table.column("age").max() <= 70


def test_potentials_are_linear_in_their_amplitudes():
    rows = torch.zeros(3, len(COMPONENTS))
    rows[:, COMPONENTS.index("N1 latency")] = 0.16
    rows[:, COMPONENTS.index("P3 latency")] = 0.33
    rows[:, COMPONENTS.index("gain")] = 1
    rows[0, COMPONENTS.index("P1")] = 2
    rows[1, COMPONENTS.index("LPP")] = 3
    rows[2, [COMPONENTS.index("P1"), COMPONENTS.index("LPP")]] = torch.tensor([2.0, 3.0])
    p1, lpp, both = potentials(rows)
    torch.testing.assert_close(p1 + lpp, both)
    assert p1[0, 2].max() == pytest.approx(2, abs=0.02)  # at the electrode where it is largest


def test_pink_noise_has_the_power_that_it_should():
    x = pink((4000, 64), torch.Generator().manual_seed(0))
    power = torch.fft.rfft(x).abs().square().mean(0)
    ratio = power[1:31] * torch.arange(1, 31)
    assert ratio.std() / ratio.mean() < 0.05
    assert power[0] < 1e-12
    assert x.square().mean().item() == pytest.approx(1, abs=0.01)


def test_averages_leave_blinks_out_unless_there_is_nothing_else():
    x = torch.arange(6.0).reshape(2, 3, 1, 1).expand(2, 3, 3, 4)
    keep = torch.tensor([[True, False, True], [False, False, False]])
    assert averaged(x, keep)[:, 0, 0].tolist() == [1.0, 4.0]


def test_items_are_epochs_without_a_baseline_and_single_ones_are_the_trials(world):
    x = world.take(all_of(world))["x"]
    assert x[..., :63].mean(-1).abs().max() < 1e-5
    assert x.shape == (60, 6, 256)
    single = Erp(people=3, trials=4, noise=3.0, blinks=0.0, single=True)
    average = Erp(people=3, trials=4, noise=3.0, blinks=0.0)
    trials = single.take(all_of(single))["x"].reshape(3, 4, 6, 256)
    torch.testing.assert_close(trials.mean(1), average.take(all_of(average))["x"], atol=1e-5, rtol=0)
    assert single.roles == {"group": "participant"}
    assert single.ids(torch.tensor([5])) == ["sub-02/2"]
    assert single.table(torch.tensor([5])).column("trial").tolist() == [1.0]
    torch.testing.assert_close(single.clean(torch.tensor([5]))[0], average.clean(torch.tensor([1]))[0])
    assert single.component("gain").shape == (12,)


def test_a_person_does_not_depend_on_how_many_there_are():
    few, many = Erp(people=2, trials=3), Erp(people=5, trials=3)
    assert torch.equal(few.take(torch.arange(2))["x"], many.take(torch.arange(2))["x"])
    assert few.hash != many.hash
    assert not torch.equal(few.take(torch.arange(2))["x"], Erp(people=2, trials=3, seed=1).take(torch.arange(2))["x"])


def test_truth_is_found_below_views():
    data = in_roles(Erp(people=3, trials=2, single=True), ["group"], {})
    rows = Subset(Subset(data, torch.tensor([4, 1, 3])), torch.tensor([2, 0]))
    world = epochs_of(rows)
    assert isinstance(world, Erp)
    torch.testing.assert_close(clean_of(rows, torch.arange(2)), world.clean(torch.tensor([3, 4])))
    assert clean_of(open_data("discs"), torch.arange(2)) is None
    more = Erp(people=3, trials=2)
    again = more.with_factors(more.traits.without("age", "sex", "site", "timing"))
    assert again.channels == more.channels
    assert clean_of(again, torch.arange(2)) is not None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"people": 1}, "2 or more, got 1"),
        ({"trials": 0}, "1 or more"),
        ({"noise": -1.0}, "0 to 1,000 microvolts"),
        ({"blinks": 2.0}, "a share from 0 to 1"),
        ({"people": 3_000_000}, "epochs of at most"),
    ],
)
def test_numbers_that_make_no_world(options, says):
    with pytest.raises(DataError, match=says):
        Erp(**options)
