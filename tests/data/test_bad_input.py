"""Each mistake: one line that names the file, and the row where there is one; and bounded memory."""

import gzip
import io
import resource
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from unbraid.core.errors import DataError
from unbraid.data.catalog import open_data
from unbraid.data.codes import read_codes, read_factors


def refused(path, *words, how=open_data, **options):
    """The one line that opening ends in."""
    with pytest.raises(DataError) as caught:
        how(path if how is not open_data else str(path), **options)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 500
    for word in words:
        assert word in line, line
    return line


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def text(path, content):
    path.write_text(content)
    return path


def header_of(shape, descr="<f8"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("sprits", ["did you mean 'sprites'?"]),
        ("sprites:sise=3", ["'sise'", "did you mean 'size'?"]),
        ("sprites:size=20", ["16, 32, 64", "'20'"]),
        ("sprites:size=", ["16, 32, 64", "''"]),
        ("sprites:size", ["size=VALUE"]),
        ("sprites:size=16,size=32", ["twice"]),
        ("sprites:colour=perhaps", ["true, false"]),
        ("sprites:correlated=2", ["below 1"]),
        ("discs:size=16", ["takes none"]),
        ("", ["choose from"]),
        ("a" * 5000, []),
        ("~nobody-of-that-name/x", ["choose from"]),
    ],
)
def test_names_and_options(spec, words):
    with pytest.raises(DataError) as caught:
        open_data(spec)
    assert all(word in str(caught.value) for word in words), caught.value


def test_sizes():
    refused("discs", "one size", size=32)
    refused("sprites", "16, 32, 64", size=28)
    refused("sprites", "--size", size=100_000)


def test_a_missing_folder_suggests_its_neighbour(tmp_path):
    (tmp_path / "faces").mkdir()
    refused(tmp_path / "facse", "did you mean 'faces'?", str(tmp_path / "facse"))
    refused(tmp_path / "no" / "where" / "at all", "or give a path")


def test_folders_without_images(tmp_path):
    refused(tmp_path, "an empty folder", str(tmp_path))
    np.save(tmp_path / "a.npy", np.zeros((2, 2)))
    refused(tmp_path, "a.npy", "open a file in it")


def test_files_of_no_known_kind(tmp_path):
    refused(text(tmp_path / "a.txt", "x"), "a.txt", ".npz")
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    refused(tmp_path / "a.png", "the folder that holds it")
    refused(text(tmp_path / "b.txt", "x"), ".npz", how=read_codes)
    refused(tmp_path / "b.csx", "none there", "did you mean 'b.txt'", how=read_codes)


@pytest.mark.parametrize("cut", [0, 20, 60, 400])
def test_damaged_images(tmp_path, cut):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(tmp_path / "1.png")
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "2.png").write_bytes(whole[:cut])
    refused(tmp_path, "2.png", "a readable image")


def png_header(width, height):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_001, 31_623, 60_000])
def test_an_image_that_claims_too_many_pixels(tmp_path, side):
    (tmp_path / "huge.png").write_bytes(png_header(side, side))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(tmp_path, "huge.png", "100 megapixels")
    refused(tmp_path, "huge.png", "100 megapixels", memory=0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.array([[1, 2], [3, np.nan]]), ["row 1 column 1", "nan"]),
        (np.array([[1, 2], [np.inf, 3]]), ["row 1 column 0", "inf"]),
        (np.full((2, 4, 4), np.nan), ["row 0 entry (0, 0)", "nan"]),
        (np.array([[1e300, 0]]), ["row 0 column 0", "inf"]),
        (np.array([["a", "b"]]), ["real numbers", "text"]),
        (np.array([[1j, 2]]), ["real numbers", "complex"]),
        (np.array([[None, 2]]), ["Python objects", "never read"]),
        (np.array([["2020-01-01"]], dtype="M8[D]"), ["datetime"]),
        (np.zeros(3, dtype=[("a", "f4")]), ["dtype"]),
        (np.zeros(5), ["shape (5,)"]),
        (np.zeros((0, 3)), ["shape (0, 3)"]),
        (np.zeros((2, 2, 2, 2, 2)), ["images"]),
        (np.zeros((2, 8, 8, 5)), ["1 or 3 channels"]),
        (np.full((2, 8, 8), 256), ["pixel values 0..255", "256"]),
        (np.full((2, 8, 8), -1), ["pixel values 0..255", "-1"]),
    ],
)
def test_observations_that_are_none(tmp_path, x, words):
    np.save(tmp_path / "a.npy", x, allow_pickle=True)
    refused(tmp_path / "a.npy", "a.npy", *words)
    refused(save(tmp_path / "a.npz", x=x), "a.npz: array 'x'", *words)


