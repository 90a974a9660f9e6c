"""What the methods of this wing share: an observation, an encoder, a decoder, and one stage that fits them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from jaxtyping import Float
from torch import Tensor

from unbraid.core.card import told
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import At, Budget, Method, Optim, Stage, Stream, Terms, Update
from unbraid.core.parts import Parts, PartSpec
from unbraid.losses.gaussian import bernoulli_nll, gaussian_nll
from unbraid.nets.for_field import Network, decoder_for, encoder_for
from unbraid.nets.observed import Observed


@dataclass(frozen=True)
class Options:
    """The choices that every autoencoder here has.

    Attributes:
        latents: Numbers in the code.
        network: Encoder and decoder of images; vectors take a perceptron.
        width: Width of the dense layers, to which the channels are proportional.
        batch: Items per step.
        steps: Steps of training.
        optim: How everything moves.
    """

    latents: int = told(10, by="code")
    network: Network = told("conv", by="code")
    width: int = told(256, by="code")
    batch: int = told(64, by="code")
    steps: int = told(300_000, by="code")
    optim: Optim = told(Optim("adam", lr=1e-4), by="code")

    counts: ClassVar[tuple[str, ...]] = ("latents", "width", "batch", "steps")

    def __post_init__(self) -> None:
        for name in self.counts:
            if getattr(self, name) < 1:
                raise ConfigError("a whole number above 0", got=str(getattr(self, name)), where=name)


C = TypeVar("C", bound=Options)


class Autoencoder(Method[C]):
    """Encodes each item into one family of numbers and decodes it from them; subclasses say what they descend."""

    Config = Options
    per_latent: ClassVar[int] = 1  # numbers that the encoder gives for each latent
    besides: ClassVar[int] = 0  # and besides them

    def __init__(self, config: C, fields: Fields) -> None:
        super().__init__(config, fields)
        x = fields["x"]
        self.observed = Observed(x)
        numbers = self.per_latent * config.latents + self.besides
        self.encoder = encoder_for(x, numbers, config.width, config.network)
        self.decoder = decoder_for(x, config.latents, config.width, config.network)

    def parts(self) -> tuple[PartSpec, ...]:
        return (PartSpec("latents", "fam", (self.config.latents,), one=True),)

    def stages(self) -> Sequence[Stage]:
        fit = Update("fit", self.loss, lambda: [self], self.config.optim)
        solve = None if self.observed.unit else self.observed.measure
        return [Stage("fit", [fit], Budget(steps=self.config.steps), {"": self.stream()}, solve=solve)]

    def stream(self) -> Stream:
        """Where the items of a step come from."""
        return Stream(self.config.batch)

    def loss(self, batch: Batch, at: At) -> Terms:
        """The terms to descend."""
        raise NotImplementedError(f"{type(self).__name__}.loss")

    def reconstruction(
        self, z: Float[Tensor, "batch latents"], x: Float[Tensor, "batch *item"]
    ) -> Float[Tensor, " batch"]:
        """-log p(x|z) in nats, summed over each item: Bernoulli where x is in [0, 1], otherwise Gaussian."""
        output = self.decoder(z)
        return bernoulli_nll(output, x) if self.observed.unit else gaussian_nll(output, self.observed(x))

    def decode(self, parts: Parts) -> Float[Tensor, "batch *item"]:
        """The mean observation of each code."""
        return self.observed.restore(self.decoder(parts["latents"]))
