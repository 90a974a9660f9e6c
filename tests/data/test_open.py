"""Every kind of source through `open_data`, as users open them."""

import csv
import gzip
import os
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from unbraid.core.errors import DataError
from unbraid.data.catalog import open_data, sources
from unbraid.data.dataset import MemoryDataset
from unbraid.data.made.sprites import Sprites


def write_csv(path, *rows):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


def write_idx(path, array, code=0x08, claim=None):
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *(claim or array.shape))
    data = head + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def image(path, size=(20, 30), mode="RGB", colour=(200, 10, 10), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)
    return path


def all_of(data):
    return data.take(torch.arange(len(data)))


def test_made_sources_by_name_and_option():
    data = open_data("sprites:size=16,colour=true,correlated=0.5")
    assert isinstance(data, Sprites)
    assert (data.size, data.colour, data.correlated) == (16, True, 0.5)
    assert open_data("sprites", size=64).fields["x"].shape == (1, 64, 64)
    assert open_data("sprites:size=16", size=64).fields["x"].shape == (1, 16, 16)
    assert len(open_data("discs")) == 720
    assert open_data("digits:size=8").fields["x"].shape == (1, 8, 8)


def test_every_source_is_described():
    for source in sources():
        assert source.summary
        if "folder" in source.options:
            continue  # made of files that are the user's
        assert open_data(source.name).name.startswith(source.name)
    assert set(sources()[0].options) == {"size", "colour", "correlated"}


@pytest.mark.parametrize(
    ("array", "shape", "unit"),
    [
        (np.random.default_rng(0).normal(size=(5, 7)), (7,), False),
        (np.ones((5, 7), dtype=np.int64) * 300, (7,), False),
        (np.full((5, 8, 8), 200, dtype=np.uint8), (1, 8, 8), True),
        (np.full((5, 8, 8, 3), 200, dtype=np.int64), (3, 8, 8), True),
        (np.full((5, 3, 8, 8), 200.0), (3, 8, 8), True),
        (np.full((5, 8, 8, 1), 0.25, dtype=np.float16), (1, 8, 8), True),
        (np.full((5, 1, 8, 8), -0.5), (1, 8, 8), False),
        (np.ones((5, 8, 8), dtype=bool), (1, 8, 8), True),
    ],
)
def test_arrays(tmp_path, array, shape, unit):
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", whatever=array)
    for name in ("a.npy", "a.npz"):
        data = open_data(str(tmp_path / name))
        assert (data.fields["x"].shape, data.fields["x"].unit) == (shape, unit)
        x = all_of(data)["x"]
        assert x.dtype == torch.float32
        if unit:
            assert float(x.max()) == pytest.approx(float(array.max()) / (255 if array.max() > 1 else 1), abs=1e-3)


def test_fortran_order_and_foreign_byte_order(tmp_path):
    array = np.arange(12.0).reshape(3, 4)
    np.save(tmp_path / "a.npy", np.asfortranarray(array.astype(">f8")))
    assert all_of(open_data(str(tmp_path / "a.npy")))["x"].tolist() == array.tolist()


