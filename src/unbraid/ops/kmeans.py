"""k-means by Lloyd's iterations, from centres drawn far apart."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

_BLOCK = 2**24


def nearest_centre(x: Float[Tensor, "n d"], centres: Float[Tensor, "k d"]) -> Int[Tensor, " n"]:
    """The centre that is nearest to each point, in blocks of bounded memory.

    >>> nearest_centre(torch.tensor([[0.1], [0.9]]), torch.tensor([[0.0], [1.0]])).tolist()
    [0, 1]
    """
    half = 0.5 * centres.square().sum(1)
    step = max(1, _BLOCK // len(centres))
    return torch.cat([(half - part @ centres.T).argmin(1) for part in torch.split(x, step)])


def kmeans(
    x: Float[Tensor, "n d"], k: int, generator: torch.Generator, steps: int = 20
) -> tuple[Float[Tensor, "k d"], Int[Tensor, " n"]]:
    """Centres, and the nearest one to each point.

    The first centres are drawn one after the other, each point by its squared distance to those that there are
    (k-means++). A centre that no point is nearest to stays where it is.

    Args:
        x: Points, at least k.
        k: Centres.
        generator: Of the draws.
        steps: Lloyd's iterations.

    >>> x = torch.tensor([[0.0], [0.2], [5.0], [5.2]])
    >>> centres, nearest = kmeans(x, 2, torch.Generator().manual_seed(0))
    >>> sorted(centres[:, 0].tolist()), bool(nearest[0] == nearest[1] != nearest[2])
    ([0.10000000149011612, 5.099999904632568], True)
    """
    first = torch.randint(len(x), (1,), generator=generator, device=x.device)
    centres = x[first]
    far = (x - centres).square().sum(1)
    for _ in range(k - 1):
        draw = torch.rand((), generator=generator, device=x.device, dtype=torch.float64)
        reach = far.double().cumsum(0)
        at = torch.searchsorted(reach, draw * reach[-1]).clamp(max=len(x) - 1)
        centres = torch.cat([centres, x[at][None]])
        far = far.minimum((x - x[at]).square().sum(1))
    for _ in range(steps):
        nearest = nearest_centre(x, centres)
        count = torch.zeros(k, dtype=x.dtype, device=x.device).index_add_(0, nearest, torch.ones_like(x[:, 0]))
        mean = torch.zeros_like(centres).index_add_(0, nearest, x) / count.clamp(min=1)[:, None]
        centres = mean.where(count[:, None] > 0, centres)
    return centres, nearest_centre(x, centres)
