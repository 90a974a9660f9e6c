"""What the two levels of disentangled series share: a recurrent VAE, and weights on the parts of its divergence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.card import told
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Batch, Field, Fields
from unbraid.core.method import At, Budget, Method, Optim, Source, Stage, Stream, Terms, Update
from unbraid.core.parts import Parts
from unbraid.data.splits import training_part
from unbraid.losses.adversarial import js_information
from unbraid.losses.gaussian import gaussian_nll, kl, sample
from unbraid.losses.total_correlation import decompose
from unbraid.nets.mlp import mlp
from unbraid.nets.observed import Observed
from unbraid.nets.recurrent import SeriesDecoder, SeriesEncoder


@dataclass(frozen=True)
class SeriesOptions:
    """The choices that both levels have.

    Attributes:
        hidden: Width of the LSTMs.
        layers: Their layers.
        teacher_forcing: Whether the decoder sees the true step before each; then it can do without the code.
        beta: Weight of the total correlation.
        gamma: Weight of what each number's distribution differs from the prior.
        alpha: Weight, as a reward, of the information that the code has of the series; -1 is a VAE's own price on it.
        mi: Who tells the information that is rewarded: the posteriors of the batch, which cannot tell more than the
            logarithm of its size, or a critic of pairs ("jsd").
        sampling: Whether the posteriors of a batch count alike, or its items stand for those of the whole set.
        critic_width: Width of critics and predictors.
        batch: Items per step.
        epochs: Passes over the data.
        steps: Steps of training, in the place of epochs.
        optim: How everything moves.
        critic_optim: How critics move.
    """

    hidden: int = told(128, by="memory")
    layers: int = told(1, by="memory")
    teacher_forcing: bool = told(False, by="ours")
    beta: float = told(4.0, by="ours")
    gamma: float = told(1.0, by="ours")
    alpha: float = told(1.0, by="ours")
    mi: Literal["minibatch", "jsd"] = told("minibatch", by="ours")
    sampling: Literal["batch", "stratified"] = told("batch", by="ours")
    critic_width: int = told(128, by="ours")
    batch: int = told(64, by="ours")
    epochs: float = told(100.0, by="ours")
    steps: int | None = told(None, by="ours")
    optim: Optim = told(Optim("adam", lr=1e-3), by="ours")
    critic_optim: Optim = told(Optim("adam", lr=1e-4), by="ours")

    counts: ClassVar[tuple[str, ...]] = ("hidden", "layers", "critic_width", "batch")

    def __post_init__(self) -> None:
        for name in (*self.counts, *(("steps",) if self.steps is not None else ())):
            if getattr(self, name) < 1:
                raise ConfigError("a whole number above 0", got=str(getattr(self, name)), where=name)
        if self.batch < 2:
            raise ConfigError("2 items or more, whose posteriors are compared", got=str(self.batch), where="batch")
        if not 0 < self.epochs < math.inf:
            raise ConfigError("a number above 0", got=f"{self.epochs:g}", where="epochs")
        for name, least in (("beta", 0.0), ("gamma", 0.0), ("alpha", -math.inf if self.mi == "minibatch" else 0.0)):
            if not least <= getattr(self, name) < math.inf:
                raise ConfigError(f"a number from {least:g} on", got=f"{getattr(self, name):g}", where=name)


C = TypeVar("C", bound=SeriesOptions)


class SeriesVAE(Method[C]):
    """Minimises reconstruction + KL + (beta - 1) TC + (gamma - 1) dimension-wise KL - (1 + alpha) MI.

    KL = MI + TC + dimension-wise KL on average, so the code's information has the weight -alpha in all: heavier
    penalties on the other two need not make a strong decoder do without the code. Everything is per series: the
    squared error is summed over its steps and channels.
    """

    scaffold: ClassVar[tuple[str, ...]] = ("critics",)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"hidden": 48, "steps": 1500, "optim.lr": 1e-2, "optim.schedule.kind": "cosine"},
        "tiny": {"hidden": 6, "critic_width": 8, "batch": 8, "steps": 4},
    }
    items: Tensor

    def __init__(self, config: C, fields: Fields, widths: Sequence[int]) -> None:
        super().__init__(config, fields)
        channels, steps = _checked(fields["x"])
        self.widths, width = tuple(widths), sum(widths)
        self.observed = Observed(replace(fields["x"], unit=False))
        self.encoder = SeriesEncoder(channels, 2 * width, config.hidden, config.layers)
        self.decoder = SeriesDecoder(width, channels, steps, config.hidden, config.layers, config.teacher_forcing)
        self.critics = nn.ModuleDict()
        if config.mi == "jsd":
            self.critics["pairs"] = mlp((channels * steps + width, config.critic_width, config.critic_width, 1))
        self.register_buffer("items", torch.ones((), dtype=torch.long))

    # ------------------------------------------------------------------------------------------------------- training

    def sources(self, data: Source) -> Mapping[str, Source]:
        """The rows of the split "train"; all where there is no such factor."""
        return {"train": training_part(data)}  # type: ignore[arg-type]

    def stages(self) -> Sequence[Stage]:
        c = self.config
        own = [module for name, module in self.named_children() if name != "critics"]
        updates = [Update("fit", self.loss, lambda: own, c.optim)]
        if len(self.critics):
            updates.append(Update("critic", self.critic_loss, lambda: [self.critics], c.critic_optim))
        budget = Budget(epochs=c.epochs) if c.steps is None else Budget(steps=c.steps)
        return [Stage("fit", updates, budget, {"": Stream(c.batch)}, solve=self.measure)]

    def measure(self, sources: Mapping[str, Source], at: At) -> None:
        """What training needs to know of the data: how they are standardised, and how many there are."""
        self.observed.measure(sources, at)
        self.items.fill_(len(sources["train"]))

    def loss(self, batch: Batch, at: At) -> Terms:
        """What is descended."""
        x = self.observed(batch["x"])
        mu, logvar = self.infer(x)
        z = sample(mu, logvar, at.randn(mu.shape))
        at.memo |= {"x": x, "z": z.detach()}
        made = self.decoder(z, x)
        return {
            "reconstruction": gaussian_nll(made, x),
            **self.divergence(z, mu, logvar, at),
            **self.besides(batch, z, mu, logvar, at),
        }

    def besides(self, batch: Batch, z: Tensor, mu: Tensor, logvar: Tensor, at: At) -> Terms:
        """What a level adds."""
        return {}

    def divergence(self, z: Tensor, mu: Tensor, logvar: Tensor, at: At) -> Terms:
        """The divergence, and what its three parts weigh besides."""
        c = self.config
        every = at.world.gather(mu), at.world.gather(logvar)
        n = max(int(self.items), len(every[0])) if c.sampling == "stratified" else len(every[0])
        mi, tc, each = decompose(z, *every, n, first=at.world.rank * len(z))
        divergence = kl(mu, logvar).sum(1)
        at.note(mi=mi.mean(), tc=tc.mean(), each=each.mean(), divergence=divergence.mean())
        weighted: dict[str, tuple[float, Tensor]] = {
            "kl": (1.0, divergence),
            "total_correlation": (c.beta - 1, tc),
            "each": (c.gamma - 1, each),
            "information": (-(1 + c.alpha) if c.mi == "minibatch" else -1.0, mi),
        }
        if c.mi == "jsd":
            one, other = self.told(at.memo["x"], z, at)
            weighted["critic_information"] = (-c.alpha, one + other)
        return {name: term for name, term in weighted.items() if term[0]}

    def told(self, x: Tensor, z: Tensor, at: At) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """What the critic tells of pairs that belong together, and of each series with the code of the next."""
        other = at.world.gather(z).roll(1, 0).chunk(at.world.size)[at.world.rank]
        one, two = (self.critics["pairs"](torch.cat([x.flatten(1), code], 1))[:, 0] for code in (z, other))
        return js_information(one, two)

    def critic_loss(self, batch: Batch, at: At) -> Terms:
        """What the critics descend, on the codes of this step."""
        if "pairs" not in self.critics:
            return {}
        one, other = self.told(at.memo["x"], at.memo["z"], at)
        return {"pairs": -(one + other)}

    # ---------------------------------------------------------------------------------------------------- what it can

    def infer(self, x: Float[Tensor, "batch channels time"]) -> tuple[Tensor, Tensor]:
        """Means and log variances of q(z|x) of standardised series, each (B, L)."""
        mu, logvar = self.encoder(x).chunk(2, dim=1)
        return mu, logvar

    def named(self, code: Float[Tensor, "batch width"]) -> Parts:
        """A code as parts."""
        names = [spec.name for spec in self.parts()]
        return Parts(dict(zip(names, torch.split(code, list(self.widths), 1), strict=True)))

    def encode(self, batch: Batch) -> Parts:
        return self.posterior(batch)[0]

    def posterior(self, batch: Batch) -> tuple[Parts, Parts]:
        """Means and log variances of the posterior."""
        mu, logvar = self.infer(self.observed(batch["x"]))
        return self.named(mu), self.named(logvar)

    def decode(self, parts: Parts) -> Float[Tensor, "batch channels time"]:
        """The mean series of each code."""
        made: Tensor = self.observed.restore(self.decoder(torch.cat([parts[s.name] for s in self.parts()], 1)))
        return made

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n channels time"]:
        """Series decoded from draws of the prior."""
        z = torch.randn(n, sum(self.widths), generator=generator, device=generator.device)
        return self.decode(self.named(z))


def _checked(x: Field) -> tuple[int, int]:
    """Channels and steps of data that will do."""
    if len(x.shape) != 2 or 0 in x.shape:
        raise DataError("series (channels, time)", got=f"shape {x.shape}", fix="open them as series:PATH")
    return x.shape[0], x.shape[1]
