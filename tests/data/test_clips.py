"""Clips from folders and arrays, and the world of moving sprites."""

import numpy as np
import pytest
import torch
from PIL import Image

from unbraid.core.errors import DataError
from unbraid.data.catalog import kinds, open_data
from unbraid.data.made.moving import MovingSprites
from unbraid.data.readers.clips import open_clips


def write(folder, clip, frames, size=(10, 8)):
    """Frames whose grey value is their number."""
    (folder / clip).mkdir(parents=True)
    for k in range(frames):
        Image.new("L", size, k).save(folder / clip / f"frame{k}.png")


def values(data, row=0):
    return (data.take(torch.tensor([row]))["x"][0].mean((1, 2, 3)) * 255).round().int().tolist()


def test_a_folder_for_each_clip(tmp_path):
    write(tmp_path, "walk/ann_1", 12)
    write(tmp_path, "run/bob_2", 3)
    data = open_data(f"clips:{tmp_path},frames=4,size=8", pattern="{who}_{take}")
    assert len(data) == 2
    assert data.fields["x"].shape == (4, 1, 8, 8)
    assert data.fields["x"].unit
    assert data.ids(torch.arange(2)) == ["run/bob_2", "walk/ann_1"]
    assert values(data, 1) == [1, 4, 7, 10]  # frame10 comes after frame9
    assert values(data, 0) == [0, 1, 1, 2]
    table = data.table(torch.arange(2))
    assert table.names == ("class", "who", "take")
    assert table.factor("who").labels == ("ann", "bob")
    pair = data.take(torch.tensor([[0, 1]]))
    assert pair["x"].shape == (1, 2, 4, 1, 8, 8)
    assert pair["factors"].shape == (1, 2, 3)


def test_what_does_not_fit_in_memory_is_read_when_taken(tmp_path):
    write(tmp_path, "a", 5)
    write(tmp_path, "b", 5)
    (tmp_path / "factors.csv").write_text("file,site\na,x\nb,y\n")
    whole, lazy = (open_clips(tmp_path, size=8, frames=5, memory=m) for m in (2**30, 0))
    assert lazy.slow
    assert not whole.slow
    index = torch.tensor([[1], [0]])
    one, other = whole.take(index), lazy.take(index)
    assert torch.equal(one["x"], other["x"])
    assert torch.equal(one["factors"], other["factors"])
    assert whole.factors[0].name == "site"


@pytest.mark.parametrize("shape", [(3, 6, 8, 8), (3, 6, 8, 8, 3), (3, 6, 3, 8, 8), (3, 6, 8, 8, 1)])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_in_any_layout(tmp_path, shape, suffix):
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / f"a{suffix}"
    np.save(path, x) if suffix == ".npy" else np.savez(path, video=x, site=np.array(["u", "v", "u"]))
    data = open_data(f"clips:{path},frames=3")
    channels = x[:, [1, 3, 5]]
    channels = channels[:, :, None] if x.ndim == 4 else channels if shape[2] == 3 else np.moveaxis(channels, -1, 2)
    torch.testing.assert_close(data.take(torch.arange(3))["x"], torch.from_numpy(channels / np.float32(255)))
    assert suffix == ".npy" or data.factors[0].labels == ("u", "v")


def test_the_kind_is_listed():
    assert "clips" in {kind.name for kind in kinds()}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: None, "folders of frames"),
        (lambda f: Image.new("L", (4, 4)).save(f / "a.png"), "a folder for each clip"),
    ],
)
def test_folders_that_hold_no_clips(tmp_path, spoil, says):
    spoil(tmp_path)
    with pytest.raises(DataError, match=says):
        open_data(f"clips:{tmp_path}")


def test_arrays_that_hold_no_clips(tmp_path):
    np.save(tmp_path / "flat.npy", np.zeros((3, 4)))
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 3, 4, 4)), b=np.zeros((2, 3, 4, 4)))
    for name, says in (("flat.npy", r"clips \(N, T, H, W\)"), ("two.npz", "an array 'x'")):
        with pytest.raises(DataError, match=says):
            open_data(f"clips:{tmp_path / name}")
    for options, says in (("frames=0", "1 to 4096 frames"), ("size=0", "pixels")):
        with pytest.raises(DataError, match=says):
            open_data(f"clips:{tmp_path / 'flat.npy'},{options}")


def test_every_frame_is_a_frame_of_every_motion():
    """So that no single frame tells where a sprite goes; and backwards is the opposite motion."""
    world = MovingSprites(frames=5, size=32, noise=0.0)
    right, down, left, up = (torch.tensor([m, 7, 9, 4]) for m in range(4))
    clip = world.render(right)
    for motion, at in ((left, (13, 4)), (down, (9, 4)), (up, (9, 4))):
        other = torch.tensor([int(motion[0]), 7, *at])
        assert torch.equal(world.render(other)[0], clip[4 if motion is left else 0])
    backwards = torch.tensor([2, 7, 13, 4])
    assert torch.equal(world.render(backwards), clip.flip(0))


def test_moving_sprites_by_index():
    world = MovingSprites(frames=3, size=16, noise=0.1)
    rows = torch.tensor([5, 12_287, 3072])
    batch = world.take(rows)
    assert batch["x"].shape == (3, 3, 3, 16, 16)
    assert torch.equal(world.take(rows[1:2])["x"][0], batch["x"][1])
    assert batch["x"].min() >= 0
    assert batch["x"].max() <= 1
    assert world.index_of(batch["factors"].long()).tolist() == rows.tolist()
    still = MovingSprites(frames=3, size=16, noise=0.0).take(rows)["x"]
    noise = (batch["x"] - still)[still == 0.2]
    assert abs(float(noise.std()) - 0.1) < 0.01
    for options, says in (({"frames": 1}, "frames"), ({"size": 20}, "one of"), ({"noise": 2.0}, "0 to 1")):
        with pytest.raises(DataError, match=says):
            MovingSprites(**options)
