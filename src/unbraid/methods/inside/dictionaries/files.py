"""Dictionaries of other people, from their files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.readers.arrays import Npz, check_numbers
from unbraid.nets.dictionary import Dictionary, ReLUDictionary, TopKDictionary

_NEEDED = ("W_enc", "b_enc", "W_dec", "b_dec")
_ALSO = ("scale", "k")


def read_dictionary(path: Path, dim: int) -> tuple[Dictionary, Tensor]:
    """A dictionary and the number that activations are divided by, from `.npz` or `.safetensors`.

    The arrays are W_enc (D, W), b_enc (W,), W_dec (W, D) and b_dec (D,); `scale` and `k`, which makes it a TopK
    dictionary, may be there. The decoder's rows may have any length.

    Args:
        path: The file.
        dim: Width D of the activations it is for.

    Raises:
        DataError: It is no such file, lacks an array, or is for other activations.
    """
    arrays = _arrays(path)
    missing = [name for name in _NEEDED if name not in arrays]
    if missing:
        raise DataError(f"the arrays {', '.join(_NEEDED)}", got=f"no {', '.join(missing)}", where=str(path))
    width = len(arrays["b_enc"]) if arrays["b_enc"].ndim == 1 else 0
    shapes = {"W_enc": (dim, width), "b_enc": (width,), "W_dec": (width, dim), "b_dec": (dim,)}
    for name, shape in shapes.items():
        if tuple(arrays[name].shape) != shape or not width:
            got = f"{tuple(arrays[name].shape)}"
            raise DataError(f"'{name}' of shape {shape}", got=got, fix="give it for this place", where=str(path))
    k = int(arrays["k"]) if "k" in arrays else 0
    found = TopKDictionary(dim, width, k) if k else ReLUDictionary(dim, width)
    theirs = {"encoder": arrays["W_enc"].T, "bias": arrays["b_enc"], "decoder": arrays["W_dec"]}
    found.load_state_dict({**theirs, "centre": arrays["b_dec"]})
    return found.eval().requires_grad_(False), arrays.get("scale", torch.ones(())).reshape(())


def _arrays(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".npz":
        with Npz(path) as npz:
            wanted = [name for name in (*_NEEDED, *_ALSO) if name in npz.headers]
            for name in wanted:
                check_numbers(npz.headers[name], f"{path}: array '{name}'")
            return {name: torch.from_numpy(npz.read(name)).float() for name in wanted}
    if path.suffix != ".safetensors":
        raise DataError(".npz or .safetensors", got=f"'{path.name}'", where=str(path))
    try:
        return {name: t.float() for name, t in load_file(path).items()}
    except Exception as error:  # safetensors has an error class of its own, beside OSError
        raise DataError("a whole .safetensors file", got=str(error)[:120], where=str(path)) from None
