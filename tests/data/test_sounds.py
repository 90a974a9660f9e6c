"""Folders of sound files, and what the names of files tell."""

import os
import resource
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from unbraid.core.errors import DataError, MissingExtraError, UnbraidError
from unbraid.data.catalog import open_data
from unbraid.data.readers.folders import name_table
from unbraid.data.readers.sounds import load_sound

soundfile = pytest.importorskip("soundfile")


def tone(frequency, seconds=1.0, rate=8000):
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


def write(path, wave, rate=8000, subtype="PCM_16"):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, subtype=subtype)
    return path


def all_of(data):
    return data.take(torch.arange(len(data)))


def refused(folder, *words, **options):
    with pytest.raises(DataError) as caught:
        open_data(str(folder), **options)
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line, line


def test_a_folder_of_sounds(tmp_path):
    write(tmp_path / "low" / "a.wav", 0.1 * tone(300))
    write(tmp_path / "high" / "b.flac", tone(3000))
    (tmp_path / "notes.txt").write_text("no sound")
    Image.new("L", (8, 8)).save(tmp_path / "cover.png")
    data = open_data(str(tmp_path))
    assert (data.fields["x"].shape, data.fields["x"].unit, len(data)) == ((1, 32, 32), True, 2)
    assert data.ids(torch.arange(2)) == ["high/b.flac", "low/a.wav"]
    assert data.factors[0].labels == ("high", "low")
    high, low = all_of(data)["x"][:, 0, :, 16]
    assert high.argmax() < 8 < 20 < low.argmax(), "high bands are on top"
    assert (high.max(), low.max()) == (1, 1), "the loudest of each file is 1"
    assert open_data(str(tmp_path)).hash == data.hash


@pytest.mark.parametrize("size", [16, 32, 50, 64, 127, 128])
def test_sizes(tmp_path, size):
    write(tmp_path / "a.wav", tone(440) + tone(2000))
    x = all_of(open_data(str(tmp_path), size=size))["x"]
    assert x.shape == (1, 1, size, size)
    assert (x[0, 0].amax(0)[2:-2] > 0.9).all()


def test_the_second_in_the_middle(tmp_path):
    quiet = np.zeros(8000)
    long = load_sound(write(tmp_path / "long.wav", np.concatenate([tone(900), tone(440), tone(900)])))
    short = load_sound(write(tmp_path / "short.wav", tone(440, 0.25)))
    assert long.shape == short.shape == (8000,)
    np.testing.assert_allclose(long, tone(440), atol=1e-4)
    quiet[3000:5000] = tone(440, 0.25)
    np.testing.assert_allclose(short, quiet, atol=1e-4)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_every_kind_of_sample(tmp_path, subtype):
    wave = load_sound(write(tmp_path / "a.wav", 0.9 * tone(440), subtype=subtype))
    np.testing.assert_allclose(wave, tone(440), atol=0.05)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 8), (44100, 2), (11025, 1), (192_000, 1), (48000, 64)])
def test_rates_and_channels(tmp_path, rate, channels):
    wave = np.zeros((rate, channels))
    wave[:, 0] = tone(440, 1, rate)
    wave[:, -1] += tone(440, 1, rate)
    mixed = load_sound(write(tmp_path / "a.wav", 0.4 * wave, rate))
    assert mixed.shape == (8000,)
    scale = (1 if channels == 1 else 2) / channels
    np.testing.assert_allclose(mixed / scale, tone(440), atol=0.002 * channels)


def test_silence_and_extremes(tmp_path):
    write(tmp_path / "a.wav", np.zeros(100))
    write(tmp_path / "b.wav", np.ones((8000, 8), np.float32) * 3e38, subtype="FLOAT")
    write(tmp_path / "c.wav", np.full(8000, 1e-45, np.float32), subtype="FLOAT")
    write(tmp_path / "d.wav", np.ones(1))
    x = all_of(open_data(str(tmp_path)))["x"]
    assert x.amax((1, 2, 3)).tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("count", [3, 130])
def test_a_sound_does_not_depend_on_the_others(tmp_path, count):
    rng = np.random.default_rng(0)
    for i in range(count):
        write(tmp_path / "all" / f"{i:03d}.wav", 0.2 * rng.normal(size=900))
    last = tmp_path / "all" / f"{count - 1:03d}.wav"
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / last.name).write_bytes(last.read_bytes())
    together, alone = (all_of(open_data(str(tmp_path / name)))["x"][-1] for name in ("all", "one"))
    assert together.sub(alone).abs().max() <= 1.001 / 255