def test_archives_that_do_not_say_what_is_observed(tmp_path):
    refused(save(tmp_path / "a.npz", a=np.zeros((2, 2)), b=np.zeros((2, 2))), "'x'", "a (2, 2), b (2, 2)")
    refused(save(tmp_path / "a.npz"), "'x'")
    refused(save(tmp_path / "b.npz", a=np.zeros((2, 2), dtype=int)), "a (2, 2)", how=read_codes)
    refused(save(tmp_path / "c.npz", a=np.zeros((2, 2)), b=np.zeros((3, 2))), "2 in 'a' and 3 in 'b'", how=read_codes)


@pytest.mark.parametrize(
    "more",
    [
        {"labels": np.zeros(3)},
        {"factors": np.zeros((3, 2))},
        {"factors": np.zeros((4, 2)), "factor_names": np.array(["a"])},
        {"factors": np.zeros((4, 2)), "factor_names": np.array(["a", "a"])},
        {"factors": np.zeros((4, 2), dtype=complex)},
        {"factors": np.zeros((4, 2, 2))},
        {"site": np.array(["a", None, "b", "c"], dtype=object)},
        {"ids": np.array(["a", "b"])},
        {"ids": np.array(["a", "b", "a", "c"])},
        {"factors": np.zeros((4, 1)), "factor_names": ["a"], "factor_kinds": ["ordinal"], "factor_labels": ["{"]},
        {"factors": np.ones((4, 1)), "factor_names": ["a"], "factor_kinds": ["ordinal"], "factor_labels": ['["0"]']},
        {"factors": np.ones((4, 1)), "factor_names": ["a"], "factor_kinds": ["odd"], "factor_labels": ['["0", "1"]']},
    ],
)
def test_factors_that_do_not_fit(tmp_path, more):
    path = save(tmp_path / "a.npz", x=np.zeros((4, 3)), **more)
    refused(path)
    refused(path, how=read_codes)


def test_headers_that_claim_more_than_there_is(tmp_path):
    for shape in ((10**9, 3), (2**62, 2**62), (3, 4)):
        (tmp_path / "a.npy").write_bytes(header_of(shape) + b"\0" * 8)
        refused(tmp_path / "a.npy", "its header claims")
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("x.npy", header_of(shape) + b"\0" * 8)
        refused(tmp_path / "a.npz", "its header claims")
    (tmp_path / "a.npy").write_bytes(header_of((-1, 3)) + b"\0" * 8)
    refused(tmp_path / "a.npy", "lengths")


def test_archives_made_to_fill_the_memory(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as stream,
    ):
        stream.write(header_of((300, 2**20), "|u1"))
        for _ in range(300):
            stream.write(bytes(2**20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(tmp_path / "a.npz", "200-fold", "300.0 MiB")
    refused(tmp_path / "a.npz", "at most 1.0 MiB", limit=2**20)
    refused(tmp_path / "a.npz", "200-fold", how=read_factors)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_archives_that_are_none(tmp_path):
    refused(text(tmp_path / "a.npz", "no zip"), "a whole .npz file")
    path = save(tmp_path / "b.npz", x=np.arange(600.0).reshape(2, 300))
    whole = bytearray(path.read_bytes())
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "a whole .npz file")
    whole[1000] ^= 255
    path.write_bytes(whole)
    refused(path, "array 'x'", "CRC")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["an empty file"]),
        ("\n\n", ["an empty file"]),
        ("a,b\n", ["at least one row"]),
        ("a,b\n1,2\n3\n", ["row 1 (line 3)", "2 cells", "got 1"]),
        ("a,b\n1,2\n\n3,4,5\n", ["row 1 (line 4)", "got 3"]),
        ("a,b\n1,x\n", ["row 0 (line 2) column 'b'", "'x'", "factor:b"]),
        ("a,b\n1,\n", ["row 0 (line 2) column 'b'", "an empty cell"]),
        ("a,b\n1,2\n1,nan\n", ['row 1 column "b"', "nan"]),
        ("a,b\n1,2\n-inf,1\n", ['row 1 column "a"', "inf"]),
        ("a,b\n1,1e99\n", ['row 0 column "b"', "inf"]),
        ("a,a\n1,2\n", ["'a' twice"]),
        ("a,\n1,2\n", ["a name for every column"]),
        ("1,2\n3,4\n", ["a first line that names the columns"]),
        ("id,z\nq,1\nr,2\nq,3\n", ["'q' in rows 0 and 2"]),
        ("id,factor:b\nq,1\n", ["at least one column of numbers"]),
        ('a,b\n"1,2\n', ["comma-separated"]),
        ("z_0,z_00\n1,2\n", ["one column for each number"]),
        ("z,factor:\n1,2\n", ["each have a name"]),
        ("z,factor:a,factor:a:ordinal\n1,2,3\n", ["two factors 'a'"]),
        ("z,factor:a:continuous\n1,x\n", ["text"]),
        ("z,factor:a\n1,inf\n", ["infinity"]),
        ("a\n" + "9" * 200_000 + "\n", ["field larger"]),
    ],
)
def test_tables(tmp_path, content, words):
    path = text(tmp_path / "t.csv", content)
    where = [] if "factor" in "".join(words) + content else ["t.csv"]
    refused(path, *words, *where)
    refused(path, *words, *where, how=read_codes)


