"""Dictionaries of vectors in closed form, and how activations are edited with one.

An activation is the sum of a bias and of some of a dictionary's vectors. Attributes are columns of whole numbers, -1
where a value is not known; the vectors of an attribute are one for each value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import one_hot


class Codes(NamedTuple):
    """A dictionary of attributes.

    Attributes:
        bias: (D,): what is there whatever the attributes are.
        vectors: For each attribute (values, D): what each value adds.
    """

    bias: Float[Tensor, " dim"]
    vectors: tuple[Float[Tensor, "values dim"], ...]


def mean_codes(a: Float[Tensor, "n dim"], labels: Int[Tensor, "n attributes"], sizes: Sequence[int]) -> Codes:
    """Each value's vector is the mean of its activations less the mean of all; zero for a value that never occurs.

    >>> codes = mean_codes(torch.tensor([[0.0], [2.0], [4.0]]), torch.tensor([[0], [1], [1]]), [2])
    >>> codes.bias.tolist(), codes.vectors[0].tolist()
    ([2.0], [[-2.0], [1.0]])
    """
    bias = a.mean(0)
    columns = zip(labels.unbind(1), sizes, strict=True)
    return Codes(bias, tuple(_class_means(a - bias, column, size) for column, size in columns))


def _class_means(a: Float[Tensor, "n dim"], label: Int[Tensor, " n"], size: int) -> Float[Tensor, "values dim"]:
    design = _indicators(label, size).to(a.dtype)
    return design.T @ a / design.sum(0).clamp(min=1)[:, None]


def least_squares_codes(a: Float[Tensor, "n dim"], labels: Int[Tensor, "n attributes"], sizes: Sequence[int]) -> Codes:
    """The bias and vectors whose sums come closest to the activations, of all such the shortest (in float64).

    What is added to all vectors of an attribute can be taken from the bias, so only sums mean something.
    """
    ones = torch.ones(len(a), 1, dtype=torch.float64, device=a.device)
    columns = zip(labels.unbind(1), sizes, strict=True)
    design = torch.cat([ones, *(_indicators(column, size).double() for column, size in columns)], 1)
    solved = (torch.linalg.pinv(design.T @ design, hermitian=True) @ (design.T @ a.double())).to(a.dtype)
    bias, *vectors = solved.split([1, *sizes])
    return Codes(bias[0], tuple(vectors))


def _indicators(label: Int[Tensor, " n"], size: int) -> Bool[Tensor, "n values"]:
    return one_hot(label + 1, size + 1)[:, 1:].bool()


def contribution(vectors: Float[Tensor, "values dim"], label: Int[Tensor, " n"]) -> Float[Tensor, "n dim"]:
    """What one attribute adds to each activation: nothing where its value is not known."""
    return torch.where((label >= 0)[:, None], vectors[label.clamp(min=0)], 0.0)


def recompose(codes: Codes, labels: Int[Tensor, "n attributes"]) -> Float[Tensor, "n dim"]:
    """The activations that the attributes stand for."""
    pairs = zip(codes.vectors, labels.unbind(1), strict=True)
    return codes.bias + sum((contribution(v, column) for v, column in pairs), torch.zeros_like(codes.bias))


def scale_of(a: Float[Tensor, "n dim"]) -> Tensor:
    """What activations are divided by so that their mean length is the square root of their width.

    >>> scale_of(torch.tensor([[3.0, 4.0, 0.0, 0.0]])).item()
    2.5
    """
    scale: Tensor = a.norm(dim=1).mean() / math.sqrt(a.shape[1])
    return scale


def shares(acts: Float[Tensor, "batch width"], decoder: Float[Tensor, "width dim"]) -> Float[Tensor, "batch width"]:
    """Each feature's share of a reconstruction (less its bias): its projection on the whole, all of them adding to 1.

    A feature that points against the whole has a negative share; a reconstruction that is nothing has none.
    """
    whole = acts @ decoder
    return acts * (whole @ decoder.T) / whole.square().sum(1, keepdim=True).clamp(min=torch.finfo(acts.dtype).tiny)


class Edited(NamedTuple):
    """What a greedy edit came to.

    Attributes:
        change: (B, D): to be added to the activations.
        chosen: (B, k): the candidate taken at each step.
        left: (B, k): how far the change then still was from what was wanted.
    """

    change: Float[Tensor, "batch dim"]
    chosen: Int[Tensor, "batch k"]
    left: Float[Tensor, "batch k"]


def greedy(
    wanted: Float[Tensor, "batch dim"],
    amounts: Float[Tensor, "batch candidates"],
    rows: Float[Tensor, "candidates dim"],
    k: int,
) -> Edited:
    """Take k candidates, each `amount * row`, one by one: always the one that brings the sum closest to what is wanted.

    A candidate is taken once at most. One that changes nothing may be taken where all others would lead away.
    """
    change, left, chosen = torch.zeros_like(wanted), [], []
    taken = torch.zeros_like(amounts, dtype=torch.bool)
    own = amounts.square() * rows.square().sum(1)  # of |rest - amount row|^2, what does not depend on the rest
    for _ in range(min(k, amounts.shape[1])):
        gain = own - 2 * amounts * ((wanted - change) @ rows.T)
        best = gain.masked_fill(taken, math.inf).argmin(1)
        taken.scatter_(1, best[:, None], True)
        change = change + amounts.gather(1, best[:, None]) * rows[best]
        chosen.append(best)
        left.append((wanted - change).norm(dim=1))
    return Edited(change, torch.stack(chosen, 1), torch.stack(left, 1))


def exchange(
    source: Float[Tensor, "batch width"],
    target: Float[Tensor, "batch width"],
    decoder: Float[Tensor, "width dim"],
    wanted: Float[Tensor, "batch dim"],
    k: int,
) -> Edited:
    """Give k features the values they have in the target, so chosen that the sum comes close to what is wanted.

    One step takes a feature's old value out and puts its new one in, and counts once, as in the authors' code.
    """
    return greedy(wanted, target - source, decoder, k)


def remove_and_add(
    source: Float[Tensor, "batch width"],
    target: Float[Tensor, "batch width"],
    decoder: Float[Tensor, "width dim"],
    wanted: Float[Tensor, "batch dim"],
    k: int,
) -> Edited:
    """Take features of the source out or put features of the target in, k in all, as the paper counts.

    Candidates from the decoder's width on are those put in.
    """
    return greedy(wanted, torch.cat([-source, target], 1), torch.cat([decoder, decoder]), k)


def by_rank(
    source: Float[Tensor, "batch width"],
    target: Float[Tensor, "batch width"],
    decoder: Float[Tensor, "width dim"],
    old: Int[Tensor, "batch width"],
    new: Int[Tensor, "batch width"],
    k: int,
) -> Float[Tensor, "batch dim"]:
    """Take out of the source the k first active features of one ranking, put in the target's k first of another.

    Args:
        source: Codes of what is edited.
        target: Codes of what it shall become.
        decoder: The features' vectors.
        old: For each item all features, those first that tell the value it has best.
        new: The same for the value it shall have.
        k: Features out, and features in.
    """
    return _first_active(target, new, k) @ decoder - _first_active(source, old, k) @ decoder


def _first_active(
    acts: Float[Tensor, "batch width"], order: Int[Tensor, "batch width"], k: int
) -> Float[Tensor, "batch width"]:
    ranked = acts.gather(1, order)
    active = ranked > 0
    kept = ranked * (active & (active.cumsum(1) <= k))
    return torch.zeros_like(acts).scatter(1, order, kept)
