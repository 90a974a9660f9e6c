"""The networks of a method through `torch.compile`, while it trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from unbraid.core.errors import ConfigError, ContractError
from unbraid.core.method import Method

BACKEND = "inductor"
_LIMIT = 1024


@contextmanager
def compiled(method: Method[Any]) -> Iterator[None]:
    """Compile the networks of a method in place; afterwards they are as they were.

    Names of tensors stay. Losses are left alone, because they draw and note through `at`. The code that a network gets
    depends on nothing that happened before, or a resumed run would have other bits: so each shape of batch has code of
    its own, and torch may not give up compiling after eight networks and shapes.

    Raises:
        ConfigError: torch cannot compile them here.
        ContractError: Second derivatives go through a network that `Method.eager` does not name.
    """
    found = list(_networks(method, method.eager))
    for network in found:
        network._compiled_call_impl = torch.compile(_call(network), backend=BACKEND, dynamic=False)
    try:
        with torch._dynamo.config.patch(cache_size_limit=_LIMIT, accumulated_cache_size_limit=_LIMIT), _explained():
            yield
    finally:
        for network in found:
            network._compiled_call_impl = None


def check_compiler(device: torch.device) -> None:
    """Compile something small, so that a missing compiler is known before anything is trained.

    Raises:
        ConfigError: There is none.
    """
    with _explained():
        torch.compile(torch.sin, backend=BACKEND)(torch.zeros(2, device=device))


def _networks(module: nn.Module, eager: tuple[str, ...]) -> Iterator[nn.Module]:
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _networks(child, eager) if name not in eager else ()
        elif name not in eager and next(child.parameters(), None) is not None:
            yield child


def _call(network: nn.Module) -> Callable[..., Any]:
    """What `Module.compile` compiles, one frame further out: it passes over torch's own modules, `Sequential` too."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return network._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]

    return call


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        from torch._dynamo.exc import TorchDynamoException

        if "double backward" in str(error):
            fix = "name the network in `Method.eager`, or leave out --compile"
            raise ContractError("no second derivatives through compiled networks", got="some", fix=fix) from error
        if not isinstance(error, TorchDynamoException):
            raise
        said = str(error).strip().splitlines()[0]
        fix = "install a C++ compiler if there is none, or leave out --compile"
        raise ConfigError("networks that torch can compile", got=said, fix=fix, where="--compile") from error
