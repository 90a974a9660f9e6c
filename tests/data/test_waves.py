import math
import wave as wave_files

import numpy as np
import pytest
import soundfile
import torch

from unbraid.core.errors import DataError
from unbraid.core.outcome import Sound
from unbraid.data.catalog import open_data
from unbraid.data.made.vowels import Vowels
from unbraid.data.readers import sounds
from unbraid.data.readers.sounds import read_sound, write_sound
from unbraid.data.readers.waves import open_waves
from unbraid.data.wrapped import in_roles


def tone(hertz, seconds, rate, level=0.5):
    return level * np.sin(2 * math.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.fixture
def folder(tmp_path):
    soundfile.write(tmp_path / "0_ann_a.wav", tone(100, 0.5, 8000), 8000)
    soundfile.write(tmp_path / "1_ann_b.flac", np.stack([tone(200, 0.25, 16000)] * 2, 1), 16000)
    soundfile.write(tmp_path / "0_bob_a.wav", tone(400, 2.0, 44100), 44100)
    return tmp_path


PATTERN = "{digit}_{speaker}_{take}"


def test_waves_of_one_rate_and_length(folder):
    data = open_waves(folder, rate=8000, seconds=1.0, pattern=PATTERN)
    batch = data.take(torch.tensor([[0, 2]]))
    assert batch["wave"].shape == (1, 2, 8000)
    assert data.ids(torch.arange(3)) == ["0_ann_a.wav", "0_bob_a.wav", "1_ann_b.flac"]
    assert batch["length"].tolist() == [[4000, 2000]]
    assert batch["valid"].sum(2).tolist() == [[4000, 2000]]
    assert batch["wave"][0, 0, 4000:].abs().max() == 0
    theirs = torch.from_numpy(tone(100, 0.5, 8000)).float()
    torch.testing.assert_close(batch["wave"][0, 0, :4000], theirs, atol=1e-4, rtol=0)
    middle = data.take(torch.tensor([1]))["wave"][0]
    power = torch.fft.rfft(middle).abs()
    assert int(power.argmax()) == 400, "the middle second, at the new rate"
    assert middle.abs().max() == pytest.approx(0.5, abs=0.01)


def test_what_the_names_tell_and_who_plays_which_role(folder):
    data = open_data(f"waves:{folder},rate=8000,pattern={PATTERN}")
    assert [f.name for f in data.factors] == ["digit", "speaker", "take"]
    assert data.fields["wave"].shape == (16000,), "the longest file"
    assert data.roles == {"group": "speaker", "label": "digit", "phone": "digit"}
    assert data.rate == 8000
    spoken = in_roles(data, ["wave", "group"], {})
    assert spoken.take(torch.arange(3))["group"].tolist() == [0, 1, 0]
    assert spoken.rate == 8000
    same = open_data(f"waves:{folder},rate=8000", pattern=PATTERN)
    assert same.hash == data.hash


def test_files_by_name(folder):
    assert len(open_data(f"waves:{folder},without=*_bob_*")) == 2
    assert open_data(f"waves:{folder},only=*_bob_*").ids(torch.tensor([0])) == ["0_bob_a.wav"]
    assert open_data(f"waves:{folder}").rate == 8000, "the first file's"


def test_more_than_memory_holds_is_read_as_it_is_needed(folder):
    held, slow = (open_waves(folder, rate=8000, seconds=0.5, memory=m) for m in (2**30, 1))
    assert (held.slow, slow.slow) == (False, True)
    where = torch.tensor([[2, 0], [1, 1]])
    for name, value in held.take(where).items():
        torch.testing.assert_close(slow.take(where)[name], value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("rate=100", "2000 to 96000"),
        ("rate=fast", "samples a second"),
        ("seconds=0", "at least one sample"),
        ("seconds=1e9", "at most 600 seconds"),
        ("seconds=nan", "at least one sample"),
        ("only=*.ogg", "none of 3 with such a name"),
        ("pattern={digit}-{speaker}", "a name like"),
        ("bands=3", "an option of waves"),
    ],
)
def test_wrong_options_are_told_in_a_line(folder, options, words):
    with pytest.raises(DataError, match=words.replace("*", r"\*")) as error:
        open_data(f"waves:{folder},{options}")
    assert "\n" not in str(error.value)


def test_wrong_folders_are_told_in_a_line(tmp_path, folder):
    (folder / "2_cat_a.wav").write_bytes(b"RIFF nothing")
    with pytest.raises(DataError, match=r"2_cat_a\.wav: expected a whole WAV or FLAC file"):
        open_data(f"waves:{folder}")
    empty = tmp_path / "empty"
    empty.mkdir()
    for path in (empty, folder / "0_ann_a.wav"):
        with pytest.raises(DataError, match=r"a folder of \.wav or \.flac files"):
            open_data(f"waves:{path}")
    with pytest.raises(DataError, match="pattern once"):
        open_data(f"waves:{folder},pattern={PATTERN}", pattern=PATTERN)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_sound_to_a_file_and_back(tmp_path, suffix):
    wave = torch.cat([torch.rand(1000) * 2 - 1, torch.tensor([1.0, -1.0, 3.0, -3.0])])
    path = tmp_path / f"a{suffix}"
    write_sound(path, Sound(wave, 22050), suffix)
    found = read_sound(path)
    assert found.rate == 22050
    torch.testing.assert_close(found.wave, wave.clamp(-1, 1), atol=2e-4, rtol=0)


def test_wav_needs_the_standard_library_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(sounds, "need", lambda *_, **__: pytest.fail("asked for a library"))
    write_sound(tmp_path / "a.wav", Sound(torch.tensor([0.0, 0.5, -1.0]), 8000))
    with wave_files.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()) == (1, 2, 8000, 3)
        assert np.frombuffer(file.readframes(3), "<i2").tolist() == [0, 16384, -32767]
    with pytest.raises(DataError, match="finite numbers"):
        write_sound(tmp_path / "b.wav", Sound(torch.tensor([math.nan]), 8000))


def test_vowels_are_what_their_factors_say():
    data = Vowels(speakers=2, pitches=2, levels=3, takes=2)
    batch = data.take(torch.arange(len(data)))
    vowel, speaker, _, level, take = batch["factors"].long().unbind(1)
    loud = (batch["wave"] * batch["valid"]).square().sum(1) / batch["length"]
    by_level = [loud[level == i].mean() for i in range(3)]
    assert by_level[0] < 0.5 * by_level[1] < 0.25 * by_level[2]
    spectra = torch.fft.rfft(batch["wave"]).abs().log()
    means = torch.stack([spectra[(vowel == v) & (speaker == s)].mean(0) for v in range(5) for s in range(2)])
    apart = torch.cdist(means, means) + 1e9 * torch.eye(10)
    assert apart.min() > 5, "every vowel of every speaker has a spectrum of its own"
    assert not torch.equal(batch["wave"][take == 0], batch["wave"][take == 1])
    again = Vowels(speakers=2, pitches=2, levels=3, takes=2)
    assert torch.equal(again.take(torch.arange(3))["wave"], batch["wave"][:3])
    assert again.hash == data.hash != Vowels(speakers=2, pitches=2, levels=2, takes=2).hash