def test_tables_in_other_codes(tmp_path):
    (tmp_path / "t.csv").write_bytes("größe\n1\n".encode("latin-1"))
    refused(tmp_path / "t.csv", "UTF-8")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 no")
    pytest.importorskip("pyarrow")
    refused(tmp_path / "t.parquet", "a whole .parquet file")


def test_parquet_columns(tmp_path):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "t.parquet"
    pandas.DataFrame({"z": [1.0, np.nan]}).to_parquet(path)
    refused(path, 'row 1 column "z"', "nan")
    pandas.DataFrame({"z": [1.0, 2.0], "w": ["a", "b"]}).to_parquet(path)
    refused(path, "row 0 column 'w'", "factor:w")
    refused(path, "at most 10 bytes", limit=10)


def test_a_table_with_a_size(tmp_path):
    refused(text(tmp_path / "t.csv", "a\n1\n"), "--size", size=16)
    np.save(tmp_path / "v.npy", np.zeros((2, 2)))
    refused(tmp_path / "v.npy", "--size", size=16)


def test_files_of_factors_that_do_not_match(tmp_path):
    table = text(tmp_path / "t.csv", "id,z\na,1\nb,2\n")
    refused(table, "row for every id", "'b'", factors=text(tmp_path / "f.csv", "id,s\na,1\nc,2\n"))
    refused(table, "each of 2 items", "3 rows", "f.csv", factors=text(tmp_path / "f.csv", "s\n1\n2\n3\n"))
    refused(table, "at least one factor", factors=text(tmp_path / "f.csv", "id\na\nb\n"))
    refused(table, "none there", factors=tmp_path / "g.csv")
    refused("digits", "your own data", factors=table)
    Image.new("L", (8, 8)).save(tmp_path / "1.png")
    refused(tmp_path, "'1.png'", factors=text(tmp_path / "factors.csv", "file,s\n2.png,1\n"))


@pytest.mark.parametrize("packed", [True, False])
def test_idx(tmp_path, packed):
    path = tmp_path / f"t-images-idx3-ubyte{'.gz' if packed else ''}"

    def write(head, body):
        path.write_bytes(gzip.compress(head + body) if packed else head + body)

    write(struct.pack(">4B3I", 0, 0, 8, 3, 100, 28, 28), b"\0" * 784)
    refused(path, "its header claims")
    refused(tmp_path, "its header claims")
    write(struct.pack(">4B3I", 0, 0, 8, 3, 2**31, 2**31, 2**31), b"\0" * 784)
    refused(path, "header that claims")
    write(struct.pack(">4B3I", 0, 0, 8, 3, 2**20, 28, 28), b"\0" * 784)
    refused(path, "its header claims")
    write(b"\0\0\x08\x03\0\0", b"")
    refused(path, "IDX header")
    write(b"PK\x08\x03", b"\0" * 99)
    refused(path, "an IDX file")
    write(struct.pack(">4B1I", 0, 0, 8, 1, 5), b"\0" * 5)
    refused(path, "images (N, H, W)")
    write(struct.pack(">4B3I", 0, 0, 8, 3, 2, 4, 4), b"\0" * 32)
    (tmp_path / "t-labels-idx1-ubyte").write_bytes(struct.pack(">4B1I", 0, 0, 8, 1, 3) + b"\0" * 3)
    refused(path, "a label for each of 2 images")
    (tmp_path / "u-images-idx3-ubyte").write_bytes(b"")
    refused(tmp_path, "one set of images")


def test_gzip_that_is_none_or_ends_early(tmp_path):
    path = tmp_path / "t-images-idx3-ubyte.gz"
    path.write_bytes(b"no gzip at all")
    refused(path, "gzip")
    body = np.random.default_rng(0).integers(0, 256, 4096, dtype=np.uint8).tobytes()
    whole = gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, 4, 32, 32) + body)
    path.write_bytes(whole[:2000])
    refused(path, "gzip")
