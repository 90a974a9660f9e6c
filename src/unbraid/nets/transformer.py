"""Transformers over sequences, whose activations have names."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from unbraid.core.errors import ConfigError


class Attention(nn.Module):
    """Multi-head self-attention.

    The modules `q`, `k`, `v` and `z` do nothing: their outputs (B, T, D) are the queries, keys, values and what the
    heads bring, one head after the other in D / heads columns each, to be read or replaced by a hook.

    Args:
        dim: Width D of the residual stream.
        heads: Heads, among which it is divided.
        causal: Whether a position sees only itself and those before it.
    """

    def __init__(self, dim: int, heads: int, *, causal: bool = False) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ConfigError("a width that the heads share evenly", got=f"{dim} for {heads}", where="heads")
        self.heads, self.causal = heads, causal
        self.project = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)
        self.q, self.k, self.v, self.z = (nn.Identity() for _ in range(4))

    def forward(
        self, x: Float[Tensor, "batch time dim"], valid: Bool[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch time dim"]:
        """What the heads write; positions that are not `valid` are seen by nobody."""
        q, k, v = self.project(x).chunk(3, dim=2)
        q, k, v = (self._by_head(t) for t in (self.q(q), self.k(k), self.v(v)))
        causal = self.causal and valid is None
        z = scaled_dot_product_attention(q, k, v, attn_mask=self._seen(x.shape[1], valid), is_causal=causal)
        written: Tensor = self.output(self.z(z.transpose(1, 2).flatten(2)))
        return written

    def _by_head(self, x: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch heads time each"]:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def _seen(self, time: int, valid: Bool[Tensor, "batch time"] | None) -> Bool[Tensor, "batch 1 to from"] | None:
        if valid is None:
            return None
        own = torch.eye(time, dtype=torch.bool, device=valid.device)  # so that no position sees nothing at all
        seen = valid[:, None, None, :] | own
        return seen & own.new_ones(time, time).tril() if self.causal else seen


class Block(nn.Module):
    """Attention, then a perceptron, each reading the normalised residual stream and adding to it.

    `mid` and `post` do nothing: their outputs (B, T, D) are the residual stream after either.

    Args:
        dim: Width D of the residual stream.
        heads: Attention heads.
        hidden: Width of the perceptron.
        causal: Whether a position sees only itself and those before it.
    """

    def __init__(self, dim: int, heads: int, hidden: int, *, causal: bool = False) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, causal=causal)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.mid, self.post = nn.Identity(), nn.Identity()

    def forward(
        self, x: Float[Tensor, "batch time dim"], valid: Bool[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch time dim"]:
        """The residual stream after this block."""
        x = self.mid(x + self.attention(self.norm1(x), valid))
        after: Tensor = self.post(x + self.mlp(self.norm2(x)))
        return after


class Transformer(nn.Module):
    """A stack of pre-normalised blocks and a last normalisation.

    Args:
        dim: Width D of the residual stream.
        depth: Blocks.
        heads: Attention heads of a block.
        hidden: Width of the perceptrons; four times D where None.
        causal: Whether a position sees only itself and those before it.

    >>> net = Transformer(8, depth=2, heads=2, causal=True)
    >>> net(torch.zeros(3, 5, 8)).shape, [name for name, _ in net.blocks[0].named_children()][-2:]
    (torch.Size([3, 5, 8]), ['mid', 'post'])
    """

    def __init__(self, dim: int, depth: int, heads: int, hidden: int | None = None, *, causal: bool = False) -> None:
        super().__init__()
        wide = 4 * dim if hidden is None else hidden
        self.blocks = nn.ModuleList(Block(dim, heads, wide, causal=causal) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, x: Float[Tensor, "batch time dim"], valid: Bool[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch time dim"]:
        """The normalised residual stream; positions that are not `valid` are seen by nobody."""
        for block in self.blocks:
            x = block(x, valid)
        normed: Tensor = self.norm(x)
        return normed


class LanguageModel(nn.Module):
    """Tokens to the logits of the token that follows each: learned positions, causal, the output map not tied.

    Args:
        tokens: Size of the vocabulary.
        length: Longest sequence.
        dim: Width of the residual stream.
        depth: Blocks.
        heads: Attention heads of a block.

    >>> LanguageModel(tokens=11, length=6, dim=8, depth=1, heads=2)(torch.zeros(2, 6, dtype=torch.long)).shape
    torch.Size([2, 6, 11])
    """

    def __init__(self, tokens: int, length: int, dim: int = 64, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.length = length
        self.token = nn.Embedding(tokens, dim)
        self.position = nn.Embedding(length, dim)
        self.body = Transformer(dim, depth, heads, causal=True)
        self.unembed = nn.Linear(dim, tokens, bias=False)

    def forward(
        self, token: Int[Tensor, "batch time"], valid: Bool[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch time tokens"]:
        """The logits of what follows each position."""
        if token.shape[1] > self.length:
            raise ConfigError(f"at most {self.length} tokens", got=str(token.shape[1]), where="token")
        places = torch.arange(token.shape[1], device=token.device)
        x = self.token(token) + self.position(places)
        logits: Tensor = self.unembed(self.body(x, valid))
        return logits
