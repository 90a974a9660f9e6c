"""The pitch of a voice: candidates of the YIN estimator, and the best path through them, for a whole batch."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

_CANDIDATES = 5
_UNVOICED = 0.30
"""What it costs to call a frame unvoiced: a YIN difference as large as that."""

_JUMP = 0.35
"""What it costs to move by an octave from one frame to the next."""

_SWITCH = 0.10
"""What it costs to begin or end a voiced stretch."""

_LONG = 0.03
"""What each octave below the highest pitch costs, so that of a period and its multiples the period wins."""

_NEVER = 1e3
_QUIET = 0.02


def f0(
    wave: Float[Tensor, "b t"],
    rate: int,
    hop: int,
    low: float = 65.0,
    high: float = 1000.0,
    window: float = 0.04,
) -> Float[Tensor, "b frames"]:
    """The pitch about 0, hop, 2 hop, ... in hertz, 0 where there is none.

    The best lags of each frame by the YIN difference (de Cheveigne and Kawahara, 2002) compete along the time axis:
    what a frame's lag costs, and what it costs to jump, are least in sum over the whole item.

    Args:
        wave: Sounds.
        rate: Samples per second.
        hop: Samples from one frame to the next.
        low: Least pitch.
        high: Greatest pitch.
        window: Seconds of a frame; at least two periods of the least pitch.

    >>> time = torch.arange(8000) / 8000
    >>> sound = torch.stack([torch.sin(2 * torch.pi * 220 * time), torch.zeros(8000)])
    >>> f0(sound, 8000, 80)[:, 50].round().tolist()
    [220.0, 0.0]
    """
    least, most = max(2, int(rate / high)), int(rate / low) + 1
    frames = _frames(wave, hop, max(int(window * rate), 2 * most))
    difference = yin(frames, most)
    lag, cost = _candidates(difference, least)
    pitch = rate / lag
    level = frames.square().mean(2).sqrt()
    quiet = level <= _QUIET * level.amax(1, keepdim=True)
    cost = cost + _LONG * (high / pitch).log2().clamp(min=0) + _NEVER * quiet[..., None]
    pitch = torch.cat([pitch, torch.zeros_like(pitch[..., :1])], 2)
    cost = torch.cat([cost, torch.full_like(cost[..., :1], _UNVOICED)], 2)
    return pitch.gather(2, _cheapest(pitch, cost)[..., None])[..., 0]


def _frames(wave: Float[Tensor, "b t"], hop: int, window: int) -> Float[Tensor, "b frames window"]:
    padded = nn.functional.pad(wave, (window // 2, window - window // 2))
    return padded.unfold(1, window, hop)


def yin(frames: Float[Tensor, "*f window"], most: int) -> Float[Tensor, "*f lags"]:
    """The squared difference of each frame to itself some lags on, over its mean at the lags up to there: 1 at lag 0.

    Args:
        frames: Stretches of sound.
        most: The greatest lag.
    """
    window = frames.shape[-1]
    span = window - most
    size = 2 ** (window + span - 1).bit_length()
    product = torch.fft.rfft(frames[..., :span], size).conj() * torch.fft.rfft(frames, size)
    shared = torch.fft.irfft(product, size)[..., : most + 1]
    energy = nn.functional.pad(frames.square().cumsum(-1), (1, 0))
    energy = energy[..., span : span + most + 1] - energy[..., : most + 1]
    difference = (energy[..., :1] + energy - 2 * shared).clamp(min=0)[..., 1:]
    lags = torch.arange(1, most + 1, dtype=frames.dtype, device=frames.device)
    mean = difference.cumsum(-1) / lags
    small = 1e-6 * energy[..., :1] + 1e-20
    return torch.cat([torch.ones_like(mean[..., :1]), (difference + small) / (mean + small)], -1)


def _candidates(
    difference: Float[Tensor, "b f lags"], least: int
) -> tuple[Float[Tensor, "b f k"], Float[Tensor, "b f k"]]:
    """The deepest dips: their lags, refined by a parabola, and their depths."""
    before, here, after = difference[..., :-2], difference[..., 1:-1], difference[..., 2:]
    dip = (here < before) & (here <= after)
    dip[..., : least - 1] = False
    cost, at = here.where(dip, here.new_tensor(_NEVER)).topk(_CANDIDATES, -1, largest=False)
    left, right = before.gather(-1, at), after.gather(-1, at)
    middle = here.gather(-1, at)
    bend = (left - 2 * middle + right).clamp(min=1e-12)
    shift = (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
    return at + 1 + shift, cost - (0.125 * (left - right).square() / bend).where(cost < _NEVER, torch.zeros_like(bend))


def _cheapest(pitch: Float[Tensor, "b f k"], cost: Float[Tensor, "b f k"]) -> Int[Tensor, "b f"]:
    """The path of least cost through the candidates, the last of which is "unvoiced" (Viterbi)."""
    logs = pitch[..., :-1].log2()
    total, back = cost[:, 0], []
    for frame in range(1, pitch.shape[1]):
        move = _moves(logs[:, frame - 1], logs[:, frame])
        best = (total[..., None] + move).min(1)
        back.append(best.indices)
        total = best.values + cost[:, frame]
    path = [total.argmin(1)]
    for choice in reversed(back):
        path.append(choice.gather(1, path[-1][:, None])[:, 0])
    return torch.stack(path[::-1], 1)


def _moves(before: Float[Tensor, "b k"], after: Float[Tensor, "b k"]) -> Float[Tensor, "b k1 k1"]:
    jump = _JUMP * (before[:, :, None] - after[:, None]).abs()
    move = nn.functional.pad(jump, (0, 1, 0, 1), value=_SWITCH)
    move[:, -1, -1] = 0.0
    return move


def voiced_mean(pitch: Float[Tensor, "b frames"], valid: Bool[Tensor, "b frames"] | None = None) -> Float[Tensor, ""]:
    """The mean of the pitch where there is one; NaN where there is none at all.

    >>> voiced_mean(torch.tensor([[0.0, 100.0], [200.0, 0.0]]))
    tensor(150.)
    """
    voiced = pitch > 0 if valid is None else (pitch > 0) & valid
    return pitch[voiced].mean()
