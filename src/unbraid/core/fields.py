"""The names, shapes and layouts that may travel in a batch, and the facts of one data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from unbraid.core.errors import DataError, nearest

Batch = Mapping[str, Any]
"""One step's data: field name -> tensor with the index shape in front; with several streams, stream name -> Batch."""

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "x": "the observation: image (C, H, W) in [0, 1], series or IQ (C, T), video (T, C, H, W), vector (D,)",
        "crops": "(V, C, H, W): further views of the observation, smaller than those in x",
        "index": "() int: position in the data set",
        "factors": "(K,) float: the row of the factor table, categories as codes, missing as 0",
        "known": "(K,) bool: which entries of the factor row were observed",
        "label": "() int: the class a method may learn from",
        "group": "() int: the unit that splits must not cut (speaker, subject, device, scene)",
        "domain": "() int: the environment an item comes from",
        "instance": "() int: which object or recording an item shows",
        "pose": "(7,) float: where the camera stood: a translation, then a unit quaternion, w first",
        "attributes": "(A,) float: binary attributes or scores",
        "length": "() int: how many steps of a padded sequence are real",
        "valid": "(T,) bool: which steps are real",
        "wave": "(T,) float: sound in [-1, 1]",
        "f0": "(T,) float: fundamental frequency in Hz, 0 where unvoiced",
        "loudness": "(T,) float: A-weighted loudness",
        "feature": "(T, D) or (D,) float: what a frozen network says of the item",
        "token": "(T,) int: symbols of a sequence",
        "state": "(T, S) float or (T,) int: what an agent sees",
        "action": "(T, A) float or (T,) int: what it does",
        "reward": "(T,) float: what it gets",
        "togo": "(T,) float: what it still gets from this step on, in all",
        "done": "(T,) bool: whether the episode ends here",
        "time": "(T,) int: steps since the episode began",
        "user": "() int: who",
        "item": "() int: took what",
        "negative": "() int: and not this",
        "node": "() int: position among users, then items",
        "latent": "(D,) float: the code that a generator makes an item from",
    }
)
"""Every field that may travel, with its shape after the index shape. A new one enters with its first user."""


@dataclass(frozen=True)
class Field:
    """What is known of one field before any batch is seen.

    Attributes:
        shape: Shape of one item.
        dtype: "float32", "int64" or "bool".
        unit: Whether values lie in [0, 1], as images do.
        classes: Number of classes of an integer field.
        names: What the entries of a row are called.
        graph: What causes what among them, as text (see `unbraid.core.graph`).
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    unit: bool = False
    classes: int | None = None
    names: tuple[str, ...] = ()
    graph: str = ""


class Fields(Mapping[str, Field]):
    """Facts of a data set: field name -> `Field`. Immutable; saved in `run.json` and compared on resume.

    >>> fields = Fields(x=Field((1, 16, 16), unit=True))
    >>> fields["x"].shape, Fields.from_json(fields.to_json()) == fields
    ((1, 16, 16), True)
    """

    def __init__(self, **fields: Field) -> None:
        for name in fields:
            if name not in NAMES:
                raise DataError("a field name that the batch knows", got=f"'{name}'", fix=nearest(name, NAMES))
        self._fields = dict(fields)

    def __getitem__(self, name: str) -> Field:
        try:
            return self._fields[name]
        except KeyError:
            have = ", ".join(self._fields) or "none"
            fix = "give some with --factors FILE" if name == "factors" else "use other data"
            raise DataError(f"data with the field '{name}'", got=f"the fields {have}", fix=fix) from None

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and self._fields == other._fields

    def __hash__(self) -> int:
        return hash(tuple(self._fields.items()))

    def __repr__(self) -> str:
        return f"Fields({', '.join(f'{k}={v}' for k, v in self._fields.items())})"

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Plain data for `run.json`."""
        return {
            name: {"shape": list(f.shape), "dtype": f.dtype, "unit": f.unit, "classes": f.classes}
            | ({"names": list(f.names)} if f.names else {})
            | ({"graph": f.graph} if f.graph else {})
            for name, f in self._fields.items()
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Mapping[str, Any]]) -> Fields:
        """The inverse of `to_json`."""
        read = {n: {**f, "shape": tuple(f["shape"]), "names": tuple(f.get("names", ()))} for n, f in data.items()}
        return cls(**{name: Field(**facts) for name, facts in read.items()})


def observation(fields: Fields | Batch) -> str:
    """The field that an item is known by: `x`, or `wave` where there is no `x`.

    >>> observation(Fields(wave=Field((8000,))))
    'wave'
    """
    return "wave" if "wave" in fields and "x" not in fields else "x"