def test_factors_from_names_folders_and_tables(tmp_path):
    for name in ("ann/0_quiet_1", "ann/1_loud_2", "bob/0_loud_3"):
        write(tmp_path / f"{name}.wav", tone(440, 0.1))
    rows = ["file,age", "ann/0_quiet_1.wav,31", "ann/1_loud_2.wav,31", "bob/0_loud_3.wav,"]
    (tmp_path / "factors.csv").write_text("\n".join(rows))
    data = open_data(str(tmp_path), pattern="{digit}_{manner}_{take}")
    assert [(f.name, f.kind) for f in data.factors] == [
        ("class", "categorical"),
        ("digit", "ordinal"),
        ("manner", "categorical"),
        ("take", "ordinal"),
        ("age", "ordinal"),
    ]
    assert all_of(data)["factors"].tolist() == [[0, 0, 1, 0, 0], [0, 1, 0, 1, 0], [1, 0, 0, 2, 0]]
    assert all_of(data)["known"][:, 4].tolist() == [True, True, False]


def test_a_pattern_for_images(tmp_path):
    for name in ("cat-1", "dog-2"):
        Image.new("L", (8, 8)).save(tmp_path / f"{name}.png")
    data = open_data(str(tmp_path), size=16, pattern="{animal}-{take}")
    assert data.factors[0].labels == ("cat", "dog")


@pytest.mark.parametrize(
    ("pattern", "name", "values"),
    [
        ("{a}_{b}", "x_y", ["x", "y"]),
        ("take{a}", "take 7", ["7"]),
        ("{a}__{b}.x", "1__2.x", ["1", "2"]),
        ("{s}/{a}_{b}", "deep/er/ann/1_2", ["ann", "1", "2"]),
        ("{{{a}}}", "{x}", ["x"]),
        ("{a:categorical}_{b:circular}", "9_30", ["9", "30"]),
        ("größe-{a}", "größe-µ", ["µ"]),
    ],
)
def test_patterns(tmp_path, pattern, name, values):
    table = name_table([f"{name}.wav"], pattern, tmp_path)
    assert [f.labels[0] for f in table.factors] == values
    assert [f.kind for f in name_table(["9_30.x"], "{a:categorical}_{b:circular}", tmp_path).factors] == [
        "categorical",
        "circular",
    ]


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{a}_{b}_{c}", "x_y"),
        ("{a}_{b}", "_y"),
        ("{a}_{b}", "x_"),
        ("{a}_{b}", "xy"),
        ("p{a}", "p"),
        ("{s}/{a}", "x"),
        ("{a}_x", "a_y"),
    ],
)
def test_names_that_do_not_fit(tmp_path, pattern, name):
    with pytest.raises(DataError, match=r"good\.wav|a name like") as caught:
        name_table([f"{name}.wav"], pattern, tmp_path)
    assert f"{name}.wav" in str(caught.value)


def test_a_name_that_fits_in_two_ways(tmp_path):
    with pytest.raises(DataError, match="in several ways"):
        name_table(["0_mary_ann_1.wav"], "{digit}_{speaker}_{take}", tmp_path)


@pytest.mark.parametrize("pattern", ["", "abc", "{a}{b}", "{}_{a}", "{a", "a}", "{a!r}", "{a}_{a}", "{a:odd}_{b}"])
def test_patterns_that_are_none(tmp_path, pattern):
    with pytest.raises(DataError) as caught:
        name_table(["x_y.wav"], pattern, tmp_path)
    assert "\n" not in str(caught.value)


@given(
    name=st.text("ab_-", min_size=1, max_size=12),
    texts=st.lists(st.sampled_from(["_", "-", "__", "a", "_a"]), max_size=3),
)
@settings(max_examples=300, deadline=None)
def test_a_name_fits_just_when_there_is_one_way(name, texts):
    """Against a search through all ways."""
    fields = [f"f{i}" for i in range(len(texts) + 1)]
    pattern = "".join(f"{{{f}}}{t}" for f, t in zip(fields, [*texts, ""], strict=True))

    def ways(rest, texts):
        if not texts:
            return [[rest]] if rest else []
        cuts = [i for i in range(1, len(rest)) if rest.startswith(texts[0], i)]
        return [[rest[:i], *more] for i in cuts for more in ways(rest[i + len(texts[0]) :], texts[1:])]

    found = ways(name, texts)
    try:
        table = name_table([f"{name}.wav"], pattern, Path())
    except DataError:
        assert len(found) != 1
    else:
        assert [[f.labels[0] for f in table.factors]] == found


def test_a_name_made_to_take_long(tmp_path):
    with pytest.raises(DataError, match="a name like"):
        name_table(["_" * 200 + ".wav"], "_".join(f"{{f{i}}}" for i in range(30)) + "x", tmp_path)


def test_a_pattern_where_there_are_no_names(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 2)))
    for spec in ("sprites", str(tmp_path / "a.npy")):
        with pytest.raises(DataError, match="--pattern: expected a folder"):
            open_data(spec, pattern="{a}")


