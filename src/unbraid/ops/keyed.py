"""Numbers that look drawn, and are the same for the same content."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

_STEP, _FIRST, _SECOND = (n - 2**64 for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def uniform_of(x: Float[Tensor, "batch *item"], count: int) -> Float[Tensor, "batch count"]:
    """Uniform numbers in [0, 1) for each item, told by its bits alone: by no generator, and by no other item.

    For measurements that are noisy, yet taken once of each item. The generator is splitmix64.

    Args:
        x: The items, float32.
        count: Numbers for each.

    >>> x = torch.tensor([[0.5, 0.25], [0.25, 0.5]])
    >>> torch.equal(uniform_of(x, 3)[1:], uniform_of(x[1:], 3)), bool((uniform_of(x, 3) < 1).all())
    (True, True)
    """
    return _shifted(_numbers(x, count), 11).double() * 2.0**-53


def bytes_of(x: Float[Tensor, "batch *item"], count: int) -> UInt8[Tensor, "batch count"]:
    """Uniform bytes for each item in the same way: eight of them for the price of one number.

    >>> bytes_of(torch.tensor([[0.5]]), 20).shape
    torch.Size([1, 20])
    """
    return _numbers(x, -(-count // 8)).view(torch.uint8)[:, :count]


def _numbers(x: Tensor, count: int) -> Int[Tensor, "batch count"]:
    """Numbers of 64 bits."""
    bits = x.flatten(1).contiguous().view(torch.int32).long()
    places = torch.arange(1, bits.shape[1] + 1, device=x.device)
    key = _mixed(bits + places * _STEP).sum(1, keepdim=True)
    return _mixed(key + torch.arange(1, count + 1, device=x.device) * _STEP)


def _mixed(z: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
    z = (z ^ _shifted(z, 30)) * _FIRST
    z = (z ^ _shifted(z, 27)) * _SECOND
    return z ^ _shifted(z, 31)


def _shifted(z: Int[Tensor, "*n"], bits: int) -> Int[Tensor, "*n"]:
    """To the right, zeros from the left, as for numbers without a sign."""
    rest: Tensor = (z >> bits) & (2 ** (64 - bits) - 1)
    return rest
