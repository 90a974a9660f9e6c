import math

import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.catalog import open_data
from unbraid.data.made.objects import Objects, Solids
from unbraid.data.pairs import companions
from unbraid.data.splits import part_of, training_part
from unbraid.ops.pose import about, apart, moved, relative, still

WORLDS = [Objects(instances=4, views=5, unseen=1, size=16), Solids(instances=4, views=5, unseen=1, size=16)]


@pytest.mark.parametrize("data", WORLDS, ids=lambda d: d.kind)
def test_a_view_is_what_the_camera_sees_from_its_pose(data):
    batch = data.take(torch.arange(20))
    world = data.environment
    state = world.at(batch["instance"], batch["pose"])
    torch.testing.assert_close(world.see(state), batch["x"], atol=1 / 255, rtol=0)
    assert batch["instance"].tolist() == [i for i in range(4) for _ in range(5)]
    torch.testing.assert_close(batch["pose"][:, 3:].norm(dim=1), torch.ones(20))
    assert (batch["pose"][:, 3] >= 0).all()


@pytest.mark.parametrize("data", WORLDS, ids=lambda d: d.kind)
def test_a_motion_leads_from_one_view_to_the_other(data):
    one, other = data.take(torch.arange(0, 4)), data.take(torch.arange(1, 5))
    world = data.environment
    motion = relative(one["pose"], other["pose"])
    after = world.step(world.at(one["instance"], one["pose"]), motion, torch.Generator()).state
    torch.testing.assert_close(world.see(after), other["x"], atol=0.02, rtol=0)
    angle, way = apart(after[:, 1:], other["pose"])
    assert angle.max() < 0.1
    assert way.max() < 1e-4


@pytest.mark.parametrize("data", WORLDS, ids=lambda d: d.kind)
def test_the_camera_may_stay_and_goes_nowhere_else_than_it_can(data):
    world = data.environment
    state = world.reset(3, torch.Generator().manual_seed(0))
    motions = world.motions(state, 6, torch.Generator().manual_seed(1))
    assert motions.shape == (3, 6, 7)
    assert torch.equal(motions[:, 0], still(3))
    there = moved(state[:, None, 1:].expand_as(motions), motions)
    if data.kind == "solids":
        distance = there[..., :3].norm(dim=-1)
        assert distance.min() > 2.19
        assert distance.max() < 3.21
    else:
        assert there[..., 2].abs().max() < 1e-5


def test_the_same_motion_of_the_camera_changes_the_view_alike_wherever_it_stands():
    data = Objects(instances=1, views=1, unseen=0)
    place = {"angle": torch.tensor([0.3, 2.0]), "x": torch.tensor([0.1, -0.2]), "y": torch.tensor([0.0, 0.1])}
    motion = torch.cat([torch.tensor([0.1, 0.0, 0.0]), about(2, torch.tensor(0.5))]).expand(2, 7)
    after = moved(data.pose_of(place), motion)
    turned = {"angle": place["angle"] - 0.5}
    x, y = place["x"] - 0.1, place["y"]
    turned |= {"x": x * math.cos(0.5) + y * math.sin(0.5), "y": -x * math.sin(0.5) + y * math.cos(0.5)}
    torch.testing.assert_close(after, data.pose_of(turned))


def test_an_object_lies_where_its_factors_say():
    data = Objects(instances=1, views=1, unseen=0, size=48)
    data.shape = {"aspect": torch.ones(1), "size": torch.tensor([0.3]), "handle": torch.tensor([0.3])}
    place = {"angle": torch.tensor([math.pi / 2]), "x": torch.tensor([0.25]), "y": torch.tensor([-0.25])}
    image = data.seen(torch.tensor([0]), data.pose_of(place))[0, 0]
    rows, columns = (image > 0.9).nonzero().unbind(1)  # the handle, straight up from (0.25, -0.25)
    assert abs(float(columns.float().mean()) / 24 - 1 - 0.25) < 0.05
    assert abs(1 - float(rows.float().mean()) / 24 - (-0.25 + 0.45)) < 0.05


