"""Faces and birds with lists of attributes beside them: the files of CelebA and of CUB-200-2011."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from unbraid.core.errors import DataError
from unbraid.data.dataset import Dataset
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.readers.check import LIMIT, brief, check_size, open_bytes
from unbraid.data.readers.images import Box, open_images
from unbraid.data.wrapped import ATTRIBUTES, SPLIT

_NO_YES = ("no", "yes")
_CELEBA_SPLITS = ("train", "validation", "test")


def open_celeba(path: Path, size: int = 64, crop: int = 148) -> Dataset:
    """CelebA's aligned faces with their binary attributes, and the published split where its list is there.

    Of the listed images those that are there are taken.

    Args:
        path: The folder with `img_align_celeba` and the lists.
        size: Height and width that images are brought to.
        crop: Side of the middle square that is cut out first.

    Raises:
        DataError: A file is not there or not as published.
    """
    if crop < 1 or size < 4:
        raise DataError("a size from 4 and a crop from 1 pixels", got=f"{size} and {crop}", where=f"celeba:{path}")
    names, listed, values = _celeba_list(path / "list_attr_celeba.txt")
    folder = _folder(path, "img_align_celeba")
    rows = [i for i, file in enumerate(listed) if (folder / file).is_file()]
    files = _there([listed[i] for i in rows], folder)
    factors = [Factor(name, "categorical", _NO_YES) for name in names]
    columns = [values[rows]]
    partition = path / "list_eval_partition.txt"
    if partition.exists():
        of = {file: _whole(part, where, 0, 2) for where, (file, part) in _rows(partition, 2)}
        factors.append(Factor(SPLIT, "categorical", _CELEBA_SPLITS))
        columns.append(_column(of, files, partition))

    def middle(_row: int, width: int, height: int) -> Box:
        side = min(crop, width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return left, top, left + side, top + side

    table = FactorTable(factors, np.concatenate(columns, 1))
    data = open_images(f"celeba:{path},size={size},crop={crop}", folder, files, table, size, cut=middle)
    return _named(data, names, len(listed))


def open_cub(path: Path, size: int = 64, crop: bool = True) -> Dataset:
    """CUB-200-2011's birds with their binary attributes and species, and the published split.

    Of the listed images those that are there are taken. A box is widened to a square where the image has room.

    Args:
        path: The folder with `images.txt`, `images` and `attributes`.
        size: Height and width that images are brought to.
        crop: Whether birds are cut out by their boxes.

    Raises:
        DataError: A file is not there or not as published.
    """
    if size < 4:
        raise DataError("a size from 4 pixels", got=str(size), where=f"cub:{path}")
    listed = {number: file for _, (number, file) in _rows(path / "images.txt", 2)}
    folder = _folder(path, "images")
    kept = [number for number, file in listed.items() if (folder / file).is_file()]
    files = _there([listed[number] for number in kept], folder)
    labels = path / "attributes" / "image_attribute_labels.txt"
    names = _cub_names(path)
    present = _cub_attributes(labels, len(names), {number: i for i, number in enumerate(kept)})
    factors = [Factor(name, "categorical", _NO_YES) for name in names]
    columns = [present]
    if (classes := path / "image_class_labels.txt").exists():
        species = {number: name for _, (number, name) in _rows(path / "classes.txt", 2)}
        order = {number: i for i, number in enumerate(species)}
        of = {image: _listed_as(number, order, where) for where, (image, number) in _rows(classes, 2)}
        factors.append(Factor("species", "categorical", tuple(species.values())))
        columns.append(_column(of, kept, classes))
    if (split := path / "train_test_split.txt").exists():
        of = {image: 1 - _whole(train, where, 0, 1) for where, (image, train) in _rows(split, 2)}
        factors.append(Factor(SPLIT, "categorical", ("train", "test")))
        columns.append(_column(of, kept, split))
    cut = _Boxes(path / "bounding_boxes.txt", kept) if crop else None
    table = FactorTable(factors, np.concatenate(columns, 1))
    name = f"cub:{path},size={size},crop={str(crop).lower()}"
    return _named(open_images(name, folder, files, table, size, cut=cut), names, len(listed))


class _Boxes:
    """The square around each bird."""

    def __init__(self, path: Path, kept: Sequence[str]) -> None:
        of = {image: tuple(_number(v, where) for v in box) for where, (image, *box) in _rows(path, 5)}
        if missing := [image for image in kept if image not in of]:
            raise DataError("a box for every image", got=f"none for {brief(missing[0])}", where=str(path))
        self.boxes = [of[image] for image in kept]

    def __call__(self, row: int, width: int, height: int) -> Box:
        x, y, w, h = self.boxes[row]
        side = max(1.0, min(max(w, h), width, height))
        left = min(max(0.0, x + (w - side) / 2), width - side)
        top = min(max(0.0, y + (h - side) / 2), height - side)
        return left, top, left + side, top + side


def _named(data: Dataset, names: Sequence[str], listed: int) -> Dataset:
    data.roles = {ATTRIBUTES: ",".join(names)}
    if len(data) < listed:
        data.notes = (*data.notes, f"{len(data)} of {listed} listed images are there")
    return data


def _folder(path: Path, name: str) -> Path:
    if not (path / name).is_dir():
        raise DataError(f"a folder {name}", got="none", fix="give the folder that holds it", where=str(path))
    return path / name


def _there(files: list[str], folder: Path) -> list[str]:
    if not files:
        raise DataError("images that are listed", got="none of them is there", where=str(folder))
    return files


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Where each line that is not blank is, and its words."""
    with open_bytes(path) as raw:
        check_size(path, LIMIT)
        for number, line in enumerate(raw, start=1):
            try:
                words = line.decode("utf-8").split()
            except UnicodeDecodeError:
                raise DataError("text in UTF-8", got="other bytes", where=f"{path} line {number}") from None
            if words:
                yield f"{path} line {number}", words


