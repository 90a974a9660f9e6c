"""Speech encoders of the library transformers as they are handed to a method: their hidden states, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.errors import ConfigError
from unbraid.core.given import Frozen, Hooked
from unbraid.ops.audio import resample

RATE, HOP = 16_000, 320
"""What these encoders listen to: samples per second, and samples of a frame."""


class SpeechEncoder(nn.Module):
    """HuBERT, WavLM, wav2vec 2.0 or another of their interface, held still.

    Args:
        net: Called with waves at 16 kHz and `output_hidden_states=True`, it gives `hidden_states`; it has a
            `config.hidden_size`.
        scaled: Whether each wave is brought to mean 0 and spread 1 first, as some were trained; the authors do not.

    Raises:
        ConfigError: It has no hidden size.
    """

    def __init__(self, net: nn.Module, *, scaled: bool = False) -> None:
        super().__init__()
        width = getattr(getattr(net, "config", None), "hidden_size", None)
        if not isinstance(width, int):
            fix = "give hf:NAME of a HuBERT or WavLM"
            raise ConfigError("a speech encoder with config.hidden_size", got=type(net).__name__, fix=fix)
        self.width, self.scaled = width, scaled
        self.net = Frozen(net)

    def forward(self, wave: Float[Tensor, "b t"], rate: int) -> Sequence[Float[Tensor, "b f d"]]:
        """What enters the first block, and what leaves each one, before any norm that follows the last.

        Raises:
            ConfigError: The network does not give hidden states.
        """
        wave = resample(wave, round(wave.shape[1] * RATE / rate))
        if self.scaled:
            wave = (wave - wave.mean(1, keepdim=True)) / (wave.var(1, keepdim=True) + 1e-7).sqrt()
        wave = nn.functional.pad(wave, (0, HOP - wave.shape[1] % HOP))
        hooked = Hooked(self.net.inner)
        last = _last_block(self.net.inner)
        out, seen = hooked.run(wave, read=(last,) if last else (), output_hidden_states=True)
        states: Any = getattr(out, "hidden_states", None)
        if not states:
            raise ConfigError("a network that gives hidden_states", got=type(out).__name__, where="--given encoder")
        return [*states[:-1], seen[last] if last else states[-1]]


def _last_block(net: nn.Module) -> str:
    """The dotted name of the last of `encoder.layers`, or nothing."""
    layers = getattr(getattr(net, "encoder", None), "layers", None)
    return f"encoder.layers.{len(layers) - 1}" if isinstance(layers, nn.ModuleList) and len(layers) else ""


def entry(states: Sequence[Tensor], number: int, option: str) -> Tensor:
    """One of the hidden states.

    Raises:
        ConfigError: There are fewer.
    """
    if not 0 <= number < len(states):
        raise ConfigError(
            f"hidden states 0..{len(states) - 1} of the encoder", got=str(number), where=f"--set {option}"
        )
    return states[number]


def fitted(x: Float[Tensor, "b f d"], count: int) -> Float[Tensor, "b count d"]:
    """So many frames: the last one again where there are fewer.

    >>> fitted(torch.tensor([[[1.0], [2.0]]]), 3)[0, :, 0].tolist()
    [1.0, 2.0, 2.0]
    """
    return torch.cat([x, x[:, -1:].expand(-1, max(0, count - x.shape[1]), -1)], 1)[:, :count]
