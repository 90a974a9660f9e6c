"""Who comes when: permutations, draws, folds and splits as pure functions of a key, with random access."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from unbraid.core.errors import DataError

Groups = np.ndarray | Tensor
"""(n,) numbers or text: the unit each item belongs to."""

_ROUNDS = 6
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def key_of(*parts: int | str) -> int:
    """A key in 0..2^63-1, told from whole numbers and texts alone; the same in every process and on every machine.

    >>> key_of(3, "train", 0)
    5900817392028003294
    >>> key_of(3, "train", 0) == key_of(3, "train", 1)
    False
    """
    plain = tuple(p if isinstance(p, str) else int(p) for p in parts)
    return int.from_bytes(hashlib.blake2b(repr(plain).encode(), digest_size=8).digest(), "little") >> 1


def shuffled(n: int, key: int, positions: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """Where a keyed permutation of 0..n-1 sends some positions, without computing the others.

    Args:
        n: Length of what is permuted, at least 1.
        key: Which permutation, see `key_of`.
        positions: Positions in 0..n-1.

    >>> sorted(shuffled(7, key_of(0), torch.arange(7)).tolist())
    [0, 1, 2, 3, 4, 5, 6]
    """
    _check_length(n)
    x = _positions(positions)
    if x.size and int(x.max()) >= n:
        raise DataError(f"positions 0..{n - 1}", got=str(int(x.max())))
    return _tensor(_permute(n, np.full(x.shape, key, dtype=np.uint64), x), positions)


def epoch_positions(
    positions: Int[Tensor, " batch"], n: int, seed: int, stream: str = "train"
) -> Int[Tensor, " batch"]:
    """The items at some positions of an endless run over n items in which each epoch has an order of its own.

    Args:
        positions: Counted over the whole run from 0; a batch may straddle epochs.
        n: Items in one epoch.
        seed: The run's seed.
        stream: What the run is for: two streams have different orders.

    >>> epoch_positions(torch.arange(6), 3, seed=0).reshape(2, 3).sort(1).values.tolist()
    [[0, 1, 2], [0, 1, 2]]
    """
    _check_length(n)
    epochs, within = np.divmod(_positions(positions), np.uint64(n))
    distinct, which = np.unique(epochs, return_inverse=True)
    keys = np.array([key_of(seed, stream, int(e)) for e in distinct], dtype=np.uint64)
    return _tensor(_permute(n, keys[which] if distinct.size else keys, within), positions)


def iid(n: int, key: int, count: int) -> Int[Tensor, " count"]:
    """Independent draws from 0..n-1, with repetition.

    >>> iid(10, key_of("probe"), 4).shape
    torch.Size([4])
    """
    _check_length(n)
    with np.errstate(over="ignore"):
        counter = np.uint64(key) + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
    return torch.from_numpy((_mix(counter) % np.uint64(n)).astype(np.int64))


def grouped_folds(groups: Groups | None, n: int, k: int, seed: int) -> Int[Tensor, " n"]:
    """A fold 0..k-1 for each of n items, as equal in size as whole groups allow; no group lies in two folds.

    Args:
        groups: The group of each item, or None when items stand for themselves; all missing (NaN) are one group.
        n: Number of items.
        k: Number of folds.
        seed: Which of the many ways.

    Raises:
        DataError: There are fewer groups (or items) than folds.

    >>> grouped_folds(np.array([5, 5, 9, 9, 2, 2]), 6, 3, seed=0).reshape(3, 2).unique(dim=1).flatten().sort().values
    tensor([0, 1, 2])
    """
    _check_folds(k)
    key = key_of(seed, "folds")
    if groups is None:
        _check_enough(n, k, "items")
        return shuffled(n, key, torch.arange(n)) % k
    of, sizes = _numbered(groups, n)
    _check_enough(len(sizes), k, "groups")
    shuffle = shuffled(len(sizes), key, torch.arange(len(sizes))).numpy()
    largest_first = shuffle[np.argsort(-sizes[shuffle], kind="stable")]
    fold_of, filled = np.empty(len(sizes), dtype=np.int64), np.zeros(k)
    for group in largest_first:
        fold_of[group] = filled.argmin()
        filled[fold_of[group]] += sizes[group]
    return torch.from_numpy(fold_of[of])


def split(
    n: int, share: float, seed: int, groups: Groups | None = None
) -> tuple[Int[Tensor, " kept"], Int[Tensor, " held"]]:
    """Two ascending lists of items: those to learn from, and a share held out; no group lies in both.

    Args:
        n: Number of items.
        share: Share held out, between 0 and 1; reached as nearly as whole groups allow, neither side being empty.
        seed: Which of the many ways.
        groups: The group of each item, or None.

    >>> kept, held = split(10, 0.3, seed=0)
    >>> len(kept), len(held)
    (7, 3)
    """
    if not 0 < share < 1:
        raise DataError("a share between 0 and 1", got=f"{share:g}")
    of, sizes = _numbered(groups, n) if groups is not None else (np.arange(n), np.ones(n, dtype=np.int64))
    _check_enough(len(sizes), 2, "items" if groups is None else "groups")
    shuffle = shuffled(len(sizes), key_of(seed, "split"), torch.arange(len(sizes))).numpy()
    filled = np.cumsum(sizes[shuffle])
    cut = int(np.abs(filled[:-1] - share * n).argmin()) + 1
    held = np.zeros(len(sizes), dtype=bool)
    held[shuffle[:cut]] = True
    return torch.from_numpy(np.flatnonzero(~held[of])), torch.from_numpy(np.flatnonzero(held[of]))


def _permute(n: int, keys: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A Feistel network on the a x b grid that just holds 0..n-1; what leaves 0..n-1 walks on until it returns."""
    a = math.isqrt(n - 1) + 1
    sides = np.uint64(a), np.uint64(-(-n // a))
    x, todo = x.copy(), np.arange(len(x))
    while todo.size:
        x[todo] = _feistel(sides, keys[todo], x[todo])
        todo = todo[x[todo] >= n]
    return x


def _feistel(sides: tuple[np.uint64, np.uint64], keys: np.ndarray, x: np.ndarray) -> np.ndarray:
    a, b = sides
    left, right = np.divmod(x, b)
    for turn in range(_ROUNDS):
        with np.errstate(over="ignore"):
            tweak = _mix(keys + np.uint64(turn + 1) * _GOLDEN)
        if turn % 2:
            right = (right + _mix(left ^ tweak) % b) % b
        else:
            left = (left + _mix(right ^ tweak) % a) % a
    return np.asarray(left * b + right)


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64: every bit in moves half of the bits out."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


def _positions(positions: Tensor) -> np.ndarray:
    x = positions.detach().cpu().numpy().astype(np.int64)
    if x.size and int(x.min()) < 0:
        raise DataError("positions from 0 on", got=str(int(x.min())))
    return x.astype(np.uint64)


def _tensor(x: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(x.astype(np.int64)).to(like.device)


def _numbered(groups: Groups, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Group numbers 0..g-1 of all items, and the groups' sizes."""
    plain = groups.detach().cpu().numpy() if isinstance(groups, Tensor) else np.asarray(groups)
    if plain.shape != (n,):
        raise DataError(f"a group for each of {n} items", got=f"shape {plain.shape}", where="groups")
    _, of, sizes = np.unique(plain, return_inverse=True, return_counts=True)
    return of, sizes


def _check_length(n: int) -> None:
    if n < 1:
        raise DataError("at least one item", got=str(n))


def _check_folds(k: int) -> None:
    if k < 2:
        raise DataError("at least 2 folds", got=str(k))


def _check_enough(have: int, k: int, what: str) -> None:
    if have < k:
        raise DataError(f"at least {k} {what} to part", got=str(have), fix="use fewer folds or more data")
