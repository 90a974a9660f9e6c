"""What methods share that make a small set of images with targets: how it is kept, learned, judged and put to use."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.action import action
from unbraid.core.card import told
from unbraid.core.errors import ConfigError, DataError, NumericsError
from unbraid.core.fields import Batch, Field, Fields
from unbraid.core.given import Given
from unbraid.core.method import Method, Optim, Source
from unbraid.core.outcome import Findings, Pictures
from unbraid.core.parts import Parts, PartSpec
from unbraid.data.dataset import Dataset, MemoryDataset
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.order import split
from unbraid.data.readers.arrays import save_npz
from unbraid.data.wrapped import Subset
from unbraid.methods.joint.condensed import (
    FINE_TUNING,
    LABELLED,
    LINEAR,
    Judge,
    Regression,
    images_of,
    in_batches,
    judged_means,
)
from unbraid.methods.joint.embedding import classes_of, spaced
from unbraid.methods.joint.target import Target
from unbraid.nets.convnet import ConvNet
from unbraid.nets.resnet import ResNet, stem_for
from unbraid.ops.herding import herding
from unbraid.training.files import write_with

_MOST = 5000  # real items that an examination chooses from, and that it tells

Network = Literal["convnet", "resnet10", "resnet18"]


@dataclass(frozen=True)
class Options:
    """The choices that every method here has.

    Attributes:
        images: How many are made, m.
        widths: Channels of the blocks of the networks.
        pixels: How networks see real images: "standard", with mean 0 and variance 1 of each channel over the data,
            or "raw".
        part: The part of a run as target; its first vector where empty.
        held: Share of the data that is held out for the examination.
        inner: How networks learn the made set; plain "sgd".
        epochs: Passes over it.
        learn_batch: Made images per step of that.
        fresh: Networks that an examination trains on each set.
    """

    images: int = told(1000, by="code")
    widths: tuple[int, ...] = told((128, 256, 512), by="code")
    pixels: Literal["standard", "raw"] = told("standard", by="code")
    part: str = told("", by="ours")
    held: float = told(0.2, by="ours")
    inner: Optim = told(Optim("sgd", lr=0.1, momentum=0.9, weight_decay=1e-3), by="code")
    epochs: int = told(1000, by="code")
    learn_batch: int = told(256, by="code")
    fresh: int = told(3, by="ours")

    def __post_init__(self) -> None:
        check_counts(self, ("epochs", "fresh", "widths"))
        for name in ("images", "learn_batch"):
            if getattr(self, name) < 2:
                got = str(getattr(self, name))
                raise ConfigError("at least 2, for statistics over them", got=got, where=name)
        if not 0 < self.held < 1:
            raise ConfigError("a share between 0 and 1", got=f"{self.held:g}", where="held")


def check_counts(config: Options, names: tuple[str, ...]) -> None:
    """Refuse options that are to be whole numbers above 0 and are not."""
    for name in names:
        value = getattr(config, name)
        if min(value if isinstance(value, tuple) else (value,), default=0) < 1:
            raise ConfigError("whole numbers above 0", got=str(value), where=name)


C = TypeVar("C", bound=Options)


class Condensing(Method[C]):
    """Made images and their targets, and a network that has learned them; subclasses say how they are made.

    Networks see real images as `pixels` says, and made images as they are, always.

    Attributes:
        images: The made images.
        targets: Theirs.
        begun: The real images that they began as.
        net: Gives the part `embedding`: what its head reads.
    """

    mean: Tensor
    deviation: Tensor
    begun: Tensor

    def __init__(self, config: C, fields: Fields, given: Given) -> None:
        super().__init__(config, fields, given)
        x = fields["x"]
        if len(x.shape) != 3 or not x.unit:
            got = f"items of shape {x.shape}" + ("" if x.unit else " with other values")
            raise DataError("images (C, H, W) in [0, 1]", got=got, where="field 'x'")
        self.target = Target(given["target"], x, config.part)
        self.images = nn.Parameter(torch.zeros(config.images, *x.shape))
        self.targets = nn.Parameter(torch.zeros(config.images, self.target.width))
        self.make_net: Callable[[], nn.Module] = partial(ConvNet, x, config.widths, self.target.width)
        self.net = ConvNet(x, config.widths, self.target.width)
        self.register_buffer("mean", torch.zeros(x.shape[0], 1, 1))
        self.register_buffer("deviation", torch.ones(x.shape[0], 1, 1))
        self.register_buffer("begun", torch.zeros(config.images, dtype=torch.int64))

    def parts(self) -> tuple[PartSpec, ...]:
        return (PartSpec("embedding", "vec", (self.net.width,)),)

    def sources(self, data: Source) -> Mapping[str, Source]:
        """What is distilled, what is held out (the same of the same data, whatever the seed), and the made items."""
        kept, held = split(len(data), self.config.held, seed=0)
        whole, made = cast(Dataset, data), MemoryDataset("made", torch.zeros(self.config.images, 1))
        return {"train": Subset(whole, kept), "held": Subset(whole, held), "made": made}

    def seen(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        """Real images as networks see them."""
        return (x - self.mean) / self.deviation

    def encode(self, batch: Batch) -> Parts:
        return Parts(embedding=self.net.features(self.seen(batch["x"])))

    # ------------------------------------------------------------------------------------------------ what was made

    def make(self, data: Source) -> MemoryDataset:
        """The made images, with their targets as factors `target[0]`, `target[1]`, ...; they follow from training."""
        targets = self.targets.detach().cpu().double().numpy()
        factors = [Factor(f"target[{j}]", "continuous") for j in range(targets.shape[1])]
        name = f"{self.card.name} of {getattr(data, 'name', 'data')}"
        return MemoryDataset(name, self.images.detach().cpu(), FactorTable(factors, targets))

    @action
    def distilled(self, arrays: Path | None = None) -> Pictures:
        """The made images; shown within [0, 1], kept as they are.

        Args:
            arrays: A file .npz for `images` (m, C, H, W) and `targets` (m, d).
        """
        images = self.images.detach().cpu()
        if arrays is not None:
            pair = {"images": images.numpy(), "targets": self.targets.detach().cpu().numpy()}
            _check_file(arrays, ".npz", "arrays")
            write_with(arrays, lambda temporary: _write(temporary, pair))
        return Pictures(images.clamp(0, 1))

    @action
    def pretrain(
        self,
        weights: Path,
        network: Network = "convnet",
        epochs: int | None = None,
        lr: float | None = None,
        seed: int = 0,
    ) -> Findings:
        """Train a new network on the made set and keep its weights.

        Args:
            weights: A file .safetensors for the weights of `features` and `head`.
            network: The network of the run, or another.
            epochs: Passes over the made set; those of the run where left out.
            lr: Learning rate; that of the run where left out.
            seed: Of its first weights and the order.
        """
        from safetensors.torch import save_file

        _check_file(weights, ".safetensors", "weights")
        how = self._regression(network, epochs, lr)
        net = how.learn(self.images.detach(), self.targets.detach(), seed)
        with torch.no_grad():
            error = float((in_batches(net, self.images) - self.targets).square().mean())
        if not math.isfinite(error):
            raise NumericsError(
                "a finite error", got=f"{error}", fix=f"lower lr, now {how.optim.lr:g}", where="pretrain"
            )
        tensors = {name: t.cpu().contiguous() for name, t in net.state_dict().items()}
        write_with(weights, lambda temporary: save_file(tensors, temporary))
        return Findings({"error on the made set": error}, notes=[f"Weights in {weights.name}."])

    def _regression(
        self, network: Network = "convnet", epochs: int | None = None, lr: float | None = None
    ) -> Regression:
        """How a fresh network learns a set."""
        c, make = self.config, self.make_net
        if network != "convnet":
            make = partial(_residual, int(network.removeprefix("resnet")), self.fields["x"], self.target.width)
        optim = c.inner if lr is None else replace(c.inner, lr=lr)
        return Regression(make, optim, c.epochs if epochs is None else epochs, c.learn_batch)

    # --------------------------------------------------------------------------------------------------- examination

    @torch.no_grad()
    def examine(self, data: Source) -> Findings:
        """What fresh networks learn from the made set, from as many real images with targets, and from nothing.

        The error is that of the target's numbers on images held out; the probe learns from five labels of each class.
        """
        sources, how, fresh = self.sources(data), self._regression(), range(self.config.fresh)
        judge = self._judge(sources["train"], sources["held"])
        numbers: dict[str, float] = {}
        for name, (images, targets) in self._sets(sources["train"]).items():
            numbers |= judged_means([how.learn(images, targets, seed) for seed in fresh], judge, name)
        numbers |= judged_means([how.fresh(self.images.device, seed) for seed in fresh], judge, "nothing")
        numbers["error, made over random"] = numbers["error, made set"] / max(numbers["error, random images"], 1e-12)
        note = (
            f"{len(fresh)} fresh networks for each set of {self.config.images} images; judged on {len(judge.images)} "
            f"images held out, probes by {LABELLED} labels of each class."
        )
        units = {name: "share right" for name in numbers if name.startswith("probe")}
        return Findings(numbers, units=units, notes=[note])

    @action
    @torch.no_grad()
    def transfer(
        self,
        test: Source,
        train: Source | None = None,
        tune: Literal["all", "head"] = "all",
        steps: int | None = None,
        seed: int = 0,
    ) -> Findings:
        """Train networks on the made set, on real images with targets, or on nothing; then on a task with labels.

        Args:
            test: Held-out data of the task, with the same factors.
            train: Data of the task; those of the run where left out.
            tune: Whether all weights learn the task (fine-tuning), or a linear head alone.
            steps: Steps on the task; as published where left out, 10,000, or 5,000 of the head.
            seed: Of weights and order.
        """
        if train is None:
            raise ConfigError("data to learn from", got="none", where="train")
        every = [(data, torch.arange(len(data))) for data in (train, test)]
        x, asked = (self.seen(images_of(data, rows, self.images.device)) for data, rows in every)
        known, wanted = (classes_of(data, rows) for data, rows in every)
        name = next((n for n in known if n in wanted), None)
        if name is None:
            raise DataError("a factor with classes that both data sets have", got=f"{[*known]} and {[*wanted]}")
        labels, right = (torch.from_numpy(of[name]).to(x.device) for of in (known, wanted))
        x, labels, asked, right = x[labels >= 0], labels[labels >= 0], asked[right >= 0], right[right >= 0]
        use = FINE_TUNING if tune == "all" else LINEAR
        use = use if steps is None else replace(use, steps=steps)
        how, sets = self._regression(), self._sets(self.sources(train)["train"])
        nets = {after: how.learn(images, targets, seed) for after, (images, targets) in sets.items()}
        nets["nothing"] = how.fresh(x.device, seed)
        numbers = {}
        for after, net in nets.items():
            told = use.learn(net, x, labels, int(torch.cat([labels, right]).max()) + 1, seed)
            numbers[f"accuracy of {name}, {after}"] = float(
                (in_batches(told, asked).argmax(1) == right).double().mean()
            )
        notes = [f"Learned from {len(x)} items, told {len(asked)} others."]
        return Findings(numbers, units=dict.fromkeys(numbers, "share right"), notes=notes)

    def _judge(self, train: Source, held: Source) -> Judge:
        both = [(data, spaced(len(data), _MOST)) for data in (train, held)]
        others, images = (images_of(data, rows, self.images.device) for data, rows in both)
        known, asked = (classes_of(data, rows) for data, rows in both)
        labels = {name: np.concatenate([known[name], asked[name]]) for name in known if name in asked}
        return Judge(self.seen(images), in_batches(self.target, images), self.seen(others), labels)

    def _sets(self, train: Source) -> dict[str, tuple[Tensor, Tensor]]:
        """Name -> images and targets to learn from."""
        x = images_of(train, rows := spaced(len(train), _MOST), self.images.device)
        herded = rows[herding(in_batches(self.target, x), self.config.images).cpu()]
        random = self.begun.cpu() % len(train)  # of other data, they are as good as any
        found: dict[str, tuple[Tensor, Tensor]] = {"made set": (self.images.detach(), self.targets.detach())}
        for name, some in {"random images": random, "herded images": herded}.items():
            real = images_of(train, some, self.images.device)
            found[name] = (self.seen(real), in_batches(self.target, real))
        return found


def _residual(depth: int, field: Field, out: int) -> nn.Module:
    """A residual network in two parts, as `ConvNet` is."""
    net = ResNet(depth, field.shape[0], stem_for(min(field.shape[1:])))
    return nn.Sequential(OrderedDict(features=net, head=nn.Linear(net.width, out)))


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        save_npz(file, arrays)


def _check_file(path: Path, suffix: str, where: str) -> None:
    if path.suffix.lower() != suffix:
        raise ConfigError(f"a file ending in {suffix}", got=f"'{path.name}'", where=where)
    if not path.parent.is_dir():
        raise ConfigError("a folder that is there", got=f"'{path.parent}'", where=where)
