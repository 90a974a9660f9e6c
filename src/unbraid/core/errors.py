"""Errors that a user can mend: one line saying what was expected, what came, and what to do."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import Any


class UnbraidError(Exception):
    """Base of every error that a user can cause.

    Args:
        expected: What would have been right, without a leading "expected".
        got: What came instead.
        fix: What to do about it.
        where: The file, row, option or field at fault.

    >>> str(UnbraidError("a positive number", got="-3", fix="leave it out for the default", where="--steps"))
    '--steps: expected a positive number, got -3; leave it out for the default'
    """

    def __init__(self, expected: str, *, got: str = "", fix: str = "", where: str = "") -> None:
        self.expected, self.got, self.fix, self.where = expected, got, fix, where
        line = f"{where}: expected {expected}" if where else f"expected {expected}"
        line += f", got {got}" if got else ""
        line += f"; {fix}" if fix else ""
        super().__init__(" ".join(line.split()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the parts of the message when an error crosses processes."""
        return _again, (type(self), self.expected, self.got, self.fix, self.where)


def _again(cls: type[UnbraidError], expected: str, got: str, fix: str, where: str) -> UnbraidError:
    return cls(expected, got=got, fix=fix, where=where)


class ConfigError(UnbraidError):
    """An option, a name or a combination of them is wrong."""


class DataError(UnbraidError):
    """Data cannot be read, or do not fit what was declared."""


class RunError(UnbraidError):
    """A run folder is missing, damaged, or belongs to another experiment."""


class NumericsError(UnbraidError):
    """A loss or a gradient is not finite; the parameters were left as they were before the update."""


class ContractError(UnbraidError):
    """A method breaks one of the laws that `unbraid.testing.check_method` holds."""


class MissingExtraError(UnbraidError):
    """An optional library is not installed."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known: the nearest one, or the list of all.

    >>> nearest("beta_vea", ["beta-vae", "qlae"])
    "did you mean 'beta-vae'?"
    >>> nearest("zzz", ["beta-vae", "qlae"])
    'choose from beta-vae, qlae'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name.lower().replace("_", "-"), names, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(names)}"


def need(module: str, extra: str) -> ModuleType:
    """Import an optional library, or say in one line how to get it.

    >>> need("json", extra="none").__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"the library '{module.partition('.')[0]}'",
            got=f"no such library ({error})",
            fix=f"install it with: pip install 'unbraid[{extra}]'",
        ) from error
