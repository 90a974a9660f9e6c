"""Diffusion: how noise is added by steps, and taken away again without chance (DDIM)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

Predict = Callable[[Float[Tensor, "batch *item"], Int[Tensor, " batch"]], Float[Tensor, "batch *item"]]
"""(noisy items, step 0..T-1 of each) -> the noise in them."""


def linear_betas(steps: int) -> Float[Tensor, " steps"]:
    """Variances of the noise of each step, from 1e-4 to 0.02 at 1,000 steps and scaled for other numbers.

    Source:
        Ho et al. (2020), section 4; improved-diffusion, `get_named_beta_schedule`.
    """
    scale = 1000 / steps
    return torch.linspace(scale * 1e-4, scale * 0.02, steps, dtype=torch.float64).clamp(max=0.999)


def spaced(steps: int, count: int) -> Int[Tensor, " count"]:
    """`count` of the steps 0..steps-1, evenly, the last among them.

    >>> spaced(1000, 4).tolist()
    [0, 333, 666, 999]
    """
    return torch.linspace(0, steps - 1, min(count, steps), dtype=torch.float64).round().long()


def strided(steps: int, count: int) -> Int[Tensor, " count"]:
    """About `count` of the steps 0..steps-1 from 0 on, a whole number of steps apart.

    >>> strided(1000, 4).tolist()
    [0, 250, 500, 750]
    """
    return torch.arange(0, steps, max(1, steps // count))


@dataclass(frozen=True)
class Noise:
    """A schedule of noise.

    Attributes:
        kept: abar_t: the share of variance that is still signal after step t, decreasing; in double precision.
    """

    kept: Float[Tensor, " steps"]

    @classmethod
    def of(cls, betas: Float[Tensor, " steps"]) -> Noise:
        """The schedule of the variances of each step."""
        return cls((1 - betas.double()).cumprod(0))

    def __len__(self) -> int:
        return len(self.kept)

    def at(self, t: Int[Tensor, " batch"], like: Tensor) -> Tensor:
        """abar_t of each item, to be broadcast; 1 (no noise) where t is -1, 0 (nothing but noise) from T on."""
        kept = self.kept.to(like.device, torch.float32)
        padded = torch.cat([kept.new_ones(1), kept, kept.new_zeros(1)])
        chosen = padded[(t + 1).clamp(0, len(kept) + 1)]
        return chosen.reshape(-1, *[1] * (like.ndim - 1))

    def shift(self) -> Float[Tensor, " steps"]:
        """- sqrt(alpha_t) (1 - abar_{t-1}) / sqrt(1 - abar_t): what a unit of posterior mean is in noise; 0 at t = 0.

        Source:
            Zhang et al. (2022, PDAE), eq. 8; its code calls it `shift_coef`.
        """
        before = torch.cat([self.kept.new_ones(1), self.kept[:-1]])
        return -((self.kept / before).sqrt() * (1 - before) / (1 - self.kept).sqrt()).float()

    def mid_weight(self, power: float = 0.1) -> Float[Tensor, " steps"]:
        """SNR^power / (1 + SNR), which plays both ends of the schedule down.

        Source:
            Zhang et al. (2022, PDAE), section 3.3.
        """
        ratio = self.kept / (1 - self.kept)
        return (ratio**power / (1 + ratio)).float()

    def q(
        self, x: Float[Tensor, "batch *item"], t: Int[Tensor, " batch"], noise: Float[Tensor, "batch *item"]
    ) -> Float[Tensor, "batch *item"]:
        """Items after step t: sqrt(abar_t) x + sqrt(1 - abar_t) noise."""
        kept = self.at(t, x)
        return kept.sqrt() * x + (1 - kept).sqrt() * noise

    def clean(
        self,
        x: Float[Tensor, "batch *item"],
        t: Int[Tensor, " batch"],
        noise: Float[Tensor, "batch *item"],
        bound: float | None = None,
    ) -> Float[Tensor, "batch *item"]:
        """The item behind a noisy one, when this is its noise, clamped to [-bound, bound]."""
        kept = self.at(t, x)
        found = (x - (1 - kept).sqrt() * noise) / kept.sqrt()
        return found if bound is None else found.clamp(-bound, bound)

    def inside(
        self, x: Float[Tensor, "batch *item"], t: Int[Tensor, " batch"], clean: Float[Tensor, "batch *item"]
    ) -> Float[Tensor, "batch *item"]:
        """The noise in an item, when this is the clean one."""
        kept = self.at(t, x)
        return (x - kept.sqrt() * clean) / (1 - kept).sqrt().clamp(min=1e-8)

    def move(
        self,
        predict: Predict,
        x: Float[Tensor, "batch *item"],
        start: int,
        end: int,
        bound: float | None = None,
    ) -> Float[Tensor, "batch *item"]:
        """One deterministic step from noise level `start` to `end`, either way; -1 is the clean item.

        Source:
            Song et al. (2021), eq. 12 with sigma 0, and its reverse.
        """
        t, s = (torch.full((len(x),), step, dtype=torch.long, device=x.device) for step in (start, end))
        noise = predict(x, t.clamp(min=0))
        clean = self.clean(x, t, noise, bound)
        if bound is not None:  # the noise that goes with the clamped item
            noise = self.inside(x, t, clean)
        return self.q(clean, s, noise)

    def ddim(
        self,
        predict: Predict,
        x: Float[Tensor, "batch *item"],
        steps: Int[Tensor, " count"],
        bound: float | None = None,
    ) -> Float[Tensor, "batch *item"]:
        """From noise at the last of `steps` down to clean items."""
        ladder = [-1, *steps.tolist()]
        for end, start in reversed(list(pairwise(ladder))):
            x = self.move(predict, x, start, end, bound)
        return x

    def invert(
        self, predict: Predict, x: Float[Tensor, "batch *item"], steps: Int[Tensor, " count"], refine: int = 0
    ) -> Float[Tensor, "batch *item"]:
        """The noise at the last of `steps` from which `ddim` comes back to these clean items.

        Args:
            predict: The noise in an item.
            x: Clean items.
            steps: Increasing.
            refine: Times that each step is corrected by the noise found at its end, until it would lead back exactly.
        """
        ladder = [-1, *steps.tolist()]
        for start, end in pairwise(ladder):
            t = torch.full((len(x),), end, dtype=torch.long, device=x.device)
            s = torch.full((len(x),), start, dtype=torch.long, device=x.device)
            noise = predict(x, s.clamp(min=0))
            above = self.q(self.clean(x, s, noise), t, noise)
            for _ in range(refine):
                noise = predict(above, t)
                above = self.q(self.clean(x, s, noise), t, noise)
            x = above
        return x


def guided(predict: Predict, unconditional: Predict, strength: float) -> Predict:
    """Strength * conditional + (1 - strength) * unconditional (Ho and Salimans, 2022)."""
    if strength == 1.0:
        return predict

    def both(x: Tensor, t: Tensor) -> Tensor:
        return strength * predict(x, t) + (1 - strength) * unconditional(x, t)

    return both
