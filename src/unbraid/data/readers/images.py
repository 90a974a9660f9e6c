"""A folder of images of any size, in memory when it fits and read on demand when not."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from PIL import Image, ImageOps
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.dataset import Dataset, Device, MemoryDataset, content_hash, describe
from unbraid.data.factors import FactorTable

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
PIXELS = 100_000_000
"""An image that claims more pixels is refused before it is unpacked."""

_THREADS = 4


def find_images(folder: Path) -> list[str]:
    """The images below a folder, as sorted paths relative to it; hidden files and folders are passed over."""
    found = []
    for at, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".")]
        inside = Path(at).relative_to(folder)
        for file in files:
            if not file.startswith(".") and Path(file).suffix.lower() in SUFFIXES:
                found.append((inside / file).as_posix())
    return sorted(found)


def class_table(files: Sequence[str]) -> FactorTable:
    """The factor `class`: the first folder on each file's way; missing for files beside such folders."""
    classes = [file.partition("/")[0] if "/" in file else "" for file in files]
    if not any(classes):
        return FactorTable.empty(len(files))
    return FactorTable.from_columns({"class": classes}, {"class": "categorical"})


def open_images(
    name: str, folder: Path, files: Sequence[str], table: FactorTable, size: int, memory: int = 2**30
) -> Dataset:
    """A data set of images: as uint8 in memory when that takes at most `memory` bytes, else a `FolderDataset`."""
    grey = _all(lambda file: _is_grey(folder / file), files)
    channels = 1 if all(grey) else 3
    if len(files) * channels * size * size > memory:
        return FolderDataset(name, folder, files, table, size, channels)
    x = torch.empty(len(files), channels, size, size, dtype=torch.uint8)

    def put(row: int) -> None:
        x[row] = torch.from_numpy(load_image(folder / files[row], size, channels))

    _all(put, range(len(files)))
    return MemoryDataset(name, x, table, files)


class FolderDataset(Dataset):
    """Images too many for the memory, each read when it is taken.

    Its hash is of the files' names and sizes in bytes, since reading them all would take too long.

    Args:
        name: What it is called in reports.
        folder: Where the images are.
        files: Their paths in it.
        table: The factors of every row.
        size: Height and width they are brought to.
        channels: 1 or 3.
    """

    slow = True

    def __init__(
        self, name: str, folder: Path, files: Sequence[str], table: FactorTable, size: int, channels: int
    ) -> None:
        self.name, self._folder, self._files, self._table = name, folder, list(files), table
        self.factors = table.factors
        self.fields = describe((channels, size, size), self.factors, unit=True)
        self._codes, self._known = table.codes()

    def __len__(self) -> int:
        return len(self._files)

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        where = indices.cpu()
        channels, size, _ = self.fields["x"].shape
        with _quiet():
            images = [load_image(self._folder / self._files[i], size, channels) for i in where.flatten().tolist()]
        stacked = np.stack(images) if images else np.zeros((0, channels, size, size), dtype=np.uint8)
        x = torch.from_numpy(stacked).reshape(*where.shape, channels, size, size)
        batch = {"x": x.to(device).float().div_(255), "index": where.to(device)}
        if self.factors:
            batch |= {"factors": self._codes[where].to(device), "known": self._known[where].to(device)}
        return batch

    def table(self, indices: Int[Tensor, " n"]) -> FactorTable:
        return self._table.rows(indices.cpu())

    @property
    def hash(self) -> str:
        sizes = [(self._folder / file).stat().st_size for file in self._files]
        content = {"files": self._files, "bytes": sizes, "shape": self.fields["x"].shape}
        return content_hash({**content, "codes": self._codes, "known": self._known, "described": self.factors})

    def ids(self, indices: Int[Tensor, " n"]) -> list[str]:
        return [self._files[int(i)] for i in indices]


def load_image(path: Path, size: int, channels: int) -> np.ndarray:
    """One image (channels, size, size) uint8: turned upright, its middle square, scaled.

    Raises:
        DataError: It cannot be read, is cut short, or claims more than `PIXELS`.
    """
    with _reading(path), Image.open(path) as image:
        _check_claim(image, path)
        mode = "L" if channels == 1 else "RGB"
        image.draft(mode, (2 * size, 2 * size))  # JPEG: unpack no more than is needed
        upright = _plain(ImageOps.exif_transpose(image), path).convert(mode)
        fitted = ImageOps.fit(upright, (size, size), method=Image.Resampling.BILINEAR)
        pixels = np.asarray(fitted, dtype=np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


def _is_grey(path: Path) -> bool:
    with _reading(path), Image.open(path) as image:
        _check_claim(image, path)
        return image.mode in ("L", "1", "LA") or image.mode.startswith("I;16")


def _plain(image: Image.Image, path: Path) -> Image.Image:
    """With 8 bits a channel, and without a palette whose transparency PIL would warn of."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise DataError("8 or 16 bits a channel", got=f"PIL mode {image.mode}", fix="convert it", where=str(path))
    return image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else image


def _check_claim(image: Image.Image, path: Path) -> None:
    width, height = image.size
    if width * height > PIXELS:
        raise DataError(f"at most {PIXELS // 10**6} megapixels", got=f"{width} x {height}", where=str(path))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Image.DecompressionBombError:
        got = "a header that claims far more"
        raise DataError(f"at most {PIXELS // 10**6} megapixels", got=got, where=str(path)) from None
    except Exception as error:  # decoders raise what they like: OSError, SyntaxError, struct.error, ...
        text = " ".join(str(error).replace(str(path), "").split())[:80] or type(error).__name__
        raise DataError("a readable image", got=text, fix="replace or remove it", where=str(path)) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without PIL's warnings: of large images, since the limit here is ours, and of odd but harmless tags."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _all(work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """The work on each item, on a few threads (decoders let go of the interpreter); the first error in order wins."""
    with _quiet(), ThreadPoolExecutor(_THREADS) as pool:
        try:
            return list(pool.map(work, items))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
