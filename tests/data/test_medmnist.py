"""MedMNIST's files: splits, classes, three channels, unions; and the made images in their layout."""

import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.catalog import open_data
from unbraid.data.made.specimens import KINDS, Specimens, arrays
from unbraid.data.readers.medmnist import open_medmnist
from unbraid.data.splits import part_of

RNG = np.random.default_rng(0)
SIZES = {"train": 6, "val": 2, "test": 4}


def written(path, size=8, colour=False, classes=3, **changes):
    shape = (size, size, 3) if colour else (size, size)
    made = {f"{p}_images": RNG.integers(0, 256, (n, *shape), dtype=np.uint8) for p, n in SIZES.items()}
    made |= {f"{p}_labels": (np.arange(n) % classes).astype(np.uint8)[:, None] for p, n in SIZES.items()}
    made = {name: array for name, array in (made | changes).items() if array is not None}
    np.savez(path, **made)
    return made


def test_splits_and_classes(tmp_path):
    made = written(tmp_path / "retinamnist.npz", colour=True)
    data = open_data(f"medmnist:{tmp_path / 'retinamnist.npz'}")
    assert (data.name, data.fields["x"].shape, [f.name for f in data.factors]) == (
        "retinamnist",
        (3, 8, 8),
        ["class", "split"],
    )
    for short, split in (("train", "train"), ("val", "validation"), ("test", "test")):
        part = part_of(data, split)
        batch = part.take(torch.arange(len(part)))
        assert np.array_equal((255 * batch["x"]).round().numpy(), made[f"{short}_images"].transpose(0, 3, 1, 2))
        assert np.array_equal(batch["factors"][:, 0].numpy(), made[f"{short}_labels"][:, 0])


def test_grey_images_get_three_channels_and_colour_can_be_taken_away(tmp_path):
    plain = written(tmp_path / "octmnist.npz")
    x = open_medmnist(tmp_path / "octmnist.npz").take(torch.arange(6))["x"]
    for channel in x.unbind(1):
        assert np.array_equal((255 * channel).round().numpy(), plain["train_images"])
    coloured = written(tmp_path / "bloodmnist.npz", colour=True)
    data = open_medmnist(tmp_path / "bloodmnist.npz", grey=True)
    x = data.take(torch.arange(6))["x"]
    assert torch.equal(x[:, 0], x[:, 2])
    wanted = coloured["train_images"] @ [0.299, 0.587, 0.114]
    assert np.abs(255 * x[:, 0].numpy() - wanted).max() <= 0.51
    assert data.name == "bloodmnist,grey"


def test_a_union_tells_classes_and_sets_apart(tmp_path):
    written(tmp_path / "a.npz", classes=2)
    written(tmp_path / "b.npz", classes=3, colour=True)
    written(tmp_path / "c.npz")
    data = open_data(f"medmnist:{tmp_path},only=a+b")
    assert (len(data), data.name) == (24, "a+b")
    assert data.factors[0].labels == ("a 0", "a 1", "b 0", "b 1", "b 2")
    table = data.table(torch.arange(24))
    assert table.column("class").max() == 4
    assert table.column("set").tolist() == [0.0] * 12 + [1.0] * 12
    assert data.ids(torch.tensor([0, 12])) == ["a:0", "b:0"]


def test_sizes(tmp_path):
    written(tmp_path / "a.npz")
    written(tmp_path / "b.npz", size=12)
    with pytest.raises(DataError, match="images of one size"):
        open_medmnist(tmp_path)
    assert open_data(f"medmnist:{tmp_path}", size=8).fields["x"].shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"val_labels": None}, "an array 'val_labels'"),
        ({"train_labels": np.zeros((6, 14), np.uint8)}, "several labels"),
        ({"train_labels": np.zeros((5, 1), np.uint8)}, "each of 6 images"),
        ({"test_labels": np.full((4, 1), -1)}, "classes from 0 on"),
        ({"test_images": np.zeros((4, 9, 9), np.uint8)}, "of one shape"),
        ({"train_images": RNG.normal(size=(6, 8, 8))}, "pixels 0 to 255"),
    ],
)
def test_bad_files(tmp_path, changes, match):
    written(tmp_path / "a.npz", **changes)
    with pytest.raises(DataError, match=match) as error:
        open_medmnist(tmp_path / "a.npz")
    assert "\n" not in str(error.value)


def test_bad_paths(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"no \.npz file"):
        open_medmnist(tmp_path)
    with pytest.raises(DataError, match=r"a\.png"):
        open_medmnist(tmp_path / "a.png")
    written(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"no b\.npz"):
        open_medmnist(tmp_path, only="b")
    with pytest.raises(DataError, match="at most"):
        open_medmnist(tmp_path, memory=10)


# ------------------------------------------------------------------------------------------------------ specimens


@pytest.mark.parametrize("kind", KINDS)
def test_specimens_are_the_same_again_and_written_come_back(tmp_path, kind):
    data = Specimens(kind, rows=90)
    again = open_data(data.name)
    everything = torch.arange(90)
    x = data.take(everything)["x"]
    assert torch.equal(x, again.take(everything)["x"])
    assert data.hash == again.hash != Specimens(kind, rows=90, seed=1).hash
    assert not torch.equal(x, Specimens(kind, rows=90, seed=1).take(everything)["x"])
    assert [len(part_of(data, s)) for s in ("train", "validation", "test")] == [60, 10, 20]
    np.savez(tmp_path / "a.npz", **{name: a.numpy() for name, a in arrays(data).items()})
    read = open_medmnist(tmp_path / "a.npz")
    assert torch.equal(read.take(everything)["x"], x)
    assert np.array_equal(read.table(everything).column("class"), data.table(everything).column("class"))


def test_the_class_is_what_is_drawn():
    stripes = Specimens("stripes", rows=360, noise=0.0)
    batch = stripes.take(torch.arange(360))
    spectrum = torch.fft.fft2(batch["x"][:, 0] - batch["x"][:, 0].mean((1, 2), keepdim=True)).abs()
    peak = spectrum[:, :, :15].flatten(1).argmax(1)
    rows, columns = peak // 15, peak % 15
    angle = torch.atan2(torch.where(rows > 14, rows - 28, rows).double(), columns.double()) % torch.pi
    told = (angle / torch.pi * 4).round() % 4
    assert (told == batch["factors"][:, 0]).double().mean() > 0.9
    with pytest.raises(DataError, match="spots"):
        Specimens("spots")
