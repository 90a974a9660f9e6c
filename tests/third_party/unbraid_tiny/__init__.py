"""A package of somebody else: one method that takes a network, has actions and knows how it is judged."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from unbraid.core.action import action
from unbraid.core.card import Card, told
from unbraid.core.errors import DataError
from unbraid.core.given import Frozen, Port
from unbraid.core.method import Budget, Method, Optim, Source, Stage, Stream, Update
from unbraid.core.outcome import Findings, Pictures, Table
from unbraid.core.parts import Parts, PartSpec


class Lens:
    """The stand-in for the port: a fixed random projection."""

    def shape(self, fields):
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(fields["x"].shape), 8))

    def make(self, data, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.shape(data.fields)


LENS = Lens()


class TinyAutoencoder(Method["TinyAutoencoder.Config"]):
    """Reads the projection of an observation by a given network, and writes the observation back."""

    card = Card(
        name="tiny-autoencoder",
        title="A tiny autoencoder",
        paper="none",
        year=2026,
        summary="A linear autoencoder of what a given network sees.",
        ports=(Port("lens", "a network from observations to vectors of 8", standin="unbraid_tiny:LENS"),),
        example="discs",
    )
    presets = {"tiny": {"steps": 6}, "quick": {"steps": 50}}

    @dataclass(frozen=True)
    class Config:
        """Options.

        Attributes:
            steps: Steps of training.
        """

        steps: int = told(100, by="ours")

    def __init__(self, config, fields, given):
        super().__init__(config, fields, given)
        if len(fields["x"].shape) > 3:
            raise DataError("vectors, series or images", got=f"items of shape {fields['x'].shape}")
        self.lens = Frozen(given["lens"])
        self.encoder, self.decoder = nn.Linear(8, 4), nn.Linear(4, math.prod(fields["x"].shape))

    def parts(self):
        return (PartSpec("code", "fam", (4,), one=True),)

    def stages(self):
        fit = Update("fit", self.loss, lambda: [self.encoder, self.decoder], Optim(lr=1e-2))
        return [Stage("fit", [fit], Budget(steps=self.config.steps), {"": Stream(8)})]

    def loss(self, batch, at):
        return {"error": (self.decode(self.encode(batch)) - batch["x"]).flatten(1).square().mean(1)}

    def encode(self, batch):
        return Parts(code=self.encoder(self.lens(batch["x"])))

    def decode(self, parts):
        return self.decoder(parts["code"]).unflatten(1, self.fields["x"].shape)

    def examine(self, data: Source) -> Findings:
        batch = data.take(torch.arange(min(64, len(data))))
        with torch.no_grad():
            error = (self.decode(self.encode(batch)) - batch["x"]).square()
        return Findings({"squared error": float(error.mean())}, {"by item": error.flatten(1).mean(1)})

    @action
    def show(self, data: Source | None = None, items: int = 3, loud: bool = False) -> Pictures:
        """Decode some items.

        Args:
            data: The items; those of the run where left out.
            items: How many.
            loud: Whether to brighten them.
        """
        with torch.no_grad():
            made = self.decode(self.encode(data.take(torch.arange(items)))).clamp(0, 1)
        return Pictures(made.sqrt() if loud else made)

    @action
    def weigh(self, words: tuple[str, ...] = ()) -> Table:
        """List the weights of the encoder.

        Args:
            words: A word for each row.
        """
        rows = [f"unit {i}" for i in range(4)] if not words else list(words)
        return Table({"unit": rows, "norm": self.encoder.weight.norm(dim=1).tolist()[: len(rows)]})

    @action(changes=True)
    def scale(self, by: float) -> None:
        """Scale the code.

        Args:
            by: The factor.
        """
        with torch.no_grad():
            self.encoder.weight.mul_(by)
            self.encoder.bias.mul_(by)
