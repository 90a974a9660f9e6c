"""Stand-ins that were trained before are found again, and nothing else is taken for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from unbraid.core.fields import Fields
from unbraid.core.given import weights_hash
from unbraid.data.dataset import MemoryDataset
from unbraid.training import cache
from unbraid.training.cache import cache_folder, trained_once

DATA = MemoryDataset("some", torch.arange(12.0).reshape(4, 3))


@dataclass(frozen=True)
class Counted:
    """A layer from a seed; counts how often it was made."""

    width: int = 2
    made: list[int] = field(default_factory=list, compare=False)

    def shape(self, fields: Fields) -> nn.Module:
        return nn.Sequential(nn.Linear(fields["x"].shape[0], self.width), nn.BatchNorm1d(self.width))

    def make(self, data: Any, seed: int) -> nn.Module:
        self.made.append(seed)
        torch.manual_seed(seed)
        net = self.shape(data.fields)
        net(data.take(torch.arange(4))["x"])
        return net


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "WORTH", 0.0)
    return tmp_path / "cache" / "stand-ins"


def test_it_is_made_once_and_found_with_its_running_statistics(folder: Path) -> None:
    standin, before = Counted(), torch.get_rng_state()
    one, two = (trained_once(standin, DATA, 3) for _ in range(2))
    assert standin.made == [3]
    assert one is not two
    assert weights_hash(one) == weights_hash(two)
    assert not two.training
    assert torch.equal(before, torch.get_rng_state())
    assert [path.suffix for path in folder.iterdir()] == [".safetensors"]


def test_another_seed_setting_text_or_data_is_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    standin = Counted()
    trained_once(standin, DATA, 0)
    trained_once(standin, DATA, 1)
    trained_once(standin, MemoryDataset("some", torch.ones(4, 3)), 0)
    trained_once(Counted(3, standin.made), DATA, 0)
    monkeypatch.setattr(cache, "_code", lambda _module: "another text")
    trained_once(standin, DATA, 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 99)
    trained_once(standin, DATA, 0)
    assert standin.made == [0, 1, 0, 0, 0, 0]
    assert len(list(folder.iterdir())) == 6


def test_what_the_data_come_from_counts(folder: Path) -> None:
    standin = Counted()
    for value in (0.0, 1.0, 1.0):
        shifted = MemoryDataset("shifted", torch.ones(4, 3))
        shifted.origin = MemoryDataset("origin", torch.full((4, 3), value))  # type: ignore[attr-defined]
        trained_once(standin, shifted, 0)
    assert standin.made == [0, 0]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _flip(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_cut, _flip, _empty])
def test_a_damaged_file_is_made_anew(folder: Path, damage: Callable[[Path], None]) -> None:
    standin = Counted()
    whole = weights_hash(trained_once(standin, DATA, 0))
    [path] = folder.iterdir()
    damage(path)
    assert weights_hash(trained_once(standin, DATA, 0)) == whole
    assert weights_hash(trained_once(standin, DATA, 0)) == whole
    assert standin.made == [0, 0]


def test_without_a_folder_that_can_be_written_it_is_made_each_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    standin = Counted()
    folder.parent.write_text("a file where the folder should be")
    trained_once(standin, DATA, 0)
    monkeypatch.delenv("UNBRAID_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", _nobody)
    trained_once(standin, DATA, 0)
    assert standin.made == [0, 0]


def _nobody() -> Path:
    raise RuntimeError("no home")


def test_a_full_disk_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_tensors: Any, path: Path, _facts: Any) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(cache, "save_file", full)
    trained_once(Counted(), DATA, 0)
    assert list(folder.iterdir()) == []


def test_what_is_quick_or_cannot_be_told_from_others_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained_once(Addressed(), DATA, 0)
    monkeypatch.setattr(cache, "WORTH", 60.0)
    trained_once(Counted(), DATA, 0)
    assert not folder.exists()


class Addressed(Counted):
    """Has a setting that is told by its address alone."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "width", _Two())


class _Two(int):
    def __new__(cls) -> _Two:
        return super().__new__(cls, 2)

    def __repr__(self) -> str:
        return object.__repr__(self)


def test_the_folder_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNBRAID_CACHE", "/a")
    assert cache_folder() == Path("/a")
    monkeypatch.delenv("UNBRAID_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_folder() == Path("/b/unbraid")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert cache_folder() == Path.home() / ".cache/unbraid"
