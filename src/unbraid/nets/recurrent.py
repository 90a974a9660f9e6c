"""Recurrent encoder and decoder of series."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


def remembering(lstm: nn.LSTM) -> nn.LSTM:
    """The LSTM with 1 added to the biases of its forget gates: it begins by keeping what it has seen.

    Source:
        Jozefowicz et al., 2015, "An Empirical Exploration of Recurrent Network Architectures", section 4.
    """
    width = lstm.hidden_size
    with torch.no_grad():
        for layer in range(lstm.num_layers):
            getattr(lstm, f"bias_ih_l{layer}")[width : 2 * width] += 1
    return lstm


class SeriesEncoder(nn.Module):
    """Series -> numbers: an LSTM over time, and a linear read-out of its last state.

    Args:
        channels: Channels of the series.
        out: Numbers for each series.
        hidden: Width of the LSTM.
        layers: Its layers.

    >>> SeriesEncoder(3, 5, hidden=8)(torch.zeros(2, 3, 20)).shape
    torch.Size([2, 5])
    """

    def __init__(self, channels: int, out: int, hidden: int = 128, layers: int = 1) -> None:
        super().__init__()
        self.lstm = remembering(nn.LSTM(channels, hidden, layers, batch_first=True))
        self.read = nn.Linear(hidden, out)

    def forward(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch out"]:
        _, (last, _) = self.lstm(x.mT)
        numbers: Tensor = self.read(last[-1])
        return numbers


class SeriesDecoder(nn.Module):
    """Numbers -> series: an LSTM that begins in a state made of them and sees them again at every step.

    Args:
        latents: Numbers for each series.
        channels: Channels of the series.
        steps: Its length.
        hidden: Width of the LSTM.
        layers: Its layers.
        forced: Whether it also sees the step before: the true one in training, its own where there is none.

    >>> SeriesDecoder(5, 3, steps=20, hidden=8)(torch.zeros(2, 5)).shape
    torch.Size([2, 3, 20])
    """

    def __init__(
        self, latents: int, channels: int, steps: int, hidden: int = 128, layers: int = 1, forced: bool = False
    ) -> None:
        super().__init__()
        self.channels, self.steps, self.forced = channels, steps, forced
        self.begin = nn.Linear(latents, 2 * layers * hidden)
        self.lstm = remembering(nn.LSTM(latents + channels * forced, hidden, layers, batch_first=True))
        self.read = nn.Linear(hidden, channels)

    def forward(
        self, z: Float[Tensor, "batch latents"], x: Float[Tensor, "batch channels time"] | None = None
    ) -> Float[Tensor, "batch channels time"]:
        """The means of the steps.

        Args:
            z: The numbers.
            x: The true series, of which a forced decoder sees the steps before each; without it, it sees its own.
        """
        state = self._state(z)
        if self.forced and x is None:
            return self._free(z, state)
        seen = z[:, None].expand(-1, self.steps, -1)
        if self.forced and x is not None:
            before = torch.cat([torch.zeros_like(x[..., :1]), x[..., :-1]], 2)
            seen = torch.cat([seen, before.mT], 2)
        made: Tensor = self.read(self.lstm(seen, state)[0])
        return made.mT

    def _free(
        self, z: Float[Tensor, "batch latents"], state: tuple[Tensor, Tensor]
    ) -> Float[Tensor, "batch channels time"]:
        step, made = z.new_zeros(len(z), 1, self.channels), []
        for _ in range(self.steps):
            out, state = self.lstm(torch.cat([z[:, None], step], 2), state)
            step = self.read(out)
            made.append(step)
        return torch.cat(made, 1).mT

    def _state(self, z: Float[Tensor, "batch latents"]) -> tuple[Tensor, Tensor]:
        h, c = self.begin(z).reshape(len(z), 2, self.lstm.num_layers, -1).permute(1, 2, 0, 3)
        return h.tanh().contiguous(), c.contiguous()
