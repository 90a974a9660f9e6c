"""`.npy` and `.npz`, read without pickle and only after their headers have been believed."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.lib import format as npy

from unbraid.core.errors import DataError
from unbraid.data.readers.check import LIMIT, check_size, open_bytes, plain_size

_RATIO, _HARMLESS, _MEMBERS = 200, 256 * 2**20, 100_000


@dataclass(frozen=True)
class Header:
    """What an array claims to be."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """Bytes that follow the header, if it tells the truth."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def numeric(self) -> bool:
        """Whether the entries are real numbers."""
        return self.dtype.kind in "biuf"


class Npz(AbstractContextManager["Npz"]):
    """The arrays of an `.npz` file, each read when asked for.

    Args:
        path: The file.
        limit: Bytes that all arrays together may unpack to.
        ratio: How many-fold large arrays may be packed; what is known to be as large as `limit` may be packed more.

    Raises:
        DataError: It is no zip file, or one made to fill the memory.
    """

    def __init__(self, path: Path, limit: int = LIMIT, ratio: int = _RATIO) -> None:
        self._path, self._file = path, open_bytes(path)
        try:
            self._zip = _open_zip(self._file, path)
            _check_bomb(self._zip, path, limit, ratio)
            infos = [i for i in self._zip.infolist() if i.filename.endswith(".npy")]
            self._infos = {i.filename.removesuffix(".npy"): i for i in infos}
            self.headers = {name: self._look(name) for name in self._infos}
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()
        self._file.close()

    def read(self, name: str) -> np.ndarray:
        """One array of numbers or text.

        Raises:
            DataError: It holds objects, or is not what its header claims.
        """
        info, where = self._infos[name], f"{self._path}: array '{name}'"
        with self._open(name) as stream:
            return _read(stream, info.file_size, where)

    def parts(self, name: str, size: int = 2**26) -> Iterator[np.ndarray]:
        """One array of numbers as blocks of its first axis of about `size` bytes, for what would not fit the memory.

        Raises:
            DataError: It holds something else, lies in Fortran's order, or is not what its header claims.
        """
        where = f"{self._path}: array '{name}'"
        with self._open(name) as stream:
            header = _header(stream, where)
            _check_kind(header, where)
            if header.fortran or not header.shape:
                raise DataError("rows one after the other", got="another order", fix="save it again", where=where)
            row = math.prod(header.shape[1:]) * header.dtype.itemsize
            step = max(1, size // max(1, row))
            for start in range(0, header.shape[0], step):
                shape = (min(step, header.shape[0] - start), *header.shape[1:])
                block = np.empty(math.prod(shape), dtype=header.dtype)
                _fill(stream, block, where)
                yield block.reshape(shape)

    def _look(self, name: str) -> Header:
        with self._open(name) as stream:
            return _header(stream, f"{self._path}: array '{name}'")

    def _open(self, name: str) -> IO[bytes]:
        try:
            return self._zip.open(self._infos[name])
        except Exception as error:  # zipfile raises half a dozen kinds for damage, encryption and unknown packing
            raise _damaged(f"{self._path}: array '{name}'", error) from None


def read_npy(path: Path, limit: int = LIMIT) -> np.ndarray:
    """The array of an `.npy` file.

    Raises:
        DataError: It is damaged, larger than `limit` bytes, or holds objects.
    """
    with open_bytes(path) as stream:
        check_size(path, limit)
        return _read(stream, path.stat().st_size, str(path))


def save_npz(stream: IO[bytes], arrays: dict[str, np.ndarray]) -> None:
    """Write arrays of numbers and text as `.npz`, packed."""
    np.savez_compressed(stream, allow_pickle=False, **arrays)


def _open_zip(stream: IO[bytes], path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(stream)
    except Exception as error:  # a damaged directory raises BadZipFile, but also ValueError, OSError, struct.error
        raise DataError("a whole .npz file", got=_said(error), fix="save it again", where=str(path)) from None


def _check_bomb(archive: zipfile.ZipFile, path: Path, limit: int, ratio: int) -> None:
    infos = archive.infolist()
    unpacked, packed = sum(i.file_size for i in infos), path.stat().st_size
    if unpacked > limit:
        got, fix = plain_size(unpacked), "keep only the arrays needed, or split the file"
        raise DataError(f"arrays of at most {plain_size(limit)}", got=got, fix=fix, where=str(path))
    if unpacked > _HARMLESS and unpacked > ratio * packed:
        got, fix = f"{plain_size(unpacked)} out of {plain_size(packed)}", "if it is meant, save it without compression"
        raise DataError(f"arrays packed at most {ratio}-fold", got=got, fix=fix, where=str(path))
    if len(infos) > _MEMBERS:
        raise DataError(f"at most {_MEMBERS} arrays", got=str(len(infos)), where=str(path))


def _header(stream: IO[bytes], where: str) -> Header:
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        version = npy.read_magic(stream)
        shape, fortran, dtype = readers[version](stream)
    except Exception as error:  # numpy parses the header as Python: anything from SyntaxError to RecursionError
        raise _damaged(where, error) from None
    if any(not isinstance(n, int) or isinstance(n, bool) or n < 0 for n in shape):
        raise DataError("lengths from 0 on", got=f"shape {shape}", where=where)
    return Header(tuple(shape), bool(fortran), dtype)


def _read(stream: IO[bytes], size: int, where: str) -> np.ndarray:
    """The array that starts here in a file of `size` bytes."""
    header = _header(stream, where)
    _check_kind(header, where)
    held = size - stream.tell()
    if header.bytes > held:
        got, fix = f"{plain_size(held)}", "it is cut short or damaged: save it again"
        raise DataError(f"the {plain_size(header.bytes)} its header claims", got=got, fix=fix, where=where)
    out = np.empty(math.prod(header.shape), dtype=header.dtype)
    _fill(stream, out, where)
    array = out.reshape(header.shape, order="F" if header.fortran else "C")
    return np.ascontiguousarray(array, dtype=header.dtype.newbyteorder("=")).reshape(header.shape)


def _check_kind(header: Header, where: str) -> None:
    if header.dtype.hasobject:
        fix = "objects need pickle, which can run any code, so they are never read: save numbers or text"
        raise DataError("an array of numbers or text", got="Python objects", fix=fix, where=where)
    if header.dtype.kind not in "biufcUS" or header.dtype.itemsize == 0:
        raise DataError("an array of numbers or text", got=f"dtype {header.dtype}", where=where)


def _fill(stream: IO[bytes], out: np.ndarray, where: str) -> None:
    view, done = out.view(np.uint8), 0
    while done < len(view):
        try:
            part = stream.read(min(len(view) - done, 2**24))
        except Exception as error:  # zlib.error, BadZipFile (checksum), EOFError, OSError
            raise _damaged(where, error) from None
        if not part:
            raise DataError("a whole array", got="a file that is cut short", fix="save it again", where=where)
        view[done : done + len(part)] = np.frombuffer(part, dtype=np.uint8)
        done += len(part)


def _damaged(where: str, error: Exception) -> DataError:
    return DataError("a whole .npy array", got=_said(error), fix="save it again", where=where)


def _said(error: Exception) -> str:
    text = " ".join(str(error).split()).partition(". ")[0]
    return f"{type(error).__name__}: {text[:80]}" if text else type(error).__name__


def check_numbers(header_or_array: Header | np.ndarray, where: str) -> None:
    """Refuse text, complex numbers and the like where numbers are needed."""
    if header_or_array.dtype.kind not in "biuf":
        kinds = {"U": "text", "S": "text", "c": "complex numbers", "O": "Python objects"}
        got = kinds.get(header_or_array.dtype.kind, "something else")
        got = f"{got} (dtype {header_or_array.dtype})"
        raise DataError("real numbers", got=got, fix="save floats or whole numbers", where=where)


def names_of(headers: dict[str, Header]) -> str:
    """The arrays of a file with their shapes, for an error message."""
    shown: Sequence[str] = [f"{name} {header.shape}" for name, header in headers.items()]
    return ", ".join(shown[:8]) + (", ..." if len(shown) > 8 else "") or "none"


def one_array(npz: Npz, path: Path, names: Sequence[str], factors: Sequence[str] = ("factors",)) -> str:
    """Which array of an archive holds the items: the first of these names, or the only one of two axes or more.

    Args:
        npz: The archive.
        path: Its file, for errors.
        names: What such an array may be called, the usual name first.
        factors: Matrices that are something else.

    Raises:
        DataError: There is none, or there are several.
    """
    for name in names:
        if name in npz.headers:
            return name
    several = [name for name, h in npz.headers.items() if len(h.shape) >= 2 and name not in factors]
    if len(several) != 1:
        got, fix = names_of(npz.headers), f"name the items '{names[0]}'"
        raise DataError(f"an array '{names[0]}', or only one of two axes or more", got=got, fix=fix, where=str(path))
    return several[0]
