"""Several networks of one build that are trained a step at a time, within the training of something else."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import mse_loss

from unbraid.core.errors import ConfigError
from unbraid.core.method import Optim

_DOT = "/"  # no buffer may have a dot in its name


class Pool(nn.Module):
    """Networks that regress a small set in full batches, and are drawn anew when they have done so for long.

    Their weights, running statistics, momenta and ages are buffers, those of all networks stacked: nothing here moves
    unless it is told to, and a pool that is stored goes on with the same bits. Gradients flow through the networks to
    what they are shown.

    Args:
        make: Makes a network with new weights, drawn from torch's own generator.
        size: How many.
        horizon: Steps after which a network is drawn anew.
        optim: How they descend; must be plain "sgd".
        reset_counter: Whether a network drawn anew counts its steps from 0. Without, as in the code released with
            KRR-ST, one that is old once is drawn anew at every later visit and is never trained again.

    Attributes:
        ages: Steps of each network.
    """

    ages: Tensor
    build: nn.Module

    def __init__(
        self, make: Callable[[], nn.Module], size: int, horizon: int, optim: Optim, *, reset_counter: bool = True
    ) -> None:
        super().__init__()
        if optim.kind != "sgd" or optim.groups or optim.clip:
            raise ConfigError("plain sgd for the networks of a pool", got=f"{optim.kind} or groups or a clip")
        self.make, self.size, self.horizon = make, size, horizon
        self.optim, self.reset_counter = optim, reset_counter
        nets = [make() for _ in range(size)]
        self.__dict__["build"] = copy.deepcopy(nets[0]).to("meta")  # without weights, and nobody's submodule
        self.trained = tuple(name for name, _ in nets[0].named_parameters())
        self.weights, self.momenta = nn.Module(), nn.Module()
        for name, _ in _tensors(nets[0]):
            stacked = torch.stack([dict(_tensors(net))[name].detach() for net in nets])
            self.weights.register_buffer(name.replace(".", _DOT), stacked)
            if name in self.trained:
                self.momenta.register_buffer(name.replace(".", _DOT), torch.zeros_like(stacked))
        self.register_buffer("ages", torch.zeros(size, dtype=torch.int64))

    def tensors(self, index: int) -> dict[str, Tensor]:
        """The weights and buffers of one network, to be changed in place."""
        return {name.replace(_DOT, "."): stacked[index] for name, stacked in self.weights.named_buffers()}

    def run(self, index: int, x: Float[Tensor, "batch *item"], part: str = "") -> Float[Tensor, "batch *out"]:
        """What one network, or one of its submodules, makes of a batch in eval mode."""
        return self._call(self.tensors(index), x, part, train=False)

    def network(self, index: int) -> nn.Module:
        """A copy of one network, in eval mode."""
        net = copy.deepcopy(self.build).to_empty(device=self.ages.device)
        for name, own in _tensors(net):
            own.data.copy_(self.tensors(index)[name])
        return net.eval()

    def step(self, index: int, x: Float[Tensor, "batch *item"], y: Float[Tensor, "batch d"]) -> Tensor:
        """One step of a network down the mean squared error, in train mode; returns the error before it."""
        tensors = self.tensors(index)
        weights = {name: tensors[name].detach().requires_grad_() for name in self.trained}
        with torch.enable_grad():
            loss = mse_loss(self._call({**tensors, **weights}, x.detach(), "", train=True), y.detach())
            slopes = torch.autograd.grad(loss, list(weights.values()))
        self._descend(index, dict(zip(self.trained, slopes, strict=True)))
        return loss.detach()

    @torch.no_grad()
    def renew(self, index: int, generator: torch.Generator) -> None:
        """Draw a network anew, told by one draw of a generator; it has done no steps then, and has no momentum."""
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            fresh = dict(_tensors(self.make()))
        for name, own in self.tensors(index).items():
            own.copy_(fresh[name])
        for momentum in self.momenta.buffers():
            momentum[index].zero_()
        self.ages[index] = 0

    def visit(self, index: int, x: Tensor, y: Tensor, generator: torch.Generator) -> None:
        """A step of a network, or a new one in its place where it is old."""
        age = int(self.ages[index])
        if age < self.horizon:
            self.step(index, x, y)
            return
        self.renew(index, generator)
        if not self.reset_counter:
            self.ages[index] = age

    @torch.no_grad()
    def _descend(self, index: int, slopes: Mapping[str, Tensor]) -> None:
        tensors = self.tensors(index)
        for name, slope in slopes.items():
            momentum = self.momenta.get_buffer(name.replace(".", _DOT))[index]
            momentum.mul_(self.optim.momentum).add_(slope.add(tensors[name], alpha=self.optim.weight_decay))
            tensors[name].add_(momentum, alpha=-self.optim.lr)
        self.ages[index] += 1

    def _call(self, tensors: Mapping[str, Tensor], x: Tensor, part: str, *, train: bool) -> Tensor:
        # a copy of the build for each call: weights are put into it, and calls may run side by side
        net = copy.deepcopy(self.build.get_submodule(part)).train(train)
        prefix = f"{part}." if part else ""
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        out: Tensor = functional_call(net, own, (x,))
        return out


def _tensors(net: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from net.named_parameters()
    yield from net.named_buffers()
