"""Paths through the codes of a given generator: flows along learned potentials, and what they are compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Frozen, Given, Port
from unbraid.core.method import At, Budget, Method, Optim, Source, Stage, Stream, Terms, Update
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, PartSpec
from unbraid.data.order import key_of, shuffled
from unbraid.losses.potential import Equation, Laplacian, rollout
from unbraid.methods.latent.potential.generator import Generator
from unbraid.methods.latent.potential.judged import codes_for, judged
from unbraid.methods.latent.potential.moving import CODE, Moving
from unbraid.methods.latent.potential.sefa import closed_form
from unbraid.nets.pairs import PairReader, Reader
from unbraid.nets.potential import LinearPotentials, Potentials, RadialPotentials
from unbraid.ops.derivatives import jvp, slope

Paths = Literal["potential", "linear", "warped", "sefa"]


class PotentialFlow(Method["PotentialFlow.Config"], Moving):
    """Moves the codes of a generator along the gradients of potentials that change in time as waves do.

    1. Draw codes z, one potential u_k and one time t0. 2. Let z flow in unit steps, z_{t+1} = z_t + grad u_k(z_t, t),
    for half of the times. 3. Descend what u_k owes to the wave equation on the way, and its gradient at time 0; ascend
    by how much the items change where z goes from time t0 + 1 to t0 + 2. 4. A classifier sees the items of these two
    codes and tells k: the potentials and the classifier descend its cross-entropy.

    The other `paths` are what it is compared with. "linear" and "warped": items of z and of z + e v_k(z) for a length
    e of either sign and the unit gradient v_k of a linear potential, or of one made of radial bumps; the classifier
    tells k and e. "sefa": the closed form, without training.

    Source:
        Song et al., 2023; lib/WavePDE.py, lib/trainer.py and lib/trainer_vae.py. Voynov and Babenko, 2020; Tzelepis et
        al., 2021; Shen and Zhou, 2021.
    """

    card = Card(
        name="potential-flow",
        title="Latent Traversals in Generative Models as Potential Flows",
        paper="arXiv:2304.12944",
        year=2023,
        number=10,
        summary="Curved paths through a generator's codes: flows along potentials that obey a wave equation.",
        ports=(
            Port(
                "generator",
                "a network from codes to items: a trained method that decodes, or a module",
                standin="unbraid.standins.generator:SMALL",
            ),
            Port("scorer", "a network from items to scores of factors, by which paths are judged", optional=True),
        ),
        claim="Its paths are told apart, and obey the equation; without the classifier or the equation they do not.",
        example="blocks",
        tiny="blocks:rows=48",
    )
    aliases: ClassVar = {
        "diffusion-flow": {"equation": "diffusion"},
        "linear-paths": {"paths": "linear", "pace": 0.2},
        "warped-paths": {"paths": "warped", "pace": 0.2},
        "sefa-paths": {"paths": "sefa", "pace": 0.2},
    }
    about: ClassVar = {
        "diffusion-flow": "Curved paths through a generator's codes: flows along potentials that spread as heat does.",
        "linear-paths": "Straight directions in a generator's codes, which a classifier tells apart.",
        "warped-paths": "Curved paths through a generator's codes along sums of radial bumps (WarpedGANSpace).",
        "sefa-paths": "Straight directions in a generator's codes: the eigenvectors of its first weight (SeFa).",
    }
    presets: ClassVar = {
        "tiny": {"count": 3, "times": 4, "batch": 8, "steps": 4, "hidden": 8, "pairs": 2},
        "quick": {"count": 8, "batch": 64, "steps": 2000, "optim.lr": 1e-3},
    }
    scaffold = ("reader",)
    eager = ("field", "reader")

    @dataclass(frozen=True)
    class Config:
        """Options of potential flows.

        Attributes:
            paths: What is learned: flows along potentials, or one of what they are compared with.
            count: How many paths.
            times: Twice the steps of a flow in training.
            equation: What potentials obey: the wave or the diffusion equation.
            laplacian: Whether the equation's Laplacian is that of published code, the row sums of the Hessian and the
                derivative in time summed over the batch, or the exact one of each code.
            reader: The classifier of pairs of items; "auto" takes the LeNet for images, a perceptron for the others.
            hidden: Width of the perceptron's hidden layer.
            mirror: Whether every other pair is mirrored at z, so that both signs of a path are learned.
            classify: Weight of the cross-entropy.
            physics: Weight of what the potentials owe to the equation.
            pairs: Pairs of bumps in a "warped" potential.
            reach: Least and largest length of the moves of "linear" and "warped" paths in training.
            sized: Weight of the distance between such a length and what the classifier tells of it.
            draw: Whether codes are drawn from a normal prior or are those of the data; "auto" takes the prior where the
                generator has one.
            truncation: Beyond which normal numbers are not drawn, or None.
            latents: Numbers in a code, where the generator does not tell.
            pace: By which gradients are multiplied in a step when items are moved.
            stations: Steps of a path by which the method is judged.
            saturate: Whether the potentials' last tanh stays when items are moved; without, the moves are longer.
            batch: Codes per step.
            steps: Steps of training.
            optim: How everything moves.
        """

        paths: Paths = told("potential", by="paper")
        count: int = told(16, by="code")
        times: int = told(10, by="code")
        equation: Equation = told("wave", by="paper")
        laplacian: Laplacian = told("code", by="code")
        reader: Reader = told("auto", by="code")
        hidden: int = told(128, by="ours")
        mirror: bool = told(True, by="code")
        classify: float = told(1.0, by="code")
        physics: float = told(1.0, by="code")
        pairs: int = told(32, by="second")
        reach: tuple[float, float] = told((0.15, 0.25), by="second")
        sized: float = told(0.25, by="second")
        draw: Literal["auto", "prior", "data"] = told("auto", by="ours")
        truncation: float | None = told(None, by="code")
        latents: int | None = told(None, by="ours")
        pace: float = told(1.0, by="code")
        stations: int = told(10, by="code")
        saturate: bool = told(True, by="code")
        batch: int = told(256, by="code")
        steps: int = told(10_000, by="code")
        optim: Optim = told(Optim("adam", lr=1e-4), by="code")

        def __post_init__(self) -> None:
            least = {"count": 1, "times": 4, "hidden": 1, "pairs": 1, "stations": 2, "batch": 1, "steps": 1}
            for name, low in least.items():
                if getattr(self, name) < low:
                    raise ConfigError(f"a whole number from {low} on", got=str(getattr(self, name)), where=name)
            if not 0 < self.reach[0] <= self.reach[1]:
                raise ConfigError("a length above 0 and one not below it", got=str(self.reach), where="reach")
            if self.truncation is not None and not self.truncation > 0:
                raise ConfigError("a number above 0", got=f"{self.truncation:g}", where="truncation")

    def __init__(self, config: PotentialFlow.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        networks = dict(given or {})
        self.generator = Generator(networks["generator"], fields, config.latents)
        self.scorer = Frozen(networks["scorer"]) if "scorer" in networks else None
        width = self.generator.width
        if config.paths == "sefa" and config.count > width:
            expected = f"at most {width} paths, as many as a code has numbers"
            raise ConfigError(expected, got=str(config.count), where="count")
        if config.draw == "prior" and not self.generator.normal:
            got = "one whose codes are not normal"
            raise ConfigError("a generator with a normal prior", got=got, fix="--set draw=data", where="draw")
        self.pace = config.pace
        self.field: Any
        if config.paths == "potential":
            self.field = Potentials(config.count, width, saturate=config.saturate)
        elif config.paths == "warped":
            self.field = RadialPotentials(config.count, width, config.pairs)
        else:
            self.field = LinearPotentials(config.count, width)
        if config.paths != "sefa":
            self.reader = PairReader(fields["x"], config.count + 1, config.reader, config.hidden)

    @property
    def prior(self) -> bool:
        """Whether codes are drawn."""
        return self.config.draw == "prior" or (self.config.draw == "auto" and self.generator.normal)

    def parts(self) -> tuple[PartSpec, ...]:
        return self.moving_parts(self.generator.width)

    def stages(self) -> Sequence[Stage]:
        c = self.config
        if c.paths == "sefa":
            return [Stage("solve", solve=self.solve)]
        loss = self.flow_loss if c.paths == "potential" else self.shift_loss
        fit = Update("fit", loss, lambda: [self.field, self.reader], c.optim)
        return [Stage("fit", [fit], Budget(steps=c.steps), {} if self.prior else {"": Stream(c.batch)})]

    def solve(self, sources: Mapping[str, Source], at: At) -> None:
        """The closed form."""
        self.field.directions.copy_(closed_form(self.generator, self.config.count, at.shared()))

    # --------------------------------------------------------------------------------------------------------- losses

    def flow_loss(self, batch: Batch, at: At) -> Terms:
        """The cross-entropy, and what one potential owes to physics."""
        c = self.config
        z = self.start(batch, at)
        half = c.times // 2
        which, t0, sign = self.chosen(at, (c.count, half - 1, 2))
        potential = partial(self.field, which=which)
        rolled = rollout(
            potential, self.field.speed[which], z, half, at.world, equation=c.equation, laplacian=c.laplacian
        )
        first, second = rolled.path[t0 + 1], rolled.path[t0 + 2]
        made, change = jvp(self.generator, first, rolled.moves[t0 + 1])
        if c.mirror and sign:
            pair = self.generator(2 * z - second), self.generator(2 * z - first)
        else:
            pair = made, self.generator(second)
        logits = self.reader(*pair)[:, :-1]
        return {
            "class": (c.classify, told_right(logits, torch.full((len(z),), which, device=z.device), at)),
            "initial": (c.physics, rolled.initial),
            "residual": (c.physics, rolled.residual),
            "variation": (-c.physics, change.square().flatten(1).mean(1)),
        }

    def shift_loss(self, batch: Batch, at: At) -> Terms:
        """How well the path and the length of a move are told."""
        c = self.config
        z = self.start(batch, at).requires_grad_()
        which = at.randint(c.count, (len(z),))
        low, high = c.reach
        length = (low + (high - low) * at.rand((len(z),))) * (2 * at.randint(2, (len(z),)) - 1)
        t = torch.zeros(1, device=z.device)
        ahead = normalize(slope(self.field(z, t, which), z), dim=1)
        pair = self.generator(z), self.generator(z + length[:, None] * ahead)
        read = self.reader(*pair)
        return {
            "class": (c.classify, told_right(read[:, :-1], which, at)),
            "size": (c.sized, (read[:, -1] - length).abs()),
        }

    def chosen(self, at: At, below: Sequence[int]) -> list[int]:
        """Numbers that all processes share in a step."""
        return [int(torch.randint(n, (), generator=at.shared(), device=at.device)) for n in below]

    def start(self, batch: Batch, at: At) -> Float[Tensor, "batch dim"]:
        """Codes to move: drawn, or those of the data."""
        if not self.prior:
            return self.generator.codes(batch)
        shape = (self.config.batch // at.world.size, self.generator.width)
        if self.config.truncation is None:
            return self.generator.mapped(at.randn(shape))
        inside = math.erf(self.config.truncation / math.sqrt(2))  # the share of normal numbers that is not too far
        return self.generator.mapped(math.sqrt(2) * torch.erfinv(inside * (2 * at.rand(shape) - 1)))

    # ------------------------------------------------------------------------------------------------------ afterwards

    def encode(self, batch: Batch) -> Parts:
        return self.read(self.generator.codes(batch))

    def decode(self, parts: Parts) -> Float[Tensor, "batch *item"]:
        """The items of the part `latents`."""
        return cast(Tensor, self.generator(parts[CODE]))

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n *item"]:
        """Items of drawn codes."""
        if not self.prior:
            return self.generator.drawn(n, generator)
        z = torch.randn((n, self.generator.width), generator=generator, device=generator.device)
        return cast(Tensor, self.generator(self.generator.mapped(z)))

    @torch.no_grad()
    def examine(self, data: Source) -> Findings:
        """Whether few examples tell the paths apart, how even they are, and how they go with factors, if known.

        All paths are followed in steps of one length, as far as a typical code is from the mean, so that the numbers of
        different kinds of paths can be compared.
        """
        device = next(t.device for t in self.field.state_dict().values())
        n = codes_for(self.config.count)
        if self.prior:
            chance = torch.Generator().manual_seed(key_of("potential-flow"))
            codes = self.generator.mapped(torch.randn((n, self.generator.width), generator=chance).to(device))
        else:
            rows = shuffled(len(data), key_of("potential-flow"), torch.arange(min(n, len(data))))
            codes = self.generator.codes(data.take(rows, device))
        names = self.fields["factors"].names if self.scorer is not None and "factors" in self.fields else ()
        return judged(self, codes, self.config.stations, self.scorer, names)


def told_right(logits: Float[Tensor, "batch count"], which: Int[Tensor, " batch"], at: At) -> Float[Tensor, " batch"]:
    """The cross-entropy of the path between two items."""
    at.note(accuracy=(logits.argmax(1) == which).float().mean())
    return cross_entropy(logits, which, reduction="none")
