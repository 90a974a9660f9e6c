"""Views by a camera whose pose is known: an `.npz` file for each instance, or a folder of them.

Each file has the arrays `images`, (V, H, W, 3) or as other images are laid out, and `poses`, (V, 7): the camera's
position and its orientation as a quaternion, camera to world. The name of a file is that of its instance. Folders in
the folder are categories and give the factor `class`; to learn from one alone, open it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.factors import FactorTable
from unbraid.data.order import split
from unbraid.data.readers.arrays import Npz, check_numbers, names_of
from unbraid.data.readers.check import LIMIT, check_finite, plain_size
from unbraid.data.readers.folders import class_table, find_files
from unbraid.data.readers.observations import observations
from unbraid.data.viewpoints import Recorded, check_poses
from unbraid.ops.pose import NUMBERS

ORDERS = ("wxyz", "xyzw")
_MOST = 4096


def open_views(
    path: Path, size: int | None = None, order: str = "wxyz", test: float = 0.2, seed: int = 0, memory: int = LIMIT
) -> Recorded:
    """The views in a file or folder; the factor `split` says which instances are for testing.

    Args:
        path: The file or folder.
        size: Height and width to bring images to; all must have one shape.
        order: Whether quaternions begin or end with w.
        test: Share of the instances that is for testing; 0 for none.
        seed: Which of them.
        memory: Bytes that all images may take.

    Raises:
        DataError: In one line: what was expected, what came.
    """
    if order not in ORDERS or not 0 <= test < 1 or (size is not None and not 1 <= size <= _MOST):
        got = f"order={order}, test={test:g}, size={size}"
        raise DataError("order wxyz or xyzw, a share below 1, and 1 to 4096 pixels", got=got, where=str(path))
    files = find_files(path, (".npz",)) if path.is_dir() else [""]
    if not files:
        raise DataError("a folder of .npz files, one for each instance", got="none in it", where=str(path))
    read = [_instance(path / file if file else path, size, order) for file in files]
    _check_alike([x for x, _ in read], files, path, memory)
    count = torch.tensor([len(x) for x, _ in read])
    instance = torch.arange(len(read)).repeat_interleave(count)
    names = [(file or path.name).removesuffix(".npz") for file in files]
    held = split(len(read), test, seed)[1] if test and len(read) > 1 else torch.zeros(0, dtype=torch.long)
    kept = np.isin(np.arange(len(read)), held.numpy(), invert=True)
    told = {"split": ["train" if k else "test" for k in kept], "instance": names}
    kinds = FactorTable.from_columns(told, dict.fromkeys(told, "categorical"))
    table = kinds.joined(class_table(files)).rows(instance)
    ids = [f"{name}:{row}" for name, (x, _) in zip(names, read, strict=True) for row in range(len(x))]
    return Recorded(str(path), torch.cat([x for x, _ in read]), torch.cat([p for _, p in read]), instance, table, ids)


def _instance(path: Path, size: int | None, order: str) -> tuple[Tensor, Float[Tensor, "v 7"]]:
    """Images and poses of one file."""
    if path.suffix.lower() != ".npz":
        raise DataError("a file .npz or a folder of them", got=f"'{path.name}'", where=str(path))
    with Npz(path) as npz:
        for name in ("images", "poses"):
            if name not in npz.headers:
                raise DataError(f"an array '{name}'", got=names_of(npz.headers), where=str(path))
        images, poses = npz.read("images"), npz.read("poses")
    where = f"{path}: array 'poses'"
    check_numbers(poses, where)
    if images.ndim not in (3, 4) or poses.shape != (len(images), NUMBERS):
        got = f"images {images.shape}, poses {poses.shape}"
        raise DataError("images (V, H, W, 3) and poses (V, 7)", got=got, where=str(path))
    x, unit = observations(images, f"{path}: array 'images'", size)
    if not unit:
        raise DataError("pixels from 0 to 1, or whole numbers to 255", got="others", where=f"{path}: array 'images'")
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(poses, dtype=np.float32)
    check_finite(numbers, where)
    pose = torch.from_numpy(numbers)
    pose = pose if order == "wxyz" else pose[:, [0, 1, 2, 6, 3, 4, 5]]
    return x, check_poses(pose, where)


def _check_alike(images: Sequence[Tensor], files: Sequence[str], path: Path, memory: int) -> None:
    for x, file in zip(images, files, strict=True):
        if x.shape[1:] != images[0].shape[1:] or x.dtype != images[0].dtype:
            got = f"{tuple(x.shape[1:])} {x.dtype} in '{file}', {tuple(images[0].shape[1:])} {images[0].dtype} before"
            raise DataError("images of one shape and kind", got=got, fix="say size=64, for example", where=str(path))
    total = sum(x.numel() * x.element_size() for x in images)
    if total > memory:
        raise DataError(f"images of at most {plain_size(memory)}", got=plain_size(total), where=str(path))
