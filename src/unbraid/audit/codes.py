"""Parts as matrices that a probe can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from torch import Tensor

from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.core.parts import PartSpec

WIDEST = 512
"""Numbers per item that a probe reads; wider parts are read along their leading directions."""
_MOST_VALUES = 64


@dataclass(frozen=True)
class Code:
    """One part as the audit reads it.

    Attributes:
        name: The part.
        values: What its columns and gauges are told from (N, D).
        read: What the probes of the whole part read (N, D'): values, one-hot symbols or leading directions.
        columns: Whether each column is also asked on its own.
        discrete: Whether the values are symbols.
        spec: Its declaration, or None.
        note: What was averaged, spelled out or left out.
    """

    name: str
    values: Float[np.ndarray, "n d"]
    read: Float[np.ndarray, "n r"] = field(repr=False)
    columns: bool = False
    discrete: bool = False
    spec: PartSpec | None = None
    note: str = ""


def codes(
    parts: Mapping[str, np.ndarray | Tensor], specs: Sequence[PartSpec] | None, rows: int, seed: int
) -> list[Code]:
    """All parts, checked.

    Raises:
        DataError: Rows that do not match the factors', or a value that is not finite.
        ConfigError: A declaration of a part that is not there.
    """
    declared = {spec.name: spec for spec in specs or ()}
    for name in declared:
        if name not in parts:
            raise ConfigError("declared parts that are there", got=f"'{name}'", fix=nearest(name, parts))
    return [_code(name, parts[name], declared.get(name), rows, seed) for name in parts]


def _code(name: str, part: np.ndarray | Tensor, spec: PartSpec | None, rows: int, seed: int) -> Code:
    array = part.detach().cpu().double().numpy() if isinstance(part, Tensor) else np.asarray(part)
    if array.dtype.kind not in "iufb":
        raise DataError("numbers", got=str(array.dtype), where=f"part '{name}'")
    if not array.ndim or len(array) != rows:
        got = f"{len(array)} rows" if array.ndim else "a single number"
        raise DataError(f"as many rows as the factors have ({rows})", got=got, where=f"part '{name}'")
    kind, note = spec.kind if spec else "vec", ""
    if kind == "seq" and array.ndim == 3:
        array, note = array.mean(1), "averaged over time"
    if kind == "map" and array.ndim == 4:
        array, note = array.mean((2, 3)), "averaged over the image plane"
    values = array.reshape(rows, -1).astype(np.float64)
    _check_finite(name, values)
    discrete = kind == "ids" or bool(spec and spec.classes)
    read = _one_hot(values) if kind == "ids" else values
    if read.shape[1] > WIDEST:
        read, wide = _leading(read, seed), read.shape[1]
        note = "; ".join(n for n in (note, f"{wide} numbers per item read along {WIDEST} leading directions") if n)
    return Code(name, values, read, kind in ("fam", "ids") and values.shape[1] > 0, discrete, spec, note)


def _check_finite(name: str, values: np.ndarray) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = (int(i) for i in bad[0])
        got = str(values[row, column])
        fix = f"mend or leave out the {len(np.unique(bad[:, 0]))} rows concerned"
        raise DataError("finite numbers", got=got, where=f"part '{name}', row {row}, column {column}", fix=fix)


def _one_hot(values: np.ndarray) -> np.ndarray:
    """Each column's symbols spelled out; of more than 64 the rarer share one."""
    found = []
    for column in values.T:
        symbols, counts = np.unique(column, return_counts=True)
        kept = np.sort(symbols[np.argsort(-counts, kind="stable")[:_MOST_VALUES]])
        found.append(column[:, None] == kept[None, :])
    return np.concatenate(found, 1).astype(np.float64)


def _leading(values: np.ndarray, seed: int) -> np.ndarray:
    """Coordinates along the leading directions, found by a random sketch (Halko et al., 2011)."""
    rng = np.random.default_rng(seed)
    scale = values.std(0)
    z = ((values - values.mean(0)) / np.where(scale > 0, scale, np.inf)).astype(np.float32)
    sketch = z @ rng.standard_normal((z.shape[1], min(WIDEST + 32, *z.shape)), dtype=np.float32)
    basis, _ = np.linalg.qr(z.T @ sketch)
    turned = z @ basis
    _, _, axes = np.linalg.svd(turned.T @ turned)
    return np.asarray(turned @ axes[:WIDEST].T, dtype=np.float64)
