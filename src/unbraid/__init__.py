"""Learn, measure and steer representations made of named parts.

The names here load on first use, so that importing the package costs little.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from unbraid._version import __version__

if TYPE_CHECKING:
    from unbraid.audit import Audit as Audit
    from unbraid.claims import verify as verify
    from unbraid.core.method import Method as Method
    from unbraid.core.method import Stage as Stage
    from unbraid.core.method import Stream as Stream
    from unbraid.core.method import Update as Update
    from unbraid.core.parts import Parts as Parts
    from unbraid.core.parts import PartSpec as PartSpec
    from unbraid.data.catalog import open_data as open_data
    from unbraid.testing import check_method as check_method
    from unbraid.training.build import build as build
    from unbraid.training.fit import fit as fit
    from unbraid.verbs import Request as Request
    from unbraid.verbs import load as load
    from unbraid.verbs import train as train

_HOME = {
    "Audit": "unbraid.audit",
    "Method": "unbraid.core.method",
    "Stage": "unbraid.core.method",
    "Stream": "unbraid.core.method",
    "Update": "unbraid.core.method",
    "Parts": "unbraid.core.parts",
    "PartSpec": "unbraid.core.parts",
    "open_data": "unbraid.data.catalog",
    "check_method": "unbraid.testing",
    "build": "unbraid.training.build",
    "fit": "unbraid.training.fit",
    "Request": "unbraid.verbs",
    "load": "unbraid.verbs",
    "train": "unbraid.verbs",
    "verify": "unbraid.claims",
}

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'unbraid' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