def _rows(path: Path, width: int) -> Iterator[tuple[str, list[str]]]:
    for where, words in _lines(path):
        if len(words) != width:
            raise DataError(f"{width} words", got=str(len(words)), where=where)
        yield where, words


def _celeba_list(path: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Names of attributes, files, and 0 or 1 (files, attributes)."""
    lines = _lines(path)
    _, first = next(lines, ("", []))
    _, names = next(lines, ("", []))
    if len(first) != 1 or not first[0].isdecimal() or not names:
        raise DataError("a line with the count, and one with the names of attributes", got="others", where=str(path))
    if len(set(names)) < len(names):
        raise DataError("attribute names that differ", got="one twice", where=str(path))
    files, rows = [], []
    for where, (file, *words) in lines:
        if len(words) != len(names) or not {*words} <= {"1", "-1"}:
            got = f"{len(words)} words" if len(words) != len(names) else "others"
            raise DataError(f"{len(names)} times 1 or -1 after the file", got=got, where=where)
        files.append(file)
        rows.append(np.array([word == "1" for word in words]))
    if len(files) != int(first[0]):
        raise DataError(f"{first[0]} files, as the first line says", got=str(len(files)), where=str(path))
    return names, files, np.array(rows, dtype=np.float64)


def _cub_names(path: Path) -> list[str]:
    """The attributes, in a file that the archive holds beside the folder."""
    places = [path / "attributes" / "attributes.txt", path / "attributes.txt", path.parent / "attributes.txt"]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        fix = "it lies beside CUB_200_2011 in the archive"
        raise DataError("a file attributes.txt", got="none", fix=fix, where=str(places[0]))
    names: list[str] = []
    for where, (number, name) in _rows(found, 2):
        if number != str(len(names) + 1):
            raise DataError(f"attribute {len(names) + 1}", got=brief(number), where=where)
        names.append(name)
    if not names or len(set(names)) < len(names):
        raise DataError("attributes whose names differ", got="one twice, or none", where=str(found))
    return names


def _cub_attributes(path: Path, count: int, rows: Mapping[str, int]) -> np.ndarray:
    """0 or 1 (images, attributes). Lines say more (how sure, how long it took), some of them more than they should."""
    found = np.full((len(rows), count), np.nan)
    for where, words in _lines(path):
        if len(words) < 3:
            raise DataError("an image, an attribute, and 0 or 1", got=f"{len(words)} words", where=where)
        row = rows.get(words[0])
        if row is not None:
            found[row, _whole(words[1], where, 1, count) - 1] = _whole(words[2], where, 0, 1)
    if (gap := np.argwhere(np.isnan(found))).size:
        image = next(number for number, i in rows.items() if i == gap[0, 0])
        got = f"none for attribute {gap[0, 1] + 1} of image {image}"
        raise DataError("a line for every attribute of every image", got=got, where=str(path))
    return found


def _column(of: Mapping[str, int], items: Sequence[str], path: Path) -> np.ndarray:
    for item in items:
        if item not in of:
            raise DataError("a line for every image", got=f"none for {brief(item)}", where=str(path))
    return np.array([of[item] for item in items], dtype=np.float64)[:, None]


def _whole(text: str, where: str, low: int, high: int) -> int:
    if not text.isdecimal() or not low <= int(text) <= high:
        raise DataError(f"a whole number {low}..{high}", got=brief(text), where=where)
    return int(text)


def _listed_as(number: str, order: Mapping[str, int], where: str) -> int:
    if number not in order:
        raise DataError("a class that classes.txt lists", got=brief(number), where=where)
    return order[number]


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value) or value < 0:
        raise DataError("a number from 0 on", got=brief(text), where=where)
    return value
