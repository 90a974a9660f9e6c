"""Quantisers: continuous codes -> values from learned books."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.core.errors import ConfigError


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
        values: Values of every latent, or of each; at the start spread evenly over [-0.5, 0.5].
        shared: Whether all latents use one book (an ablation of the paper).

    Raises:
        ConfigError: Not one number of values for each latent, or fewer than one value.

    Source:
        Hsu et al., 2023, section 3.1; latent_quantization, latents/quantized.py.

    >>> quantise = ScalarQuantiser(latents=2, values=3)
    >>> quantise(torch.tensor([[0.2, 0.3]])).ids
    tensor([[1, 2]])
    """

    absent: Float[Tensor, "books values"]

    def __init__(self, latents: int, values: int | tuple[int, ...], shared: bool = False) -> None:
        super().__init__()
        self.latents = latents
        sizes = (values,) * (1 if shared else latents) if isinstance(values, int) else values
        if len(sizes) != (1 if shared else latents) or min(sizes) < 1:
            wanted = "one number of values, 1 or more" if shared else f"{latents} numbers of values, each 1 or more"
            raise ConfigError(wanted, got=str(values), where="values")
        books = [torch.linspace(-0.5, 0.5, size) for size in sizes]
        self.values = nn.Parameter(nn.utils.rnn.pad_sequence(books, batch_first=True))
        ends = torch.tensor(sizes)[:, None] <= torch.arange(max(sizes))
        self.register_buffer("absent", torch.zeros(ends.shape).masked_fill(ends, torch.inf), persistent=False)

    @property
    def book(self) -> Float[Tensor, "latents values"]:
        """The values that each latent can take."""
        return self.values.expand(self.latents, -1)

    def forward(self, x: Float[Tensor, "batch latents"]) -> Quantised:
        """The nearest value of each latent's book."""
        ids = ((x[:, :, None] - self.book).abs() + self.absent).argmin(2)  # infinitely far: what a book has not
        quantised = self.book.gather(1, ids.T).T
        return Quantised(x + (quantised - x).detach(), quantised, ids)

    def draw(self, uniform: Float[Tensor, "batch latents"]) -> Float[Tensor, "batch latents"]:
        """Values of the books, each equally often, from uniform numbers in [0, 1); with the books' gradient.

        >>> ScalarQuantiser(latents=2, values=3).draw(torch.tensor([[0.1, 0.9]])).tolist()
        [[-0.5, 0.5]]
        """
        sizes = self.absent.isfinite().sum(1).expand(self.latents)
        ids = (uniform * sizes).long().minimum(sizes - 1)  # a product may round up to the size itself
        return self.book.gather(1, ids.T).T
