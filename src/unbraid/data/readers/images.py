"""A folder of images of any size, in memory when it fits and read on demand when not."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import torch
from jaxtyping import Int
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.dataset import Dataset, Device, MemoryDataset, content_hash, describe
from unbraid.data.factors import FactorTable

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_BY_SUFFIX = {".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".pgm": "PPM"} | {f".{f.lower()}": f for f in _FORMATS}
SUFFIXES = frozenset(_BY_SUFFIX)
"""How the names of image files end; what is in them may be any of these formats."""

PIXELS = 100_000_000
"""An image that claims more pixels is refused before it is unpacked."""

_THREADS, _SPAN, _TURNED = 2, 64, 0x0112

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""

Cut = Callable[[int, int, int], Box]
"""Row, width and height of an image to the part of it that is meant."""


def open_images(
    name: str,
    folder: Path,
    files: Sequence[str],
    table: FactorTable,
    size: int,
    memory: int = 2**30,
    cut: Cut | None = None,
) -> Dataset:
    """A data set of images: as uint8 in memory when that takes at most `memory` bytes, else a `FolderDataset`."""
    if 3 * len(files) * size * size > memory:
        grey = all(_all(lambda row: _is_grey(folder / files[row]), len(files)))
        return FolderDataset(name, folder, files, table, size, 1 if grey else 3, cut)
    x = torch.empty(len(files), 3, size, size, dtype=torch.uint8)

    def put(row: int) -> bool:
        pixels = load_image(folder / files[row], size, cut=_of_row(cut, row))
        x[row] = torch.from_numpy(pixels)
        return len(pixels) == 1

    grey = all(_all(put, len(files)))
    return MemoryDataset(name, x[:, :1].contiguous() if grey else x, table, files)


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
        cut: The part of each image that is meant; all of it where None.
    """

    slow = True

    def __init__(
        self,
        name: str,
        folder: Path,
        files: Sequence[str],
        table: FactorTable,
        size: int,
        channels: int,
        cut: Cut | None = None,
    ) -> None:
        self._cut = cut
        self.name, self._folder, self._files, self._table = name, folder, list(files), table
        self.factors = table.factors
        self.fields = describe((channels, size, size), self.factors, unit=True)
        self._codes, self._known = table.codes()

    def __len__(self) -> int:
        return len(self._files)

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        where = indices.cpu()
        channels, size, _ = self.fields["x"].shape
        with quiet():
            images = [self._load(i, size, channels) for i in where.flatten().tolist()]
        stacked = np.stack(images) if images else np.zeros((0, channels, size, size), dtype=np.uint8)
        x = torch.from_numpy(stacked).reshape(*where.shape, channels, size, size)
        batch = {"x": x.to(device).float().div_(255), "index": where.to(device)}
        if self.factors:
            batch |= {"factors": self._codes[where].to(device), "known": self._known[where].to(device)}
        return batch

    def _load(self, row: int, size: int, channels: int) -> np.ndarray:
        return load_image(self._folder / self._files[row], size, channels, _of_row(self._cut, row))

    def observed(self, factor: str) -> bool:
        return not np.isnan(self._table.column(factor)).any()

    def table(self, indices: Int[Tensor, " n"]) -> FactorTable:
        return self._table.rows(indices.cpu())

    @property
    def hash(self) -> str:
        sizes = [(self._folder / file).stat().st_size for file in self._files]
        content = {"files": self._files, "bytes": sizes, "shape": self.fields["x"].shape}
        if self._cut is not None:
            content["cut"] = [self._cut(row, 256, 256) for row in range(len(self))]
        return content_hash({**content, "codes": self._codes, "known": self._known, "described": self.factors})

    def ids(self, indices: Int[Tensor, " n"]) -> list[str]:
        return [self._files[int(i)] for i in indices]


def load_image(
    path: Path, size: int, channels: int | None = None, cut: Callable[[int, int], Box] | None = None
) -> np.ndarray:
    """One image (channels, size, size) uint8: turned upright, its middle square, scaled.

    Args:
        path: The file.
        size: Height and width to bring it to.
        channels: 1 or 3; None takes 1 for a grey image and 3 for any other.
        cut: From width and height to the part that is meant, before its middle square is taken.

    Raises:
        DataError: It cannot be read, is cut short, or claims more than `PIXELS`.
    """
    return _load(path, None, size, channels, cut)


