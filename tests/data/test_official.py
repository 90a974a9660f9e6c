"""The published sets, from small files in their formats: labels against pixels, mistakes, damage."""

import gzip
import os
import pickle
import struct
from contextlib import suppress

import numpy as np
import pytest
import torch
from official_files import (
    BYTES,
    INTEGERS,
    SIDE,
    SMALL,
    WRITERS,
    cars,
    grid,
    matrix,
    read,
    write_cars3d,
    write_dsprites,
    write_mpi3d,
    write_shapes3d,
    write_smallnorb,
)

from unbraid.cli import run
from unbraid.core.errors import DataError
from unbraid.data.catalog import open_data, published, published_set
from unbraid.data.loader import batches
from unbraid.data.official import registry
from unbraid.data.official.places import is_there, open_official
from unbraid.data.pairs import changed_pairs

NAMES = sorted(SMALL)
EVERYTHING, NOTHING = 2**30, 0
"""What the images may take of the memory."""


@pytest.fixture(scope="module", params=NAMES)
def written(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    WRITERS[request.param](folder, SMALL[request.param])
    return SMALL[request.param], folder


@pytest.mark.parametrize("memory", [EVERYTHING, NOTHING], ids=["in memory", "mapped"])
def test_pixels_show_the_factors_that_are_said(written, memory):
    entry, folder = written
    data = open_official(entry, folder, memory=memory)
    assert len(data) == entry.rows == len(grid(entry))
    assert data.slow == (memory == NOTHING)
    everything = data.take(torch.arange(len(data)))
    codes = torch.tensor(grid(entry)).float()
    assert torch.equal(read(everything["x"], len(entry.factors)), codes)
    assert torch.equal(everything["factors"], codes)
    assert everything["known"].all()
    assert np.array_equal(data.table(torch.arange(len(data))).values, codes.numpy())
    assert everything["x"].shape == (len(data), entry.shape[2], SIDE, SIDE)
    some = torch.tensor([[5, 0, 5], [len(data) - 1, 3, 5]])
    batch = data.take(some)
    assert torch.equal(batch["x"], everything["x"][some])
    assert torch.equal(data.index_of(batch["factors"].long()), some)
    with pytest.raises(DataError, match="indices 0"):
        data.take(torch.tensor([len(data)]))


def test_pairs_interventions_and_the_hash(written):
    entry, folder = written
    data = open_official(entry, folder)
    pairs = changed_pairs(data, torch.arange(20), torch.Generator().manual_seed(0), changes=1)
    factors = read(data.take(pairs)["x"], len(entry.factors))
    assert ((factors[:, 0] != factors[:, 1]).sum(1) <= 1).all()
    changed = data.factors_of(torch.arange(6))
    changed[:, -1] = 1
    assert torch.equal(read(data.render(changed), len(entry.factors)), changed.float())
    assert data.hash == open_official(entry, folder, memory=NOTHING).hash
    assert data.hash != open_official(entry, folder, size=32).hash


@pytest.mark.parametrize("memory", [EVERYTHING, NOTHING], ids=["in memory", "mapped"])
def test_images_are_brought_to_a_size(tmp_path, memory):
    entry = SMALL["dsprites"]
    write_dsprites(tmp_path, entry)
    data = open_official(entry, tmp_path, size=8, memory=memory)
    large = open_official(entry, tmp_path).take(torch.arange(9))["x"]
    x = data.take(torch.arange(9))["x"]
    assert x.shape == (9, 1, 8, 8)
    mean = torch.nn.functional.interpolate(large, size=(8, 8), mode="bilinear", antialias=True)
    assert torch.allclose(x, mean, atol=1 / 255)
    assert len(x.unique()) > 2  # smoothed, though the file is black and white


def test_unpacked_once_and_again_when_the_files_are_newer(tmp_path):
    entry = SMALL["shapes3d"]
    path = write_shapes3d(tmp_path, entry)
    open_official(entry, tmp_path, memory=NOTHING)
    unpacked = tmp_path / f"shapes3d-{SIDE}.npy"
    first = unpacked.stat().st_mtime_ns
    open_official(entry, tmp_path, memory=NOTHING)
    assert unpacked.stat().st_mtime_ns == first
    os.utime(path, ns=(first + 10**9, first + 10**9))
    open_official(entry, tmp_path, memory=NOTHING)
    assert unpacked.stat().st_mtime_ns != first
    os.utime(unpacked, ns=(first + 2 * 10**9, first + 2 * 10**9))
    unpacked.write_bytes(unpacked.read_bytes()[:-1])
    os.utime(unpacked, ns=(first + 2 * 10**9, first + 2 * 10**9))
    data = open_official(entry, tmp_path, memory=NOTHING)
    assert torch.equal(read(data.take(torch.arange(len(data)))["x"], 6), data.factors_of(torch.arange(len(data))))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["3dshapes.h5", unpacked.name]


def test_a_mapped_set_crosses_processes_without_its_pixels(tmp_path):
    entry = SMALL["mpi3d"]
    write_mpi3d(tmp_path, entry)
    data = open_official(entry, tmp_path, memory=NOTHING)
    before = data.take(torch.arange(12))["x"]
    travelling = pickle.dumps(data)
    assert len(travelling) < 10_000 < len(data) * before[0].numel()
    assert torch.equal(pickle.loads(travelling).take(torch.arange(12))["x"], before)
    ahead = list(batches(data, [torch.arange(6), torch.arange(6, 12)], workers=1))
    assert torch.equal(torch.cat([batch["x"] for _, batch in ahead]), before)


@pytest.mark.parametrize("chunks", [None, (1, SIDE, SIDE, 3), (7, 4, 4, 1)])
def test_shapes3d_in_one_piece_and_in_chunks_across_images(tmp_path, chunks):
    entry = SMALL["shapes3d"]
    write_shapes3d(tmp_path, entry, chunks)
    data = open_official(entry, tmp_path)
    rows = torch.arange(len(data))
    assert torch.equal(read(data.take(rows)["x"], 6), data.factors_of(rows))


def test_cars_in_a_folder_and_norb_unpacked(tmp_path):
    from scipy.io import savemat

    entry = SMALL["cars3d"]
    (tmp_path / "cars").mkdir()
    for name, content in cars(entry).items():
        savemat(tmp_path / "cars" / name, content)
    data = open_official(entry, tmp_path)
    assert torch.equal(read(data.take(torch.arange(len(data)))["x"], 3), data.factors_of(torch.arange(len(data))))
    entry = SMALL["smallnorb"]
    write_smallnorb(tmp_path, entry, packed=False)
    data = open_official(entry, tmp_path)
    assert torch.equal(read(data.take(torch.arange(len(data)))["x"], 5), data.factors_of(torch.arange(len(data))))


def said(entry, folder):
    with pytest.raises(DataError) as caught:
        open_official(entry, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_that_is_cut_short_or_something_else(written, tmp_path):
    entry, folder = written
    names = [file.name for file in entry.files]
    for at, name in enumerate(names):
        whole = (folder / name).read_bytes()
        for content in (whole[: len(whole) // 2], whole[:-3], whole[:7], b"", b"nothing of the kind" * 20):
            for other in names:
                (tmp_path / other).write_bytes((folder / other).read_bytes())
            (tmp_path / names[at]).write_bytes(content)
            if entry.name == "cars3d" and content == whole[:-3]:
                continue  # the sum at the end of the gzip file is behind all cars, and is left to `data fetch`
            assert str(tmp_path) in said(entry, tmp_path)


def test_any_damaged_byte_is_a_data_error_or_nothing(written, tmp_path):
    entry, folder = written
    rng = np.random.default_rng(3)
    name = entry.files[0].name
    for file in entry.files:
        (tmp_path / file.name).write_bytes((folder / file.name).read_bytes())
    whole = np.frombuffer((folder / name).read_bytes(), dtype=np.uint8)
    for _ in range(25):
        broken = whole.copy()
        broken[rng.integers(0, len(whole), 3)] ^= rng.integers(1, 256, 3, dtype=np.uint8)
        (tmp_path / name).write_bytes(broken.tobytes())
        with suppress(DataError):
            open_official(entry, tmp_path)


def test_other_arrays_than_the_published_ones(tmp_path):
    entry = SMALL["dsprites"]
    images = np.zeros((entry.rows, SIDE, SIDE), dtype=np.uint8)
    codes = np.array([(0, *row) for row in grid(entry)])
    for changes, words in (
        ({"imgs": None}, "an array 'imgs'"),
        ({"imgs": images[:-1]}, "images of shape"),
        ({"imgs": images.astype(np.int16)}, "int16"),
        ({"imgs": images + 2}, "pixels 0..1"),
        ({"imgs": np.asfortranarray(images)}, "another order"),
        ({"imgs": np.array(["a"], dtype=object)}, "object"),
        ({"latents_classes": codes[::-1]}, "in row 0"),
        ({"latents_classes": codes[:, 1:]}, "codes of shape"),
        ({"latents_classes": None}, "an array 'latents_classes'"),
    ):
        write_dsprites(tmp_path, entry, **changes)
        assert words in said(entry, tmp_path)
    entry = SMALL["mpi3d"]
    write_mpi3d(tmp_path, entry, images=np.zeros((entry.rows, 3, SIDE, SIDE), dtype=np.uint8))
    assert "images of shape" in said(entry, tmp_path)


def test_other_hdf5_than_the_published_one(tmp_path):
    import h5py

    entry = SMALL["shapes3d"]
    images = np.zeros((entry.rows, SIDE, SIDE, 3), dtype=np.uint8)
    codes = np.array(grid(entry), dtype=float)
    for changes, words in (
        ({"images": None}, "a data set 'images'"),
        ({"labels": None}, "a data set 'labels'"),
        ({"images": images[1:]}, "images of shape"),
        ({"images": images.astype("f4")}, "float32"),
        ({"labels": codes[:, 1:]}, "labels of shape"),
        ({"labels": np.roll(codes, 1, axis=0)}, "in row 0"),
    ):
        path = write_shapes3d(tmp_path, entry, **changes)
        assert words in said(entry, tmp_path)
    elsewhere = write_shapes3d(tmp_path, entry).rename(tmp_path / "elsewhere.h5")
    with h5py.File(path, "w") as file:
        file["images"] = h5py.ExternalLink(elsewhere.name, "images")
        file["labels"] = codes
    assert "a data set 'images'" in said(entry, tmp_path)


def test_other_cars_than_the_published_ones(tmp_path):
    entry = SMALL["cars3d"]
    files = cars(entry)
    first = min(files)
    for content, words in (
        ({"im": files[first]["im"][..., 0]}, "'im' of shape"),
        ({"im": files[first]["im"].astype(float)}, "double"),
        ({"mask": files[first]["mask"]}, "no array 'im'"),
        (b"not a MATLAB file" * 20, "a whole .mat file"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + struct.pack("<HH", 0x0200, 0x4D49) + bytes(400), "a whole .mat file"),
    ):
        write_cars3d(tmp_path, entry, files | {first: content})
        message = said(entry, tmp_path)
        assert words in message
        assert first in message
    write_cars3d(tmp_path, entry, {name: files[name] for name in sorted(files)[1:]})
    assert "expected 7 files" in said(entry, tmp_path)


def test_other_matrices_than_the_published_ones(tmp_path):
    entry = SMALL["smallnorb"]
    count = entry.rows // 2
    info = np.zeros((count, 4), dtype="<i4")
    odd, far = info.copy(), info.copy()
    odd[2, 2], far[1, 0] = 1, 9
    for at, content, words in (
        (0, matrix(np.zeros((count, 2, SIDE, SIDE), np.uint8), INTEGERS), "magic number 1E3D4C55"),
        (0, matrix(np.zeros((count, 1, SIDE, SIDE), np.uint8), BYTES), "a matrix of shape"),
        (0, matrix(np.zeros((count, 2, SIDE, SIDE), np.uint8), BYTES) + b"x", "nothing after"),
        (1, matrix(np.zeros(count - 1, "<i4"), INTEGERS), "a matrix of shape"),
        (1, matrix(np.full(count, -1, "<i4"), INTEGERS), "in row 0"),
        (2, matrix(odd, INTEGERS), "in row 2"),
        (2, matrix(far, INTEGERS), "in row 1"),
        (2, matrix(info, INTEGERS), "combinations once"),
    ):
        paths = write_smallnorb(tmp_path, entry)
        paths[at].write_bytes(gzip.compress(content))
        assert words in said(entry, tmp_path)


def test_a_folder_that_cannot_be_written_or_is_full(tmp_path, monkeypatch):
    entry = SMALL["mpi3d"]
    write_mpi3d(tmp_path, entry)
    refusals = {
        "shutil.disk_usage": (lambda _: type("Usage", (), {"free": 10})(), "free to unpack into, got 10 bytes"),
        "os.access": (lambda *_: False, "a folder to unpack into, got one that cannot be written"),
    }
    for name, (answer, words) in refusals.items():
        with monkeypatch.context() as patch:
            patch.setattr(name, answer)
            with pytest.raises(DataError, match=words):
                open_official(entry, tmp_path, memory=NOTHING)
            data = open_official(entry, tmp_path)
        rows = torch.arange(len(data))
        assert torch.equal(read(data.take(rows)["x"], 7), data.factors_of(rows))

    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unbraid.data.official.grid.open_memmap", refuse)
    with pytest.raises(DataError, match="a folder to unpack into, got No space left on device"):
        open_official(entry, tmp_path, memory=NOTHING)
    assert [p.name for p in tmp_path.iterdir()] == [entry.files[0].name]


def test_by_name_in_unbraid_data_or_another_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(registry, "DSPRITES", SMALL["dsprites"])
    monkeypatch.setenv("UNBRAID_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"--data dsprites: .*none in .*dsprites; run `unbraid data fetch dsprites`"):
        open_data("dsprites")
    assert run(["data", "show", "dsprites"]) == 0
    assert "not here" in capsys.readouterr().out
    (tmp_path / "dsprites").mkdir()
    write_dsprites(tmp_path / "dsprites", SMALL["dsprites"])
    data = open_data("dsprites", size=16)
    assert (data.name, len(data)) == ("dsprites:size=16", SMALL["dsprites"].rows)
    assert open_data("dsprites:size=32").fields["x"].shape == (1, 32, 32)
    assert run(["data", "show", "dsprites"]) == 0
    assert "factor orientation: circular, 5 values" in capsys.readouterr().out
    (tmp_path / "dsprites").rename(tmp_path / "other")
    assert (
        open_data(f"dsprites:folder={tmp_path / 'other'}").hash
        == open_data(f"dsprites:size=16,folder={tmp_path / 'other'}").hash
    )
    mistakes = {
        "dsprites:size=17": "one of 16, 32, 64",
        "mpi3d:variant=toys": "toy, realistic, real",
        "dsprites:folder=~no-such-user": "a folder",
        f"dsprites:folder={'a' * 300}": "a folder",
    }
    for spec, words in mistakes.items():
        with pytest.raises(DataError, match=words):
            open_data(spec)
    with pytest.raises(DataError, match="own data"):
        open_data("dsprites", factors=tmp_path / "f.csv")


def test_the_list_says_what_is_here(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UNBRAID_DATA", str(tmp_path))
    (tmp_path / "smallnorb").mkdir()
    for file in registry.NORB.files:
        (tmp_path / "smallnorb" / file.name.removesuffix(".gz")).touch()
    assert {s.name: s.there for s in published()} == {
        name: name == "smallnorb" for name in ("dsprites", "shapes3d", "mpi3d", "cars3d", "smallnorb")
    }
    assert run(["data", "list"]) == 0
    out = capsys.readouterr().out
    assert "[not here: unbraid data fetch cars3d]" in out
    assert "unbraid data fetch smallnorb" not in out


def test_the_registry_is_what_was_published(tmp_path):
    sets = [entry for entries in registry.named().values() for entry in entries]
    counts = {entry.spec: entry.rows for entry in sets}
    assert counts == {
        "dsprites": 737280,
        "shapes3d": 480000,
        "mpi3d:variant=toy": 1036800,
        "mpi3d:variant=realistic": 1036800,
        "mpi3d:variant=real": 1036800,
        "cars3d": 17568,
        "smallnorb": 48600,
    }
    for entry in sets:
        assert published_set(entry.spec)[0] is entry
        assert not is_there(entry, tmp_path)
        for file in entry.files:
            kind, _, digits = (file.digest or "").partition(":")
            assert len(digits) == {"md5": 32, "sha256": 64}[kind]
            assert set(digits) <= set("0123456789abcdef")
            assert file.url.endswith(file.name)


def test_a_torn_gzip_header_is_refused(tmp_path):
    (tmp_path / SMALL["cars3d"].files[0].name).write_bytes(b"\x1f\x8b\x08\x04" + bytes(6))
    with pytest.raises(DataError, match=r"tar\.gz"):
        open_official(SMALL["cars3d"], tmp_path)
