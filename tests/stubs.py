"""Five methods as unlike as can be; they exist to try the contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from unbraid.core.card import Card, told
from unbraid.core.method import Budget, Clip, Group, Method, Optim, Schedule, Stage, Stream, Update
from unbraid.core.parts import Parts, PartSpec


def card(name, **more):
    return Card(name=name, title=name, paper="none", year=2026, summary="A stub.", **more)


@dataclass(frozen=True)
class Config:
    steps: int = told(9, by="ours")
    batch: int = told(8, by="ours")
    lr: float = told(1e-2, by="ours")


class Stub(Method[Config]):
    Config = Config
    presets: ClassVar = {"tiny": {"steps": 6}}

    def __init__(self, config, fields):
        super().__init__(config, fields)
        shape = fields["x"].shape
        if len(shape) != 1:
            from unbraid.core.errors import DataError

            raise DataError("vectors", got=str(shape))
        self.encoder = nn.Linear(shape[0], 4)
        self.decoder = nn.Linear(4, shape[0])

    def parts(self):
        return (PartSpec("code", "vec", (4,)),)

    def encode(self, batch):
        return Parts(code=self.encoder(batch["x"]))

    def error(self, x):
        return (self.decoder(self.encoder(x)) - x).square().sum(1)

    def stage(self, name, *updates, **more):
        feed = more.pop("feed", {"": Stream(self.config.batch)})
        return Stage(name, updates, Budget(steps=self.config.steps), feed, **more)


class TwoUpdates(Stub):
    """A game of two optimisers, clipping, schedules, dropout and noise."""

    card = card("two-updates")

    def __init__(self, config, fields):
        super().__init__(config, fields)
        self.critic = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))

    def stages(self):
        both = Optim(
            "adamw",
            self.config.lr,
            clip=Clip("value", 0.5),
            schedule=Schedule("cosine", warmup=2),
            groups=(Group("bias$", lr=1e-3, weight_decay=0.0, clip=Clip("norm", 0.1)),),
            weight_decay=0.1,
        )
        critic = Update("critic", self.judge, lambda: [self.critic], Optim("sgd", 0.05, momentum=0.9), times=2)
        return [
            self.stage("game", Update("auto", self.auto, lambda: [self.encoder, self.decoder], both, every=2), critic)
        ]

    def auto(self, batch, at):
        code = self.encoder(batch["x"])
        noisy = code + 0.1 * at.randn(code.shape)
        at.note(spread=code.std())
        fool = self.critic(noisy).squeeze(1)
        return {"error": (self.decoder(noisy) - batch["x"]).square().sum(1), "fool": (0.1, fool)}

    def judge(self, batch, at):
        code = self.encoder(batch["x"]).detach()
        return {"gap": self.critic(code).mean() - self.critic(at.randn(code.shape)).mean()}


class Solves(Stub):
    """Two stages, each with a solve; batch norm statistics move; one submodule stays in eval mode."""

    card = card("solves")

    def __init__(self, config, fields):
        super().__init__(config, fields)
        self.norm = nn.BatchNorm1d(fields["x"].shape[0])
        self.register_buffer("mean", torch.zeros(fields["x"].shape[0]))

    def encode(self, batch):
        return Parts(code=self.encoder(self.norm(batch["x"] - self.mean)))

    def stages(self):
        def update(name):
            return Update(
                name, self.loss, lambda: [self.encoder, self.decoder, self.norm], Optim("adam", self.config.lr)
            )

        return [
            self.stage("warm", update("warm"), solve=self.measure),
            self.stage("rest", update("rest"), solve=self.measure, modes={"norm": False}),
        ]

    def measure(self, data, at):
        self.mean = data["train"].take(torch.arange(len(data["train"])))["x"].mean(0)

    def loss(self, batch, at):
        return {"error": (self.decoder(self.encode(batch)["code"]) - batch["x"]).square().sum(1)}


class LateSlot(Stub):
    """A slot whose shape only the data know, changed by a hook after each step."""

    card = card("late-slot")

    def __init__(self, config, fields):
        super().__init__(config, fields)
        self.slot("pool")

    def stages(self):
        update = Update("fit", self.loss, lambda: [self.encoder, self.decoder], Optim(lr=self.config.lr))
        return [self.stage("fit", update, solve=self.fill, after=self.move)]

    def fill(self, data, at):
        x = data["train"].take(torch.arange(len(data["train"])))["x"]
        self.pool = x[x[:, 0] > 0.4][:5]

    def move(self, batch, at):
        self.pool = self.pool.lerp(batch["x"][: len(self.pool)], 0.1)

    def loss(self, batch, at):
        return {"error": self.error(batch["x"]), "pool": (0.1, self.error(self.pool).mean())}


class TwoStreams(Stub):
    """Pairs from one stream and single items, drawn at random, from another."""

    card = card("two-streams")

    def stages(self):
        def pairs(source, indices, generator):
            return torch.stack([indices, torch.randint(len(source), indices.shape, generator=generator)], 1)

        feed = {"pairs": Stream(self.config.batch, draw=pairs), "single": Stream(4, order="iid")}
        update = Update("fit", self.loss, lambda: [self.encoder, self.decoder], Optim(lr=self.config.lr))
        return [self.stage("fit", update, feed=feed)]

    def loss(self, batch, at):
        one, two = batch["pairs"]["x"].unbind(1)
        apart = (self.encoder(one) - self.encoder(two)).square().sum(1)
        return {"apart": (0.01, apart), "error": self.error(batch["single"]["x"])}


class Declines(Stub):
    """An update that declines most of its steps; a second one shares a forward through the memo."""

    card = card("declines")

    def stages(self):
        own = Optim(lr=self.config.lr)
        return [
            self.stage(
                "fit",
                Update("rare", self.rare, lambda: [self.encoder], own),
                Update("often", self.often, lambda: [self.decoder], own),
            )
        ]

    def rare(self, batch, at):
        code = at.once("code", lambda: self.encoder(batch["x"]))
        return {"size": code.square().sum(1)} if at.step % 3 == 0 else None

    def often(self, batch, at):
        code = at.once("code", lambda: self.encoder(batch["x"])).detach()
        return {"error": (self.decoder(code) - batch["x"]).square().sum(1)}


STUBS = [TwoUpdates, Solves, LateSlot, TwoStreams, Declines]