def test_instances_are_set_aside_and_pairs_show_one():
    data = WORLDS[0]
    assert len(training_part(data)) == 15
    assert len(part_of(data, "test")) == 5
    pairs = companions(data, torch.arange(20), torch.Generator().manual_seed(0))
    assert torch.equal(pairs // 5, (torch.arange(20) // 5)[:, None].expand(20, 2))
    assert (pairs[:, 0] != pairs[:, 1]).all()
    instance = data.table(torch.arange(20)).column("instance")
    assert len(set(instance[:15]) & set(instance[15:])) == 0


def test_worlds_open_by_name_and_are_equal_when_asked_for_alike():
    one, other, third = (open_data(s) for s in ("objects:views=2", "objects:views=2", "objects:views=2,seed=1"))
    assert one.hash == other.hash != third.hash
    with pytest.raises(DataError, match="turn of 0 to 180"):
        open_data("solids:turn=200")
    narrow = open_data("objects:turn=30,views=3,instances=4,unseen=0")
    assert np.abs(narrow.table(torch.arange(12)).column("angle")).max() <= math.radians(30)


def test_more_factors_keep_the_world():
    from unbraid.data.factors import FactorTable

    data = Objects(instances=2, views=2, unseen=0, size=16)
    more = data.with_factors(FactorTable.from_columns({"mark": ["a", "b", "a", "b"]}))
    assert more.environment is data.environment
    assert [f.name for f in more.factors][-1] == "mark"
    assert torch.equal(more.take(torch.arange(4))["x"], data.take(torch.arange(4))["x"])


# ------------------------------------------------------------------------------------------------------- from files


@pytest.fixture
def folder(tmp_path):
    data = WORLDS[1]
    for i in range(4):
        batch = data.take(torch.arange(5) + 5 * i)
        images = (batch["x"].permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
        place = tmp_path / ("mug" if i < 2 else "bowl")
        place.mkdir(exist_ok=True)
        np.savez(place / f"{i}.npz", images=images, poses=batch["pose"].numpy())
    return tmp_path


def test_views_are_read_with_their_poses(folder):
    data = open_data(f"views:{folder},test=0.25")
    made = WORLDS[1].take(torch.arange(10, 20))  # bowls come first
    batch = data.take(torch.arange(10))
    torch.testing.assert_close(batch["x"], made["x"])
    torch.testing.assert_close(batch["pose"], made["pose"])
    assert [f.name for f in data.factors] == ["split", "instance", "class"]
    assert len(part_of(data, "test")) == 5
    one = open_data(f"views:{folder / 'mug' / '0.npz'}")
    assert len(one) == 5
    assert part_of(one, "test") is None


def test_a_recorded_camera_only_goes_where_it_stood(folder):
    data = open_data(f"views:{folder}")
    world = data.environment
    state = world.reset(6, torch.Generator().manual_seed(0))
    motions = world.motions(state, 4, torch.Generator().manual_seed(1))
    after = world.step(state, motions[:, 2] + 0.001, torch.Generator()).state
    for row in after:
        own = data.pose[data.instance == int(row[0])]
        assert (own - row[1:]).abs().amax(1).min() == 0
    rows = torch.tensor([3, 7])
    batch = data.take(rows)
    assert torch.equal(world.see(world.at(batch["instance"], batch["pose"])), batch["x"])


def test_quaternions_may_end_with_w(folder, tmp_path):
    with np.load(folder / "mug" / "0.npz") as file:
        images, poses = file["images"], file["poses"]
    path = tmp_path / "last.npz"
    np.savez(path, images=images, poses=poses[:, [0, 1, 2, 4, 5, 6, 3]])
    read = open_data(f"views:{path},order=xyzw")
    torch.testing.assert_close(read.pose, torch.from_numpy(poses))


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"images": np.zeros((2, 8, 8, 3), np.uint8)}, "array 'poses'"),
        ({"images": np.zeros((2, 8, 8, 3), np.uint8), "poses": np.zeros((3, 7))}, "images .V, H, W, 3. and poses"),
        ({"images": np.zeros((2, 8, 8, 3), np.uint8), "poses": np.zeros((2, 7))}, "unit quaternions, got length 0"),
        ({"images": np.zeros((2, 8, 8, 3), np.uint8), "poses": np.full((2, 7), np.nan)}, "finite numbers"),
        ({"images": np.full((2, 8, 8, 3), 300.5), "poses": np.zeros((2, 7))}, "pixels from 0 to 1"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(arrays, said, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=said):
        open_data(f"views:{tmp_path}")


def test_images_of_two_sizes_are_refused_unless_a_size_is_given(folder):
    np.savez(folder / "mug" / "9.npz", images=np.zeros((1, 20, 20, 3), np.uint8), poses=still(1).numpy())
    with pytest.raises(DataError, match="one shape and kind"):
        open_data(f"views:{folder}")
    assert open_data(f"views:{folder},size=12").fields["x"].shape == (3, 12, 12)
    empty = folder / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="none in it"):
        open_data(f"views:{empty}")
