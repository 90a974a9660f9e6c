"""How paths through a generator are judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.outcome import Findings
from unbraid.methods.latent.potential.moving import Moving
from unbraid.metrics.traversal import follows, roughness, variation_predictability

_CODES, _LEAST = 1024, 64

Scorer = Callable[[Tensor], Tensor]
"""Items -> scores (B, A)."""


def codes_for(count: int) -> int:
    """How many codes so many paths are judged on."""
    return max(_CODES, _LEAST * count)


@torch.no_grad()
def judged(
    method: Moving,
    codes: Float[Tensor, "n dim"],
    steps: int,
    scorer: Scorer | None = None,
    names: Sequence[str] = (),
) -> Findings:
    """Follow every path from codes of its own, in steps of one length, as far as a typical code is from the mean.

    Args:
        method: Whose paths.
        codes: Where they start; as many for each.
        steps: In which they are gone.
        scorer: Tells the factors of items.
        names: Of these factors, where there are as many.
    """
    count = method.field.count
    each = len(codes) // count
    way = float((codes - codes.mean(0)).square().sum(1).mean().sqrt())
    paths, natural = [], []
    for k, start in enumerate(torch.split(codes[: count * each], each)):
        path = method.path(start, k, steps, way / steps, unit=True)
        paths.append(torch.stack([method.decode(method.read(z)) for z in path]))
        natural.append((method.path(start, k, steps, method.pace)[-1] - start).norm(dim=1).mean())
    which = torch.arange(count).repeat_interleave(each)
    before, after = (torch.cat([path[at] for path in paths]) for at in (0, -1))
    numbers = {"roughness": float(torch.cat([roughness(path) for path in paths]).mean())}
    if count > 1:
        numbers["variation predictability"] = variation_predictability(before, after, which)
    numbers["distance gone"] = float(torch.stack(natural).mean()) / way
    units = {"distance gone": "typical distances of a code from the mean", "variation predictability": "share"}
    if scorer is None:
        return Findings(numbers, units=units)
    table = torch.stack([follows(torch.stack([scorer(x) for x in path])) for path in paths])  # (paths, factors)
    if len(names) != table.shape[1]:
        names = [f"score {i}" for i in range(table.shape[1])]
    numbers |= {f"correlation of {name}": float(column.max()) for name, column in zip(names, table.T, strict=True)}
    numbers["correlation"] = float(table.amax(0).mean())
    numbers["selectivity"] = float((table.amax(1) / table.sum(1).clamp(min=1e-12)).mean())
    return Findings(numbers, {"correlation of steps and factors": table}, units)
