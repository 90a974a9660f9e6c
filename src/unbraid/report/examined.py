"""The standard evaluation of a method as the page shows it: numbers, tables, and drawings of arrays."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbraid.core.errors import RunError
from unbraid.report.curves import Curve, svg
from unbraid.report.words import number
from unbraid.training.checkpoints import load_tensors
from unbraid.training.files import read_json

if TYPE_CHECKING:
    from torch import Tensor

_MOST_ROWS = 40
_LARGEST = 256  # sides of a matrix that is drawn
_MOST_POINTS = 600


@dataclass(frozen=True)
class Drawing:
    """An array as a picture: `markup` is safe to put on the page."""

    name: str
    unit: str
    markup: str


@dataclass(frozen=True)
class Examined:
    """What a page shows of `findings.json` and the arrays beside it.

    Attributes:
        numbers: (name, value, unit) of every number.
        tables: (name, head, rows) of every table, long ones cut.
        drawings: Arrays of one axis as lines, of two as pictures.
        notes: What a reader must know.
    """

    numbers: tuple[tuple[str, str, str], ...]
    tables: tuple[tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]], ...]
    drawings: tuple[Drawing, ...]
    notes: tuple[str, ...]


def examined(folder: Path) -> Examined | None:
    """What was found in a run folder, or None where nothing was examined.

    Raises:
        RunError: The file is damaged.
    """
    path = folder / "findings.json"
    if not path.exists():
        return None
    found = read_json(path)
    try:
        units = {str(k): str(v) for k, v in found["units"].items()}
        numbers = tuple((str(k), number(v), units.get(k, "")) for k, v in found["numbers"].items())
        tables = tuple((str(name), *_table(columns)) for name, columns in found["tables"].items())
        notes = tuple(map(str, found["notes"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError("what an examination found", got=str(error), where=str(path)) from None
    arrays = path.with_suffix(".safetensors")
    drawn = load_tensors(arrays) if arrays.exists() else {}
    drawings = tuple(Drawing(n, units.get(n, ""), m) for n, a in drawn.items() if (m := _drawn(n, a)))
    return Examined(numbers, tables, drawings, notes)


def _table(columns: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    rows = list(zip(*columns.values(), strict=True))[:_MOST_ROWS]
    said = tuple(tuple(number(c) if isinstance(c, float) else str(c) for c in row) for row in rows)
    return tuple(map(str, columns)), said


def _drawn(name: str, array: Tensor) -> str:
    if array.ndim == 1 and len(array) > 1:
        stride = -(-len(array) // _MOST_POINTS)
        points = tuple((float(i * stride), float(v)) for i, v in enumerate(array[::stride]) if v.isfinite())
        return svg(Curve(name, points, (("", 0.0),), float(len(array)))) if len(points) > 1 else ""
    if array.ndim == 2 and 1 < max(array.shape) <= _LARGEST and bool(array.isfinite().all()):
        return _heat(name, array)
    return ""


def _heat(name: str, array: Tensor) -> str:
    """A matrix as shades of grey, its largest magnitude black."""
    import numpy as np
    from PIL import Image

    values = array.double().abs().numpy()
    levels = np.rint(255 * (1 - values / max(float(values.max()), 1e-12))).astype(np.uint8)
    picture = Image.fromarray(levels)
    factor = max(1, round(320 / max(picture.size)))
    stream = io.BytesIO()
    picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST).save(stream, "PNG")
    from html import escape

    source = f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
    alt = escape(f"{name}: the darker, the larger; at most {number(float(values.max()))}", quote=True)
    return f'<img src="{source}" alt="{alt}" width="{picture.width * factor // 2}">'
