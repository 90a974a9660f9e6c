"""DiST's networks beside a frozen image transformer: a temporal encoder, an integration branch and a pooling head.

b clips of `alpha` T frames, of which the image transformer saw every `alpha`-th; its tokens come with the class token
first, l = 1 + h w of them. Qing et al., 2023; the authors' code, models/module_zoo/branches/dist.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Sizes:
    """The measures that all of DiST's networks share.

    Attributes:
        tokens: Width d of the image transformer's tokens.
        layers: How many of its layers are read; with 0, and no pooling, only class tokens count.
        patch: Side of its patches.
        width: D, of the integration branch.
        temporal: C, channels of the temporal encoder; 0 leaves it out.
        out: Numbers of the output.
        frames: T, frames that the image transformer saw.
        alpha: Frames of the temporal encoder for each of these.
        pooling: Layers of the pooling head.
        heads: Its attention heads.
        kernel: Frames under the temporal encoder's first kernel.
        ratio: Hidden width of the temporal encoder's blocks, in their own.
        ffn: Of the integration branch's perceptron.
        temporal_ffn: Of its temporal perceptron.
        channels: Of the frames.
    """

    tokens: int
    layers: int
    patch: int
    width: int = 384
    temporal: int = 96
    out: int = 512
    frames: int = 8
    alpha: int = 2
    pooling: int = 2
    heads: int = 6
    kernel: int = 5
    ratio: float = 1.0
    ffn: float = 1.0
    temporal_ffn: float = 0.25
    channels: int = 3


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Entry by entry."""
        return x * torch.sigmoid(1.702 * x)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (b, C, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        """The normalised volume."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class TemporalNet(nn.Module):
    """A convolution over time and one over space, added to what came, all of it through the activation."""

    def __init__(self, channels: int, ratio: float) -> None:
        super().__init__()
        hidden = int(channels * ratio)
        self.norm = ChannelNorm(channels)
        self.time = nn.Conv3d(channels, hidden, (3, 1, 1), padding=(1, 0, 0))
        self.space = nn.Conv3d(hidden, channels, (1, 3, 3), padding=(0, 1, 1))
        self.act = QuickGELU()

    def forward(self, v: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c t h w"]:
        """The volume one block later."""
        out: Tensor = self.act(v + self.space(self.act(self.time(self.norm(v)))))
        return out


class ToTemporal(nn.Module):
    """Tokens of the seen frames to channels of all frames: each lasts until the next is seen."""

    def __init__(self, width: int, channels: int, alpha: int) -> None:
        super().__init__()
        self.alpha = alpha
        self.fuse = nn.Linear(width, channels)

    def forward(self, m: Float[Tensor, "b t l d"], grid: tuple[int, int]) -> Float[Tensor, "b c tf h w"]:
        """What is added to the temporal volume; the class token stays out."""
        volume = self.fuse(m[:, :, 1:]).unflatten(2, grid).movedim(-1, 1)
        out: Tensor = volume.repeat_interleave(self.alpha, 2)
        return out


class ToIntegration(nn.Module):
    """The temporal volume to tokens of the seen frames; a learned token, one for each frame, for the class."""

    def __init__(self, channels: int, width: int, frames: int, alpha: int) -> None:
        super().__init__()
        self.cls = nn.Parameter(torch.empty(frames, width))
        self.fuse = nn.Conv3d(channels, width, (alpha, 1, 1), (alpha, 1, 1))

    def forward(self, v: Float[Tensor, "b c tf h w"]) -> Float[Tensor, "b t l d"]:
        """What is added to the tokens."""
        patches = self.fuse(v).flatten(3).permute(0, 2, 3, 1)
        return torch.cat([self.cls[:, None].expand(len(v), -1, -1, -1), patches], 2)


class IntegrationNet(nn.Module):
    """A perceptron on each token, and one that also looks at the frames before and after; their sum."""

    def __init__(self, width: int, ratio: float, temporal_ratio: float) -> None:
        super().__init__()
        hidden, narrow = int(width * ratio), int(width * temporal_ratio)
        self.norm, self.time_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ffn = nn.Sequential(nn.Linear(width, hidden), QuickGELU(), nn.Linear(hidden, width))
        self.down, self.up = nn.Linear(width, narrow), nn.Linear(narrow, width)
        self.time = nn.Conv1d(narrow, narrow, 3, padding=1)
        self.act = QuickGELU()

    def forward(self, m: Float[Tensor, "b t l d"]) -> Float[Tensor, "b t l d"]:
        """What the next layer's tokens are given on top."""
        b, t, tokens, _ = m.shape
        series = self.down(self.time_norm(m)).permute(0, 2, 3, 1).flatten(0, 1)  # (b l, d', t)
        moved = self.time(series).reshape(b, tokens, -1, t).permute(0, 3, 1, 2)
        out: Tensor = self.ffn(self.norm(m)) + self.up(self.act(moved))
        return out


class Attended(nn.Module):
    """A query that looks at tokens, and a perceptron, each added to the query; one norm serves query and tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), QuickGELU(), nn.Linear(4 * width, width))

    def forward(self, query: Float[Tensor, "b 1 d"], tokens: Float[Tensor, "b l d"]) -> Float[Tensor, "b 1 d"]:
        """The query afterwards."""
        seen = self.norm(tokens)
        query = query + self.attention(self.norm(query), seen, seen, need_weights=False)[0]
        out: Tensor = query + self.mlp(self.mlp_norm(query))
        return out


class Pooling(nn.Module):
    """A token of each frame looks at the frame's tokens; then a token of the clip looks at those of the frames."""

    def __init__(self, width: int, heads: int, frames: int) -> None:
        super().__init__()
        self.space, self.time = Attended(width, heads), Attended(width, heads)
        self.positions = nn.Parameter(torch.empty(frames, width))

    def forward(
        self, s: Float[Tensor, "b t d"], q: Float[Tensor, "b 1 d"], tokens: Float[Tensor, "b t l d"]
    ) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "b 1 d"]]:
        """The tokens of frames and clip afterwards."""
        s = self.space(s.flatten(0, 1)[:, None], tokens.flatten(0, 1))[:, 0].view_as(s)
        return s, self.time(q, s + self.positions)


