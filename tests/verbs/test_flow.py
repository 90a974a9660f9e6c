"""A run's items moved along the paths of another run."""

import pytest

from unbraid.core.errors import ConfigError
from unbraid.verbs import Request, steer, train


def trained(folder, method, data="discs", **more):
    options = {"network": "mlp"} if method == "vae" else {}
    request = Request(method=method, data=data, preset="tiny", set=options, device="cpu", audit=False, **more)
    train(request, folder)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    vae, other = trained(place / "vae", "vae"), trained(place / "other", "vae", seed=1)
    return vae, other, trained(place / "flow", "potential-flow", given={"generator": str(vae)})


def test_the_flow_moves_the_items_of_its_generator(runs, tmp_path):
    vae, _, flow = runs
    by_flow = steer(vae, "traverse", ["potentials[1]"], [7], tmp_path / "a.npz", flow=flow, steps=4)
    by_itself = steer(flow, "traverse", ["potentials[1]"], [7], tmp_path / "b.npz", steps=4)
    assert by_flow.read_bytes()[:2] == b"PK"
    import numpy as np

    one, two = np.load(by_flow), np.load(by_itself)
    np.testing.assert_array_equal(one["arrays"], two["arrays"])
    assert one["arrays"].shape == (1, 4, 1, 16, 16)
    assert one["values"].tolist() == [[-1, 0, 1, 2]]


def test_the_flow_must_be_one_through_that_very_generator(runs, tmp_path):
    vae, other, flow = runs
    with pytest.raises(ConfigError, match="flows through this run's codes, got others"):
        steer(other, "traverse", [], [7], tmp_path / "a.npz", flow=flow)
    with pytest.raises(ConfigError, match="a run of flows, got one of 'vae'"):
        steer(vae, "traverse", [], [7], tmp_path / "a.npz", flow=other)
    with pytest.raises(ConfigError, match="got swap"):
        steer(vae, "swap", ["latents"], [1, 7], tmp_path / "a.npz", flow=flow)