def load_bytes(content: bytes, where: str, size: int, channels: int | None = None) -> np.ndarray:
    """The same of an image that lies in memory; `where` is what an error calls it."""
    return _load(Path(where), io.BytesIO(content), size, channels)


def is_grey(content: bytes, where: str) -> bool:
    """Whether an image that lies in memory is grey."""
    with quiet(), _opened(Path(where), io.BytesIO(content)) as image:
        return _grey(image)


def _of_row(cut: Cut | None, row: int) -> Callable[[int, int], Box] | None:
    return None if cut is None else partial(cut, row)


def _load(
    path: Path,
    source: IO[bytes] | None,
    size: int,
    channels: int | None,
    cut: Callable[[int, int], Box] | None = None,
) -> np.ndarray:
    with _opened(path, source) as image:
        mode = "L" if channels == 1 or (channels is None and _grey(image)) else "RGB"
        if cut is None:
            image.draft(mode, (2 * size, 2 * size))  # JPEG: unpack no more than is needed
        upright = _plain(image if image.getexif().get(_TURNED, 1) == 1 else ImageOps.exif_transpose(image), path)
        upright = upright if upright.mode == mode else upright.convert(mode)
        upright = upright if cut is None else upright.crop(_rounded(cut(*upright.size)))
        pixels = np.array(ImageOps.fit(upright, (size, size), method=Image.Resampling.BILINEAR))
    return pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)


def _rounded(box: Box) -> tuple[int, int, int, int]:
    left, top, right, bottom = (round(v) for v in box)
    return left, top, right, bottom


def _is_grey(path: Path) -> bool:
    with _opened(path) as image:
        return _grey(image)


def _grey(image: Image.Image) -> bool:
    return image.mode in ("L", "1", "LA") or image.mode.startswith("I;16")


def _plain(image: Image.Image, path: Path) -> Image.Image:
    """With 8 bits a channel, and without a palette whose transparency PIL would warn of."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise DataError("8 or 16 bits a channel", got=f"PIL mode {image.mode}", fix="convert it", where=str(path))
    return image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else image


@contextmanager
def _opened(path: Path, source: IO[bytes] | None = None) -> Iterator[Image.Image]:
    """The image with its header read; whatever goes wrong in the block comes out as a `DataError`.

    Args:
        path: Its file, or what to call it.
        source: Its bytes, where they do not lie in that file.
    """
    likely = _BY_SUFFIX.get(path.suffix.lower(), "PNG")
    try:
        with Image.open(
            path if source is None else source, formats=(likely, *(f for f in _FORMATS if f != likely))
        ) as image:
            width, height = image.size
            if width * height > PIXELS:
                raise _too_large(path, f"{width} x {height}")
            yield image
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(path, "a header that claims far more") from None
    except UnidentifiedImageError:
        got, fix = f"none of {', '.join(_FORMATS)}, or a damaged one", "replace or remove it"
        raise DataError("a readable image", got=got, fix=fix, where=str(path)) from None
    except Exception as error:  # decoders raise what they like: OSError, SyntaxError, struct.error, ...
        text = " ".join(str(error).replace(str(path), "").split())[:80] or type(error).__name__
        raise DataError("a readable image", got=text, fix="replace or remove it", where=str(path)) from None


def _too_large(path: Path, got: str) -> DataError:
    return DataError(f"at most {PIXELS // 10**6} megapixels", got=got, fix="scale it down", where=str(path))


@contextmanager
def quiet() -> Iterator[None]:
    """Without PIL's warnings: of large images, since the limit here is ours, and of odd but harmless tags."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _all(work: Callable[[int], bool], count: int) -> list[bool]:
    """The work on each row, on a few threads (decoders let go of the interpreter); the first error in order wins."""
    starts = range(0, count, _SPAN)
    with quiet(), ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        try:
            spans = pool.map(lambda start: [work(row) for row in range(start, min(start + _SPAN, count))], starts)
            return [answer for span in spans for answer in span]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
