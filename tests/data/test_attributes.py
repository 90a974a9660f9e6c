"""Faces and birds as they are published, and factors as the field `attributes`."""

import numpy as np
import pytest
import torch
from PIL import Image

from unbraid.core.errors import ConfigError, DataError
from unbraid.data.catalog import open_data
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.splits import part_of
from unbraid.data.wrapped import WithAttributes, in_roles


def put(path, width, height, box=None):
    """A black image with a white box."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    if box is not None:
        left, top, right, bottom = box
        pixels[top:bottom, left:right] = 255
    Image.fromarray(pixels).save(path, quality=95)


@pytest.fixture
def celeba(tmp_path):
    lines = ["4", "Smiling Male  Eyeglasses", "1.jpg  1 -1  1", "2.jpg -1 -1 -1", "3.jpg -1  1 -1", "4.jpg 1 1 1"]
    (tmp_path / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "list_eval_partition.txt").write_text("1.jpg 0\n2.jpg 1\n3.jpg 2\n4.jpg 0\n")
    for name in "123":
        put(tmp_path / "img_align_celeba" / f"{name}.jpg", 178, 218, (15, 35, 163, 183))
    return tmp_path


def test_faces_come_cut_to_their_middle_with_attributes_and_split(celeba):
    data = in_roles(open_data(f"celeba:{celeba},size=16"), ["attributes"], {})
    assert data.fields["attributes"].names == ("Smiling", "Male", "Eyeglasses")
    batch = data.take(torch.arange(3))
    assert batch["attributes"].tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert batch["x"].shape == (3, 1 if batch["x"].shape[1] == 1 else 3, 16, 16)
    assert batch["x"].min() > 0.9  # the white square is exactly what is cut out
    assert [len(part_of(data, name)) for name in ("train", "validation", "test")] == [1, 1, 1]
    assert data.notes == ("3 of 4 listed images are there",)
    assert open_data(f"celeba:{celeba},crop=178").take(torch.arange(1))["x"].min() < 0.1
    assert open_data(f"celeba:{celeba}", size=8).fields["x"].shape[1:] == (8, 8)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("list_attr_celeba.txt", "Smiling\n", "a line with the count"),
        ("list_attr_celeba.txt", "1\nSmiling\n1.jpg 1 1\n", "line 3: expected 1 times 1 or -1 after the file"),
        ("list_attr_celeba.txt", "1\nSmiling\n1.jpg 0\n", "line 3: expected 1 times 1 or -1 after the file"),
        ("list_attr_celeba.txt", "2\nSmiling\n1.jpg 1\n", "expected 2 files"),
        ("list_attr_celeba.txt", "1\nA A\n1.jpg 1 1\n", "names that differ"),
        ("list_attr_celeba.txt", "1\nA\n9.jpg 1\n", "none of them is there"),
        ("list_eval_partition.txt", "1.jpg 0\n", "a line for every image, got none for '2.jpg'"),
        ("list_eval_partition.txt", "1.jpg 3\n", "line 1: expected a whole number 0..2, got '3'"),
        ("list_eval_partition.txt", "1.jpg\n", "line 1: expected 2 words"),
    ],
)
def test_damaged_lists_of_faces_are_named(celeba, file, text, said):
    (celeba / file).write_text(text)
    with pytest.raises(DataError, match=said):
        open_data(f"celeba:{celeba}")


def test_missing_files_of_faces_are_named(celeba, tmp_path):
    (celeba / "list_attr_celeba.txt").unlink()
    with pytest.raises(DataError, match="a readable file"):
        open_data(f"celeba:{celeba}")
    (celeba / "list_attr_celeba.txt").write_text("1\nA\n1.jpg 1\n")
    (celeba / "img_align_celeba").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="a folder img_align_celeba"):
        open_data(f"celeba:{celeba}")


@pytest.fixture
def cub(tmp_path):
    folder = tmp_path / "CUB_200_2011"
    (folder / "attributes").mkdir(parents=True)
    files = {"1": "001.A/a.jpg", "2": "001.A/b.jpg", "3": "002.B/c.jpg"}
    for name, file in files.items():
        if name != "3":
            put(folder / "images" / file, 100, 60, (10, 20, 50, 60))
    put(folder / "images" / files["3"], 100, 60, (60, 0, 100, 20))
    lists = {
        "images.txt": "".join(f"{k} {v}\n" for k, v in files.items()),
        "classes.txt": "1 001.A\n2 002.B\n",
        "image_class_labels.txt": "1 1\n2 1\n3 2\n",
        "bounding_boxes.txt": "1 10.0 20.0 40.0 40.0\n2 10.0 20.0 40.0 40.0\n3 60.0 0.0 40.0 20.0\n",
        "train_test_split.txt": "1 0\n2 1\n3 1\n",
        "attributes/image_attribute_labels.txt": "1 1 0 3 27.7\n1 2 1 4 1.2\n2 1 1 1 0.0\n2 2 1 3 5.1\n"
        "3 1 0 3 0 1.5\n3 2 0 4 2.2\n",
    }
    for name, text in lists.items():
        (folder / name).write_text(text)
    (tmp_path / "attributes.txt").write_text("1 has_bill_shape::curved\n2 has_wing_color::blue\n")
    return folder


def test_birds_come_cut_out_with_attributes_species_and_split(cub):
    data = in_roles(open_data(f"cub:{cub},size=8"), ["attributes"], {})
    assert data.fields["attributes"].names == ("has_bill_shape::curved", "has_wing_color::blue")
    batch = data.take(torch.arange(3))
    assert batch["attributes"].tolist() == [[0, 1], [1, 1], [0, 0]]
    assert batch["x"][:2].min() > 0.8
    assert 0.3 < batch["x"][2].mean() < 0.7  # a wide box is widened to a square
    table = data.table(torch.arange(3))
    assert table.factor("species").labels == ("001.A", "002.B")
    assert table.column("species").tolist() == [0, 0, 1]
    assert table.column("split").tolist() == [1, 0, 0]
    assert open_data(f"cub:{cub},crop=false").take(torch.arange(1))["x"].min() < 0.1
    named = in_roles(open_data(f"cub:{cub}"), ["attributes"], {"attributes": "species,has_wing_color::blue"})
    assert named.fields["attributes"].names == ("species", "has_wing_color::blue")


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (
            "attributes/image_attribute_labels.txt",
            "1 1 0 3 27.7\n",
            "a line for every attribute of every image, got none",
        ),
        ("attributes/image_attribute_labels.txt", "1 3 0 3 27.7\n", "line 1: expected a whole number 1..2"),
        ("attributes/image_attribute_labels.txt", "1 1\n", "line 1: expected an image, an attribute, and 0 or 1"),
        ("bounding_boxes.txt", "1 1 1 1 1\n", "a box for every image, got none for '2'"),
        ("bounding_boxes.txt", "1 1 nan 1 1\n", "a number from 0 on, got 'nan'"),
        ("image_class_labels.txt", "1 7\n", "a class that classes.txt lists, got '7'"),
        ("../attributes.txt", "2 b\n", "expected attribute 1, got '2'"),
        ("images.txt", "1 x.jpg\n", "none of them is there"),
    ],
)
def test_damaged_lists_of_birds_are_named(cub, file, text, said):
    (cub / file).write_text(text)
    with pytest.raises(DataError, match=said):
        open_data(f"cub:{cub}")


def test_names_of_attributes_must_be_there(cub):
    (cub.parent / "attributes.txt").unlink()
    with pytest.raises(DataError, match=r"a file attributes.txt, got none; it lies beside"):
        open_data(f"cub:{cub}")


def test_images_too_many_for_the_memory_are_cut_when_they_are_read(celeba):
    from unbraid.data.readers.images import FolderDataset, open_images

    table = FactorTable([Factor("a", "categorical", ("no", "yes"))], np.array([[1.0], [np.nan]]))
    cut = lambda row, width, height: (15 + 100 * row, 35, 163, 183)  # noqa: E731
    data = open_images("few", celeba / "img_align_celeba", ["1.jpg", "2.jpg"], table, 16, memory=10, cut=cut)
    assert isinstance(data, FolderDataset)
    assert data.take(torch.arange(2))["x"].min() > 0.9
    assert not data.observed("a")


def table_of(**columns):
    rows = len(next(iter(columns.values())))
    return MemoryDataset("made", torch.rand(rows, 2), FactorTable.from_columns(columns))


def test_factors_as_attributes():
    data = table_of(glasses=["no", "yes", "no", "yes"], hair=["red", "fair", "dark", "red"], age=[0.5, 1.5, 2.5, 3.25])
    seen = in_roles(data, ["attributes"], {})
    assert seen.fields["attributes"].names == ("glasses", "hair=dark", "hair=fair", "hair=red")
    expected = torch.tensor([[0, 0, 0, 1], [1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 1.0]])
    assert torch.equal(seen.take(torch.arange(4))["attributes"], expected)
    assert torch.equal(seen.take(torch.tensor([[2], [0]]))["attributes"], expected[[2, 0]][:, None])
    assert seen.roles["attributes"] == "glasses,hair"
    assert seen.hash not in (data.hash, in_roles(data, ["attributes"], {"attributes": "hair"}).hash)
    assert in_roles(seen, ["attributes"], {}) is seen


def test_a_split_is_no_attribute():
    data = table_of(split=["train", "test"], smile=["no", "yes"])
    assert in_roles(data, ["attributes"], {}).fields["attributes"].names == ("smile",)


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"attributes": "age"}, DataError, "a factor with listed values, got 'age'"),
        ({"attributes": "smile,hare"}, ConfigError, "the name of a factor, got 'hare'"),
        ({"attributes": "hole"}, DataError, "the attributes of every item, got 'hole' missing for some"),
        ({"atributes": "smile"}, ConfigError, "did you mean 'attributes'"),
    ],
)
def test_factors_that_are_no_attributes(asked, error, said):
    data = table_of(smile=["no", "yes", "no"], age=[0.5, 1.5, 2.5], hole=["a", "", "b"])
    with pytest.raises(error, match=said):
        in_roles(data, ["attributes"], asked)


def test_no_factor_is_an_attribute():
    with pytest.raises(DataError, match=r"say which with --role attributes=FACTOR,FACTOR"):
        in_roles(table_of(age=[0.5, 1.5, 2.5]), ["attributes"], {})
    with pytest.raises(DataError, match="give some with --factors"):
        in_roles(MemoryDataset("bare", torch.rand(3, 2)), ["attributes"], {})


def test_names_with_commas_in_them():
    data = WithAttributes(table_of(**{"a,b": ["no", "yes"]}), ["a,b"])
    assert in_roles(data.inner, ["attributes"], {"attributes": "a,b"}).fields["attributes"].names == ("a,b",)
