"""From frames, pitch and loudness to sound."""

from __future__ import annotations

from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.methods.voice.neucosvc.config import ConversionConfig
from unbraid.nets.wave import HarmonicSource, WaveUNet

_NOISE = 0.03


class Vocoder(nn.Module):
    """A source of harmonics and noise under a U-shaped generator.

    Args:
        features: Numbers in a frame.
        config: The method's.
    """

    def __init__(self, features: int, config: ConversionConfig) -> None:
        super().__init__()
        self.ratio = config.factors[0]
        self.fine = prod(config.factors[1:])
        self.source = HarmonicSource(
            1 + features,
            config.rate,
            self.fine,
            width=config.filter_width,
            cepstrum=config.cepstrum,
            fft=config.filter_fft,
            centred=config.centred,
        )
        self.unet = WaveUNet(features, (1, 2), config.width, config.factors)

    def forward(
        self,
        synthesis: Float[Tensor, "b f e"],
        pitch: Float[Tensor, "b fine"],
        loud: Float[Tensor, "b fine"],
        noise: Float[Tensor, "b t"],
    ) -> Float[Tensor, "b t"]:
        """The wave, a frame's samples for each frame."""
        frames = torch.cat([loud[..., None], synthesis.repeat_interleave(self.ratio, 1)], 2)
        excitation = self.source(frames, pitch, _NOISE * noise)
        level = nn.functional.interpolate(loud[:, None], scale_factor=self.fine, mode="linear")
        made: Tensor = self.unet(synthesis, (level, excitation))
        return made
