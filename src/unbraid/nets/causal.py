"""Causal layers: blocks of a code that follow from the blocks of their causes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.nets.norm import BatchNorm


class Mechanisms(nn.Module):
    """z_i = f_i(sum of the u_j of its causes) + u_i, for blocks of a code (Komanduri et al., 2024, section 3.2).

    Causes enter by their own chance u, not by their z: what follows takes one step along the graph.

    Args:
        adjacency: A[i][j] is 1 where block i causes block j.
        block: Numbers of a block.

    Source:
        CausalDiffAE, nn.py, `CausalModeling` with `nonlinearity_add_back_noise`.

    >>> Mechanisms([[0.0, 1.0], [0.0, 0.0]], block=3)(torch.zeros(5, 2, 3)).shape
    torch.Size([5, 2, 3])
    """

    adjacency: Tensor

    def __init__(self, adjacency: Sequence[Sequence[float]], block: int) -> None:
        super().__init__()
        self.register_buffer("adjacency", torch.tensor(adjacency, dtype=torch.float32))
        count = len(adjacency)
        self.functions = nn.ModuleList(
            nn.Sequential(nn.Linear(block, count * block), nn.LeakyReLU(), nn.Linear(count * block, block))
            for _ in range(count)
        )

    def causes(self, u: Float[Tensor, "batch n block"]) -> Float[Tensor, "batch n block"]:
        """The sum of the chance of the causes of each block."""
        summed: Tensor = self.adjacency.mT @ u
        return summed

    def forward(self, u: Float[Tensor, "batch n block"]) -> Float[Tensor, "batch n block"]:
        """The blocks that follow from this chance."""
        before = self.causes(u).unbind(1)
        after = [f(b) for f, b in zip(self.functions, before, strict=True)]
        return torch.stack(after, 1) + u


class GaussianConvEncoder(nn.Module):
    """Images -> mean and variance of a Gaussian: convolutions of stride 2, batch norm, LeakyReLU.

    Args:
        channels: Of the images.
        size: Height and width of the images; halved, rounded up, at every layer.
        out: Numbers of the code.
        widths: Channels of each layer.

    Source:
        CausalDiffAE, nn.py, `GaussianConvEncoder`; its widths are 16, 32, 32, 64, 64, 128.

    >>> mean, variance = GaussianConvEncoder(1, 16, out=8, widths=(4, 8))(torch.zeros(2, 1, 16, 16))
    >>> mean.shape, bool((variance > 0).all())
    (torch.Size([2, 8]), True)
    """

    def __init__(self, channels: int, size: int, out: int, widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((channels, *widths), widths, strict=False):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), BatchNorm(after), nn.LeakyReLU()]
            size = -(-size // 2)
        self.convs = nn.Sequential(*layers, nn.Flatten())
        self.mean = nn.Linear(widths[-1] * size**2, out)
        self.variance = nn.Linear(widths[-1] * size**2, out)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> tuple[Float[Tensor, "batch out"], Float[Tensor, "batch out"]]:
        """Mean and variance."""
        h = self.convs(x)
        return self.mean(h), nn.functional.softplus(self.variance(h)) + 1e-8
