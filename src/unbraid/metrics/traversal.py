"""How good paths through a generator are: told apart by few examples, even, and each about one factor."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from unbraid.core.errors import DataError
from unbraid.metrics.probes.network import Adam

AXES, HIDDEN = 128, 256
STEPS, RATE = 150, 3e-3


def variation_predictability(
    before: Float[Tensor, "n *item"],
    after: Float[Tensor, "n *item"],
    which: Int[Tensor, " n"],
    *,
    share: float = 0.1,
    seed: int = 0,
) -> float:
    """Share of pairs of items of which it is told right along which path one became the other, after few examples.

    The variation predictability of Zhu et al. (2020). A network with one hidden layer learns from a share of the
    pairs: from the first item and from the difference, each as coordinates on the principal axes of the examples.

    Args:
        before: Items.
        after: The same a way along a path.
        which: The path of each pair, 0..K-1.
        share: Of the pairs, from which the network learns.
        seed: Which they are.

    Raises:
        DataError: Fewer than two paths, or fewer than two examples of a path.

    >>> which = torch.arange(400) % 4
    >>> before = torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
    >>> variation_predictability(before, before + torch.eye(4)[which], which)
    1.0
    """
    paths, n = len(torch.unique(which)), len(which)
    learned = torch.randperm(n, generator=torch.Generator().manual_seed(seed))[: round(share * n)]
    if paths < 2 or len(learned) < 2 * paths or len(learned) == n:
        got = f"{len(learned)} examples of {paths} paths in {n} pairs"
        raise DataError("two paths or more, two examples of each, and pairs to tell", got=got)
    first, change = before.flatten(1).cpu(), (after - before).flatten(1).cpu()
    codes = torch.cat([_on_axes(first, learned), _on_axes(change, learned)], 1)
    told = torch.ones(n, dtype=torch.bool).index_fill(0, learned, False)
    logits = _learned(codes, learned, which.cpu(), seed)
    return float((logits[told].argmax(1) == which.cpu()[told]).float().mean())


def _learned(x: Float[Tensor, "n d"], rows: Int[Tensor, " m"], which: Int[Tensor, " n"], seed: int) -> Tensor:
    """Logits (n, K) of all rows by a network that has learned some of them."""
    chance = torch.Generator().manual_seed(seed)
    sizes = (x.shape[1], HIDDEN, int(which.max()) + 1)
    weights = [torch.randn(a, b, generator=chance) * (2 / a) ** 0.5 for a, b in pairwise(sizes)]
    weights += [torch.zeros(b) for b in sizes[1:]]
    adam = Adam(weights, RATE)

    def logits(x: Tensor) -> Tensor:
        return torch.addmm(weights[3], torch.addmm(weights[2], x, weights[0]).relu(), weights[1])

    with torch.enable_grad():
        for _ in range(STEPS):
            adam(functional.cross_entropy(logits(x[rows]), which[rows]))
    return logits(x).detach()


def _on_axes(x: Float[Tensor, "n d"], rows: Int[Tensor, " m"]) -> Float[Tensor, "n k"]:
    """Coordinates on the first principal axes of some rows, of mean square 1 in these."""
    mean = x[rows].mean(0)
    _, spread, axes = torch.linalg.svd((x[rows] - mean).double(), full_matrices=False)
    kept = spread > 1e-6 * spread[:1].clamp(min=1e-12)
    found: Tensor = (x - mean) @ axes[kept][:AXES].mT.float()
    scale = found[rows].square().sum() / max(1, found[rows].numel())
    return found / scale.sqrt().clamp(min=1e-12)


def roughness(path: Float[Tensor, "stations batch *item"]) -> Float[Tensor, " batch"]:
    """How unevenly items change along a path: mean squared second over mean squared first difference.

    0 on a straight line at one speed, 2 where every step goes another way, 4 where each step takes back the one
    before.

    >>> roughness(torch.tensor([[[0.0], [0.0]], [[1.0], [1.0]], [[2.0], [0.0]]]))  # two items
    tensor([0., 4.])
    """
    if len(path) < 3:
        raise DataError("3 stations or more", got=str(len(path)))
    steps = path.diff(dim=0).flatten(2)
    first, second = steps.square().mean((0, 2)), steps.diff(dim=0).square().mean((0, 2))
    return second / first.clamp(min=1e-20)


def follows(scores: Float[Tensor, "stations batch factors"]) -> Float[Tensor, " factors"]:
    """How much each factor goes with the steps of a path: the mean absolute correlation over the items.

    >>> follows(torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])[:, None]).tolist()
    [1.0, 0.0]
    """
    time = torch.arange(len(scores), dtype=scores.dtype, device=scores.device)
    time = (time - time.mean())[:, None, None]
    off = scores - scores.mean(0)
    scale = (time.square().sum() * off.square().sum(0)).sqrt()
    return torch.where(scale > 1e-6, (time * off).sum(0).abs() / scale.clamp(min=1e-6), 0.0).mean(0)