@dataclass(frozen=True)
class Clips:
    """What DiST makes of clips.

    Attributes:
        spatial: The mean over frames of the class token of the last layer that is read.
        temporal: The channels that the temporal encoder hands over last, averaged over frames and places.
        integrated: What the output is a linear function of.
    """

    spatial: Float[Tensor, "b d"]
    temporal: Float[Tensor, "b c"] | None
    integrated: Float[Tensor, "b w"]


class DiST(nn.Module):
    """All of DiST but the image transformer.

    Args:
        sizes: The measures of everything.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        s, layers, both = sizes, range(sizes.layers), range(sizes.layers if sizes.temporal else 0)
        self.frames, self.alpha = s.frames, s.alpha
        kernel, stride = (s.kernel, s.patch, s.patch), (1, s.patch, s.patch)
        padding = (s.kernel // 2, 0, 0)
        self.stem = nn.Conv3d(s.channels, s.temporal, kernel, stride, padding) if both else None
        self.inputs = nn.ModuleList(nn.Linear(s.tokens, s.width) for _ in layers)
        self.integration = nn.ModuleList(IntegrationNet(s.width, s.ffn, s.temporal_ffn) for _ in layers)
        self.temporal = nn.ModuleList(TemporalNet(s.temporal, s.ratio) for _ in both)
        self.to_temporal = nn.ModuleList(ToTemporal(s.width, s.temporal, s.alpha) for _ in both)
        self.to_integration = nn.ModuleList(ToIntegration(s.temporal, s.width, s.frames, s.alpha) for _ in both)
        self.pooling = nn.ModuleList(Pooling(s.width, s.heads, s.frames) for _ in range(s.pooling))
        self.frame_token, self.clip_token = (nn.Parameter(torch.empty(s.width)) for _ in range(2))
        self.cls = nn.Linear(s.tokens, s.width)
        self.norm = nn.LayerNorm(s.width)
        self.out = nn.Parameter(torch.empty(s.width, s.out))

    def reset(self, xavier: bool) -> None:
        """Draw all weights: normal with deviation 0.02 cut at 2, as the authors do, or uniform after Glorot."""
        for module in self.modules():
            weights = [module.weight] if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv3d) else []
            if isinstance(module, nn.MultiheadAttention):
                weights = [module.in_proj_weight]
                nn.init.zeros_(module.in_proj_bias)
            for weight in weights:
                nn.init.xavier_uniform_(weight) if xavier else nn.init.trunc_normal_(weight, std=0.02)
            bias = getattr(module, "bias", None)
            if weights and isinstance(bias, Tensor):
                nn.init.zeros_(bias)
        for name, token in self.named_parameters():
            if name.endswith(("_token", ".cls", ".positions")):
                nn.init.trunc_normal_(token, std=0.02)
        nn.init.normal_(self.out, std=len(self.out) ** -0.5)

    def forward(self, x: Float[Tensor, "b tf c h w"], layers: Sequence[Float[Tensor, "b t l d"]]) -> Clips:
        """What is made of clips.

        Args:
            x: All frames.
            layers: The image transformer's tokens of the seen frames, one tensor for each layer that is read.
        """
        zero = torch.zeros((), device=x.device)
        v = zero if self.stem is None else self.stem(x.transpose(1, 2))
        m = residual = back = zero
        for i, (enter, integrate) in enumerate(zip(self.inputs, self.integration, strict=True)):
            m = enter(layers[i]) + residual
            if self.stem is not None:
                v = self.temporal[i](v + back)
                back = self.to_temporal[i](m, v.shape[-2:])
                m = m + self.to_integration[i](v)  # of the volume before anything is added to it
            residual = integrate(m)
        s = self.frame_token.expand(len(x), self.frames, -1)
        q = self.clip_token.expand(len(x), 1, -1)
        for layer in self.pooling:
            s, q = layer(s, q, m + residual)
        spatial = layers[-1][:, :, 0].mean(1)
        integrated = self.norm(q[:, 0] + self.cls(spatial))
        return Clips(spatial, None if self.stem is None else v.mean((2, 3, 4)), integrated)
