"""KRR-ST: a few made images and targets, from which a network learns what an encoder knows of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given, Port
from unbraid.core.method import At, Budget, Optim, Schedule, Source, Stage, Stream, Terms, Update
from unbraid.methods.joint.condensed import in_batches, moments
from unbraid.methods.joint.condensing import Condensing, Options, check_counts
from unbraid.ops.linalg import kernel_ridge
from unbraid.training.pool import Pool
from unbraid.views.image import Affine, Flip, Shift
from unbraid.views.view import View, compose

Augment = Literal["shift-flip", "written", "none"]

AUGMENT: Mapping[Augment, View | None] = {
    "shift-flip": compose(Shift(4), Flip()),
    "written": Affine(7, (0.9, 1.1), 0.05),
    "none": None,
}
"""What is random about real images: the published shifts and flips, or turns of written digits."""


class KRRST(Condensing["KRRST.Config"]):
    """Makes few images and targets such that learning them is learning the target encoder (Lee et al., 2024).

    1. Begin with m real images and what the target encoder g says of them. 2. Train l networks on these, each for a
    number of steps of its own. 3. Draw one of them; without its head it is omega. Regress the targets on omega of the
    made images by kernel ridge regression, in closed form, and descend the mean squared error of what that says of real
    images x against g(x), in the made images and the targets. 4. Train that network one step on what was made, or draw
    it anew where it has had Z steps. Repeat 3 and 4. 5. Train a network on what was made: the part `embedding` is what
    its head reads.

    Networks see real images with mean 0 and variance 1 (`pixels`), and made images as they are, always. Omega is in
    eval mode in 3, in train mode in 4. No gradient reaches omega, omega(x), g(x) or the ridge.

    Source:
        db-Lee/selfsup_dd: algorithms/distill.py, model_pool.py, pretrain_krr_st.py.
    """

    card = Card(
        number=38,
        name="krr-st",
        title="Self-Supervised Dataset Distillation for Transfer Learning",
        paper="arXiv:2310.06511",
        year=2024,
        modality=("image",),
        wants=("label",),
        family="dataset distillation",
        summary="A few synthetic images with learned targets, from which a fresh network learns what an encoder knows.",
        claim=(
            "A fresh network that learns the made set tells an encoder's features of unseen images with less error "
            "than one that learns as many real images, and with less than where images alone were learned."
        ),
        ports=(
            Port(
                "target",
                "an encoder of images in [0, 1] as rows of numbers: a finished run, or a module",
                standin="unbraid.standins.encoder:SMALL",
            ),
        ),
        example="digits",
        tiny="digits:size=8",
    )
    presets = {
        "tiny-imagenet": {"images": 2000, "optim.lr": 1e-5, "widths": (64, 128, 256, 512)},
        "imagenet64": {"optim.lr": 1e-5, "widths": (64, 128, 256, 512)},
        "quick": {
            "images": 50,
            "widths": (16, 32),
            "pool": 3,
            "horizon": 100,
            "double": True,
            "augment": "none",
            "pixels": "raw",
            "batch": 256,
            "steps": 600,
            "optim.lr": 1e-2,
            "epochs": 200,
        },
        "tiny": {
            "images": 12,
            "widths": (4, 8),
            "pool": 2,
            "horizon": 3,
            "double": True,
            "augment": "written",
            "batch": 16,
            "steps": 6,
            "optim.lr": 1e-2,
            "epochs": 3,
            "learn_batch": 6,
            "fresh": 1,
        },
    }
    scaffold = ("pool",)

    @dataclass(frozen=True)
    class Config(Options):
        """Options of KRR-ST.

        Attributes:
            learned: What is learned of the made set; the rest stays as it was begun.
            pool: Networks that take turns, l; they learn as `inner` says.
            horizon: Steps after which a network is drawn anew, Z.
            reset_counter: Whether its steps are counted from 0 then. The released code does not: once old, a network is
                drawn anew at every visit, and is never trained.
            ridge: Relative to the trace of the kernel.
            double: Whether the ridge regression is solved in double precision.
            augment: What is random about real images.
            batch: Real images per step.
            steps: Steps of distillation.
            optim: How images and targets move.
        """

        learned: Literal["both", "images", "targets"] = told("both", by="paper")
        pool: int = told(10, by="code")
        horizon: int = told(1000, by="code")
        reset_counter: bool = told(True, by="paper")
        ridge: float = told(1e-6, by="code")
        double: bool = told(False, by="code")
        augment: Augment = told("shift-flip", by="code")
        batch: int = told(1024, by="code")
        steps: int = told(160_000, by="code")
        optim: Optim = told(Optim("adamw", lr=1e-4, schedule=Schedule("linear", final=1e-3)), by="code")

        def __post_init__(self) -> None:
            super().__post_init__()
            check_counts(self, ("pool", "horizon", "batch", "steps"))
            if self.ridge <= 0:
                raise ConfigError("a number above 0", got=f"{self.ridge:g}", where="ridge")

    def __init__(self, config: KRRST.Config, fields: Fields, given: Given) -> None:
        super().__init__(config, fields, given)
        c = config
        self.pool = Pool(self.make_net, c.pool, c.horizon, c.inner, reset_counter=c.reset_counter)

    def stages(self) -> Sequence[Stage]:
        c = self.config
        made = {"both": [self.images, self.targets], "images": [self.images], "targets": [self.targets]}[c.learned]
        view = AUGMENT[c.augment]
        outer = Update("outer", self.loss, lambda: made, c.optim)
        learn = Update("learn", self.regression, lambda: [self.net], c.inner)
        real, own = Stream(c.batch, views=view), Stream(min(c.learn_batch, c.images), "made")
        return [
            Stage("distil", [outer], Budget(steps=c.steps), {"": real}, solve=self.begin, after=self.online),
            Stage("pretrain", [learn], Budget(epochs=c.epochs), {"": own}),
        ]

    # ------------------------------------------------------------------------------------------------- distillation

    def begin(self, sources: Mapping[str, Source], at: At) -> None:
        """Real images and their targets; the networks, each trained on these for 1 to Z - 1 steps."""
        train, c = sources["train"], self.config
        if len(train) < c.images:
            raise DataError(f"at least {c.images} images to begin with", got=str(len(train)), where="images")
        if c.pixels == "standard":
            for own, measured in zip((self.mean, self.deviation), moments(train, at.device), strict=True):
                own.copy_(measured)
        self.begun.copy_(torch.randperm(len(train), generator=at.shared(), device=at.device)[: c.images])
        self.images.copy_(train.take(self.begun.cpu(), at.device)["x"])
        self.targets.copy_(in_batches(self.target, self.images))
        for index in range(c.pool):
            self.pool.renew(index, at.shared())
            steps = int(torch.randint(1, max(2, c.horizon), (), generator=at.shared(), device=at.device))
            for _ in range(steps):
                self.pool.step(index, self.images, self.targets)

    def loss(self, batch: Batch, at: At) -> Terms:
        """The error of the closed form on real images."""
        index = self._visited(at)
        with torch.no_grad():
            said = self.target(batch["x"])
            real = self.pool.run(index, self.seen(batch["x"]), "features")
        made = self.pool.run(index, self.images, "features")
        guess = kernel_ridge(real, made, self.targets, self.config.ridge, double=self.config.double)
        return {"error": (guess - said).square().mean(1)}

    def online(self, _batch: Batch, at: At) -> None:
        """One step of the network that was drawn, on what was made."""
        self.pool.visit(self._visited(at), self.images, self.targets, at.shared())

    def _visited(self, at: At) -> int:
        """The network of this step, the same in all processes."""

        def draw() -> int:
            return int(torch.randint(self.config.pool, (), generator=at.shared(), device=at.device))

        index: int = at.once("network", draw)
        return index

    def regression(self, batch: Batch, at: At) -> Terms:
        """The error of the network on made images, without views."""
        rows = batch["index"]
        return {"error": (self.net(self.images.detach()[rows]) - self.targets.detach()[rows]).square().mean(1)}
