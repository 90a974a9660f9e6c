"""Denoisers that the library diffusers has trained, in two halves."""

from __future__ import annotations

import copy
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.core.errors import ConfigError
from unbraid.nets.denoiser import Half, Shift
from unbraid.ops.diffusion import Noise

_BLOCKS = ("DownBlock2D", "AttnDownBlock2D", "UNetMidBlock2D", "UpBlock2D", "AttnUpBlock2D")


class PretrainedUNet(nn.Module):
    """A `UNet2DModel` and the schedule it was trained with.

    Args:
        unet: The network; unconditional, of plain or attentive blocks.
        scheduler: What has `alphas_cumprod` and a `config` with `prediction_type`.

    Raises:
        ConfigError: It is of another kind, or says something other than the noise.
    """

    kept: Tensor

    def __init__(self, unet: Any, scheduler: Any) -> None:
        super().__init__()
        said = scheduler.config.get("prediction_type", "epsilon")
        if said != "epsilon":
            raise ConfigError("a denoiser that says the noise (epsilon)", got=f"prediction_type {said}")
        blocks = [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
        strange = {type(block).__name__ for block in blocks} - set(_BLOCKS)
        options = (unet.config.time_embedding_type, unet.class_embedding is not None)
        if strange or options != ("positional", False):
            got = ", ".join(sorted(strange)) or f"time embedding {options[0]}, classes {options[1]}"
            raise ConfigError(f"a UNet2DModel without classes, of {', '.join(_BLOCKS)}", got=got)
        self.unet = unet
        self.register_buffer("kept", torch.as_tensor(scheduler.alphas_cumprod, dtype=torch.float64))

    @property
    def noise(self) -> Noise:
        """The schedule."""
        return Noise(self.kept)

    @property
    def channels(self) -> int:
        """Of the images."""
        return int(self.unet.config.in_channels)

    def first(self, x: Float[Tensor, "batch c h w"], t: Int[Tensor, " batch"]) -> Half:
        """The way down."""
        unet = self.unet
        condition = unet.time_embedding(unet.time_proj(t).to(x.dtype))
        h = unet.conv_in(2 * x - 1 if unet.config.center_input_sample else x)
        kept: tuple[Tensor, ...] = (h,)
        for block in unet.down_blocks:
            h, more = block(hidden_states=h, temb=condition)
            kept += more
        return Half(x, t, h, kept, condition)

    def rest(self, half: Half) -> Float[Tensor, "batch c h w"]:
        """The noise in each image: the middle, and the way up."""
        return _way_up(self.unet, half, None, self.channels)

    def shift(self, code: int) -> Shift:
        """A new middle and way up of the same build, which see a code."""
        width = self.unet.time_embedding.linear_2.out_features
        return Shift(code, width, _PretrainedHalf(self.unet, width, self.channels))


class _PretrainedHalf(nn.Module):
    """Middle and way up of a `UNet2DModel`, with new weights, each residual block with a scale and shift of a code."""

    def __init__(self, unet: Any, width: int, channels: int) -> None:
        super().__init__()
        for name in ("mid_block", "up_blocks", "conv_norm_out", "conv_act", "conv_out"):
            setattr(self, name, copy.deepcopy(getattr(unet, name)))
        self.requires_grad_(True)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear | nn.GroupNorm):
                module.reset_parameters()
        self.channels = channels
        resnets = [self.mid_block.resnets, *(block.resnets for block in self.up_blocks)]
        widths = [resnet.norm2.num_channels for some in resnets for resnet in some]
        self.code = nn.ModuleList(nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * n)) for n in widths)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)

    mid_block: Any
    up_blocks: Any
    conv_out: Any

    def forward(self, half: Half, code: Float[Tensor, "batch width"]) -> Float[Tensor, "batch c h w"]:
        return _way_up(self, half, [layer(code)[:, :, None, None] for layer in self.code], self.channels)


def _way_up(net: Any, half: Half, codes: list[Tensor] | None, channels: int) -> Float[Tensor, "batch c h w"]:
    """What `UNet2DModel` does behind its way down; `codes` are scales and shifts, one for each residual block."""
    each = iter(codes) if codes is not None else None
    h, kept = half.h, list(half.kept)

    def residual(block: Any, x: Tensor) -> Tensor:
        return _residual(block, x, half.condition, None if each is None else next(each))

    middle, *others = net.mid_block.resnets
    h = residual(middle, h)
    for attention, block in zip(net.mid_block.attentions, others, strict=True):
        h = residual(block, h if attention is None else attention(h))
    for level in net.up_blocks:
        attentions = getattr(level, "attentions", None) or [None] * len(level.resnets)
        for block, attention in zip(level.resnets, attentions, strict=True):
            h = residual(block, torch.cat([h, kept.pop()], 1))
            h = h if attention is None else attention(h)
        for stretch in level.upsamplers or ():
            h = stretch(h)
    read: Tensor = net.conv_out(net.conv_act(net.conv_norm_out(h)))
    return read[:, :channels]  # others say how sure it is


def _residual(block: Any, x: Tensor, time: Tensor, code: Tensor | None) -> Tensor:
    """A `ResnetBlock2D` whose second norm may also be scaled and shifted by a code."""
    h = block.conv1(block.nonlinearity(block.norm1(x)))
    step = block.time_emb_proj(block.nonlinearity(time))[:, :, None, None]
    if block.time_embedding_norm == "scale_shift":
        scale, shift = step.chunk(2, 1)
        h = block.norm2(h) * (1 + scale) + shift
    else:
        h = block.norm2(h + step)
    if code is not None:
        scale, shift = code.chunk(2, 1)
        h = h * (1 + scale) + shift
    h = block.conv2(block.dropout(block.nonlinearity(h)))
    skip = x if block.conv_shortcut is None else block.conv_shortcut(x)
    out: Tensor = (skip + h) / block.output_scale_factor
    return out
