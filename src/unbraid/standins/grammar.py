"""A language model that has learned the grammar of `ioi`."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from unbraid.core.errors import DataError
from unbraid.core.fields import Fields
from unbraid.data.dataset import Dataset
from unbraid.data.order import key_of, shuffled
from unbraid.nets.transformer import LanguageModel

STEPS, BATCH, RATE = 400, 128, 1e-3


class Grammar:
    """Two blocks of width 64 with four heads, trained on the last token of sentences drawn at random.

    Adam at 0.001, 400 steps of 128 sentences: every continuation of `ioi` is right from about step 200 on, which takes
    about ten seconds on one core. Data without tokens need no model: they are handed on as they are.
    """

    def shape(self, fields: Fields) -> nn.Module:
        """The model, untrained."""
        if "token" not in fields:
            return nn.Identity()
        token = fields["token"]
        if token.classes is None:
            raise DataError("tokens of a known vocabulary", got="any whole numbers", where="the stand-in 'grammar'")
        return LanguageModel(token.classes, token.shape[0])

    def make(self, data: Dataset, seed: int) -> nn.Module:
        """The model, trained.

        Args:
            data: Items with the fields `token` and `label`, the token that follows the last one.
            seed: Of the weights and of the order.
        """
        if "token" not in data.fields:
            return self.shape(data.fields)
        key = (data.hash, seed, STEPS)
        if key not in _MADE:
            _MADE[key] = _trained(self.shape, data, seed).eval()
        return copy.deepcopy(_MADE[key])


_MADE: dict[tuple[str, int, int], nn.Module] = {}
GRAMMAR = Grammar()


def _trained(shape: Callable[[Fields], nn.Module], data: Dataset, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(key_of("grammar", seed))
        net = shape(data.fields)
        optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
        for step in range(STEPS):
            positions = torch.arange(step * BATCH, (step + 1) * BATCH) % len(data)
            batch = data.take(shuffled(len(data), key_of("grammar", seed), positions))
            optimizer.zero_grad()
            torch.autograd.backward(cross_entropy(net(batch["token"])[:, -1], batch["label"]))
            optimizer.step()
    return net
