"""Quantisers: continuous codes -> values from learned books."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class Quantised(NamedTuple):
    """What a quantiser returns.

    Attributes:
        z: (B, L) value of `quantised`, gradient of the input (straight-through): what a decoder reads.
        quantised: (B, L) entries of the codebook, with the codebook's gradient only.
        ids: (B, L) int64, which entry.
    """

    z: Float[Tensor, "batch latents"]
    quantised: Float[Tensor, "batch latents"]
    ids: Int[Tensor, "batch latents"]


class ScalarQuantiser(nn.Module):
    """One small learned book of scalar values for every latent.

    The nearest value is taken, among equals the first. Nothing else keeps the values in order or in use.

    Args:
        latents: Number of latents.
        values: Values per latent, at the start spread evenly over [-0.5, 0.5].
        shared: Whether all latents use one book (an ablation of the paper).

    Source:
        Hsu et al., 2023, section 3.1; latent_quantization, latents/quantized.py.

    >>> quantise = ScalarQuantiser(latents=2, values=3)
    >>> quantise(torch.tensor([[0.2, 0.3]])).ids
    tensor([[1, 2]])
    """

    def __init__(self, latents: int, values: int, shared: bool = False) -> None:
        super().__init__()
        self.latents = latents
        self.values = nn.Parameter(torch.linspace(-0.5, 0.5, values).repeat(1 if shared else latents, 1))

    @property
    def book(self) -> Float[Tensor, "latents values"]:
        """The values that each latent can take."""
        return self.values.expand(self.latents, -1)

    def forward(self, x: Float[Tensor, "batch latents"]) -> Quantised:
        """The nearest value of each latent's book."""
        ids = (x[:, :, None] - self.book).abs().argmin(2)
        quantised = self.book.gather(1, ids.T).T
        return Quantised(x + (quantised - x).detach(), quantised, ids)
