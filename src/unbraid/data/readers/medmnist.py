"""MedMNIST's files: `.npz` with images and labels for training, validation and test.

Each has the arrays `train_images`, `train_labels`, `val_images`, `val_labels`, `test_images` and `test_labels`; images
are uint8 (N, S, S) or (N, S, S, 3), labels (N, 1). Grey images are repeated to three channels, so that all files give
the same field.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.readers.arrays import Npz, names_of
from unbraid.data.readers.check import LIMIT, plain_size
from unbraid.data.readers.folders import find_files
from unbraid.data.readers.observations import observations

PARTS = {"train": "train", "val": "validation", "test": "test"}
"""How the arrays of a split begin, and what it is called."""

_GREY = torch.tensor([0.299, 0.587, 0.114])  # ITU-R 601


def open_medmnist(
    path: Path, size: int | None = None, grey: bool = False, only: str = "*", memory: int = LIMIT
) -> MemoryDataset:
    """The images of a file, with the factors `class` and `split`; of several files, `set`, too.

    The classes of several files are told apart even where they are of one number.

    Args:
        path: A file, or a folder of them, which are put together.
        size: Height and width to bring images to; several files must come to one.
        grey: Whether colour is taken away.
        only: Of a folder, the names of the files to take, separated by +; all where "*".
        memory: Bytes that all images may take.

    Raises:
        DataError: In one line: what was expected, what came.
    """
    files = _chosen(path, only) if path.is_dir() else [path]
    read = [_file(file, size, grey) for file in files]
    shapes = {tuple(x.shape[1:]) for x, _, _ in read}
    if len(shapes) > 1:
        got = ", ".join(str(s[1:]) for s in sorted(shapes))
        raise DataError("images of one size", got=got, fix="bring them to one with --size", where=str(path))
    if sum(x.nbytes for x, _, _ in read) > memory:
        raise DataError(f"images of at most {plain_size(memory)}", got="more", fix="name fewer files", where=str(path))
    names = [file.stem for file in files]
    name = "+".join(names) + (",grey" if grey else "")
    ids = [f"{n}:{row}" for n, (x, _, _) in zip(names, read, strict=True) for row in range(len(x))]
    data = MemoryDataset(name, torch.cat([x for x, _, _ in read]), _table(names, [r[1:] for r in read]), ids)
    data.roles = {"label": "class"}
    return data


def _chosen(folder: Path, only: str) -> list[Path]:
    files = {Path(f).stem: folder / f for f in find_files(folder, (".npz",))}
    wanted = list(files) if only == "*" else only.split("+")
    missing = [name for name in wanted if name not in files]
    if missing or not wanted:
        got = f"no {missing[0]}.npz" if missing else "no .npz file"
        raise DataError("a folder with the files that are named", got=got, where=str(folder))
    return [files[name] for name in wanted]


def _file(path: Path, size: int | None, grey: bool) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Images (N, 3, S, S), classes (N,) and splits (N,) of one file."""
    if path.suffix.lower() != ".npz":
        raise DataError("a file .npz or a folder of them", got=f"'{path.name}'", where=str(path))
    with Npz(path) as npz:
        wanted = [f"{part}_{kind}" for part in PARTS for kind in ("images", "labels")]
        missing = [name for name in wanted if name not in npz.headers]
        if missing:
            raise DataError(f"an array '{missing[0]}'", got=names_of(npz.headers), where=str(path))
        images = [observations(npz.read(f"{p}_images"), f"{path}: array '{p}_images'", size)[0] for p in PARTS]
        labels = [_labels(npz.read(f"{p}_labels"), len(x), path) for p, x in zip(PARTS, images, strict=True)]
    where = np.repeat(np.arange(len(PARTS)), [len(x) for x in images])
    if len({tuple(x.shape[1:]) for x in images}) > 1 or images[0].dtype != torch.uint8:
        got = ", ".join(f"{tuple(x.shape)} {str(x.dtype).removeprefix('torch.')}" for x in images)
        raise DataError("pixels 0 to 255, of one shape in all splits", got=got, where=str(path))
    return _three(torch.cat(images), grey), np.concatenate(labels), where


def _labels(labels: np.ndarray, items: int, path: Path) -> np.ndarray:
    if labels.shape not in ((items, 1), (items,)) or labels.dtype.kind not in "iub":
        got, fix = f"{labels.dtype} {labels.shape}", "sets of several labels for each image are not read"
        raise DataError(f"one whole number for each of {items} images", got=got, fix=fix, where=str(path))
    if int(labels.min(initial=0)) < 0:
        raise DataError("classes from 0 on", got=str(labels.min()), where=str(path))
    return labels.reshape(-1).astype(np.int64)


def _three(x: Tensor, grey: bool) -> Tensor:
    """Three channels, equal ones where there is no colour."""
    if x.shape[1] == 3 and grey:
        blocks = [torch.einsum("nchw,c->nhw", b.float(), _GREY).round() for b in torch.split(x, 1024)]
        x = torch.cat([b.clamp(0, 255).to(torch.uint8) for b in blocks])[:, None]
    return x if x.shape[1] == 3 else x.repeat(1, 3, 1, 1)


def _table(names: Sequence[str], read: Sequence[tuple[np.ndarray, np.ndarray]]) -> FactorTable:
    counts = [int(labels.max()) + 1 for labels, _ in read]
    starts = np.cumsum([0, *counts[:-1]])
    single = len(names) == 1
    told = [str(c) if single else f"{n} {c}" for n, count in zip(names, counts, strict=True) for c in range(count)]
    columns: list[Float[np.ndarray, " n"]] = [
        np.concatenate([labels + start for (labels, _), start in zip(read, starts, strict=True)]).astype(np.float64),
        np.concatenate([split for _, split in read]).astype(np.float64),
    ]
    factors = [Factor("class", "categorical", tuple(told)), Factor("split", "categorical", tuple(PARTS.values()))]
    if not single:
        columns.append(np.repeat(np.arange(len(names)), [len(labels) for labels, _ in read]).astype(np.float64))
        factors.append(Factor("set", "categorical", tuple(names)))
    return FactorTable(factors, np.stack(columns, 1))
