"""DiTi: a code whose numbers belong to the steps of a diffusion model that is held still."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.core.action import action
from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Frozen, Given, Port
from unbraid.core.method import At, Budget, Method, Optim, Source, Stage, Stream, Terms, Update
from unbraid.core.outcome import Findings, Pictures, Table
from unbraid.core.parts import Parts, PartSpec
from unbraid.data.dataset import Dataset
from unbraid.data.factors import FactorTable
from unbraid.metrics.attributes import attribute_scores, direction, measure_of
from unbraid.nets.attentive import AttentiveEncoder
from unbraid.nets.denoiser import Denoiser, Half, MLPDenoiser, UNetDenoiser
from unbraid.ops.allotment import Allotment
from unbraid.ops.diffusion import Noise, Predict, linear_betas, strided
from unbraid.training.ema import EMA
from unbraid.views.image import Flip

_JUDGED, _DRAWN, _CHUNK = 2000, 200, 256
_RANGES = 8


class DiTi(Method["DiTi.Config"]):
    """A code that gives a diffusion model what it loses at each step of noise (Yue et al., 2024).

    1. Train a denoiser of images, or take one; from now on it is held still. 2. Cut a code z of each image into a
    stretch for each group of steps, few and fine traits first: what goes under in little noise. 3. Add noise of a step
    t to the image. 4. Keep the numbers of z up to the group of t, the others are 0. 5. A new second half of the
    denoiser reads the frozen first half and this z: g. 6. Minimise weight(t) (noise - frozen - shift(t) g)^2, with
    shift(t) = - sqrt(alpha_t) (1 - abar_{t-1}) / sqrt(1 - abar_t) and weight(t) = SNR^0.1 / (1 + SNR).

    With one group for all steps it is PDAE (Zhang et al., 2022). An image is drawn from z by DDIM with the noise
    frozen(x, t) - sqrt(1 - abar_t) g, clean images held in [-1, 1]; edits keep the noise it would be drawn from.

    Source:
        yue-zhongqi/diti; its self-supervised terms have weight 0 and are left out.
    """

    card = Card(
        number=35,
        name="diti",
        title="Exploring Diffusion Time-steps for Unsupervised Representation Learning",
        paper="arXiv:2401.11430",
        year=2024,
        modality=("image",),
        wants=("factors",),
        summary="A code with a part for each range of a diffusion model's steps, from fine traits to coarse ones.",
        ports=(
            Port("denoiser", "a denoiser of such images, in two halves (see `unbraid.nets.denoiser`)", optional=True),
        ),
        claim="Early parts know the fine attribute, late ones the coarse; one code for all steps has no such order.",
        example="grain",
        tiny="grain:rows=48,size=8",
    )
    scaffold = ("average", "pretrained")
    aliases = {"pdae": {"map": "one"}}
    about = {"pdae": "A code that gives a diffusion model held still what it loses to noise, the same at all steps."}
    presets = {
        "quick": {
            "width": 16,
            "factors": (1, 2),
            "blocks": 1,
            "attention": (8,),
            "encoder": 16,
            "groups": 4,
            "code": 64,
            "bounds": (25, 50, 75, 100),
            "shares": (16, 16, 16, 16),
            "noises": 100,
            "drawn": 25,
            "flip": False,
            "pretrain": 1000,
            "pretrain_optim.lr": 1e-3,
            "pretrain_optim.schedule.kind": "cosine",
            "optim.lr": 1e-3,
            "optim.schedule.kind": "cosine",
            "average": 0.99,
            "batch": 32,
            "steps": 1000,
        },
        "tiny": {
            "network": "mlp",
            "width": 16,
            "encoder": 4,
            "groups": 3,
            "code": 6,
            "bounds": (4, 10),
            "shares": (2, 4),
            "noises": 10,
            "drawn": 5,
            "pretrain": 4,
            "average": 0.5,
            "batch": 8,
            "steps": 4,
        },
    }

    @dataclass(frozen=True)
    class Config:
        """Options of DiTi.

        Attributes:
            groups: Groups of steps, k, all of equally many.
            code: Numbers of the code.
            map: How the numbers are shared among the groups: by stages, evenly, or one group for all steps.
            bounds: One past the last step of each stage.
            shares: Numbers of each stage.
            mode: Which numbers a step teaches: all that it sees ("base"), those of its own group ("stop_grad"), or
                both losses ("dual").
            power: Of the signal-to-noise ratio in the weight of a step.
            network: The denoiser where none is given: a U-Net, or a perceptron for small images.
            width: Of the denoiser: channels of its first map, or of its hidden layers.
            factors: Of the U-Net's channels at each size.
            blocks: Of the U-Net at each size.
            attention: Sides of the U-Net's maps with attention.
            encoder: Channels of the encoder's first convolution; later ones have twice as many.
            noises: Steps of noise, T; those of the denoiser where one is given.
            drawn: Steps of DDIM.
            flip: Whether half of the images are mirrored in training.
            pretrain: Steps of training the denoiser, where none is given.
            pretrain_optim: How the denoiser moves.
            optim: How encoder and second half move; published as 1e-4 for every 32 images of a process, of two.
            average: Decay of the average of weights that is kept in the end.
            batch: Items per step.
            steps: Steps of training the encoder.
        """

        groups: int = told(64, by="code")
        code: int = told(512, by="code")
        map: Literal["staged", "balanced", "one"] = told("staged", by="code")
        bounds: tuple[int, ...] = told((50, 100, 300, 500, 1000), by="code")
        shares: tuple[int, ...] = told((10, 25, 327, 100, 50), by="code")
        mode: Literal["base", "stop_grad", "dual"] = told("base", by="code")
        power: float = told(0.1, by="code")
        network: Literal["unet", "mlp"] = told("unet", by="paper")
        width: int = told(64, by="second")
        factors: tuple[int, ...] = told((1, 2, 4, 8), by="second")
        blocks: int = told(2, by="second")
        attention: tuple[int, ...] = told((16,), by="second")
        encoder: int = told(64, by="code")
        noises: int = told(1000, by="code")
        drawn: int = told(100, by="code")
        flip: bool = told(True, by="code")
        pretrain: int = told(500_000, by="ours")
        pretrain_optim: Optim = told(Optim("adam", lr=1e-4), by="second")
        optim: Optim = told(Optim("adam", lr=2e-4), by="code")
        average: float = told(0.9999, by="code")
        batch: int = told(128, by="code")
        steps: int = told(297_000, by="code")

        def __post_init__(self) -> None:
            for name in ("groups", "code", "width", "encoder", "noises", "drawn", "pretrain", "batch", "steps"):
                if getattr(self, name) < 1:
                    raise ConfigError("1 or more", got=str(getattr(self, name)), where=name)

    group: Tensor
    until: Tensor
    before: Tensor
    shift: Tensor
    weight: Tensor

    def __init__(self, config: DiTi.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        shape = fields["x"].shape
        if len(shape) != 3 or not fields["x"].unit:
            raise DataError("images (C, H, W) with values from 0 to 1", got=f"items of shape {shape}")
        network = given.get("denoiser") if given else None
        self.given = network is not None
        self.noise = Noise.of(linear_betas(config.noises)) if network is None else _schedule(network, config.noises)
        self.denoiser: nn.Module = _own(config, shape, self.noise) if network is None else Frozen(_opened(network))
        _check_fit(self.net, shape)
        self.pretrained = EMA(self.denoiser, config.average) if network is None else None
        self.core = _Core(AttentiveEncoder(shape, config.code, config.encoder), self.net.shift(config.code))
        self.average = EMA(self.core, config.average)
        self.allotment = allotment(config)
        constants = {
            "group": self.allotment.group,
            "until": self.allotment.until,
            "before": self.allotment.before,
            "shift": self.noise.shift(),
            "weight": self.noise.mid_weight(config.power),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    @property
    def net(self) -> Denoiser:
        """The denoiser."""
        return cast(Denoiser, self.denoiser.inner if isinstance(self.denoiser, Frozen) else self.denoiser)

    def parts(self) -> tuple[PartSpec, ...]:
        return tuple(PartSpec(f"t_{i}", "vec", (width,)) for i, width in enumerate(self.allotment.widths))

    def stages(self) -> Sequence[Stage]:
        c = self.config
        feed = {"": Stream(c.batch, views=Flip() if c.flip else None)}
        encode = Update(
            "encode", self.loss, lambda: [self.core], c.optim, after=lambda _: self.average.follow(self.core)
        )
        own = (
            Stage("denoise", [Update("denoise", self.denoising, lambda: [self.denoiser], c.pretrain_optim,
                  after=self._follow)], Budget(steps=c.pretrain), feed),
            Stage("keep", solve=self._keep),
        )  # fmt: skip
        return [
            *(() if self.given else own),
            Stage("encode", [encode], Budget(steps=c.steps), feed, modes={"denoiser": False}),
            Stage("average", solve=self._settle),
        ]

    def _follow(self, at: At) -> None:
        assert self.pretrained is not None
        self.pretrained.follow(self.denoiser)

    def _keep(self, sources: Mapping[str, Source], at: At) -> None:
        """Keep the average of the denoiser's weights."""
        assert self.pretrained is not None
        self.denoiser.load_state_dict(self.pretrained.twin.state_dict())

    def _settle(self, sources: Mapping[str, Source], at: At) -> None:
        """Keep the average of the weights."""
        self.core.load_state_dict(self.average.twin.state_dict())

    # -------------------------------------------------------------------------------------------------------- training

    def denoising(self, batch: Batch, at: At) -> Terms:
        """The squared error of the noise (Ho et al., 2020)."""
        x = 2 * batch["x"] - 1
        t, noise = at.randint(len(self.noise), (len(x),)), at.randn(x.shape)
        found = self.net.rest(self.net.first(self.noise.q(x, t, noise), t))
        return {"noise": (found - noise).square().flatten(1).mean(1)}

    def loss(self, batch: Batch, at: At) -> Terms:
        x = 2 * batch["x"] - 1
        z = self.core.encoder(x)
        t, noise = at.randint(len(self.noise), (len(x),)), at.randn(x.shape)
        half, frozen = self._frozen(self.noise.q(x, t, noise), t)
        modes = ("base", "stop_grad") if self.config.mode == "dual" else (self.config.mode,)
        terms = {}
        for mode in modes:
            g = self.core.shift(half, self.condition(z, t, mode))
            terms[mode] = self.errors(noise, frozen, g, t).flatten(1).mean(1)
        return terms

    @torch.no_grad()
    def _frozen(self, x: Tensor, t: Tensor) -> tuple[Half, Tensor]:
        half = self.net.first(x, t)
        # GroupNorm in channels last crashes on its way back (torch 2.13, CPU) where its input has no gradient.
        return half._replace(h=half.h.contiguous()), self.net.rest(half)

    def condition(
        self, z: Float[Tensor, "batch code"], t: Int[Tensor, " batch"], mode: str = "base"
    ) -> Float[Tensor, "batch code"]:
        """The numbers of the groups up to that of t; in the mode "stop_grad" those of earlier ones without gradient."""
        group = self.group[t]
        if mode == "base":
            return z * self.until[group]
        return z.detach() * self.before[group] + z * (self.until - self.before)[group]

    def errors(
        self,
        noise: Float[Tensor, "batch *item"],
        frozen: Float[Tensor, "batch *item"],
        g: Float[Tensor, "batch *item"],
        t: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch *item"]:
        """Weighted squared error of what the denoiser says, shifted by g."""
        shift, weight = (c[t].reshape(-1, *[1] * (noise.ndim - 1)) for c in (self.shift, self.weight))
        return weight * (noise - frozen - shift * g).square()

    # ----------------------------------------------------------------------------------------------- parts and pictures

    def encode(self, batch: Batch) -> Parts:
        z = self.core.encoder(2 * batch["x"] - 1)
        return Parts(
            {spec.name: part for spec, part in zip(self.parts(), z.split(self.allotment.widths, 1), strict=True)}
        )

    def code(self, parts: Parts) -> Float[Tensor, "batch code"]:
        """All numbers of the code."""
        return torch.cat([parts[spec.name] for spec in self.parts()], 1)

    def guided(self, z: Float[Tensor, "batch code"]) -> Predict:
        """The noise in items when this is their code."""

        def predict(x: Tensor, t: Tensor) -> Tensor:
            half, frozen = self._frozen(x, t)
            g: Tensor = self.core.shift(half, self.condition(z, t))
            return frozen - (1 - self.noise.at(t, x)).sqrt() * g

        return predict

    def draw(self, z: Float[Tensor, "batch code"], noise: Float[Tensor, "batch *item"]) -> Float[Tensor, "batch *item"]:
        """Images of codes, from this noise at the last step."""
        return self._drawn(self.guided(z), noise)

    def _drawn(self, predict: Predict, noise: Tensor) -> Tensor:
        steps = strided(len(self.noise), self.config.drawn)
        return (self.noise.ddim(predict, noise, steps, bound=1.0) + 1) / 2

    def invert(self, x: Float[Tensor, "batch *item"], z: Float[Tensor, "batch code"]) -> Float[Tensor, "batch *item"]:
        """The noise from which images in [0, 1] are drawn with their codes."""
        steps = strided(len(self.noise), self.config.drawn)
        return self.noise.invert(self.guided(z), 2 * x - 1, steps, refine=1)

    def decode(self, parts: Parts) -> Float[Tensor, "batch c h w"]:
        """Images drawn from one noise, the same for every item."""
        z = self.code(parts)
        noise = torch.randn((1, *self.fields["x"].shape), generator=torch.Generator().manual_seed(0)).to(z)
        return self.draw(z, noise.expand(len(z), -1, -1, -1))

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n c h w"]:
        """Images of the frozen denoiser alone: there is no prior of codes."""
        noise = torch.randn((n, *self.fields["x"].shape), generator=generator, device=generator.device)
        return self._drawn(lambda x, t: self._frozen(x, t)[1], noise.to(self.shift.device))

    @action
    @torch.no_grad()
    def manipulate(self, attribute: str, data: Source | None = None, strength: float = 0.3, items: int = 8) -> Pictures:
        """Give items more of an attribute, or less of it, and keep the rest: along the weights of a linear probe.

        Args:
            attribute: A factor of two values, or FACTOR=VALUE; of one that is a number, what is above the median.
            data: Where the probe learns and the items are from; those of the run where left out.
            strength: Of the change, as a share of the length of a code; negative for less.
            items: How many of the first.
        """
        source, z = self._coded(data)
        weights = self._direction(source, z, attribute)
        step = strength * weights.numel() ** 0.5 * weights / weights.norm() * z.std(0)
        x, own = source.take(torch.arange(min(items, len(source))), z.device)["x"], z[:items]
        made = self.draw(own + step, self.invert(x, own))
        return Pictures(torch.cat([x, made]), ["as it is"] * len(x) + [f"{attribute} {strength:+g}"] * len(x))

    @action
    @torch.no_grad()
    def interpolate(
        self,
        attribute: str,
        data: Source | None = None,
        one: int = 0,
        other: int = 1,
        steps: int = 6,
        share: float = 0.5,
    ) -> Pictures:
        """Bring one item to another in the parts that know an attribute, and keep all its other parts and its noise.

        Args:
            attribute: A factor of two values, or FACTOR=VALUE; of one that is a number, what is above the median.
            data: Where the probe learns and the items are from; those of the run where left out.
            one: Position of the item that is changed.
            other: Position of the item it is brought to.
            steps: Pictures on the way.
            share: The fewest parts are taken that hold this share of a linear probe's squared weights.
        """
        source, z = self._coded(data)
        if min(one, other) < 0 or max(one, other) >= len(z):
            raise ConfigError(f"positions 0 to {len(z) - 1}", got=f"{one} and {other}", where="--one, --other")
        chosen = self.chosen(self._direction(source, z, attribute), share)
        mask = self.own[chosen].sum(0)
        way = torch.linspace(0, 1, steps, device=z.device)[:, None]
        x = source.take(torch.tensor([one, other]), z.device)["x"]
        codes = z[one] + way * mask * (z[other] - z[one])
        made = self.draw(codes, self.invert(x[:1], z[[one]]).expand(steps, -1, -1, -1))
        names = "+".join(f"t_{i}" for i in chosen.tolist())
        labels = [f"{names}, {float(w):.2f}" for w in way]
        return Pictures(torch.cat([x[:1], made, x[1:]]), [f"item {one}", *labels, f"item {other}"])

    @property
    def own(self) -> Float[Tensor, "groups code"]:
        """1 at the numbers of each group."""
        return self.until - self.before

    def chosen(self, weights: Float[Tensor, " code"], share: float) -> Int[Tensor, " chosen"]:
        """The fewest parts that hold a share of squared weights, in order."""
        held, order = (self.own @ weights.square()).sort(descending=True)
        enough = int((held.cumsum(0) < share * held.sum()).sum()) + 1
        return order[:enough].sort()[0]

    def _coded(self, data: Source | None) -> tuple[Dataset, Float[Tensor, "n code"]]:
        """The data, and the codes of the first 2,000 items."""
        assert data is not None
        return cast(Dataset, data), self._codes(data, torch.arange(min(_JUDGED, len(data))))

    @torch.no_grad()
    def _codes(self, data: Source, rows: Int[Tensor, " n"]) -> Float[Tensor, "n code"]:
        device = self.shift.device
        return torch.cat([self.core.encoder(2 * data.take(r, device)["x"] - 1) for r in torch.split(rows, _CHUNK)])

    def _direction(self, data: Dataset, z: Float[Tensor, "n code"], attribute: str) -> Float[Tensor, " code"]:
        """The weights of a linear probe, in standard deviations of each number."""
        has = _has(data.table(torch.arange(len(z))), attribute)
        return torch.from_numpy(direction(z[has >= 0].cpu().numpy(), has[has >= 0])).to(z)

    # ------------------------------------------------------------------------------------------------------ examination

    @torch.no_grad()
    def examine(self, data: Source) -> Findings:
        """How well linear probes read each attribute from the code and from the parts of each range of steps.

        Five-fold, on at most 2,000 items; and the error of the noise that the code leaves, as a share of the frozen
        denoiser's own.
        """
        rows = torch.arange(len(data))[:: max(1, len(data) // _JUDGED)][:_JUDGED]
        ranges = self.ranges()
        left = self.left(data, ranges)
        numbers = {"error left": float(left.sum(0)[0] / left.sum(0)[1])}
        columns: dict[str, list[Any]] = {
            "steps": [f"{self._first(a)}-{self._first(b) - 1}" for a, b in ranges],
            "numbers": [sum(self.allotment.widths[a:b]) for a, b in ranges],
            "error left": [round(float(a / b), 4) for a, b in left],
        }
        if "factors" in data.fields:
            z = self._codes(data, rows).cpu().numpy()
            table = cast(Dataset, data).table(rows)
            whole = _scores(z, table)
            numbers |= {f"{measure_of(f.size)} of {f.name}": s for f, s in zip(table.factors, whole, strict=True)}
            starts = [*self.allotment.starts, self.config.code]
            each = [_scores(z[:, starts[a] : starts[b]], table) for a, b in ranges]
            columns |= {f.name: [round(s[j], 4) for s in each] for j, f in enumerate(table.factors)}
        units = {"error left": "share of the frozen denoiser's squared error"}
        return Findings(numbers, units=units, tables={"ranges of steps": Table(columns)})

    def ranges(self) -> list[tuple[int, int]]:
        """Groups that are looked at together: those of each stage, or eight ranges of them."""
        k = len(self.allotment.ends)
        if self.config.map == "staged" and len(self.config.bounds) < k:
            ends = np.cumsum(self.config.shares)
            stops = [0, *(self.allotment.ends.index(end) + 1 for end in ends)]
        else:
            stops = [k * i // min(k, _RANGES) for i in range(min(k, _RANGES) + 1)]
        return list(pairwise(stops))

    def _first(self, group: int) -> int:
        """The first step of a group; T behind the last."""
        return int((self.group < group).sum())

    def left(self, data: Source, ranges: Sequence[tuple[int, int]]) -> Float[Tensor, "ranges 2"]:
        """Squared error of the noise with the code and without, at random steps of each range, on up to 200 items."""
        device = self.shift.device
        x = 2 * data.take(torch.arange(min(_DRAWN, len(data))), device)["x"] - 1
        z, chance = self.core.encoder(x), torch.Generator().manual_seed(0)
        found = []
        for a, b in ranges:
            t = torch.randint(self._first(a), self._first(b), (len(x),), generator=chance).to(device)
            noise = torch.randn(x.shape, generator=chance).to(device)
            half, frozen = self._frozen(self.noise.q(x, t, noise), t)
            g = self.core.shift(half, self.condition(z, t))
            error = [self.errors(noise, frozen, some, t).mean() for some in (g, torch.zeros_like(g))]
            found.append(torch.stack(error))
        return torch.stack(found).cpu()


class _Core(nn.Module):
    """All that the second stage trains."""

    def __init__(self, encoder: nn.Module, shift: nn.Module) -> None:
        super().__init__()
        self.encoder, self.shift = encoder, shift


def allotment(config: DiTi.Config) -> Allotment:
    """Which numbers of the code belong to which steps.

    Raises:
        ConfigError: Options that do not go together.

    >>> allotment(DiTi.Config()).widths[:8]
    (2, 2, 2, 4, 8, 8, 9, 25)
    """
    groups = 1 if config.map == "one" else config.groups
    if groups > min(config.code, config.noises):
        expected = f"at most {config.noises} steps and {config.code} numbers"
        raise ConfigError(expected, got=str(groups), where="groups")
    if config.map != "staged":
        return Allotment.balanced(config.noises, groups, config.code)
    bounds, shares = config.bounds, config.shares
    if bounds[-1:] != (config.noises,) or any(a >= b for a, b in pairwise((0, *bounds))):
        raise ConfigError(f"rising steps up to {config.noises}", got=str(bounds), where="bounds")
    if len(shares) != len(bounds) or sum(shares) != config.code:
        raise ConfigError(f"{len(bounds)} numbers with the sum {config.code}", got=str(shares), where="shares")
    found = Allotment.staged(config.noises, groups, bounds, shares)
    if min(found.widths) < 1 or not set(np.cumsum(shares)) <= set(found.ends):
        got = f"{shares} for {groups} groups"
        raise ConfigError("a group of steps or more in each stage, and a number for each", got=got, where="shares")
    return found


def _own(config: DiTi.Config, shape: Sequence[int], noise: Noise) -> nn.Module:
    if config.network == "mlp":
        return MLPDenoiser(noise, shape, 0, config.width)
    if shape[1] != shape[2]:
        raise DataError("images as high as wide, for a U-Net", got=f"{shape[1]} x {shape[2]}", fix="network=mlp")
    return UNetDenoiser(shape[0], shape[1], 0, config.width, config.factors, config.blocks, config.attention)


def _opened(network: nn.Module) -> nn.Module:
    """The denoiser of another run, or the network itself."""
    found = cast(nn.Module, network.net) if isinstance(network, DiTi) else network
    if not isinstance(found, Denoiser):
        got, expected = type(found).__name__, "a denoiser in two halves: with first, rest and shift"
        raise ConfigError(expected, got=got, fix="hf:FOLDER of a pipeline of diffusers", where="--given denoiser")
    return found


def _schedule(network: nn.Module, steps: int) -> Noise:
    noise = getattr(network, "noise", None)
    if not isinstance(noise, Noise):
        raise ConfigError("a denoiser that knows its schedule: noise", got="none", where="--given denoiser")
    if len(noise) != steps:
        fix = "set noises, and bounds with it"
        raise ConfigError(f"a denoiser of {steps} steps of noise", got=str(len(noise)), fix=fix, where="denoiser")
    return noise


@torch.no_grad()
def _check_fit(net: Denoiser, shape: Sequence[int]) -> None:
    parameter = next(cast(nn.Module, net).parameters())
    x = torch.zeros((1, *shape), device=parameter.device)
    try:
        said = net.rest(net.first(x, torch.zeros(1, dtype=torch.long, device=x.device)))
    except RuntimeError as error:
        got = " ".join(str(error).split())[:120]
        raise DataError("images that the denoiser takes", got=f"{tuple(shape)}: {got}", where="denoiser") from None
    if said.shape != x.shape:
        raise DataError(
            "a denoiser that says the noise of each pixel", got=f"{tuple(said.shape[1:])}", where="denoiser"
        )


def _scores(codes: Float[np.ndarray, "n d"], table: FactorTable) -> list[float]:
    folds = np.random.default_rng(0).permutation(len(codes)) % 5
    values = [table.column(factor.name) for factor in table.factors]
    return attribute_scores(codes, values, [factor.size for factor in table.factors], folds)


def _has(table: FactorTable, attribute: str) -> Int[np.ndarray, " n"]:
    """Whether each item has an attribute, "FACTOR" or "FACTOR=VALUE"; -1 where that is not known."""
    name, _, value = attribute.partition("=")
    factors = {factor.name: factor for factor in table.factors}
    if name not in factors:
        fix = nearest(name, factors) if factors else "give some with --factors FILE"
        raise ConfigError("the name of a factor", got=f"'{name}'", fix=fix, where="attribute")
    column, labels = table.column(name), factors[name].labels
    if value and value not in labels:
        fix = nearest(value, labels) if labels else f"leave out '={value}'"
        raise ConfigError(f"a value of {name}", got=f"'{value}'", fix=fix, where="attribute")
    if not value and len(labels) > 2:
        raise ConfigError(f"{name}=VALUE", got=f"'{name}'", fix=nearest("", labels), where="attribute")
    chosen = labels.index(value) if value else 1
    has = column == chosen if labels else column > np.nanmedian(column)
    found = np.where(np.isnan(column), -1, has.astype(np.int64))
    if len(np.unique(found[found >= 0])) < 2:
        raise DataError(f"items with and without {attribute}", got="one of both only", where="attribute")
    return found
