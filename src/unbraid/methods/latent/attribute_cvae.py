"""A conditional VAE: attributes are given, and the code holds what they leave open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.action import action
from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import At, Budget, Method, Optim, Source, Stage, Stream, Terms, Update
from unbraid.core.outcome import Findings, Pictures
from unbraid.core.parts import Parts, PartSpec
from unbraid.data.dataset import Dataset
from unbraid.data.splits import training_part
from unbraid.losses.gaussian import bernoulli_nll, gaussian_nll, kl
from unbraid.losses.gaussian import sample as drawn
from unbraid.methods.latent.attribute_names import Attributes
from unbraid.nets.conditional import AttributePrior, Conditional, ConvTelling, ConvTold, DenseTelling, DenseTold
from unbraid.nets.observed import Observed

_LEAST, _MOST = -8.0, 4.0  # log variance
_SEEN = 4096


class AttributeCVAE(Method["AttributeCVAE.Config"]):
    """Learns p(x | attributes), with a Gaussian code for what the attributes leave open (Debbagh, 2023).

    1. Infer q(z | x, y) of an observation x with attributes y. 2. A prior p(z | y) follows from the attributes alone.
    3. Decode a sample of q together with y. 4. Minimise -log p(x | z, y) + beta KL(q || p); both q and p move.
    With alpha below 1 the bound is mixed with the error of what is decoded from the prior, as it is when nothing is
    seen but attributes (Sohn et al., 2015, eq. 6).

    The part `residual` is the code in units of the prior, (z - mean_p(y)) / std_p(y). So attributes that are exchanged
    take the code along, from where it lies under one prior to the same place under the other.

    Source:
        The loss and its weight are the paper's; networks and settings are filled in, for it publishes no code.
    """

    card = Card(
        number=29,
        name="attribute-cvae",
        title="Learning Structured Output Representations from Attributes using Deep Conditional Generative Models",
        paper="arXiv:2305.00980",
        year=2023,
        needs=("x", "attributes"),
        summary="A VAE that is told attributes, whose prior follows them, and which draws and edits items by them.",
        claim="Samples have the attributes asked for, more so with a prior that follows them, and are not all alike.",
        example="digits",
        tiny="digits:size=8",
    )
    aliases: ClassVar = {"standard-prior-cvae": {"prior": "standard"}}
    about: ClassVar = {
        "standard-prior-cvae": "A VAE that is told attributes, with one prior for all of them (Sohn et al., 2015)."
    }
    presets: ClassVar = {
        "tiny": {
            "latents": 2,
            "network": "mlp",
            "width": 8,
            "prior_width": 4,
            "batch": 8,
            "epochs": 0.04,
            "warm": 0.02,
        },
        "quick": {"latents": 16, "network": "mlp", "width": 256, "epochs": 60.0, "warm": 5.0},
    }

    @dataclass(frozen=True)
    class Config:
        """Options of the conditional VAE.

        Attributes:
            latents: Numbers in the code.
            prior: Of the code: a Gaussian for every combination of attributes, or N(0, I) for all.
            beta: Weight of the KL term; 1, 5 and 10 are usual.
            warm: Epochs over which that weight grows from 0.
            alpha: Share of the bound; the rest is the error of what is decoded from the prior.
            network: Convolutions, or perceptrons.
            width: Of the dense layers.
            layers: Hidden layers of perceptrons.
            prior_width: Of the prior's hidden layers.
            batch: Items per step.
            epochs: Passes over the data.
            optim: How everything moves.
        """

        latents: int = told(128, by="ours")
        prior: Literal["conditional", "standard"] = told("conditional", by="paper")
        beta: float = told(1.0, by="ours")
        warm: float = told(10.0, by="ours")
        alpha: float = told(1.0, by="second")
        network: Conditional = told("conv", by="ours")
        width: int = told(512, by="ours")
        layers: int = told(2, by="ours")
        prior_width: int = told(128, by="ours")
        batch: int = told(128, by="ours")
        epochs: float = told(30.0, by="ours")
        optim: Optim = told(Optim("adam", lr=1e-3), by="ours")

        def __post_init__(self) -> None:
            for name in ("latents", "width", "layers", "prior_width", "batch"):
                if getattr(self, name) < 1:
                    raise ConfigError("a whole number above 0", got=str(getattr(self, name)), where=name)
            for name in ("beta", "warm"):
                if not getattr(self, name) >= 0:
                    raise ConfigError("a number from 0 on", got=f"{getattr(self, name):g}", where=name)
            if not self.epochs > 0:
                raise ConfigError("a number above 0", got=f"{self.epochs:g}", where="epochs")
            if not 0 <= self.alpha <= 1:
                raise ConfigError("a share from 0 to 1", got=f"{self.alpha:g}", where="alpha")

    seen: Tensor

    def __init__(self, config: AttributeCVAE.Config, fields: Fields) -> None:
        super().__init__(config, fields)
        self.attributes = Attributes.of(fields)
        x, count, c = fields["x"], len(self.attributes.names), config
        self.observed = Observed(x)
        self.encoder: nn.Module
        self.decoder: nn.Module
        if c.network == "mlp" or len(x.shape) == 1:
            self.encoder = DenseTold(x, count, 2 * c.latents, c.width, c.layers)
            self.decoder = DenseTelling(x, count, c.latents, c.width, c.layers)
        else:
            self.encoder = ConvTold(x, count, 2 * c.latents, c.width)
            self.decoder = ConvTelling(x, count, c.latents)
        self.prior = AttributePrior(count, c.latents, c.prior_width) if c.prior == "conditional" else None
        self.slot("seen")  # (n, A): attributes of training items, as often as they occur together

    def parts(self) -> tuple[PartSpec, ...]:
        factors = self.attributes.factors
        return (
            PartSpec("attributes", "vec", (len(self.attributes.names),), carries=factors),
            PartSpec("residual", "vec", (self.config.latents,), free_of=factors),
        )

    # -------------------------------------------------------------------------------------------------------- training

    def sources(self, data: Source) -> Mapping[str, Source]:
        """The rows that the data set aside for training, where they do."""
        return {"train": training_part(cast("Dataset", data))}

    def stages(self) -> Sequence[Stage]:
        fit = Update("fit", self.loss, lambda: [self], self.config.optim)
        feed = {"": Stream(self.config.batch)}
        return [Stage("fit", [fit], Budget(epochs=self.config.epochs), feed, solve=self.measure)]

    def measure(self, sources: Mapping[str, Source], at: At) -> None:
        """The scale of the observations, and which attributes occur together."""
        train = sources["train"]
        if not self.observed.unit:
            self.observed.measure(sources, at)
        chosen = torch.linspace(0, len(train) - 1, min(len(train), _SEEN), dtype=torch.float64).long()
        batches = [train.take(rows, at.device)["attributes"] for rows in torch.split(chosen, 512)]
        self.seen = torch.cat(batches)

    def nll(self, output: Float[Tensor, "batch *item"], x: Float[Tensor, "batch *item"]) -> Float[Tensor, " batch"]:
        """-log p(x) in nats, summed over each item, where the decoder gave `output` (logits, or standardised means)."""
        return bernoulli_nll(output, x) if self.observed.unit else gaussian_nll(output, self.observed(x))

    def loss(self, batch: Batch, at: At) -> Terms:
        x, y = batch["x"], batch["attributes"]
        alpha, beta = self.config.alpha, self.beta(at.epoch)
        mean_p, logvar_p = self.of_attributes(y)
        terms: dict[str, tuple[float, Tensor]] = {}
        if alpha > 0:
            mean, logvar = self.infer(x, y)
            z = drawn(mean, logvar, at.randn(mean.shape))
            terms["reconstruction"] = (alpha, self.nll(self.decoder(z, y), x))
            terms["kl"] = (alpha * beta, kl(mean, logvar, mean_p, logvar_p).sum(1))
        if alpha < 1:
            z = drawn(mean_p, logvar_p, at.randn(mean_p.shape))
            terms["from_prior"] = (1 - alpha, self.nll(self.decoder(z, y), x))
        at.note(beta=beta)
        return terms

    def beta(self, epoch: float) -> float:
        """The weight of the KL term after so many epochs."""
        return self.config.beta * (min(1.0, epoch / self.config.warm) if self.config.warm else 1.0)

    # ----------------------------------------------------------------------------------------------------- the model

    def infer(self, x: Float[Tensor, "batch *item"], y: Float[Tensor, "batch a"]) -> tuple[Tensor, Tensor]:
        """Means and log variances of q(z | x, y)."""
        mean, logvar = self.encoder(self.observed(x), y).chunk(2, 1)
        return mean, logvar.clamp(_LEAST, _MOST)

    def of_attributes(self, y: Float[Tensor, "batch a"]) -> tuple[Tensor, Tensor]:
        """Means and log variances of p(z | y)."""
        if self.prior is None:
            zeros = y.new_zeros(len(y), self.config.latents)
            return zeros, zeros
        mean, logvar = self.prior(y)
        return mean, logvar.clamp(_LEAST, _MOST)

    def moved(
        self, z: Float[Tensor, "batch latents"], y: Float[Tensor, "batch a"], other: Float[Tensor, "batch a"]
    ) -> Float[Tensor, "batch latents"]:
        """Where a code under one prior lies under that of other attributes: as many standard deviations from it."""
        (mean, logvar), (new_mean, new_logvar) = self.of_attributes(y), self.of_attributes(other)
        return new_mean + ((new_logvar - logvar) / 2).exp() * (z - mean)

    def made(self, z: Float[Tensor, "batch latents"], y: Float[Tensor, "batch a"]) -> Float[Tensor, "batch *item"]:
        """The mean observation of codes and attributes."""
        return self.observed.restore(self.decoder(z, y))

    def encode(self, batch: Batch) -> Parts:
        return Parts(attributes=batch["attributes"], residual=self.posterior(batch)[0]["residual"])

    def posterior(self, batch: Batch) -> tuple[Parts, Parts]:
        """Means and log variances of the residual, whose prior is N(0, I)."""
        mean, logvar = self.infer(batch["x"], batch["attributes"])
        mean_p, logvar_p = self.of_attributes(batch["attributes"])
        return Parts(residual=(mean - mean_p) * (-logvar_p / 2).exp()), Parts(residual=logvar - logvar_p)

    def decode(self, parts: Parts) -> Float[Tensor, "batch *item"]:
        mean, logvar = self.of_attributes(parts["attributes"])
        return self.made(drawn(mean, logvar, parts["residual"]), parts["attributes"])

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n *item"]:
        """Observations with attributes that occur together, as often as they do."""
        rows = torch.randint(max(1, len(self.seen)), (n,), generator=generator, device=generator.device)
        count = len(self.attributes.names)
        y = self.seen[rows] if len(self.seen) else torch.zeros(n, count, device=generator.device)
        return self.with_attributes(y, generator)

    def with_attributes(
        self, y: Float[Tensor, "n a"], generator: torch.Generator, temperature: float = 1.0
    ) -> Float[Tensor, "n *item"]:
        """Observations drawn with given attributes.

        Args:
            y: Attributes.
            generator: Of the codes.
            temperature: On the prior's standard deviation.
        """
        mean, logvar = self.of_attributes(y)
        noise = torch.randn(mean.shape, generator=generator, device=generator.device)
        return self.made(drawn(mean, logvar, temperature * noise), y)

    def changed(self, batch: Batch, other: Float[Tensor, "batch a"]) -> Float[Tensor, "batch *item"]:
        """Items with other attributes, all else kept."""
        y = batch["attributes"]
        return self.made(self.moved(self.infer(batch["x"], y)[0], y, other), other)

    def edit(self, batch: Batch, part: str, amount: float) -> Float[Tensor, "batch *item"]:
        """Items with an attribute moved by an amount, from 0 towards 1; the other values of its factor give way."""
        return self.changed(batch, self.attributes.moved(batch["attributes"], part, amount))

    # -------------------------------------------------------------------------------------------------------- actions

    @action(name="sample")
    def draw(
        self, attributes: tuple[str, ...] = (), items: int = 8, temperature: float = 1.0, seed: int = 0
    ) -> Pictures:
        """Draw items with chosen attributes; what is not chosen is drawn as it occurs.

        Args:
            attributes: What is chosen: `name`, `name=0`, `name=1` or `factor=value`; several may be given.
            items: How many.
            temperature: On the prior's standard deviation; 0.7 looks cleaner than 1, and more alike.
            seed: Of the chance.
        """
        generator = torch.Generator(self.seen.device).manual_seed(seed)
        y = self.attributes.chosen(self.seen, attributes, _positive(items), generator)
        with torch.no_grad():
            x = self.with_attributes(y, generator, temperature)
        return Pictures(self._images(x), [self.attributes.told(row) for row in y])

    @action(name="edit")
    def redraw(self, attributes: tuple[str, ...], data: Source | None = None, items: int = 8) -> Pictures:
        """Draw items as they would be with other attributes.

        Args:
            attributes: What changes: `name`, `name=0`, `name=1` or `factor=value`; several may be given.
            data: The items; those of the run where left out.
            items: How many of the first.
        """
        assert data is not None
        self.check(data)
        batch = data.take(torch.arange(min(_positive(items), len(data))), self.seen.device)
        y = self.attributes.set(batch["attributes"], attributes)
        with torch.no_grad():
            made = self.changed(batch, y)
        said = [self.attributes.told(row) for row in (*batch["attributes"], *y)]
        return Pictures(self._images(torch.cat([batch["x"], made])), said)

    @action
    def interpolate(
        self, start: tuple[str, ...], end: tuple[str, ...], items: int = 8, temperature: float = 0.0, seed: int = 0
    ) -> Pictures:
        """Draw the way from some attributes to others along the prior's mean.

        Args:
            start: Attributes at its beginning, as in `sample`.
            end: What changes up to its end.
            items: Stations.
            temperature: On the prior's standard deviation; the same deviation all the way.
            seed: Of the chance.
        """
        generator = torch.Generator(self.seen.device).manual_seed(seed)
        first = self.attributes.chosen(self.seen, start, 1, generator)
        last = self.attributes.set(first, end)
        t = torch.linspace(0, 1, _positive(items), device=first.device)[:, None]
        noise = torch.randn((1, self.config.latents), generator=generator, device=first.device)
        with torch.no_grad():
            one, other = (drawn(*self.of_attributes(y), temperature * noise) for y in (first, last))
            made = self.made(torch.lerp(one, other, t), torch.lerp(first, last, t))
        said = [self.attributes.told(y[0]) for y in (first, last)]
        return Pictures(self._images(made), [said[0], *[""] * (items - 2), said[1]][:items])

    def examine(self, data: Source) -> Findings:
        """What samples and edits look like to a classifier of its own, how different they are, and what codes tell."""
        from unbraid.methods.latent.attribute_judge import judge

        self.check(data)
        return judge(self, cast("Dataset", data))

    def check(self, data: Source) -> None:
        """Refuse data of other attributes.

        Raises:
            DataError: Naming what there is.
        """
        names = data.fields["attributes"].names
        if names != self.attributes.names:
            missing = next((n for n in self.attributes.names if n not in names), "others, too")
            fix = f"give the attributes of the run; {nearest(missing, names)}" if names else ""
            raise DataError(f"the attribute '{missing}'", got=f"{len(names)} others", fix=fix)

    def _images(self, x: Float[Tensor, "n *item"]) -> Float[Tensor, "n c h w"]:
        if x.ndim != 4 or not self.observed.unit:
            raise DataError("images, to be drawn", got=f"items of shape {tuple(x.shape[1:])}")
        return x.cpu()


def _positive(items: int) -> int:
    if items < 1:
        raise ConfigError("1 or more", got=str(items), where="--items")
    return items
