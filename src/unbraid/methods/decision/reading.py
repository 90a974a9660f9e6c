"""The network that reads trajectories: three tokens a step, through a causal transformer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from unbraid.core.errors import ConfigError

GIVEN, STATE, ACTION = range(3)
"""The tokens of a step, in order: what is given with it (a reward, or a return), its state, its action."""


class Reader(nn.Module):
    """Steps to one vector for each of their tokens, which knows the tokens up to its own.

    Args:
        state: Numbers of a state.
        action: Numbers of an action.
        times: Steps of the longest episode, each of which has an embedding.
        width: Of tokens and of what is read.
        layers: Blocks of attention and perceptron.
        heads: Attention heads.
        dropout: Share of numbers dropped in training.
    """

    def __init__(
        self,
        state: int,
        action: int,
        times: int,
        *,
        width: int,
        layers: int,
        heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embed = nn.ModuleList(nn.Linear(numbers, width) for numbers in (1, state, action))
        self.time = nn.Embedding(times, width)
        self.norm = nn.LayerNorm(width)
        self.blocks = Blocks(width, layers, heads, dropout)

    def forward(self, steps: Mapping[str, Tensor], given: Float[Tensor, "batch t"]) -> Float[Tensor, "batch t 3 width"]:
        """What is known after each token.

        Args:
            steps: `state` and `action` as numbers (B, T, ...), `time` and `valid` (B, T).
            given: The number that comes before the state of each step.
        """
        inputs = (given[..., None], steps["state"], steps["action"])
        tokens = torch.stack([embed(x) for embed, x in zip(self.embed, inputs, strict=True)], 2)
        time = self.time(steps["time"].clamp(0, self.time.num_embeddings - 1))
        valid = steps["valid"][..., None].expand(*steps["valid"].shape, 3)
        tokens = self.norm(tokens + time[:, :, None]) * valid[..., None]
        read: Tensor = self.blocks(tokens.flatten(1, 2), valid.flatten(1, 2))
        return read.view(*given.shape, 3, -1)


class Block(nn.Module):
    """Causal attention, then a ReLU perceptron four times as wide, each adding to what it read normalised."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.project = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 3 * width))
        self.write = nn.Sequential(nn.Linear(width, width), nn.Dropout(dropout))
        wide = (nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))
        self.mlp = nn.Sequential(nn.LayerNorm(width), *wide, nn.Dropout(dropout))

    def forward(
        self, tokens: Float[Tensor, "batch n width"], seen: Bool[Tensor, "batch 1 n n"]
    ) -> Float[Tensor, "batch n width"]:
        """The tokens after this block; `seen` says which token sees which."""
        q, k, v = self.project(tokens).view(*tokens.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        dropped = self.dropout if self.training else 0.0
        heard = scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=dropped)
        tokens = tokens + self.write(heard.transpose(1, 2).flatten(2))
        after: Tensor = tokens + self.mlp(tokens)
        return after


class Blocks(nn.Module):
    """A stack of blocks, then a normalisation."""

    def __init__(self, width: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError("a width that the heads share evenly", got=f"{width} for {heads}", where="heads")
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(
        self, tokens: Float[Tensor, "batch n width"], valid: Bool[Tensor, "batch n"]
    ) -> Float[Tensor, "batch n width"]:
        """What is known after each token; padding tokens are seen by nobody but themselves."""
        own = torch.eye(tokens.shape[1], dtype=torch.bool, device=tokens.device)
        seen = (valid[:, None, None, :] | own) & torch.ones_like(own).tril()
        for block in self.blocks:
            tokens = block(tokens, seen)
        normed: Tensor = self.norm(tokens)
        return normed


def last(read: Float[Tensor, "batch t 3 width"], valid: Bool[Tensor, "batch t"]) -> Float[Tensor, "batch width"]:
    """What is known after the last token of the last real step; padding follows it."""
    step = (valid.sum(1) - 1).clamp(min=0)
    return read[torch.arange(len(read), device=read.device), step, ACTION]
