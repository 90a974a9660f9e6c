"""A variational autoencoder of symbols whose codes lie in the latent space of another (SCAN, the second stage)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from unbraid.core.card import Card, told
from unbraid.core.errors import DataError
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import Alone, At, Budget, Loss, Method, Optim, Solve, Source, Stage, Stream, Terms, Update
from unbraid.core.parts import Parts, PartSpec
from unbraid.losses.gaussian import kl, sample
from unbraid.nets.mlp import mlp
from unbraid.training.build import build
from unbraid.training.feed import feed
from unbraid.training.fit import own_chance
from unbraid.training.stepper import Stepper

_ROWS = 8192  # at which values are looked to cut them in two

Symbol = Float[Tensor, "batch concepts 2"]
"""For each concept a pair: (1, 0) for its lower value, (0, 1) for its upper one, (0, 0) where nothing is said."""


@dataclass(frozen=True)
class SymbolOptions:
    """Options of the second stage.

    Attributes:
        hidden: Width of the hidden layer of the symbols' encoder and decoder.
        symbol_beta: Weight of the divergence of a symbol's posterior from the prior.
        relation: Weight of the divergence between an item's posterior and its symbol's (lambda in the paper).
        direction: Which one: "forward", of the item's from the symbol's, or "reverse".
        drop: Share of the concepts that are left unsaid in training.
        symbol_batch: Items per step.
        symbol_steps: Steps of training.
        symbol_optim: How the symbols' networks move.
    """

    hidden: int = told(100, by="memory")
    symbol_beta: float = told(1.0, by="second")
    relation: float = told(10.0, by="second")
    direction: Literal["forward", "reverse"] = told("forward", by="paper")
    drop: float = told(0.5, by="ours")
    symbol_batch: int = told(64, by="ours")
    symbol_steps: int = told(100_000, by="ours")
    symbol_optim: Optim = told(Optim("adam", lr=1e-3), by="ours")


class Symbols(nn.Module):
    """q(z|y) of a symbol, and p(y|z): a choice of one of two values for each concept.

    Args:
        concepts: How many.
        latents: Numbers in a code.
        hidden: Width of the hidden layers.
    """

    edges: Tensor

    def __init__(self, concepts: int, latents: int, hidden: int) -> None:
        super().__init__()
        self.encoder = mlp((2 * concepts, hidden, 2 * latents))
        self.decoder = mlp((latents, hidden, 2 * concepts))
        self.register_buffer("edges", torch.full((concepts,), 0.5))

    def posterior(self, y: Symbol) -> tuple[Float[Tensor, "batch latents"], Float[Tensor, "batch latents"]]:
        """Mean and log variance of q(z|y)."""
        mu, logvar = self.encoder(y.flatten(1)).chunk(2, 1)
        return mu, logvar

    def read(self, z: Float[Tensor, "batch latents"]) -> Symbol:
        """The log probability p(y|z) of both values of each concept."""
        logits: Tensor = self.decoder(z)
        return logits.reshape(len(z), -1, 2).log_softmax(2)

    def symbol(self, factors: Float[Tensor, "batch concepts"], known: Bool[Tensor, "batch concepts"]) -> Symbol:
        """What the factors of items say."""
        upper = factors > self.edges
        return torch.stack([known & ~upper, known & upper], 2).float()

    def cut(self, source: Source, columns: Sequence[int], names: Sequence[str], at: At) -> None:
        """Choose where values are cut in two, each as evenly as it can be.

        Raises:
            DataError: A factor has one value only.
        """
        rows = torch.linspace(0, len(source) - 1, min(len(source), _ROWS), dtype=torch.float64).long()
        batch = source.take(rows, at.device)
        for k, column in enumerate(columns):
            values = batch["factors"][:, column][batch["known"][:, column]]
            edge = even_cut(values)
            if edge is None:
                got = "one value" if len(values) else "none that is known"
                fix = "leave it out of --set concepts=..."
                raise DataError("a factor of two values or more", got=got, fix=fix, where=f"factor '{names[k]}'")
            self.edges[k] = edge

    def loss(self, mu: Tensor, logvar: Tensor, y: Symbol, at: At, options: SymbolOptions) -> Terms:
        """The terms to descend for items of which posterior (B, L) and symbol are known; both are constants."""
        keep = at.rand(y.shape[:2]) >= options.drop
        said = y * keep[:, :, None]
        mine, spread = self.posterior(said)
        z = sample(mine, spread, at.randn(mine.shape))
        forward = options.direction == "forward"
        pair = (mu, logvar, mine, spread) if forward else (mine, spread, mu, logvar)
        return {
            "label": -(said * self.read(z)).sum((1, 2)),
            "prior": (options.symbol_beta, kl(mine, spread).sum(1)),
            "relation": (options.relation, kl(*pair).sum(1)),
        }


def every_symbol(concepts: int, device: torch.device | str = "cpu") -> Symbol:
    """The symbols that say one thing only: the lower and the upper value of the first concept, then of the next.

    >>> every_symbol(1).tolist()
    [[[1.0, 0.0]], [[0.0, 1.0]]]
    """
    return torch.eye(2 * concepts, device=device).reshape(2 * concepts, concepts, 2)


def even_cut(values: Float[Tensor, " n"]) -> float | None:
    """Between which two neighbouring values most nearly half lie on either side; None where all are one.

    >>> even_cut(torch.tensor([0.0, 1.0, 1.0])), even_cut(torch.tensor([20.0, 30.0, 40.0, 80.0]))
    (0.5, 35.0)
    """
    distinct, counts = torch.unique(values, return_counts=True)
    if len(distinct) < 2:
        return None
    below = counts.cumsum(0)[:-1]
    at = int((below - len(values) / 2).abs().argmin())
    return float((distinct[at] + distinct[at + 1]) / 2)


class _Unlisted:
    """The card of a method that the catalog does not list: it lists methods that have one of their own."""

    card = Card(
        name="scan-symbols",
        title="SCAN: Learning Hierarchical Compositional Visual Concepts",
        paper="arXiv:1707.03389",
        year=2018,
        needs=("x", "factors", "known"),
        summary="Codes of symbols in a latent space that is there already.",
    )


class SymbolLearner(_Unlisted, Method[SymbolOptions]):
    """The second stage alone: items are the posteriors of the first, means and log variances side by side."""

    Config = SymbolOptions

    def __init__(self, config: SymbolOptions, fields: Fields) -> None:
        super().__init__(config, fields)
        shape = fields["x"].shape
        if len(shape) != 1 or shape[0] % 2:
            raise DataError("means and log variances (2 L,)", got=f"items of shape {shape}")
        self.names = fields["factors"].names
        self.latents = fields["x"].shape[0] // 2
        self.symbols = Symbols(len(self.names), self.latents, config.hidden)

    def parts(self) -> tuple[PartSpec, ...]:
        return (PartSpec("symbol", "fam", (self.latents,)),)

    def stages(self) -> Sequence[Stage]:
        return [symbol_stage(self.symbols, self.loss, self._cut, self.config)]

    def _cut(self, sources: Mapping[str, Source], at: At) -> None:
        self.symbols.cut(sources["train"], range(len(self.names)), self.names, at)

    def loss(self, batch: Batch, at: At) -> Terms:
        """The terms of `Symbols.loss`."""
        mu, logvar = batch["x"].chunk(2, 1)
        return self.symbols.loss(mu, logvar, self.symbols.symbol(batch["factors"], batch["known"]), at, self.config)

    def encode(self, batch: Batch) -> Parts:
        return Parts(symbol=self.symbols.posterior(self.symbols.read(batch["x"].chunk(2, 1)[0]).exp())[0])


def symbol_stage(symbols: Symbols, loss: Loss, solve: Solve, options: SymbolOptions) -> Stage:
    """The stage that trains the symbols' networks."""
    update = Update("symbols", loss, lambda: [symbols], options.symbol_optim)
    stream, budget = Stream(options.symbol_batch), Budget(steps=options.symbol_steps)
    return Stage("symbols", [update], budget, {"": stream}, solve=solve)


def learn_symbols(posteriors: Source, options: SymbolOptions, device: torch.device, seed: int = 0) -> Symbols:
    """The second stage on posteriors that are known, by this process alone.

    Args:
        posteriors: Means and log variances side by side as `x`, with the concepts as factors.
        options: Of the second stage.
        device: Where the networks shall lie.
        seed: Of weights, order and noise.
    """
    learner = build(SymbolLearner, options, posteriors.fields, seed=seed).to(device)
    [stage] = learner.stages()
    sources, steps = {"train": posteriors}, options.symbol_steps
    with own_chance(device), torch.enable_grad():
        learner._cut(sources, At(device=device))
        stepper = Stepper(learner, stage, seed=seed, steps=steps)
        drawn = feed(stage, sources, seed=seed, first=0, steps=steps, world=Alone(), device=device)
        for step, (_, batch) in enumerate(drawn):
            stepper.step(batch, step)
    return learner.symbols.eval()
