"""A small variational autoencoder, trained on the data at hand, for methods that look at one."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torch import nn

from unbraid.core.config import override
from unbraid.core.fields import Fields
from unbraid.methods.latent.vae import BetaVAE
from unbraid.training.build import build
from unbraid.training.fit import fit

_KEPT = 8
_SMALL: Mapping[str, Any] = MappingProxyType(
    {
        "network": "mlp",
        "width": 128,
        "optim.lr": 2e-3,
        "optim.schedule.kind": "cosine",
    }
)


@dataclass(frozen=True)
class SmallVAE:
    """A beta-VAE of perceptrons with ten latents.

    Attributes:
        beta: Weight of the KL term.
        epochs: Passes over the data.
        steps: Most steps, however many data there are.
    """

    beta: float = 4.0
    epochs: int = 100
    steps: int = 1000
    _made: OrderedDict[tuple[str, int], BetaVAE] = field(default_factory=OrderedDict, compare=False, repr=False)

    def shape(self, fields: Fields) -> nn.Module:
        """The network before training."""
        return self._built(fields, 0, self.steps)

    def make(self, data: Any, seed: int) -> nn.Module:
        """The network, trained; the last few are kept in memory."""
        key = (data.hash, seed)
        if key not in self._made:
            batch = BetaVAE.Config().batch
            method = self._built(data.fields, seed, min(self.steps, max(1, self.epochs * len(data) // batch)))
            fit(method, data, seed=seed)
            self._made[key] = method.eval()
            while len(self._made) > _KEPT:
                self._made.popitem(last=False)
        return copy.deepcopy(self._made[key])

    def _built(self, fields: Fields, seed: int, steps: int) -> BetaVAE:
        changes = {**_SMALL, "beta": self.beta, "steps": steps}
        return build(BetaVAE, override(BetaVAE.Config(), changes), fields, seed)


VAE = SmallVAE()
"""With beta 4."""
