"""Small sets of images with targets: how fresh networks learn them, and how they are judged by what these know."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from unbraid.core.method import Optim, Source
from unbraid.data.order import epoch_positions, key_of
from unbraid.metrics.recognition import recognition
from unbraid.training.pool import Pool

LABELLED = 5
"""Items of each class that the few-label probe learns from."""

AT_ONCE = 512
"""Images that pass through a network together."""

Moments = tuple[Float[Tensor, "c 1 1"], Float[Tensor, "c 1 1"]]


@dataclass(frozen=True)
class Regression:
    """How a network learns targets from images: no views, the mean squared error.

    Attributes:
        make: Makes a network with `features` and a `head`.
        optim: How it descends; plain "sgd".
        epochs: Passes over the images.
        batch: Images per step.
    """

    make: Callable[[], nn.Module]
    optim: Optim
    epochs: int
    batch: int

    def learn(self, images: Float[Tensor, "m c h w"], targets: Float[Tensor, "m d"], seed: int) -> nn.Module:
        """A network that has learned from these, in eval mode; a function of them and the seed."""
        pool, generator = self._fresh(images.device, seed)
        for _ in range(self.epochs):
            order = torch.randperm(len(images), generator=generator, device=images.device)
            for rows in torch.split(order, self.batch):
                if len(rows) > 1:  # one image has no statistics
                    pool.step(0, images[rows], targets[rows])
        return pool.network(0)

    def fresh(self, device: torch.device, seed: int) -> nn.Module:
        """The same network before it has learned anything."""
        return self._fresh(device, seed)[0].network(0)

    def _fresh(self, device: torch.device, seed: int) -> tuple[Pool, torch.Generator]:
        generator = torch.Generator(device).manual_seed(key_of(seed, "regression"))
        with torch.random.fork_rng(devices=[]):
            pool = Pool(self.make, 1, horizon=0, optim=self.optim).to(device)
        pool.renew(0, generator)
        return pool, generator


@dataclass(frozen=True)
class Judge:
    """Real images, as networks see them, whose targets a network shall tell.

    Attributes:
        images: Held out.
        targets: Theirs.
        others: Images that labels may be told of.
        labels: Factor -> classes of the others, then of those held out; -1 where unknown.
    """

    images: Float[Tensor, "n c h w"]
    targets: Float[Tensor, "n d"]
    others: Float[Tensor, "k c h w"]
    labels: Mapping[str, Int[np.ndarray, " all"]]

    @torch.no_grad()
    def __call__(self, net: nn.Module) -> dict[str, float]:
        """The error on images held out, and what a probe of few labels tells of them."""
        numbers = {"error": float((in_batches(net, self.images) - self.targets).square().mean())}
        if self.labels:
            both = torch.cat([self.others, self.images])
            codes = in_batches(net.get_submodule("features"), both).cpu().numpy()
        for name, labels in self.labels.items():
            folds = np.zeros(len(labels), dtype=np.int64)
            folds[few(labels[: len(self.others)], LABELLED)] = 1
            kept = np.r_[np.flatnonzero(folds), np.arange(len(self.others), len(labels))]
            numbers[f"probe of {name}"] = recognition(codes[kept], labels[kept], folds[kept], held_out=(0,)).linear
        return numbers


def judged_means(nets: list[nn.Module], judge: Judge, name: str) -> dict[str, float]:
    """Every number of the judge, the mean over networks, under a name."""
    found = [judge(net) for net in nets]
    return {f"{key}, {name}": sum(numbers[key] for numbers in found) / len(found) for key in found[0]}


@dataclass(frozen=True)
class Transfer:
    """How what a network has learned is put to use: a new head, which learns classes, alone or with all that it reads.

    Attributes:
        tune: Whether all weights move, or those of the head alone, on features in eval mode.
        steps: Of SGD with momentum 0.9, its rate falling along a cosine.
        batch: Items per step.
        lr: Learning rate.
        weight_decay: Weight decay.
    """

    tune: Literal["all", "head"]
    steps: int
    batch: int
    lr: float
    weight_decay: float

    def learn(
        self, net: nn.Module, x: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], classes: int, seed: int
    ) -> nn.Module:
        """A copy of the network that tells classes, in eval mode; a function of what is given."""
        features = copy.deepcopy(net.get_submodule("features"))
        width = in_batches(features.eval(), x[:1]).shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(key_of(seed, "transfer"))
            head = nn.Linear(width, classes).to(x.device)
        told = nn.Sequential(features, head)
        moved = told if self.tune == "all" else head
        optimizer = torch.optim.SGD(moved.parameters(), self.lr, momentum=0.9, weight_decay=self.weight_decay)
        moved.train()
        batch = min(self.batch, len(x))
        with torch.enable_grad():
            for step in range(self.steps):
                rows = epoch_positions(torch.arange(step * batch, (step + 1) * batch), len(x), seed).to(x.device)
                optimizer.param_groups[0]["lr"] = 0.5 * self.lr * (1 + math.cos(math.pi * step / self.steps))
                optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(cross_entropy(told(x[rows]), labels[rows]))
                optimizer.step()
        return told.eval()


FINE_TUNING = Transfer("all", 10_000, 256, 0.01, 5e-4)
"""As published for CIFAR and TinyImageNet; half as many steps for smaller data."""

LINEAR = Transfer("head", 5000, 512, 0.2, 0.0)
"""The published linear evaluation."""


def few(labels: Int[np.ndarray, " n"], each: int) -> Int[np.ndarray, " m"]:
    """The positions of the first `each` items of every known class.

    >>> few(np.array([0, 0, 1, -1, 0, 1]), 2).tolist()
    [0, 1, 2, 5]
    """
    classes = np.unique(labels[labels >= 0])
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:each] for c in classes]))


def in_batches(of: Callable[[Tensor], Tensor], x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
    """A function of images, some at a time."""
    return torch.cat([of(some) for some in torch.split(x, AT_ONCE)])


def images_of(data: Source, rows: Int[Tensor, " n"], device: torch.device) -> Float[Tensor, "n c h w"]:
    """The images of some items."""
    return torch.cat([data.take(some, device)["x"] for some in torch.split(rows, AT_ONCE)])


def moments(data: Source, device: torch.device) -> Moments:
    """Mean and standard deviation of each channel over all images and positions."""
    found = []
    for rows in torch.split(torch.arange(len(data)), AT_ONCE):
        x = data.take(rows, device)["x"].movedim(1, 0).flatten(1)
        found.append(len(rows) * torch.stack([x.mean(1), x.square().mean(1)]))
    mean, square = (torch.stack(found).sum(0) / len(data))[:, :, None, None]
    return mean, (square - mean.square()).clamp_min(1e-12).sqrt()
