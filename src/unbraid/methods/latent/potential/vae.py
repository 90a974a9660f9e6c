"""A VAE whose code flows along potentials as its images are transformed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import At, Optim, Source, Stream, Terms
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, PartSpec
from unbraid.data.order import key_of, shuffled
from unbraid.data.triples import moved_triples
from unbraid.losses.gaussian import kl, sample
from unbraid.losses.potential import Equation, Laplacian, rollout
from unbraid.methods.latent.autoencoder import Options
from unbraid.methods.latent.gaussian import GaussianVAE
from unbraid.methods.latent.potential.judged import codes_for, judged
from unbraid.methods.latent.potential.moving import Moving
from unbraid.nets.for_field import Network
from unbraid.nets.potential import Potentials
from unbraid.ops.derivatives import jvp


class PotentialVAE(GaussianVAE["PotentialVAE.Config"], Moving):
    """A VAE that learns from images at rest and under a known transformation, at two steps that follow each other.

    1. Encode an image at rest x, at step t (x_t) and at step t + 1 (x_t1), and draw z, z_t, z_t1 from the posteriors.
    2. Let z flow along the transformation's potential; it is called f_t after t + 1 unit steps and g_t after t + 2. 3.
    Descend the negative bound of x, the cross-entropy of x_t1 decoded from g_t with the divergence of x_t1's
    posterior, what the potential owes to the wave equation (see `PotentialFlow`), and the squared distances of z_t
    from f_t and of z_t1 - z_t from g_t - f_t.

    Source:
        Song et al., 2023; lib/trainer_vae_scratch.py.
    """

    card = Card(
        name="potential-vae",
        title="Latent Traversals in Generative Models as Potential Flows",
        paper="arXiv:2304.12944",
        year=2023,
        number=10,
        modality=("image",),
        needs=("x", "factors"),
        summary="A VAE whose code flows along a potential, a wave in time, as its images are transformed.",
        claim="Codes that flow along a potential decode to images nearer to the truly transformed ones.",
        example="digit-flows",
        tiny="digit-flows",
    )
    presets: ClassVar = {
        "tiny": {"latents": 6, "network": "mlp", "width": 16, "batch": 8, "steps": 4, "times": 6},
        "quick": {"latents": 16, "network": "mlp", "width": 256, "batch": 64, "steps": 3000, "optim.lr": 1e-3},
    }
    eager = ("field", "decoder")

    @dataclass(frozen=True)
    class Config(Options):
        """Options of the VAE with potentials.

        Attributes:
            latents: Numbers in the code; the paper's depend on the size of the images, 18 x 18 for MNIST.
            network: "funnel" is the paper's; "conv" and "mlp" are those of other methods here.
            width: Channels after the first convolution of "funnel", which the paper has as many of as latents; width of
                the dense layers of the others.
            moves: The factors that move, one potential for each.
            times: Twice the steps of a flow.
            equation: What potentials obey.
            laplacian: Whether the equation's Laplacian is that of published code, or the exact one.
            physics: Weight of what a potential owes to the equation.
            follow: Weight of the distances between encoded and moved codes.
            ahead: Weight of the image one step ahead, decoded from the moved code, and of its divergence.
            pace: By which gradients are multiplied in a step when items are moved.
            stations: Steps of a path by which the method is judged.
            saturate: Whether the potentials' last tanh stays when items are moved.
        """

        latents: int = told(324, by="code")
        network: Network = told("funnel", by="code")
        width: int = told(324, by="code")
        moves: tuple[str, ...] = told(("scale", "angle", "hue"), by="code")
        times: int = told(18, by="code")
        equation: Equation = told("wave", by="paper")
        laplacian: Laplacian = told("code", by="code")
        physics: float = told(1.0, by="code")
        follow: float = told(1.0, by="code")
        ahead: float = told(1.0, by="code")
        pace: float = told(1.0, by="code")
        stations: int = told(8, by="ours")
        saturate: bool = told(True, by="code")
        batch: int = told(128, by="code")
        steps: int = told(100_000, by="code")
        optim: Optim = told(Optim("adam", lr=1e-4), by="code")

        def __post_init__(self) -> None:
            super().__post_init__()
            for name, low in {"times": 4, "stations": 2}.items():
                if getattr(self, name) < low:
                    raise ConfigError(f"a whole number from {low} on", got=str(getattr(self, name)), where=name)

    def __init__(self, config: PotentialVAE.Config, fields: Fields) -> None:
        x = fields["x"]
        if not x.unit:
            raise DataError("observations in [0, 1]", got="others", fix="scale them", where="field 'x'")
        super().__init__(config, fields)
        names = fields["factors"].names
        for move in config.moves:
            if move not in names:
                fix = f"--set moves=NAME,NAME; {nearest(move, names)}"
                raise ConfigError("the name of a factor", got=f"'{move}'", fix=fix, where="moves")
        self.columns = [names.index(move) for move in config.moves]
        self.pace = config.pace
        self.field = Potentials(len(config.moves), config.latents, saturate=config.saturate)

    def parts(self) -> tuple[PartSpec, ...]:
        return self.moving_parts(self.config.latents)

    def stream(self) -> Stream:
        c = self.config
        return Stream(c.batch, draw=partial(moved_triples, factors=c.moves, steps=c.times // 2))

    def loss(self, batch: Batch, at: At) -> Terms:
        c = self.config
        mu, logvar = (s.reshape(-1, 3, self.config.latents) for s in self.infer(batch["x"].flatten(0, 1)))
        z, z_t, z_t1 = sample(mu, logvar, at.randn(mu.shape)).unbind(1)
        divergence = kl(mu, logvar).sum(2)
        which, t = self.moving(batch["factors"])
        rolled = rollout(
            partial(self.field, which=which),
            self.field.speed[which],
            z,
            c.times // 2,
            at.world,
            equation=c.equation,
            laplacian=c.laplacian,
        )
        first, second = rolled.path[t + 1], rolled.path[t + 2]
        _, change = jvp(self.generate, first, rolled.moves[t + 1])
        return {
            "reconstruction": self.reconstruction(z, batch["x"][:, 0]),
            "kl": divergence[:, 0],
            "ahead": (c.ahead, self.reconstruction(second, batch["x"][:, 2])),
            "kl ahead": (c.ahead, divergence[:, 2]),
            "initial": (c.physics, rolled.initial),
            "residual": (c.physics, rolled.residual),
            "variation": (-c.physics, change.square().flatten(1).mean(1)),
            "step": (c.follow, (z_t1 - z_t + first - second).square().mean(1)),
            "place": (c.follow, (z_t - first).square().mean(1)),
        }

    def moving(self, factors: Float[Tensor, "batch 3 k"]) -> tuple[int, int]:
        """Which potential moves the items of a batch, and their step t: what differs between x_t and x_t1."""
        moved = (factors[:, 2] != factors[:, 1]).any(0).tolist()
        which = next(k for k, column in enumerate(self.columns) if moved[column])
        return which, int(factors[0, 1, self.columns[which]])

    def generate(self, z: Float[Tensor, "batch latents"]) -> Float[Tensor, "batch *item"]:
        """The items of codes."""
        made: Tensor = self.decoder(z).sigmoid()
        return made

    def encode(self, batch: Batch) -> Parts:
        return self.read(self.infer(batch["x"])[0])

    @torch.no_grad()
    def examine(self, data: Source) -> Findings:
        """The bound of items, and whether few examples tell the paths of their codes apart, and how even they are."""
        items = getattr(data, "audited", data)
        rows = shuffled(
            len(items), key_of("potential-vae"), torch.arange(min(codes_for(len(self.columns)), len(items)))
        )
        x = items.take(rows, next(self.parameters()).device)["x"]
        mu, logvar = self.infer(x)
        chance = torch.Generator(x.device).manual_seed(0)
        z = sample(mu, logvar, torch.randn(mu.shape, generator=chance, device=x.device))
        bound = -(self.reconstruction(z, x) + kl(mu, logvar).sum(1)).mean()
        found = judged(self, mu, self.config.stations)
        numbers = {"bound on the log likelihood": float(bound), **found.numbers}
        return Findings(numbers, units={**found.units, "bound on the log likelihood": "nats"})
