"""Change one part, keep the rest, decode: every verb makes one `Grid` from one pass through the decoder."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace as with_
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.errors import ConfigError, nearest
from unbraid.core.method import Decodes, Method
from unbraid.core.parts import Parts, PartSpec
from unbraid.steer.ranges import Range, code_range

STEPS = 8
_MOST_VALUES = 16  # of a discrete column that are all shown
_CHUNK = 2048  # decoded at once, to bound memory


@dataclass(frozen=True, eq=False)
class Grid:
    """Decoded observations in rows and steps.

    Attributes:
        kind: The verb that made it.
        arrays: The observations, in the layout of the field `x`; NaN where a row has fewer steps than the longest.
        labels: What each row steers, such as "latents[3]".
        heads: What each step is; empty where it needs no words.
        items: Row of the given items that each row of the grid started from.
        values: The steered code at each step; NaN where nothing is shown, or where it is more than one number.
        changed: How much a row's observations differ: the root mean square distance to their mean.
        own: The step nearest to the item's own code, or -1.
        unit: Whether observations lie in [0, 1].
        parts: The codes that were decoded, row by row, without the gaps.
    """

    kind: Literal["traverse", "interpolate", "swap", "replace"]
    arrays: Float[np.ndarray, "rows steps *item"]
    labels: tuple[str, ...]
    heads: tuple[str, ...]
    items: tuple[int, ...]
    values: Float[np.ndarray, "rows steps"]
    changed: Float[np.ndarray, " rows"]
    own: tuple[int, ...]
    unit: bool
    parts: Parts

    @property
    def shown(self) -> np.ndarray:
        """Which cells (rows, steps) hold an observation."""
        axes = tuple(range(2, self.arrays.ndim))
        return np.asarray(~np.isnan(self.arrays).all(axis=axes))

    def top(self, rows: int) -> Grid:
        """The first rows only; in a traverse they are those that change most."""
        counts = self.shown.sum(1)
        return with_(
            self,
            arrays=self.arrays[:rows],
            labels=self.labels[:rows],
            items=self.items[:rows],
            values=self.values[:rows],
            changed=self.changed[:rows],
            own=self.own[:rows],
            parts=self.parts.rows(slice(int(counts[:rows].sum()))),
        )


@runtime_checkable
class Rolls(Protocol):
    """Moves codes along paths of its own, each of which is a column of a derived part."""

    def roll(self, parts: Parts, part: str, steps: int) -> Sequence[Parts]:
        """The parts after each of some steps; backwards where there are fewer than none."""


# ------------------------------------------------------------------------------------------------------- the verbs


def traverse(
    method: Method[Any],
    items: Parts,
    codes: Parts,
    names: str | Sequence[str] | None = None,
    *,
    steps: int | None = None,
    beyond: float = 0.0,
) -> Grid:
    """Move one column at a time through the range of the data, all else kept.

    Args:
        method: A method that decodes.
        items: Codes of the few items to start from.
        codes: Codes of data, some 2,000 items; they define the range.
        names: Columns ("latents[3]"), families (all their columns) or scalar parts; None takes all there are.
        steps: Observations per row. None takes 8, and for discrete columns every value observed, up to 16.
        beyond: How far to leave the range of the data, as a share of its width.

    Returns:
        A row per column and item, the columns that change the observation most first. Discrete columns go through
        their observed values; those with fewer values than steps have shorter rows. A method that rolls goes along its
        own paths instead, where these are named or nothing is (see `roll`).

    Raises:
        ConfigError: The method does not decode, or a name is no column of its.
    """
    decoder, specs = _decoder(method), method.parts()
    if isinstance(method, Rolls) and _derived(specs, names):
        return roll(method, items, names, steps=steps)
    columns = _columns(specs, items, names)
    ranges = [code_range(codes, column, specs) for column in columns]
    paths = [_path(r, steps, beyond) for r in ranges]
    count, longest = items.size, max(len(path) for path in paths)
    lengths = [len(path) for path in paths for _ in range(count)]  # of each row of the grid
    starts = list(itertools.accumulate(lengths, initial=0))
    index = torch.cat([torch.arange(count).repeat_interleave(len(path)) for path in paths])
    tensors = {name: t.clone() for name, t in _moved(items, method).rows(index.to(_device(method))).items()}
    values, own = np.full((len(lengths), longest), np.nan), []
    for row, length in enumerate(lengths):
        column, path = columns[row // count], paths[row // count]
        _assign(tensors, column, slice(starts[row], starts[row + 1]), path)
        values[row, :length] = path.numpy()
        own.append(int((path - items[column][row % count].float().cpu()).abs().argmin()))
    parts = Parts(tensors)
    flat = _decode(decoder, method, parts)
    arrays = np.full((len(lengths), longest, *flat.shape[1:]), np.nan, dtype=np.float32)
    for row, length in enumerate(lengths):
        arrays[row, :length] = flat[starts[row] : starts[row + 1]]
    changed = _changed(arrays)
    by_column = changed.reshape(len(columns), count).mean(1)
    order = np.argsort(-by_column, kind="stable")
    rows = [int(column) * count + item for column in order for item in range(count)]
    heads = ("low", *[""] * (longest - 2), "high") if longest > 1 else ("",)
    return Grid(
        "traverse",
        arrays[rows],
        tuple(columns[row // count] for row in rows),
        heads,
        tuple(row % count for row in rows),
        values[rows],
        changed[rows],
        tuple(own[row] for row in rows),
        _unit(method),
        parts.rows(torch.cat([torch.arange(starts[row], starts[row + 1]) for row in rows]).to(_device(method))),
    )


def roll(
    method: Method[Any], items: Parts, names: str | Sequence[str] | None = None, *, steps: int | None = None
) -> Grid:
    """Move codes along the method's own paths, step by step to both sides.

    Args:
        method: A method that decodes and rolls.
        items: Codes of the few items to start from.
        names: Columns of derived parts ("potentials[3]"), or such parts; None takes all there are.
        steps: Observations per row, the item's own included; None takes 9.

    Returns:
        A row per column and item, the columns that change the observation most first; values are numbers of steps.

    Raises:
        ConfigError: The method does not decode or roll, or a name is none of its paths.
    """
    decoder, specs = _decoder(method), method.parts()
    if not isinstance(method, Rolls):
        raise ConfigError("a method with paths of its own", got=f"'{method.card.name}', which has none")
    columns = _derived_columns(specs, names)
    steps = STEPS + 1 if steps is None else steps
    if steps < 2:
        raise ConfigError("2 steps or more", got=str(steps), where="steps")
    back, count, start = (steps - 1) // 2, items.size, _moved(items, method)
    with _at_rest(method):
        paths = [
            [*reversed(method.roll(start, column, -back)), start, *method.roll(start, column, steps - 1 - back)]
            for column in columns
        ]
    rows = len(columns) * count
    arrays = np.stack([_decode(decoder, method, Parts.cat(path)) for path in paths])  # (columns, steps * count, ...)
    arrays = arrays.reshape(len(columns), steps, count, *arrays.shape[2:]).swapaxes(1, 2)
    arrays = arrays.reshape(rows, steps, *arrays.shape[3:])
    changed = _changed(arrays)
    order = np.argsort(-changed.reshape(len(columns), count).mean(1), kind="stable")
    chosen = [int(column) * count + item for column in order for item in range(count)]
    one = torch.tensor([0], device=_device(method))
    return Grid(
        "traverse",
        arrays[chosen],
        tuple(columns[row // count] for row in chosen),
        ("low", *[""] * (steps - 2), "high"),
        tuple(row % count for row in chosen),
        np.tile(np.arange(steps) - float(back), (rows, 1)),
        changed[chosen],
        (back,) * rows,
        _unit(method),
        Parts.cat([parts.rows(one + row % count) for row in chosen for parts in paths[row // count]]),
    )


def interpolate(
    method: Method[Any],
    a: Parts,
    b: Parts,
    names: str | Sequence[str],
    *,
    steps: int = STEPS,
    codes: Parts | None = None,
) -> Grid:
    """Go from `a` to `b` in some parts in even steps, all else kept as in `a`.

    Args:
        method: A method that decodes.
        a: Codes of the items to start from.
        b: Codes of the items to end at, as many.
        names: Parts or columns that go over; those that ride with them follow.
        steps: Observations per row, both ends included.
        codes: Codes of data; needed for discrete families, which step through the values observed.

    Raises:
        ConfigError: The method does not decode, no such part, or the part is made of ids, between which nothing lies.
    """
    decoder, specs = _decoder(method), method.parts()
    _same_size(a, b)
    if steps < 2:
        raise ConfigError("2 steps or more", got=str(steps), where="steps")
    wanted = _steered(specs, a, names)
    count = a.size
    share = torch.linspace(0, 1, steps, device=_device(method)).repeat(count)
    start, end = (_moved(p, method).rows(_repeated(count, steps).to(_device(method))) for p in (a, b))
    new = {name: _between(name, start[name], end[name], share, _spec(specs, name), codes, specs) for name in wanted}
    heads = tuple(f"{round(100 * i / (steps - 1))} %" for i in range(steps))
    return _grid("interpolate", method, decoder, start.replace(new), count, heads, wanted)


def swap(method: Method[Any], a: Parts, b: Parts, names: str | Sequence[str]) -> Grid:
    """Exchange some parts of two items, in both directions, and keep the others.

    Args:
        method: A method that decodes.
        a: Codes of the first items.
        b: Codes of the second items, as many.
        names: Parts or columns that are exchanged; those that ride with them follow.

    Returns:
        A row per pair with four observations: a, b, a with b's part, b with a's part.

    Raises:
        ConfigError: The method does not decode, or no such part.
    """
    decoder, specs = _decoder(method), method.parts()
    _same_size(a, b)
    wanted = _steered(specs, a, names)
    one, two = _moved(a, method), _moved(b, method)
    four = [one, two, *one.swap(two, *wanted)]
    count = a.size
    index = torch.arange(4 * count).reshape(4, count).T.flatten().to(_device(method))
    what = " and ".join(_asked(names))
    heads = ("a", "b", f"a with b's {what}", f"b with a's {what}")
    return _grid("swap", method, decoder, Parts.cat(four).rows(index), count, heads, wanted)


def replace(
    method: Method[Any],
    a: Parts,
    name: str,
    value: float | Tensor,
    codes: Parts,
    *,
    beyond: float = 0.0,
) -> Grid:
    """Set one part or column to a value and keep the others.

    Args:
        method: A method that decodes.
        a: Codes of the items to change.
        name: A part or column.
        value: One number, one item of the part's shape, or one per item; discrete parts take the nearest value
            observed.
        codes: Codes of data; they define the range.
        beyond: How far the value may leave the range of the data, as a share of its width.

    Returns:
        A row per item with two observations: before and after.

    Raises:
        ConfigError: The method does not decode, no such part, a value of another shape, or one outside the range.
    """
    decoder, specs = _decoder(method), method.parts()
    (wanted,) = _steered(specs, a, name, ride=False)
    before = _moved(a, method)
    target = before[wanted]
    given = torch.as_tensor(value).cpu()
    if given.shape not in ((), target.shape[1:], target.shape):
        raise ConfigError(f"one value, or shape {tuple(target.shape[1:])}", got=f"{tuple(given.shape)}", where=name)
    checked = code_range(codes, wanted, specs).checked(given.expand(target.shape), beyond)
    after = before.replace({wanted: checked.to(target)})
    count = a.size
    index = torch.arange(2 * count).reshape(2, count).T.flatten().to(_device(method))
    text = f" = {float(given):g}" if not given.ndim else " replaced"
    heads = ("before", f"{wanted}{text}")
    return _grid("replace", method, decoder, Parts.cat([before, after]).rows(index), count, heads, (wanted,))


# --------------------------------------------------------------------------------------------------------- naming


def _asked(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _spec(specs: Sequence[PartSpec], name: str) -> PartSpec:
    """The spec of a part or column.

    Raises:
        ConfigError: No such part or column, or one that is derived and never decoded.
    """
    part, _, column = name.partition("[")
    known = {s.name: s for s in specs}
    if part not in known:
        raise ConfigError("the name of a part", got=f"'{name}'", fix=nearest(part, known))
    spec = known[part]
    if spec.of is not None:
        got = f"'{part}', which is derived from '{spec.of}'"
        raise ConfigError("a part that is decoded", got=got, fix=f"steer '{spec.of}'")
    if column and not (column.removesuffix("]").isdecimal() and int(column[:-1]) < (spec.shape or (0,))[0]):
        columns = f"'{part}[0]' to '{part}[{spec.shape[0] - 1}]'" if spec.shape else f"'{part}', a single number"
        raise ConfigError(f"a column from {columns}" if spec.shape else columns, got=f"'{name}'")
    return spec


def _columns(specs: Sequence[PartSpec], items: Parts, names: str | Sequence[str] | None) -> tuple[str, ...]:
    """Names of single numbers, families taken apart."""
    if names is None:
        names = [s.name for s in specs if s.of is None and (s.kind in ("fam", "sca") or (s.classes and not s.shape))]
        if not names:
            fix = "name columns of a vector, such as 'content[0]', or use swap and interpolate"
            raise ConfigError("a method with a family of columns", got=", ".join(s.name for s in specs), fix=fix)
    found: list[str] = []
    for name in _asked(names):
        spec = _spec(specs, name)
        found += spec.columns if spec.kind == "fam" and name == spec.name else (name,)
        if items[found[-1]].ndim != 1:
            fix = f"name a column, such as '{name}[0]'" if len(spec.shape) == 1 else "use swap or interpolate"
            raise ConfigError("a part that is one number per item", got=f"'{name}' of shape {spec.shape}", fix=fix)
    return tuple(dict.fromkeys(found))


def _derived(specs: Sequence[PartSpec], names: str | Sequence[str] | None) -> bool:
    """Whether derived parts are meant, as they are where nothing is named."""
    derived = {s.name for s in specs if s.of is not None}
    return bool(derived) and (names is None or all(name.partition("[")[0] in derived for name in _asked(names)))


def _derived_columns(specs: Sequence[PartSpec], names: str | Sequence[str] | None) -> tuple[str, ...]:
    known = {s.name: s.columns or (s.name,) for s in specs if s.of is not None}
    every = [column for columns in known.values() for column in columns]
    found: list[str] = []
    for name in every if names is None else _asked(names):
        if name not in known and name not in every:
            raise ConfigError("a path of the method", got=f"'{name}'", fix=nearest(name, every))
        found += known.get(name, (name,))
    return tuple(dict.fromkeys(found))


def _steered(
    specs: Sequence[PartSpec], items: Parts, names: str | Sequence[str], *, ride: bool = True
) -> tuple[str, ...]:
    """The named parts, and those that must travel with them."""
    found: list[str] = []
    for name in _asked(names):
        spec = _spec(specs, name)
        items[name]
        found += [name, *(spec.rides if ride else ())]
    if not found:
        raise ConfigError("at least one part", got="none", fix=nearest("", [s.name for s in specs]))
    return tuple(dict.fromkeys(found))


def _same_size(a: Parts, b: Parts) -> None:
    if a.size != b.size:
        raise ConfigError("as many items to end at as to start from", got=f"{a.size} and {b.size}")


# ------------------------------------------------------------------------------------------------------- the codes


def _path(span: Range, steps: int | None, beyond: float) -> Float[Tensor, " steps"]:
    if steps is None:
        steps = STEPS if span.values is None else _MOST_VALUES
    if steps < 1:
        raise ConfigError("1 step or more", got=str(steps), where="steps")
    return span.steps(steps, beyond)


def _assign(tensors: dict[str, Tensor], name: str, rows: slice, path: Float[Tensor, " steps"]) -> None:
    part, _, column = name.partition("[")
    tensor = tensors[part]
    path = path.to(tensor)
    if column:
        tensor[rows, int(column[:-1])] = path
    else:
        tensor[rows] = path


def _between(
    name: str,
    start: Float[Tensor, "batch *part"],
    end: Float[Tensor, "batch *part"],
    share: Float[Tensor, " batch"],
    spec: PartSpec,
    codes: Parts | None,
    specs: Sequence[PartSpec],
) -> Float[Tensor, "batch *part"]:
    if spec.kind == "ids":
        raise ConfigError("a part with values between others", got=f"'{name}', made of ids", fix="use swap or replace")
    share = share.reshape(-1, *[1] * (start.ndim - 1))
    mixed = torch.lerp(start.float(), end.float(), share)
    if spec.classes is None:
        return mixed.to(start)
    if codes is None:
        raise ConfigError("codes of data, whose values a discrete part steps through", got="none", where=name)
    snapped = code_range(codes, name, specs).inside(mixed)
    # The ends are the items' own codes, whether or not they are among the data.
    return torch.where(share == 0, start, torch.where(share == 1, end, snapped.to(start)))


def _repeated(count: int, steps: int) -> Int[Tensor, " rows"]:
    return torch.arange(count).repeat_interleave(steps)


# ----------------------------------------------------------------------------------------------------- the decoder


def _decoder(method: Method[Any]) -> Decodes:
    if not isinstance(method, Decodes):
        got = f"'{method.card.name}', which only encodes"
        raise ConfigError("a method that decodes", got=got, fix="audit it, or steer another")
    return method


def _device(method: Method[Any]) -> torch.device:
    tensor = next(itertools.chain(method.parameters(), method.buffers()), None)
    return tensor.device if tensor is not None else torch.device("cpu")


def _moved(parts: Parts, method: Method[Any]) -> Parts:
    return parts.detach().to(_device(method))


def _unit(method: Method[Any]) -> bool:
    return "x" in method.fields and method.fields["x"].unit


@contextmanager
def _at_rest(method: Method[Any]) -> Iterator[None]:
    """Eval mode without gradients, and the modes of all submodules as they were afterwards."""
    modes = {module: module.training for module in method.modules()}
    method.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def _decode(decoder: Decodes, method: Method[Any], parts: Parts) -> Float[np.ndarray, "batch *item"]:
    with _at_rest(method):
        chunks = [parts] if parts.size <= _CHUNK else _chunks(parts)
        out = torch.cat([decoder.decode(chunk).float().cpu() for chunk in chunks])
    return np.asarray(out.numpy())


def _chunks(parts: Parts) -> list[Parts]:
    return [parts.rows(slice(first, first + _CHUNK)) for first in range(0, parts.size, _CHUNK)]


def _grid(
    kind: Literal["interpolate", "swap", "replace"],
    method: Method[Any],
    decoder: Decodes,
    parts: Parts,
    count: int,
    heads: tuple[str, ...],
    names: tuple[str, ...],
) -> Grid:
    """A grid with a row per item; `parts` hold the rows one after the other."""
    flat = _decode(decoder, method, parts)
    arrays = flat.reshape(count, len(heads), *flat.shape[1:])
    code = parts[names[0]]
    values = np.full(arrays.shape[:2], np.nan)
    if code.ndim == 1:
        values = code.float().cpu().numpy().reshape(values.shape).astype(np.float64)
    label = ", ".join(names)
    changed = _changed(arrays)
    items = tuple(range(count))
    return Grid(kind, arrays, (label,) * count, heads, items, values, changed, (-1,) * count, _unit(method), parts)


def _changed(arrays: Float[np.ndarray, "rows steps *item"]) -> Float[np.ndarray, " rows"]:
    flat = arrays.reshape(*arrays.shape[:2], -1).astype(np.float64)
    away = flat - np.nanmean(flat, axis=1, keepdims=True)
    return np.asarray(np.sqrt(np.nanmean(away**2, axis=(1, 2))))