def header(rate=8000, channels=1, length=16000, bits=16):
    block = channels * bits // 8
    wanted = struct.pack("<HHIIHH", 1, channels, rate, (rate * block) % 2**32, block % 2**16, bits)
    return (
        b"RIFF"
        + struct.pack("<I", (36 + length) % 2**32)
        + b"WAVEfmt \x10\0\0\0"
        + wanted
        + b"data"
        + struct.pack("<I", length)
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["a whole WAV or FLAC file"]),
        (b"hello" * 100, ["a whole WAV or FLAC file"]),
        (b"\x89PNG\r\n\x1a\n" * 9, ["a whole WAV or FLAC file"]),
        (header()[:30], ["a whole WAV or FLAC file"]),
        (header(length=0), ["at least one sample"]),
        (header(length=2**32 - 1), ["at least one sample"]),
        (header(rate=2**31 - 1) + b"\0" * 16000, ["samples a second", "2147483647"]),
        (header(rate=1) + b"\0" * 16000, ["samples a second"]),
        (header(channels=1000) + b"\0" * 16000, ["64 channels"]),
        (b"fLaC" + b"\0" * 100, ["a whole WAV or FLAC file"]),
    ],
)
def test_damaged_sounds(tmp_path, content, words):
    write(tmp_path / "good.wav", tone(440, 0.1))
    (tmp_path / "odd.wav").write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(tmp_path, "odd.wav", *words)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite(tmp_path, value):
    wave = tone(440, 0.1)
    wave[70] = value
    write(tmp_path / "a.wav", wave, subtype="FLOAT")
    refused(tmp_path, "a.wav", "finite", "row 70")


def test_files_that_are_no_files(tmp_path):
    (tmp_path / "a.wav").symlink_to(tmp_path / "a.wav")
    (tmp_path / "again").symlink_to(tmp_path)
    refused(tmp_path, "a.wav", "a readable file")
    (tmp_path / "a.wav").unlink()
    os.mkfifo(tmp_path / "b.wav")
    refused(tmp_path, "b.wav", "a readable file")
    (tmp_path / "b.wav").unlink()
    (tmp_path / "c.wav").write_bytes(b"")
    (tmp_path / "c.wav").chmod(0)
    refused(tmp_path, "c.wav")


def test_a_flac_that_ends_early(tmp_path):
    path = write(tmp_path / "a.flac", 0.3 * np.random.default_rng(0).normal(size=16000))
    path.write_bytes(path.read_bytes()[:9000])
    refused(tmp_path, "a.flac", "a whole WAV or FLAC file")


def test_a_long_file_is_not_read_whole(tmp_path):
    (tmp_path / "long.wav").write_bytes(header(length=2**30))
    os.truncate(tmp_path / "long.wav", 2**30)  # a hole, which takes no room on the disk
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert all_of(open_data(str(tmp_path)))["x"].max() == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_options_that_do_not_fit(tmp_path):
    write(tmp_path / "a.wav", tone(440, 0.1))
    refused(tmp_path, "16 to 128", "--size", size=256)
    refused(tmp_path, "smaller --size", memory=1000)


def test_without_the_library(tmp_path, monkeypatch):
    write(tmp_path / "a.wav", tone(440, 0.1))
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(MissingExtraError, match=r"unbraid\[audio\]"):
        open_data(str(tmp_path))


@given(
    kind=st.sampled_from(["wav", "flac"]),
    edits=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=5),
    cut=st.one_of(st.none(), st.integers(0, 400)),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_open_or_are_refused_in_one_line(tmp_path, kind, edits, cut):
    path = tmp_path / f"a.{kind}"
    content = bytearray(write(path, 0.3 * tone(440, 0.02)).read_bytes())
    for at, value in edits:
        content[at % len(content)] = value
    path.write_bytes(content[:cut])
    line = ""
    try:
        assert all_of(open_data(str(tmp_path)))["x"].isfinite().all()
    except UnbraidError as error:
        line = str(error)
    assert "\n" not in line
    path.unlink()


def test_real_recordings(real_data):
    data = open_data("fsdd/recordings", pattern="{digit}_{speaker}_{take}")
    assert [f.name for f in data.factors] == ["digit", "speaker", "take"]
    assert data.factors[0].labels == tuple("0123456789")
    batch = all_of(data)
    assert (batch["x"].amax((1, 2, 3)) == 1).all()
    digit, x = batch["factors"][:, 0], batch["x"].flatten(1)
    seen = torch.cdist(x[::7], x[1::7]).argmin(1)
    assert (digit[1::7][seen] == digit[::7]).float().mean() > 0.5, "the nearest sound says the same digit"
