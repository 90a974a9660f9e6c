import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.catalog import open_data
from unbraid.data.made.causes import Bars, Flow, Pendulum

WORLDS = (Bars, Pendulum, Flow)


@pytest.mark.parametrize("world", WORLDS)
def test_a_world_is_a_function_of_its_seed(world):
    one, two, other = world(rows=20), world(rows=20), world(rows=20, seed=1)
    assert one.hash == two.hash != other.hash
    rows = torch.arange(20)
    assert torch.equal(one.take(rows)["x"], two.take(rows)["x"])
    assert not torch.equal(one.take(rows)["x"], other.take(rows)["x"])
    x = one.take(rows)["x"]
    assert x.min() >= 0
    assert x.max() <= 1
    assert one.fields["factors"].graph == world.graph
    assert one.fields["factors"].names == tuple(world.variables)


@pytest.mark.parametrize("world", WORLDS)
def test_nothing_done_is_the_item_and_its_own_value_changes_nothing(world):
    data = world(rows=30)
    rows = torch.arange(30)
    x, factors = data.take(rows)["x"], data.take(rows)["factors"]
    assert torch.equal(data.counterfactual(rows, {}), x)
    for k, name in enumerate(world.variables):
        torch.testing.assert_close(data.counterfactual(rows, {name: factors[:, k]}), x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("world", WORLDS)
def test_effects_follow_their_causes_only(world):
    from unbraid.core.graph import descendants, graph_of

    data = world(rows=30)
    chance = data._chance
    before = data.caused(chance, {})
    graph = graph_of(world.graph, tuple(world.variables))
    for name, (low, high) in world.variables.items():
        after = data.caused(chance, {name: torch.full((30,), low + 0.9 * (high - low))})
        moved = {n for n in world.variables if not torch.allclose(before[n], after[n])}
        assert moved == {name, *descendants(graph, [name])}


def test_the_shadow_falls_where_the_light_puts_it():
    data = Pendulum(rows=2)
    chance = {n: torch.tensor([0.5, 0.5]) for n in (*data.variables, *data.nuisances)}
    hanging = data.caused(chance, {"angle": torch.zeros(2), "light": torch.tensor([0.0, 0.4])})
    assert hanging["length"][0] == pytest.approx(2 * data._BALL, abs=1e-6)
    assert hanging["position"][0] == pytest.approx(0.5, abs=1e-6)
    assert hanging["position"][1] > 0.6
    assert hanging["length"][1] == pytest.approx(2 * data._BALL + data._ROD * float(torch.tensor(0.4).tan()), abs=1e-5)


def test_water_leaves_as_torricelli_has_it():
    data = Flow(rows=2)
    half = {n: torch.full((2,), 0.5) for n in data.variables}
    found = data.caused(half, {"level": torch.tensor([0.6, 0.2]), "hole": torch.tensor([0.2, 0.2])})
    assert found["reach"][0] == pytest.approx(0.9 * (0.2 * 0.4) ** 0.5, abs=1e-6)
    assert found["reach"][1] == 0


def test_a_thicker_bar_is_wider_and_brighter():
    data = Bars(rows=50)
    rows = torch.arange(50)
    thin, thick = (data.counterfactual(rows, {"thickness": torch.full((50,), v)}) for v in (0.15, 0.45))
    assert ((thick > 0.1).sum((1, 2, 3)) > (thin > 0.1).sum((1, 2, 3))).all()
    assert (thick.amax((1, 2, 3)) > thin.amax((1, 2, 3))).all()
    dim = data.counterfactual(rows, {"intensity": torch.full((50,), 0.3)})
    assert torch.equal(dim > 0, data.take(rows)["x"] > 0)


def test_worlds_open_by_name_and_refuse_what_is_wrong():
    assert open_data("pendulum:rows=5,size=16").fields["x"].shape == (1, 16, 16)
    assert len(open_data("flow:rows=7")) == 7
    with pytest.raises(DataError, match="2 or more items, got 1"):
        open_data("bars:rows=1")
    with pytest.raises(DataError, match="did you mean 'angle'"):
        Pendulum(rows=2).counterfactual(torch.arange(2), {"angel": torch.zeros(2)})
