"""A method from its class, options, fields and a seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from unbraid.core.fields import Fields
from unbraid.core.given import Given, standin_of, stands_in
from unbraid.core.method import Method
from unbraid.data.order import key_of
from unbraid.training.cache import trained_once

M = TypeVar("M", bound=Method[Any])


def build(cls: type[M], config: Any, fields: Fields, seed: int = 0, given: Mapping[str, nn.Module] | None = None) -> M:
    """A fresh method whose initial weights are a function of the seed; the caller's generators stay as they were.

    Args:
        cls: The method class.
        config: An instance of its `Config`.
        fields: The facts of the data, `dataset.fields`.
        seed: Of the initial weights.
        given: Networks for the ports of its card.

    Raises:
        DataError: The fields are not those the method needs.
        ConfigError: A port is open, or there is none of that name.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(key_of(seed, "build"))
        return cls(config, fields, Given(given)) if cls.card.ports or given else cls(config, fields)


def stand_in(cls: type[Method[Any]], data: Any, seed: int, given: Mapping[str, nn.Module] | None = None) -> Given:
    """The given networks, and a stand-in, trained for these data, for every port that has one and needs it."""
    networks = dict(given or {})
    for port in cls.card.ports:
        if port.name not in networks and stands_in(port, data.fields):
            networks[port.name] = trained_once(standin_of(port), data, seed)
    return Given(networks)


def shaped(cls: type[Method[Any]], fields: Fields) -> Given:
    """Untrained stand-ins for the ports that have one, which is enough to see parts and shapes."""
    ports = [port for port in cls.card.ports if stands_in(port, fields)]
    return Given({port.name: standin_of(port).shape(fields) for port in ports})
