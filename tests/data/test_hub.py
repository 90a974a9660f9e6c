"""`hf:...`: data sets of the library `datasets`, saved to a folder; nothing here reaches a network."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from unbraid.core.errors import DataError
from unbraid.data.catalog import open_data
from unbraid.data.dataset import MemoryDataset
from unbraid.data.loader import batches


@pytest.fixture(scope="module")
def hub():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        datasets = pytest.importorskip("datasets")
        datasets.disable_progress_bars()
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        yield datasets


def pictures(count=6, mode="RGB", size=(20, 12)):
    """Each of one colour in its middle square, which its row tells, and of another beside it."""
    found = []
    for row in range(count):
        image = Image.new(mode, size, 255 if mode == "L" else (255, 255, 255))
        image.paste(10 * row if mode == "L" else (10 * row, 0, 0), (4, 0, 16, 12))
        found.append(image)
    return found


def saved(hub, path, columns, **features):
    table = hub.Dataset.from_dict(columns)
    for name, feature in features.items():
        table = table.cast_column(name, feature)
    table.save_to_disk(str(path))
    return path


@pytest.fixture
def imaged(hub, tmp_path):
    columns = {
        "image": pictures(),
        "label": [0, 1, 0, 1, 2, -1],
        "site": ["b", "a", "b", None, "a", "b"],
        "age": [3, 4, 3, 5, 5, 4],
        "weight": [0.5, 1.25, 2.5, 3.0, float("nan"), 8.0],
        "sick": [True, False, True, True, False, False],
        "id": [f"row {i}" for i in range(6)],
        "extra": [{"a": 1}] * 6,
    }
    features = {"image": hub.Image(), "label": hub.ClassLabel(names=["cat", "dog", "owl"])}
    return saved(hub, tmp_path / "saved", columns, **features)


def test_images_and_factors_of_each_kind(imaged):
    data = open_data(f"hf:{imaged}", size=8)
    assert isinstance(data, MemoryDataset)
    batch = data.take(torch.arange(6))
    assert batch["x"].shape == (6, 3, 8, 8)
    assert torch.equal(batch["x"][:, 0, 4, 4] * 255, torch.arange(6.0) * 10)
    kinds = {f.name: (f.kind, f.labels) for f in data.factors}
    assert kinds == {
        "site": ("categorical", ("a", "b")),
        "age": ("ordinal", ("3", "4", "5")),
        "weight": ("continuous", ()),
        "sick": ("categorical", ("False", "True")),
        "label": ("categorical", ("cat", "dog", "owl")),
    }
    table = data.table(torch.arange(6))
    assert np.array_equal(table.column("label"), [0, 1, 0, 1, 2, np.nan], equal_nan=True)
    assert np.array_equal(table.column("site"), [1, 0, 1, np.nan, 0, 1], equal_nan=True)
    assert data.ids(torch.tensor([4])) == ["row 4"]


def test_images_too_many_for_the_memory(imaged):
    whole, slow = open_data(f"hf:{imaged}", size=8), open_data(f"hf:{imaged}", size=8, memory=0)
    assert slow.slow
    rows = torch.tensor([[5, 0], [2, 2]])
    for name, value in whole.take(rows).items():
        assert torch.equal(slow.take(rows)[name], value)
    ahead = [batch["x"] for _, batch in batches(slow, [rows], workers=1)]
    assert torch.equal(ahead[0], whole.take(rows)["x"])
    assert slow.hash == open_data(f"hf:{imaged}", size=8, memory=0).hash
    assert slow.hash != open_data(f"hf:{imaged}", size=16, memory=0).hash


@pytest.mark.parametrize("memory", [0, 2**30])
def test_grey_images_have_one_channel(hub, tmp_path, memory):
    path = saved(hub, tmp_path / "grey", {"image": pictures(mode="L")}, image=hub.Image())
    data = open_data(f"hf:{path}", memory=memory)
    assert data.fields["x"].shape == (1, 64, 64)
    assert data.factors == ()


def test_more_factors_from_a_file(imaged, tmp_path):
    (tmp_path / "more.csv").write_text("id,ward\n" + "".join(f"row {i},{'xy'[i % 2]}\n" for i in reversed(range(6))))
    data = open_data(f"hf:{imaged}", size=8, factors=tmp_path / "more.csv")
    assert data.table(torch.arange(6)).column("ward").tolist() == [0, 1, 0, 1, 0, 1]


def test_lists_of_numbers_are_vectors_and_arrays_images(hub, tmp_path):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 3)).astype("f4"), rng.normal(size=(5, 2)).astype("f4")
    path = saved(hub, tmp_path / "lists", {"a": a.tolist(), "b": b.tolist(), "y": list(range(5))})
    data = open_data(f"hf:{path}")
    assert torch.equal(data.take(torch.arange(5))["x"], torch.from_numpy(np.concatenate([a, b], 1)))
    assert [f.name for f in data.factors] == ["y"]
    pixels = rng.integers(0, 256, (4, 8, 8)).tolist()
    path = saved(hub, tmp_path / "arrays", {"pixels": pixels}, pixels=hub.Array2D((8, 8), "uint8"))
    data = open_data(f"hf:{path}")
    assert torch.equal(data.take(torch.arange(4))["x"][:, 0] * 255, torch.tensor(pixels).float())


def test_splits(hub, tmp_path):
    parts = {name: hub.Dataset.from_dict({"v": [[float(i)]] * (i + 1)}) for i, name in enumerate(("train", "test"))}
    hub.DatasetDict(parts).save_to_disk(str(tmp_path / "both"))
    spec = f"hf:{tmp_path / 'both'}"
    assert (len(open_data(spec)), len(open_data(f"{spec},split=test"))) == (1, 2)
    for tail, words in (
        (",split=tests", "did you mean 'test'"),
        (",part=test", "split=NAME"),
        (",split", "split=NAME"),
    ):
        with pytest.raises(DataError, match=words):
            open_data(spec + tail)
    hub.DatasetDict(a=parts["train"], b=parts["test"]).save_to_disk(str(tmp_path / "neither"))
    with pytest.raises(DataError, match="none, of a, b"):
        open_data(f"hf:{tmp_path / 'neither'}")
    path = saved(hub, tmp_path / "single", {"v": [[1.0]]})
    with pytest.raises(DataError, match="leave split out"):
        open_data(f"hf:{path},split=train")


def test_nothing_to_look_at(hub, tmp_path):
    cases = {
        "none": ({"y": [1, 2]}, "a column of images or of lists of numbers, got y"),
        "ragged": ({"v": [[1.0], [1.0, 2.0]]}, "numbers of shape"),
        "gaps": ({"v": [[1.0], [None]]}, "finite numbers|numbers of shape"),
        "empty": ({"v": []}, "at least one row|can be loaded"),  # as the library's version has it
        "twice": ({"v": [[1.0], [2.0]], "id": ["a", "a"]}, "ids that differ"),
    }
    for name, (columns, words) in cases.items():
        path = saved(hub, tmp_path / name, columns)
        with pytest.raises(DataError, match=words) as caught:
            open_data(f"hf:{path}")
        assert "\n" not in str(caught.value)


def test_a_damaged_or_missing_image(hub, tmp_path):
    for content, words in ((b"no image", "row 0: expected a readable image"), (None, "an image, got 'nothing'")):
        path = tmp_path / str(content is None)
        columns = {"image": [content and {"bytes": content, "path": None}], "y": [1]}
        saved(hub, path, columns, image=hub.Image())
        with pytest.raises(DataError, match=words):
            open_data(f"hf:{path}")


def test_no_such_data_set_and_no_code(hub, tmp_path):
    (tmp_path / "scripted").mkdir()
    (tmp_path / "scripted" / "scripted.py").write_text("raise AssertionError('run')")
    torn = saved(hub, tmp_path / "torn", {"v": [[1.0]]})
    (torn / "state.json").write_text("{")
    for name in (
        tmp_path / "scripted",
        tmp_path / "scripted" / "scripted.py",
        torn,
        "nobody/nothing",
        "~no-such-user",
        "a" * 300,
    ):
        with pytest.raises(DataError, match="a data set that can be loaded") as caught:
            open_data(f"hf:{name}")
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="hf:NAME"):
        open_data("hf:")
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"]
