"""Batches of 256 of 8,192 black and white images of 64 x 64, as float32 tensors."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.peers import declare_operators
from benchmarks.row import Row
from unbraid.data.dataset import MemoryDataset
from unbraid.data.loader import batches

ITEMS, BATCH = 8192, 256


@cache
def squares() -> np.ndarray:
    """(N, 64, 64, 1) uint8, a white square each."""
    rng = np.random.default_rng(0)
    images = np.zeros((ITEMS, 64, 64, 1), dtype=np.uint8)
    for image, (top, left, side) in zip(images, rng.integers([48, 48, 12], size=(ITEMS, 3)), strict=True):
        image[top : top + side + 4, left : left + side + 4] = 255
    return images


def in_memory() -> MemoryDataset:
    """The images as our data set."""
    return MemoryDataset("squares", torch.from_numpy(squares()).movedim(-1, 1).contiguous())


def disent_loader(observations: Any, batch: int, **options: Any) -> DataLoader[Any]:
    """Disent's data set of some (H, W, C) observations and its usual transform, under torch's loader."""
    declare_operators()
    from disent.dataset import DisentDataset
    from disent.dataset.transform import ToImgTensorF32

    return DataLoader(DisentDataset(observations, transform=ToImgTensorF32()), batch, **options)


def memory_row() -> Row:
    """One pass over the images; disent's over an array."""
    declare_operators()
    from disent.dataset.data import ArrayGroundTruthData

    return _row("data_path", 6, ArrayGroundTruthData(squares(), ("image",), (ITEMS,)))


def hdf5_row() -> Row:
    """One pass over the images; disent's over HDF5 as it stores dSprites: gzip 4, a chunk for each image."""
    declare_operators()
    from disent.dataset.data import Hdf5Dataset
    from disent.dataset.util.formats.hdf5 import H5Builder

    folder = TemporaryDirectory()
    path = str(Path(folder.name) / "squares.h5")
    with H5Builder(path) as builder:
        builder.add_dataset_from_array(squares(), "imgs", chunk_shape=(1, 64, 64, 1), compression_lvl=4)
    stored = Hdf5Dataset(path, "imgs")
    stored.folder = folder  # lives as long as its reader
    return _row("data_path_hdf5", 15, stored)


def _row(name: str, goal: float, observations: Any) -> Row:
    order = torch.randperm(ITEMS, generator=torch.Generator().manual_seed(0))
    data, loader = in_memory(), disent_loader(observations, BATCH, sampler=order.tolist())

    def ours() -> Tensor:
        for _, batch in batches(data, order.split(BATCH)):
            x = batch["x"]
        return x

    def peer() -> Tensor:
        for batch in loader:
            (x,) = batch["x_targ"]
        return x

    def check(ours: Tensor, peer: Tensor) -> None:
        assert ours.dtype == peer.dtype == torch.float32
        assert torch.equal(ours, peer)

    return Row(name, goal, ours, peer, check)


ROWS = {"data_path": memory_row, "data_path_hdf5": hdf5_row}
