import os

import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.codes import read_codes, read_factors, write_codes
from unbraid.data.factors import Factor, FactorTable

RNG = np.random.default_rng(0)
PARTS = {
    "latents": RNG.normal(size=(30, 12)).astype(np.float32) * 1e-3,
    "style, odd": RNG.normal(size=(30, 2)),
    "one": RNG.normal(size=(30, 1)).astype(np.float32),
}
FACTORS = FactorTable(
    [
        Factor("site", "categorical", ("a,b", "ü")),
        Factor("age", "continuous"),
        Factor("count", "ordinal", ("0", "1", "2")),
    ],
    np.stack([np.arange(30) % 2, RNG.normal(size=30), np.arange(30) % 3], 1),
)
FACTORS.values[3] = np.nan
IDS = [f"item {i}" for i in range(30)]


def names_in(folder):
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("suffix", ["npz", "csv", "parquet"])
def test_what_was_written_is_read_again(tmp_path, suffix):
    path = tmp_path / f"codes.{suffix}"
    write_codes(path, PARTS, IDS, FACTORS)
    codes = read_codes(path)
    assert names_in(tmp_path) == [path.name]
    assert codes.ids == IDS
    assert list(codes.parts) == list(PARTS)
    for name, part in PARTS.items():
        np.testing.assert_array_equal(codes.parts[name].astype(np.float32), part.astype(np.float32))
    assert codes.factors.factors == FACTORS.factors
    np.testing.assert_array_equal(codes.factors.values, FACTORS.values)


def test_npz_keeps_kinds_labels_and_precision(tmp_path):
    path = tmp_path / "codes.npz"
    factors = FactorTable([Factor("angle", "circular", ("0°", "9°", "10°"))], np.zeros((3, 1)))
    parts = {"factors": np.eye(3), "id": np.eye(3), "partner": np.eye(3), "a/b": np.eye(3)}
    write_codes(path, parts, None, factors)
    codes = read_codes(path)
    assert codes.factors.factors == factors.factors
    assert set(codes.parts) == set(parts)
    assert codes.parts["id"].dtype == np.float64
    assert codes.ids == ["0", "1", "2"]


def test_csv_has_the_columns_it_promises(tmp_path):
    write_codes(
        tmp_path / "c.csv", {"z": np.array([[0.1, 2], [3, 4]], np.float32)}, ["p", "q"], FACTORS.rows(torch.arange(2))
    )
    lines = (tmp_path / "c.csv").read_text().splitlines()
    assert lines[0] == "id,z[0],z[1],factor:site,factor:age,factor:count"
    assert lines[1].startswith('p,0.1,2.0,"a,b",')


def test_parts_of_an_archive(tmp_path):
    path = tmp_path / "c.npz"
    np.savez(
        path,
        content=np.zeros((4, 3)),
        style=np.zeros((4, 2), dtype=np.float16),
        part_gain=np.arange(4),
        site=np.array(["x", "y", "x", "y"]),
        table=np.zeros((2, 2), dtype=int),
    )
    codes = read_codes(path)
    assert {name: part.shape for name, part in codes.parts.items()} == {
        "content": (4, 3),
        "style": (4, 2),
        "part_gain": (4, 1),
    }
    assert (codes.ids, codes.factors.names, len(codes)) == (None, ("site",), 4)


def test_a_matrix_is_one_part(tmp_path):
    np.save(tmp_path / "c.npy", np.zeros((4, 3), dtype=np.float32))
    assert read_codes(tmp_path / "c.npy").parts["code"].shape == (4, 3)


@pytest.mark.parametrize(
    ("header", "parts"),
    [
        ("z[1],z[0],w[0]", {"z": [2, 1], "w": [3]}),
        ("z_0,z_1,w_0", {"z": [1, 2], "w": [3]}),
        ("z_0,z_1,gain", {"code": [1, 2, 3]}),
        ("a,b,c", {"code": [1, 2, 3]}),
        ("z[0],z[1],gain", {"z": [1, 2], "gain": [3]}),
        ("dim_10,dim_9,id", {"dim": [2, 1]}),
        ("a,factor:b,id", {"code": [1]}),
    ],
)
def test_columns_are_grouped_into_parts(tmp_path, header, parts):
    (tmp_path / "c.csv").write_text(f"{header}\n1,2,3\n")
    assert {name: part[0].tolist() for name, part in read_codes(tmp_path / "c.csv").parts.items()} == parts


def test_a_file_of_factors_by_row_and_by_id(tmp_path):
    path = tmp_path / "f.csv"
    path.write_text("id,site,age:ordinal\na,x,1\nb,,2\nc,y,\n")
    table = read_factors(path, ["c", "a"])
    assert [(f.name, f.kind) for f in table.factors] == [("site", "categorical"), ("age", "ordinal")]
    np.testing.assert_array_equal(table.values, [[1, np.nan], [0, 0]])
    assert len(read_factors(path)) == len(read_factors(path, rows=3)) == 3
    with pytest.raises(DataError, match="each of 2 items"):
        read_factors(path, rows=2)
    with pytest.raises(DataError, match="'d'"):
        read_factors(path, ["a", "d"])


def test_codes_with_factors_serve_as_a_file_of_factors(tmp_path):
    for suffix in ("npz", "csv", "parquet"):
        path = tmp_path / f"c.{suffix}"
        write_codes(path, PARTS, IDS, FACTORS)
        table = read_factors(path, IDS[::-1])
        assert table.factors == FACTORS.factors
        np.testing.assert_array_equal(table.values, FACTORS.values[::-1])


def test_archives_and_arrays_of_factors(tmp_path):
    np.savez(tmp_path / "f.npz", speaker=np.array(["b", "a"]), take=np.array([1, 2]), mean=np.zeros(1))
    assert read_factors(tmp_path / "f.npz", rows=2).names == ("speaker", "take")
    np.save(tmp_path / "f.npy", np.array([[0, 1], [1, 0]]))
    assert read_factors(tmp_path / "f.npy").names == ("factor_0", "factor_1")


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path, monkeypatch):
    path = tmp_path / "c.csv"
    path.write_text("precious")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left"):
        write_codes(path, PARTS, IDS)
    assert path.read_text() == "precious"
    assert names_in(tmp_path) == ["c.csv"]


@pytest.mark.parametrize(
    ("name", "parts", "ids"),
    [
        ("c.txt", {"z": np.zeros((2, 1))}, None),
        ("c.npz", {}, None),
        ("c.npz", {"z": np.zeros((2, 1)), "w": np.zeros((3, 1))}, None),
        ("c.npz", {"z": np.zeros((2, 1))}, ["a"]),
        ("c.npz", {"z": np.zeros((2, 1))}, ["a", "a"]),
        ("no/c.npz", {"z": np.zeros((2, 1))}, None),
    ],
)
def test_what_cannot_be_written(tmp_path, name, parts, ids):
    with pytest.raises(DataError):
        write_codes(tmp_path / name, parts, ids)
    assert names_in(tmp_path) == []
