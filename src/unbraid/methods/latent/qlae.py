"""Disentanglement by latent quantisation."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.card import Card, told
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import At, Clip, Group, Optim, Terms
from unbraid.core.parts import Parts, PartSpec
from unbraid.methods.latent.autoencoder import Autoencoder, Options
from unbraid.nets.for_field import Network
from unbraid.nets.quantise import Quantised, ScalarQuantiser

UNREGULARISED = Group(r"(^|\.)bias$|^quantiser\.", weight_decay=0.0)
"""Biases and codebooks: no decay and no clipping."""


def symbols(latents: int, values: int | tuple[int, ...], quantise: bool) -> PartSpec:
    """The part of latents that each take one of a few learned values, unless they are not quantised."""
    classes = None if not quantise else values if isinstance(values, int) else max(values)
    return PartSpec("latents", "fam", (latents,), one=True, classes=classes)


def book_terms(
    pre: Float[Tensor, "batch latents"], codes: Quantised, quantisation: float, commitment: float
) -> dict[str, tuple[float, Tensor]]:
    """What moves the books to the numbers read, and what holds these near the books: means over the latents."""
    return {
        "quantisation": (quantisation, (pre.detach() - codes.quantised).square().mean(1)),
        "commitment": (commitment, (pre - codes.quantised.detach()).square().mean(1)),
    }


class QLAE(Autoencoder["QLAE.Config"]):
    """An autoencoder whose latents each take one of a few learned values, under strong weight decay.

    1. x is encoded into L numbers. 2. Each is replaced by the nearest value of its own book; gradients pass straight
    through. 3. Descend the reconstruction error (encoder, decoder), the distance of the chosen values to the numbers
    (books only) and of the numbers to the chosen values (encoder only), all as means.

    Source:
        Hsu et al., 2023, section 3; latent_quantization, models/quantized_ae.py and models/ae.py.
    """

    card = Card(
        name="qlae",
        title="Disentanglement via Latent Quantization",
        paper="arXiv:2305.18378",
        year=2023,
        number=9,
        summary="An autoencoder with a small learned book of values for each latent and strong weight decay.",
        claim="Codes are discrete, each loss moves only what it should, and decay makes latents more modular.",
    )
    presets = {
        "quick": {"network": "mlp", "optim.weight_decay": 1.0, "batch": 64, "steps": 4000},
        "tiny": {"network": "small", "latents": 4, "values": 5, "width": 16, "batch": 8, "steps": 12},
    }

    @dataclass(frozen=True)
    class Config(Options):
        """Options of QLAE.

        Attributes:
            latents: Numbers in the code; the paper takes twice the number of factors.
            network: "style" is the paper's; "conv" and "mlp" are cheaper.
            values: Values in every latent's book, or in each: 10, or 3,6,40.
            quantise: Whether to quantise at all; without, it is an autoencoder under the same decay.
            shared: Whether all latents use one book (an ablation of the paper).
            quantisation: Weight of the loss that moves the books.
            commitment: Weight of the loss that holds the encoder near the books.
        """

        latents: int = told(10, by="ours")
        network: Network = told("style", by="code")
        values: int | tuple[int, ...] = told(10, by="paper")
        quantise: bool = told(True, by="paper")
        shared: bool = told(False, by="paper")
        quantisation: float = told(0.01, by="code")
        commitment: float = told(0.01, by="code")
        batch: int = told(128, by="code")
        steps: int = told(200_000, by="code")
        optim: Optim = told(
            Optim("adamw", lr=1e-3, weight_decay=0.1, clip=Clip("value", 1.0), groups=(UNREGULARISED,)), by="code"
        )

    def __init__(self, config: QLAE.Config, fields: Fields) -> None:
        super().__init__(config, fields)
        if config.quantise:
            self.quantiser = ScalarQuantiser(config.latents, config.values, config.shared)

    def parts(self) -> tuple[PartSpec, ...]:
        return (symbols(self.config.latents, self.config.values, self.config.quantise),)

    def loss(self, batch: Batch, at: At) -> Terms:
        x = batch["x"]
        pre = self.encoder(self.observed(x))
        if not self.config.quantise:
            return {"reconstruction": self.reconstruction(pre, x)}
        codes: Quantised = self.quantiser(pre)
        return {
            "reconstruction": self.reconstruction(codes.z, x),
            **book_terms(pre, codes, self.config.quantisation, self.config.commitment),
        }

    def reconstruction(
        self, z: Float[Tensor, "batch latents"], x: Float[Tensor, "batch *item"]
    ) -> Float[Tensor, " batch"]:
        """As in every autoencoder here, but the mean over pixels and channels."""
        return super().reconstruction(z, x) / x[0].numel()

    def encode(self, batch: Batch) -> Parts:
        pre = self.encoder(self.observed(batch["x"]))
        return Parts(latents=self.quantiser(pre).quantised if self.config.quantise else pre)

    def codes(self, batch: Batch) -> Int[Tensor, "batch latents"]:
        """Which value of its book each latent takes."""
        ids: Tensor = self.quantiser(self.encoder(self.observed(batch["x"]))).ids
        return ids
