"""Radio captures: arrays of complex samples and SigMF recordings."""

import json

import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.readers.iq import open_iq

RNG = np.random.default_rng(0)
IQ = (RNG.normal(size=(6, 40)) + 1j * RNG.normal(size=(6, 40))).astype(np.complex64)
PAIRS, FLAT = np.stack([IQ.real, IQ.imag], 1), IQ.ravel()


def everything(data):
    return data.take(torch.arange(len(data)))["x"].numpy()


def record(folder, name="a", samples=FLAT, kind="cf32_le", captures=(), annotations=(), **about):
    numbers = np.stack([samples.real, samples.imag], -1)
    code = ("<" if kind.endswith("_le") or "_" not in kind else ">") + {"f": "f", "i": "i", "u": "u"}[kind[1]]
    bits = int("".join(c for c in kind[2:] if c.isdigit()))
    (folder / f"{name}.sigmf-data").write_bytes(numbers.astype(f"{code}{bits // 8}").tobytes())
    document = {
        "global": {"core:datatype": kind, "core:version": "1.0.0", **about},
        "captures": list(captures),
        "annotations": list(annotations),
    }
    (folder / f"{name}.sigmf-meta").write_text(json.dumps(document))
    return folder / f"{name}.sigmf-meta"


@pytest.mark.parametrize("array", [IQ, PAIRS, PAIRS.swapaxes(1, 2)], ids=["complex", "channels", "pairs"])
def test_arrays_of_every_layout_give_the_same_packets(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", iq=array, device=np.array(list("aabbcc")))
    plain, packed = open_iq(tmp_path / "a.npy"), open_iq(tmp_path / "a.npz", samples=30)
    assert np.array_equal(everything(plain), PAIRS)
    assert np.array_equal(everything(packed), PAIRS[:, :, :30])
    assert packed.factors[0].labels == ("a", "b", "c")


@pytest.mark.parametrize(
    ("kind", "scale", "middle"),
    [
        ("cf32_le", 1, 0),
        ("cf64_be", 1, 0),
        ("ci16_le", 2**15, 0),
        ("ci16_be", 2**15, 0),
        ("ci8", 2**7, 0),
        ("cu8", 2**7, 128),
        ("cu16_be", 2**15, 2**15),
        ("ci32_le", 2**31, 0),
    ],
)
def test_every_datatype_comes_back_scaled(tmp_path, kind, scale, middle):
    exact = np.round(RNG.uniform(-100, 100, 20)) + 1j * np.round(RNG.uniform(-100, 100, 20))
    stored = exact + middle * (1 + 1j)
    data = open_iq(record(tmp_path, samples=stored, kind=kind), samples=20)
    expected = np.stack([exact.real, exact.imag])[None] / scale
    np.testing.assert_allclose(everything(data), expected, rtol=1e-6)


def test_annotations_cut_packets_and_captures_and_recordings_say_more(tmp_path):
    record(
        tmp_path,
        "one",
        captures=[{"core:sample_start": 0, "core:frequency": 1e9}, {"core:sample_start": 100, "core:frequency": 2e9}],
        annotations=[
            {"core:sample_start": 10, "core:sample_count": 65, "core:label": "x", "lab:sender": {"model": "b"}},
            {"core:sample_start": 120, "core:sample_count": 30, "core:label": "y", "lab:sender": {"model": "c"}},
            {"core:sample_start": 0, "core:sample_count": 5, "core:label": "short"},
        ],
        **{"core:hw": "sdr", "lab:room": 3},
    )
    record(tmp_path, "two", **{"core:hw": "other", "lab:room": 3})
    data = open_iq(tmp_path, samples=30)
    assert data.ids(torch.arange(len(data)))[:4] == ["one@10", "one@40", "one@120", "two@0"]
    expected = np.stack([FLAT[s : s + 30] for s in (10, 40, 120)])
    np.testing.assert_array_equal(everything(data)[:3], np.stack([expected.real, expected.imag], 1))
    table = data.table(torch.arange(len(data)))
    assert [f.name for f in table.factors] == ["hw", "frequency", "label", "sender.model", "recording"]
    labels = {f.name: [f.labels[int(v)] if v == v else None for v in table.column(f.name)[:4]] for f in table.factors}
    assert labels["frequency"] == ["1000000000", "1000000000", "2000000000", None]
    assert labels["label"] == ["x", "x", "y", None]
    assert labels["sender.model"] == ["b", "b", "c", None]
    assert labels["recording"] == ["one", "one", "one", "two"]
    assert any("room '3'" in note for note in data.notes)
    assert any("1 stretches shorter than 30" in note for note in data.notes)


def test_no_more_than_most_packets_are_cut_spread_evenly(tmp_path):
    data = open_iq(record(tmp_path), samples=10, most=4)
    assert data.ids(torch.arange(len(data))) == ["a@0", "a@60", "a@120", "a@180"]


def test_a_factor_file_is_matched_by_the_packets_names(tmp_path):
    meta = record(tmp_path)
    (tmp_path / "more.csv").write_text("id,device\na@120,p\na@0,q\n")
    data = open_iq(meta, samples=120, factors=tmp_path / "more.csv")
    assert data.table(torch.arange(2)).column("device").tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"kind": "rf32_le"}, "complex samples"),
        ({"core:datatype": "cf32"}, "byte order"),
        ({"core:datatype": 3}, "core:datatype of SigMF"),
        ({"core:num_channels": 2}, "one channel"),
        ({"captures": [{"core:header_bytes": 4}]}, "header_bytes"),
        ({"core:dataset": "../b"}, "file beside it"),
        ({"core:dataset": "x" * 5000}, "no such file"),
        ({"annotations": [{"core:sample_start": 200, "core:sample_count": 100}]}, "240 samples"),
        ({"annotations": [{"core:sample_start": "0"}]}, "whole number"),
        ({"annotations": [7]}, "JSON object"),
    ],
)
def test_wrong_recordings_are_refused(tmp_path, about, message):
    with pytest.raises(DataError, match=message):
        open_iq(record(tmp_path, **about), samples=10)


def test_what_cannot_be_packets_is_refused(tmp_path):
    for name, array, message in (
        ("one", IQ[0], "complex numbers"),
        ("real", IQ.real, "complex numbers"),
        ("text", np.array(["a"]), "numbers, complex or real"),
        ("none", IQ[:0], "at least one sample"),
        ("nan", np.full((1, 4), np.nan + 0j), "finite"),
    ):
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(DataError, match=message):
            open_iq(tmp_path / f"{name}.npy")
    with pytest.raises(DataError, match="500 samples"):
        open_iq(record(tmp_path), samples=500)
    with pytest.raises(DataError, match="most=100"):
        open_iq(record(tmp_path), samples=10, memory=800)
    with pytest.raises(DataError, match="samples: expected 1 or more"):
        open_iq(tmp_path, samples=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="none of them"):
        open_iq(tmp_path / "empty")