def test_an_archive_with_factors_and_ids(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(
        path,
        x=np.zeros((4, 3)),
        other=np.zeros((2, 2)),
        factors=np.array([[0, 1.5], [1, 2.5], [1, np.nan], [0, 1.0]]),
        factor_names=np.array(["site", "age"]),
        speaker=np.array(["b", "a", "b", ""]),
        id=np.array(["p", "q", "r", "s"]),
        mean=np.zeros(3),
    )
    data = open_data(str(path))
    assert [(f.name, f.kind) for f in data.factors] == [
        ("site", "ordinal"),
        ("age", "continuous"),
        ("speaker", "categorical"),
    ]
    batch = all_of(data)
    assert batch["known"].tolist()[2:] == [[True, False, True], [True, True, False]]
    assert data.ids(torch.tensor([2])) == ["r"]


def test_dsprites_as_it_was_published(tmp_path):
    images = np.zeros((4, 8, 8), dtype=np.uint8)
    images[:, 2:5, 2:5] = 1
    np.savez_compressed(
        tmp_path / "d.npz", imgs=images, latents_classes=np.arange(8).reshape(4, 2), metadata=np.array({"a": 1})
    )
    data = open_data(str(tmp_path / "d.npz"))
    assert all_of(data)["x"].unique().tolist() == [0, 1]
    assert len(data.factors) == 2


def test_arrays_of_images_are_cut_and_scaled_when_asked(tmp_path):
    images = np.zeros((3, 20, 40), dtype=np.uint8)
    images[:, :, 10:30] = 100
    np.save(tmp_path / "a.npy", images)
    batch = all_of(open_data(str(tmp_path / "a.npy"), size=16))
    assert batch["x"].shape == (3, 1, 16, 16)
    assert batch["x"].unique().mul(255).tolist() == [100]


def test_a_folder_of_images_of_any_size(tmp_path):
    image(tmp_path / "a" / "1.png", (20, 50), colour=(255, 0, 0))
    image(tmp_path / "b" / "2.jpg", (300, 200), "L", 128)
    image(tmp_path / "b" / "3.gif", (64, 64), "P", 0)
    image(tmp_path / "b" / "4.png", (9, 9), "RGBA", (0, 255, 0, 10))
    (tmp_path / "b" / "notes.txt").write_text("not an image")
    image(tmp_path / ".hidden" / "5.png")
    data = open_data(str(tmp_path))
    assert isinstance(data, MemoryDataset)
    batch = all_of(data)
    assert batch["x"].shape == (4, 3, 64, 64)
    assert batch["factors"][:, 0].tolist() == [0, 1, 1, 1]
    assert data.factors[0].labels == ("a", "b")
    assert data.ids(torch.arange(2)) == ["a/1.png", "b/2.jpg"]
    assert batch["x"][0, :, 30, 30].tolist() == [1, 0, 0]
    assert batch["x"][1].sub(128 / 255).abs().max() < 0.01


def test_grey_images_stay_grey(tmp_path):
    image(tmp_path / "1.png", mode="L", colour=7)
    image(tmp_path / "2.png", mode="1", colour=1)
    Image.fromarray(np.full((8, 8), 40000, dtype=np.uint16)).save(tmp_path / "3.png")
    batch = all_of(open_data(str(tmp_path), size=16))
    assert batch["x"].shape == (3, 1, 16, 16)
    assert batch["x"].amax((1, 2, 3)).mul(255).round().tolist() == [7, 255, 156]
    assert "factors" not in batch


def test_the_middle_square_of_an_upright_image(tmp_path):
    pixels = np.zeros((40, 80, 3), dtype=np.uint8)
    pixels[:, 20:40, 0] = 255  # in the middle square: red left, blue right
    pixels[:, 40:60, 2] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: red on top
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(pixels).save(tmp_path / "upright.png")
    turned, upright = all_of(open_data(str(tmp_path), size=16))["x"]
    assert upright[:, 8, 3].tolist() == [1, 0, 0]
    assert upright[:, 8, 12].tolist() == [0, 0, 1]
    assert turned[:, 3, 8].tolist() == [1, 0, 0]
    assert turned[:, 12, 8].tolist() == [0, 0, 1]


def test_folders_in_folders_give_both(tmp_path):
    for split in ("test", "train"):
        for kind in ("cat", "dog"):
            image(tmp_path / split / kind / "1.png")
    data = open_data(str(tmp_path), size=16)
    assert [(f.name, f.labels) for f in data.factors] == [("folder", ("test", "train")), ("class", ("cat", "dog"))]


def test_a_folder_with_factors_beside_the_images(tmp_path):
    for name in ("1.png", "2.png", "sub/3.png"):
        image(tmp_path / name)
    write_csv(tmp_path / "factors.csv", ["file", "site"], ["sub/3.png", "x"], ["2.png", ""], ["1.png", "y"])
    more = write_csv(tmp_path / "more.csv", ["id", "age"], ["2.png", "1.5"], ["1.png", "2.5"], ["sub/3.png", ""])
    data = open_data(str(tmp_path), size=16, factors=more)
    assert [f.name for f in data.factors] == ["class", "site", "age"]
    table = data.table(torch.arange(3))
    np.testing.assert_array_equal(table.column("site"), [1, np.nan, 0])
    np.testing.assert_array_equal(table.column("age"), [2.5, 1.5, np.nan])


def test_a_table_of_embeddings(tmp_path):
    path = write_csv(
        tmp_path / "e.csv",
        ["id", "z0", "factor:site", "z1", "factor:n:categorical"],
        ["a", "1.5", "x", "-2e3", "10"],
        ["b", "2", "", "7", "9"],
    )
    data = open_data(str(path))
    batch = all_of(data)
    assert batch["x"].tolist() == [[1.5, -2000], [2, 7]]
    assert [(f.name, f.kind, f.labels) for f in data.factors] == [
        ("site", "categorical", ("x",)),
        ("n", "categorical", ("9", "10")),
    ]
    assert batch["known"].tolist() == [[True, True], [False, True]]
    assert data.ids(torch.arange(2)) == ["a", "b"]


def test_a_table_as_other_programs_write_it(tmp_path):
    path = tmp_path / "e.csv"
    path.write_bytes("\ufeff;größe;b\r\n0;1;2\r\n1;3;4\r\n\r\n".encode())
    data = open_data(str(path))
    assert all_of(data)["x"].tolist() == [[1, 2], [3, 4]]
    assert data.ids(torch.arange(2)) == ["0", "1"]


def test_factors_apart_by_id_and_by_row(tmp_path):
    table = write_csv(tmp_path / "e.csv", ["id", "z"], ["a", "1"], ["b", "2"])
    by_id = write_csv(tmp_path / "f.csv", ["site", "id"], ["x", "c"], ["y", "b"], ["x", "a"])
    by_row = write_csv(tmp_path / "g.csv", ["site"], ["x"], ["y"])
    for factors in (by_id, by_row):
        data = open_data(str(table), factors=factors)
        assert data.table(torch.arange(2)).column("site").tolist() == [0, 1]


def test_parquet(tmp_path):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "e.parquet"
    frame = pandas.DataFrame({"id": [7, 8], "z": [1.0, 2.0], "w": np.array([1, 2], np.int8), "factor:s": ["x", None]})
    frame.to_parquet(path)
    data = open_data(str(path))
    assert all_of(data)["x"].tolist() == [[1, 1], [2, 2]]
    assert all_of(data)["known"].tolist() == [[True], [False]]
    assert data.ids(torch.arange(2)) == ["7", "8"]


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_idx(tmp_path, packed):
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
    path = write_idx(tmp_path / f"t10k-images-idx3-ubyte{packed}", images)
    assert all_of(open_data(str(path)))["x"].shape == (6, 1, 28, 28)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", np.array([3, 1, 4, 1, 5, 9], dtype=np.uint8))
    batch = all_of(open_data(str(tmp_path)))
    assert batch["x"].mul(255).round()[:, 0].numpy().astype(np.uint8).tolist() == images.tolist()
    assert batch["factors"][:, 0].tolist() == [3, 1, 4, 1, 5, 9]
    assert open_data(str(tmp_path), size=16).fields["x"].shape == (1, 16, 16)
    write_idx(tmp_path / "train-images-idx3-ubyte", images[:2])
    assert len(open_data(str(tmp_path))) == 2


def test_names_below_the_folder_of_known_sets(tmp_path, monkeypatch):
    np.save(tmp_path / "mine.npy", np.zeros((3, 2)))
    image(tmp_path / "set" / "train" / "1.png")
    monkeypatch.setenv("UNBRAID_DATA", str(tmp_path))
    assert open_data("mine.npy").name == "mine.npy"
    assert len(open_data("set/train", size=16)) == 1


real = pytest.mark.skipif("UNBRAID_DATA" not in os.environ, reason="UNBRAID_DATA is not set: no real data here")


@real
def test_real_mnist():
    data = open_data("mnist")
    assert (data.fields["x"].shape, data.fields["x"].unit) == ((1, 28, 28), True)
    assert data.factors[0].name == "digit"
    assert 0.1 < float(data.take(torch.arange(200))["x"].mean()) < 0.16


@real
def test_real_photographs_on_demand():
    data = open_data("cifar10/train", size=32, memory=0)
    batch = data.take(torch.tensor([[0], [len(data) - 1]]))
    assert data.slow
    assert batch["x"].shape == (2, 1, 3, 32, 32)
    assert batch["factors"][:, 0, 0].tolist() == [0, data.factors[0].size - 1]


def test_a_size_reaches_the_kinds_that_have_one(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 3, 16, 16), np.uint8))
    assert open_data(f"clips:{tmp_path / 'a.npy'},frames=3", size=8).fields["x"].shape[-2:] == (8, 8)
    np.save(tmp_path / "b.npy", np.ones((4, 32)) + 1j)
    with pytest.raises(DataError, match="no --size with iq, got 8"):
        open_data(f"iq:{tmp_path / 'b.npy'}", size=8)
