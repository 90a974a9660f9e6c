"""Networks that are not ours: handed to a method, held still, listened to, cut in two."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from unbraid.core.errors import ConfigError, ContractError, nearest
from unbraid.core.fields import Fields


@dataclass(frozen=True)
class Port:
    """A network that a method takes from outside.

    Attributes:
        name: How it is handed over: `--given NAME=SOURCE`.
        help: What it must be able to do, in one sentence.
        trainable: Whether training moves it; then it belongs to the method and is stored with it.
        optional: Whether the method does without.
        keep: A run keeps the weights of the network, or a reference to where it came from and a hash of them.
        standin: "module:object", a `Standin` that takes its place where none is given; of an optional port, where it
            says that it `fits` the data.
    """

    name: str
    help: str
    trainable: bool = False
    optional: bool = False
    keep: Literal["reference", "weights"] = "reference"
    standin: str | None = None

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ContractError("a port name that is an identifier", got=f"'{self.name}'")

    @property
    def stored(self) -> bool:
        """Whether a run holds the weights themselves."""
        return self.trainable or self.keep == "weights"


@runtime_checkable
class Standin(Protocol):
    """A small network of our own in the place of one that nobody gave.

    One with a true attribute `seedless` is the same for every seed, as a checkpoint is.
    """

    def shape(self, fields: Fields) -> nn.Module:
        """The network before training, for data of these fields."""

    def make(self, data: Any, seed: int) -> nn.Module:
        """The network, trained for these data; a function of both, which differs from `shape` in its weights only."""


@runtime_checkable
class Fits(Protocol):
    """A stand-in of an optional port: some data need it, others do without."""

    def fits(self, fields: Fields) -> bool:
        """Whether it takes the port's place for data of these fields."""


def standin_of(port: Port) -> Standin:
    """The stand-in of a port.

    Raises:
        ConfigError: It has none.
    """
    if port.standin is None:
        raise ConfigError(port.help, got="no network", fix=f"give one with --given {port.name}=SOURCE", where=port.name)
    module, _, name = port.standin.partition(":")
    found: Standin = getattr(importlib.import_module(module), name)
    return found


def stands_in(port: Port, fields: Fields) -> bool:
    """Whether a stand-in takes the place of a network that nobody gave, for data of these fields."""
    if port.standin is None or not port.optional:
        return port.standin is not None
    standin = standin_of(port)
    return isinstance(standin, Fits) and standin.fits(fields)


