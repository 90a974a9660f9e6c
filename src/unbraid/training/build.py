"""A method from its class, options, fields and a seed."""

from __future__ import annotations

from typing import Any, TypeVar

import torch

from unbraid.core.fields import Fields
from unbraid.core.method import Method
from unbraid.data.order import key_of

M = TypeVar("M", bound=Method[Any])


def build(cls: type[M], config: Any, fields: Fields, seed: int = 0) -> M:
    """A fresh method whose initial weights are a function of the seed; the caller's generators stay as they were.

    Args:
        cls: The method class.
        config: An instance of its `Config`.
        fields: The facts of the data, `dataset.fields`.
        seed: Of the initial weights.

    Raises:
        DataError: The fields are not those the method needs.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(key_of(seed, "build"))
        return cls(config, fields)
