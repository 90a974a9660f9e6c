"""A small generator, in the place of a large one."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.fields import Field, Fields
from unbraid.data.dataset import Dataset
from unbraid.data.order import epoch_positions, key_of
from unbraid.losses.gaussian import bernoulli_nll, gaussian_nll, kl, sample
from unbraid.nets.for_field import Network, decoder_for, encoder_for
from unbraid.nets.generator import BlockGenerator

_KEPT = 8


class SmallVAE(nn.Module):
    """A variational autoencoder as a generator of items from codes, which also tells the codes of items.

    Args:
        x: What an item is.
        width: Numbers in a code.
        hidden: Width of its layers.

    Attributes:
        width: Numbers in a code.
    """

    def __init__(self, x: Field, width: int, hidden: int) -> None:
        super().__init__()
        network: Network = "conv" if len(x.shape) == 3 and x.shape[1] >= 16 else "mlp"
        self.width, self.unit = width, x.unit
        self.encoder = encoder_for(x, 2 * width, hidden, network)
        self.decoder = decoder_for(x, width, hidden, network)

    def forward(self, z: Float[Tensor, "batch width"]) -> Float[Tensor, "batch *item"]:
        """The items of some codes."""
        out: Tensor = self.decoder(z)
        return out.sigmoid() if self.unit else out

    def infer(self, x: Float[Tensor, "batch *item"]) -> Float[Tensor, "batch width"]:
        """The mean codes of some items."""
        mean: Tensor = self.encoder(x)[:, : self.width]
        return mean

    def bound(self, x: Float[Tensor, "batch *item"]) -> Float[Tensor, " batch"]:
        """The negative evidence lower bound of each item, in nats; chance is torch's own."""
        mu, logvar = self.encoder(x).chunk(2, 1)
        out = self.decoder(sample(mu, logvar, torch.randn_like(mu)))
        return (bernoulli_nll if self.unit else gaussian_nll)(out, x) + kl(mu, logvar).sum(1)


@dataclass(frozen=True)
class SmallGenerator:
    """A `SmallVAE` of the data at hand; where these tell the codes they were made from, the generator of `blocks`.

    Attributes:
        width: Numbers in a code.
        hidden: Width of its layers.
        steps: Of its training, by Adam.
        batch: Items per step.
        lr: Learning rate.
    """

    width: int = 8
    hidden: int = 128
    steps: int = 1500
    batch: int = 64
    lr: float = 1e-3
    _made: OrderedDict[tuple[str, int], nn.Module] = field(default_factory=OrderedDict, compare=False, repr=False)

    def shape(self, fields: Fields) -> nn.Module:
        """The network before training."""
        x = fields["x"]
        if "latent" in fields and len(x.shape) == 1:
            return BlockGenerator(fields["latent"].shape[0], x.shape[0])
        return SmallVAE(x, self.width, self.hidden)

    def make(self, data: Any, seed: int) -> nn.Module:
        """The network, trained; the last few are kept in memory."""
        if "latent" in data.fields and len(data.fields["x"].shape) == 1:
            return self.shape(data.fields)
        key = (data.hash, seed)
        if key not in self._made:
            self._made[key] = self._trained(data, seed)
            while len(self._made) > _KEPT:
                self._made.popitem(last=False)
        return copy.deepcopy(self._made[key])

    def _trained(self, data: Dataset, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(key_of(seed, "generator"))
            net = SmallVAE(data.fields["x"], self.width, self.hidden)
            optimizer = torch.optim.Adam(net.parameters(), self.lr, fused=True)
            for step in range(self.steps):
                rows = epoch_positions(torch.arange(step * self.batch, (step + 1) * self.batch), len(data), seed)
                optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(net.bound(data.take(rows)["x"]).mean())
                optimizer.step()
        return net.eval()


SMALL = SmallGenerator()
"""Eight numbers in a code."""