class Given(Mapping[str, nn.Module]):
    """The networks handed to a method, by port. Immutable.

    >>> given = Given(classifier=nn.Linear(2, 3))
    >>> list(given), "encoder" in given
    (['classifier'], False)
    """

    def __init__(self, networks: Mapping[str, nn.Module] | None = None, /, **more: nn.Module) -> None:
        self._networks = {**(networks or {}), **more}

    def __getitem__(self, name: str) -> nn.Module:
        if name not in self._networks:
            raise ConfigError(f"a network '{name}'", got="none", fix=f"give one with --given {name}=SOURCE")
        return self._networks[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The network of a port, or the default where it is open."""
        return self._networks.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._networks

    def __iter__(self) -> Iterator[str]:
        return iter(self._networks)

    def __len__(self) -> int:
        return len(self._networks)

    def __repr__(self) -> str:
        return f"Given({', '.join(f'{name}={type(net).__name__}' for name, net in self._networks.items())})"


def check_given(ports: Sequence[Port], given: Given) -> None:
    """Refuse networks that no port takes, and ports that are left open.

    Raises:
        ConfigError: Naming the port.
    """
    names = [port.name for port in ports]
    for name in given:
        if name not in names:
            fix = nearest(name, names) if names else "it takes none"
            raise ConfigError("the name of a network that the method takes", got=f"'{name}'", fix=fix, where="--given")
    for port in ports:
        if port.name not in given and not port.optional:
            fix = f"give one with --given {port.name}=SOURCE"
            raise ConfigError(port.help, got="no network", fix=fix, where=port.name)


class Frozen(nn.Module):
    """A network that is used and never changed: no gradients to its weights, always in eval mode.

    It is held by reference: `tensors()` of the method that owns it leave it out, while `.to(device)` moves it.
    Gradients flow through it to its inputs.

    >>> frozen = Frozen(nn.Sequential(nn.Linear(2, 3), nn.Dropout()))
    >>> frozen.train().net.training, list(frozen.parameters()), frozen(torch.zeros(1, 2)).shape
    (False, [], torch.Size([1, 3]))
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.__dict__["net"] = net.eval().requires_grad_(False)

    @property
    def inner(self) -> nn.Module:
        """The network."""
        found: nn.Module = self.__dict__["net"]
        return found

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Frozen:
        self.inner._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def train(self, mode: bool = True) -> Frozen:
        """Changes nothing."""
        return self

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner(*args, **kwargs)


Write = Callable[[Tensor], Tensor]


class Hooked:
    """A network whose inner values can be read and replaced by the names of its modules.

    Args:
        net: Any module; where a module returns a tuple or list, its first tensor is meant.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> out, seen = Hooked(net).run(torch.ones(4, 2), read=("1",), write={"0": torch.zeros_like})
    >>> seen["1"].sum().item(), out.shape
    (0.0, torch.Size([4, 1]))
    """

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self._modules: dict[str, nn.Module] = dict(net.named_modules())

    def module(self, name: str) -> nn.Module:
        """The module of a dotted name.

        Raises:
            ConfigError: There is none; the nearest name is suggested.
        """
        if name not in self._modules:
            names = [n for n in self._modules if n]
            raise ConfigError("the name of a module of the network", got=f"'{name}'", fix=nearest(name, names))
        return self._modules[name]

    def run(
        self, *inputs: Any, read: Sequence[str] = (), write: Mapping[str, Write] | None = None, **named: Any
    ) -> tuple[Any, dict[str, Tensor]]:
        """Run the network once.

        Args:
            inputs: What the network takes.
            read: Modules whose output is wanted.
            write: Module -> what its output is replaced by, as a function of it; later modules and `read` see that.
            named: More that the network takes.

        Returns:
            The network's output, and what was read by name.
        """
        seen: dict[str, Tensor] = {}
        names = dict.fromkeys((*(write or {}), *read))
        hooks = [self.module(n).register_forward_hook(_hook(n, (write or {}).get(n), n in read, seen)) for n in names]
        try:
            out = self.net(*inputs, **named)
        finally:
            for hook in hooks:
                hook.remove()
        return out, seen


def _hook(name: str, change: Write | None, kept: bool, seen: dict[str, Tensor]) -> Callable[..., Any]:
    mine = threading.get_ident()

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        if threading.get_ident() != mine:  # another run of the same network, side by side
            return None
        many = isinstance(output, tuple | list)
        value = output[0] if many else output
        value = value if change is None else change(value)
        if kept:
            seen[name] = value
        if change is None:
            return None
        return type(output)([value, *output[1:]]) if many else value

    return hook


class Split(nn.Module):
    """A network cut before one of its modules: what goes in there are the features, what follows is the head.

    Args:
        net: Any module that runs `at` once, as its last trained module.
        at: Dotted name of the first module of the head; the last linear layer where empty.

    >>> split = Split(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4)))
    >>> x = torch.rand(5, 2)
    >>> torch.equal(split(x), split.head(split.features(x))), split.features(x).shape
    (True, torch.Size([5, 3]))
    """

    def __init__(self, net: nn.Module, at: str = "") -> None:
        super().__init__()
        self.net = net
        self.at = at or _last_linear(net)
        Hooked(net).module(self.at)

    @property
    def head(self) -> nn.Module:
        """From features to the output."""
        found: nn.Module = self.net.get_submodule(self.at)
        return found

    def features(self, x: Tensor) -> Tensor:
        """What the head is given."""
        seen: list[Tensor] = []
        mine = threading.get_ident()  # others may run the same network at the same time

        def listen(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if threading.get_ident() == mine:
                seen.append(inputs[0])

        hook = self.head.register_forward_pre_hook(listen)
        try:
            self.net(x)
        finally:
            hook.remove()
        if len(seen) != 1:
            raise ConfigError("a head that runs once", got=f"{len(seen)} times", where=f"module '{self.at}'")
        return seen[0]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


def _last_linear(net: nn.Module) -> str:
    linear = [name for name, module in net.named_modules() if isinstance(module, nn.Linear) and name]
    if not linear:
        raise ConfigError("a network with a linear layer, or the name of its head", got="none")
    name: str = linear[-1]
    return name


def weights_hash(net: nn.Module) -> str:
    """16 hex digits of the names, shapes and bytes of all weights and buffers.

    >>> weights_hash(nn.ReLU())
    'e4a6a0577479b2b4'
    """
    import hashlib

    digest = hashlib.blake2b(digest_size=8)
    for name, value in sorted(net.state_dict().items()):
        if isinstance(value, Tensor):
            digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    text: str = digest.hexdigest()
    return text
