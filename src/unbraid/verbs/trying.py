"""The smallest instance of a method: to show its parts, and to check its contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unbraid.core.method import Method
    from unbraid.data.dataset import Dataset


def tiny_data(cls: type[Method[Any]], *, images: bool = False) -> Dataset:
    """Very few data of the kind that a method needs.

    Args:
        cls: The method class.
        images: Whether images take the place of vectors where either will do.
    """
    from unbraid.data.catalog import open_data
    from unbraid.data.made.tiny import tiny_images, tiny_vectors
    from unbraid.data.wrapped import in_roles

    made = tiny_images if images or "vector" not in cls.card.modality else tiny_vectors
    data = open_data(cls.card.tiny) if cls.card.tiny else made()
    return in_roles(data, cls.card.needs, {}, cls.card.wants, cls.card.partly)


def tiny_config(cls: type[Method[Any]], overrides: Mapping[str, Any] | None = None) -> Any:
    """The preset "tiny", with the options of an alias below it."""
    from unbraid.core.config import override

    return override(override(cls.Config(), overrides or {}), cls.presets.get("tiny", {}))


def tiny_method(cls: type[Method[Any]], overrides: Mapping[str, Any] | None = None) -> Method[Any]:
    """A small untrained method, stand-ins in all its ports."""
    from unbraid.training.build import build, shaped

    fields = tiny_data(cls, images="image" in cls.card.modality).fields
    return build(cls, tiny_config(cls, overrides), fields, given=shaped(cls, fields))
