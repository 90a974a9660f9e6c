"""A folder of sound files: the second in the middle of each as a picture of its mel bands."""

from __future__ import annotations

import wave as wave_files
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.errors import DataError, need
from unbraid.core.outcome import Sound
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import FactorTable
from unbraid.data.readers.check import check_finite, open_bytes, plain_size
from unbraid.ops.audio import MelSpec, log_mel, resample

SUFFIXES = frozenset({".wav", ".flac"})
"""How the names of sound files end."""

RATE, SECONDS = 8000, 1
"""Every sound is brought to so many samples a second, and so many seconds about its middle are taken."""

SIZES = (16, 128)
"""The fewest and the most mel bands."""

_HEADS = (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"ID3")
"""Whatever else libsndfile can read, files of these names should not be."""

_LOUDEST = 32767.0
_SLOWEST, _FASTEST, _CHANNELS, _BATCH = 1000, 384_000, 64, 64


def open_sounds(
    name: str, folder: Path, files: Sequence[str], table: FactorTable, size: int = 32, memory: int = 2**30
) -> MemoryDataset:
    """A data set of pictures (1, size, size) in [0, 1]: mel bands from high (top) to low, time from left to right.

    1 is the loudest of each file, 0 what is 80 dB below it.

    Args:
        name: What it is called in reports.
        folder: Where the files are.
        files: Their paths in it.
        table: The factors of every row.
        size: Mel bands, and frames.
        memory: Bytes that the pictures may take.

    Raises:
        DataError: Naming the file that cannot be read.
    """
    if not SIZES[0] <= size <= SIZES[1]:
        raise DataError(f"{SIZES[0]} to {SIZES[1]} bands for sounds", got=str(size), where="--size")
    if len(files) * size * size > memory:
        got = f"{len(files)} files of {plain_size(size * size)}"
        raise DataError(f"sounds of at most {plain_size(memory)}", got=got, fix="use a smaller --size", where=name)
    spec = _spec(size)
    x = torch.empty(len(files), 1, size, size, dtype=torch.uint8)
    for start in range(0, len(files), _BATCH):
        waves = torch.stack([load_sound(folder / file) for file in files[start : start + _BATCH]])
        pictures = log_mel(waves, spec)[..., :size].flip(1)
        x[start : start + _BATCH, 0] = pictures.mul(255).round().byte()
    return MemoryDataset(name, x, table, files)


def _spec(size: int) -> MelSpec:
    """Frames that fill the seconds, and a transform that is fine enough for the lowest band."""
    hop = RATE * SECONDS // size
    fft = max(512, 2 ** (16 * size - 1).bit_length())
    return MelSpec(RATE, size, hop, max(256, hop), fft)


def load_sound(path: Path) -> Float[Tensor, " t"]:
    """The seconds about the middle of a file, its channels mixed, at `RATE`, within -1..1; silence where it is shorter.

    No more of the file is read than that.

    Raises:
        DataError: It is no sound, holds none, or claims what cannot be.
    """
    rate, block = read_middle(path, SECONDS)
    peak = np.abs(block).max()
    mixed = (block / (peak if peak > 0 else 1)).mean(1, dtype=np.float64).astype(np.float32)
    wanted = rate * SECONDS
    before = (wanted - len(mixed)) // 2
    wave = torch.from_numpy(np.pad(mixed, (before, wanted - len(mixed) - before)))
    return resample(wave[None], RATE * SECONDS)[0]


def read_sound(path: Path, seconds: float = 600.0) -> Sound:
    """A whole WAV or FLAC file, its channels mixed.

    Args:
        path: The file.
        seconds: The longest that is read.

    Raises:
        DataError: It is no sound, holds none, claims what cannot be, or is longer.
    """
    with _opened(path) as file:
        if file.frames > seconds * _rate_of(file, path):
            got = f"{file.frames} samples at {file.samplerate} a second"
            raise DataError(f"a sound of at most {seconds:g} seconds", got=got, fix="cut it", where=str(path))
        rate, block = _middle(file, path, seconds)
    return Sound(torch.from_numpy(block.mean(1, dtype=np.float64).astype(np.float32)), rate)


def write_sound(path: Path, sound: Sound, suffix: str = ".wav") -> None:
    """Write 16-bit samples: WAV by the standard library alone, FLAC with the extra `audio`; beyond -1..1 is cut off.

    Args:
        path: The file.
        sound: The recording.
        suffix: ".wav" or ".flac", whatever the path is called.

    Raises:
        DataError: The sound holds what is no finite number.
    """
    check_finite(wave := sound.wave.detach().cpu().float().numpy(), "the sound")
    samples = np.rint(wave.clip(-1, 1) * _LOUDEST).astype("<i2")
    if suffix == ".flac":
        need("soundfile", extra="audio").write(str(path), samples, sound.rate, "PCM_16", format="FLAC")
        return
    with wave_files.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sound.rate)
        file.writeframes(samples.tobytes())


def read_middle(path: Path, seconds: float) -> tuple[int, Float[np.ndarray, "t channels"]]:
    """The rate of a file, and the seconds about its middle, or all of it where it is shorter.

    Raises:
        DataError: It is no sound, holds none, or claims what cannot be.
    """
    with _opened(path) as file:
        return _middle(file, path, seconds)


def seconds_of(path: Path) -> float:
    """How long a file says that it is.

    Raises:
        DataError: It is no sound, or claims what cannot be.
    """
    with _opened(path) as file:
        return float(file.frames) / _rate_of(file, path)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file with its header read; whatever goes wrong in the block comes out as a `DataError`."""
    soundfile = need("soundfile", extra="audio")
    if not path.is_file():  # a link in a circle, a pipe that would never end
        raise DataError("a readable file", got="something else", fix="remove it", where=str(path))
    with open_bytes(path) as stream:
        head = stream.read(4)
    if not head.startswith(_HEADS):
        raise _damaged(path, f"the first bytes {head!r}")
    try:
        with soundfile.SoundFile(str(path)) as file:
            yield file
    except DataError:
        raise
    except Exception as error:  # libsndfile has errors of its own, and its wrapper others
        got = " ".join(str(getattr(error, "error_string", "") or type(error).__name__).split())[:80]
        raise _damaged(path, got.rstrip(".").lower()) from None


def _rate_of(file: Any, path: Path) -> int:
    """The rate, where it and the channels can be true."""
    rate, channels = int(file.samplerate), int(file.channels)
    if not (_SLOWEST <= rate <= _FASTEST and channels <= _CHANNELS):
        expected = f"{_SLOWEST} to {_FASTEST} samples a second and at most {_CHANNELS} channels"
        raise DataError(expected, got=f"{rate} and {channels}", fix="convert it", where=str(path))
    return rate


def _middle(file: Any, path: Path, seconds: float) -> tuple[int, np.ndarray]:
    """The rate, and the samples (t, channels) about the middle."""
    rate = _rate_of(file, path)
    count = min(file.frames, round(rate * seconds))
    if count < 1:
        raise DataError("at least one sample", got="none", fix="remove the file", where=str(path))
    start = (file.frames - count) // 2
    file.seek(start)
    block: np.ndarray = file.read(count, dtype="float32", always_2d=True)
    if len(block) < count:
        raise _damaged(path, f"{len(block)} of {count} samples")
    check_finite(block, str(path), first_row=start)
    return rate, block


def _damaged(path: Path, got: str) -> DataError:
    return DataError("a whole WAV or FLAC file", got=got, fix="replace or remove it", where=str(path))
