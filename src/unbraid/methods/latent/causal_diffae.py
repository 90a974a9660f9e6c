"""CausalDiffAE: causal variables as blocks of a code that a diffusion model turns into images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from unbraid.core.action import action
from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.core.fields import Batch, Fields
from unbraid.core.graph import Graph, graph_of
from unbraid.core.method import At, Budget, Method, Optim, Source, Stage, Stream, Terms, Update
from unbraid.core.outcome import Findings, Pictures
from unbraid.core.parts import Parts, PartSpec
from unbraid.losses.gaussian import kl
from unbraid.nets.causal import GaussianConvEncoder, Mechanisms
from unbraid.nets.denoiser import MLPDenoiser, UNetDenoiser
from unbraid.ops.diffusion import Noise, Predict, guided, linear_betas, spaced
from unbraid.training.ema import EMA

_VARIANCE = 0.001  # share of the posterior's variance that is drawn
_JUDGED = 200
_NOISE = "noise"


class CausalDiffAE(Method["CausalDiffAE.Config"]):
    """A code with a block for each causal variable, and a diffusion model that decodes it (Komanduri et al., 2024).

    1. Infer mean and variance of a Gaussian; its mean is u, the chance of each variable. 2. Each variable's block is
    z_i = f_i(u of its causes) + u_i. 3. Add noise to the image, and predict it given z + sqrt(0.001 var) eps.
    4. Minimise the squared error, and w (KL(N(mean, var) || N(0, I)) + sum_i |z_i - label_i|^2 / 2), w growing from 0
    to 1. Half of the items lose their code, which teaches the model to do without; they have no KL.

    Counterfactuals keep the noise from which an item would be drawn (DDIM backwards), set the chance of a variable,
    let its effects follow, and draw again. Effects take one step along the graph: a cause reaches the effects of its
    effects by edges of its own.

    Labels are standardised by the data; those that are not known are not asked for.

    Source:
        Akomand/CausalDiffAE; what its scripts do for roots and for children is one rule here.
    """

    card = Card(
        number=12,
        name="causal-diffae",
        title="Causal Diffusion Autoencoders: Toward Counterfactual Generation via Diffusion Probabilistic Models",
        paper="arXiv:2404.17735",
        year=2024,
        modality=("image",),
        needs=("x", "factors"),
        summary="A diffusion autoencoder with a causal model as its code, which says what would have been.",
        claim="Its counterfactuals come nearer to the world's truth than without the graph, and than without labels.",
        example="bars",
        tiny="bars:rows=48,size=8",
    )
    scaffold = ("average",)
    presets = {
        "quick": {
            "network": "mlp",
            "width": 256,
            "code": 16,
            "encoder": (16, 32, 64),
            "noises": 100,
            "drawn": 25,
            "ramp": 1000,
            "batch": 64,
            "steps": 4000,
            "average": 0.995,
            "optim.lr": 1e-3,
            "optim.schedule.kind": "cosine",
        },
        "tiny": {
            "network": "mlp",
            "width": 16,
            "code": 4,
            "encoder": (4, 8),
            "noises": 10,
            "drawn": 3,
            "ramp": 4,
            "batch": 8,
            "steps": 8,
            "average": 0.5,
        },
    }

    @dataclass(frozen=True)
    class Config:
        """Options of CausalDiffAE.

        Attributes:
            graph: The edges: "a -> b, a -> c", or a table (see `unbraid.core.graph.graph_of`); those that the data
                know where empty, "none" for none.
            variables: The factors that are variables; all of the data where empty.
            code: Numbers of the whole code; each variable has an equal share.
            network: The denoiser: the published U-Net, or a perceptron for small images.
            width: Of the denoiser: channels of its first map, or of its hidden layers.
            factors: Of the U-Net's channels at each size.
            blocks: Of the U-Net at each size.
            encoder: Channels of the encoder's convolutions.
            noises: Steps of noise.
            drawn: Steps of DDIM.
            prior: Weight of the representation's loss at the end of its ramp.
            labels: Whether blocks are drawn to their labels; without, only the KL of the chance is left.
            ramp: Steps over which that weight grows from 0.
            drop: Share of items that lose their code in training.
            average: Decay of the average of weights that is kept in the end.
            optim: How everything moves.
            batch: Items per step.
            steps: Steps of training.
        """

        graph: str = told("", by="ours")
        variables: tuple[str, ...] = told((), by="ours")
        code: int = told(512, by="code")
        network: Literal["unet", "mlp"] = told("unet", by="paper")
        width: int = told(128, by="code")
        factors: tuple[int, ...] = told((1, 2, 2), by="code")
        blocks: int = told(3, by="code")
        encoder: tuple[int, ...] = told((16, 32, 32, 64, 64, 128), by="code")
        noises: int = told(1000, by="code")
        drawn: int = told(250, by="code")
        prior: float = told(1.0, by="code")
        labels: bool = told(True, by="paper")
        ramp: int = told(50_000, by="code")
        drop: float = told(0.5, by="code")
        average: float = told(0.9999, by="code")
        optim: Optim = told(Optim("adamw", lr=1e-4), by="code")
        batch: int = told(128, by="code")
        steps: int = told(100_000, by="ours")

        def __post_init__(self) -> None:
            for name in ("code", "width", "noises", "drawn", "ramp", "batch", "steps"):
                if getattr(self, name) < 1:
                    raise ConfigError("1 or more", got=str(getattr(self, name)), where=name)
            if not 0 <= self.drop < 1:
                raise ConfigError("a share of 0 to below 1", got=str(self.drop), where="drop")

    def __init__(self, config: CausalDiffAE.Config, fields: Fields) -> None:
        super().__init__(config, fields)
        shape = fields["x"].shape
        if len(shape) != 3:
            raise DataError("images (C, H, W)", got=f"items of shape {shape}")
        names = config.variables or fields["factors"].names
        edges = config.graph or (fields["factors"].graph if not config.variables else "")
        self.graph: Graph = graph_of("" if edges == "none" else edges, names)
        self.chosen = [_position(name, fields["factors"].names) for name in names]
        if config.code % len(names):
            raise ConfigError(f"a multiple of {len(names)} variables", got=str(config.code), where="code")
        self.noise = Noise.of(linear_betas(config.noises))
        self.core = _Core(config, shape, self.graph, self.noise)
        self.average = EMA(self.core, config.average, buffers="copy")
        self.register_buffer("middle", torch.zeros(len(names)))
        self.register_buffer("spread", torch.ones(len(names)))

    middle: Tensor
    spread: Tensor

    @property
    def block(self) -> int:
        """Numbers of a variable's block."""
        return self.config.code // len(self.graph.names)

    def parts(self) -> tuple[PartSpec, ...]:
        named = tuple(PartSpec(_part(n), "vec", (self.block,), carries=(n,)) for n in self.graph.names)
        return (*named, PartSpec(_NOISE, "map", self.fields["x"].shape))

    def stages(self) -> Sequence[Stage]:
        c = self.config
        fit = Update("fit", self.loss, lambda: [self.core], c.optim, after=self._follow)
        return [
            Stage("fit", [fit], Budget(steps=c.steps), {"": Stream(c.batch)}, solve=self._standardise),
            Stage("average", solve=self._settle),
        ]

    def _follow(self, at: At) -> None:
        self.average.follow(self.core)

    def _standardise(self, sources: Mapping[str, Source], at: At) -> None:
        data = sources["train"]
        batch = data.take(torch.arange(min(len(data), 20_000)), self.middle.device)
        values, known = batch["factors"][:, self.chosen], batch["known"][:, self.chosen]
        count = known.sum(0).clamp(min=1)
        self.middle.copy_((values * known).sum(0) / count)
        self.spread.copy_((((values - self.middle) * known).square().sum(0) / count).sqrt().clamp(min=1e-6))

    def _settle(self, sources: Mapping[str, Source], at: At) -> None:
        """Keep the average of the weights."""
        self.core.load_state_dict(self.average.twin.state_dict())

    # -------------------------------------------------------------------------------------------------------- training

    def loss(self, batch: Batch, at: At) -> Terms:
        x = 2 * batch["x"] - 1
        mean, variance = self.core.encoder(x)
        u = mean.reshape(len(x), -1, self.block)
        z = self.core.mechanisms(u)
        code = z.flatten(1) + (_VARIANCE * variance).sqrt() * at.randn(mean.shape)
        keep = (at.rand((len(x),)) >= self.config.drop).float()
        t, noise = at.randint(self.config.noises, (len(x),)), at.randn(x.shape)
        found = self.core.denoiser(self.noise.q(x, t, noise), t, code * keep[:, None])
        weight = self.config.prior * min(1.0, at.step / self.config.ramp)
        exogenous = kl(mean, variance.log()).sum(1)
        terms: dict[str, Tensor | tuple[float, Tensor]] = {
            "noise": (found - noise).square().flatten(1).mean(1),
            "exogenous": (weight, _mean_of_kept(exogenous, keep, at)),
        }
        if self.config.labels:
            label, known = self.labels(batch)
            terms["label"] = (weight, _mean_of_kept(label_divergence(z, label, known), keep, at))
        return terms

    def labels(self, batch: Batch) -> tuple[Float[Tensor, "batch n"], Bool[Tensor, "batch n"]]:
        """The variables of each item, standardised, and which are known."""
        values = (batch["factors"][:, self.chosen] - self.middle) / self.spread
        return values, batch["known"][:, self.chosen]

    # ----------------------------------------------------------------------------------------------------------- parts

    def encode(self, batch: Batch) -> Parts:
        x = 2 * batch["x"] - 1
        z = self.core.mechanisms(self.chance(x))
        noise = self.noise.invert(self._predict(z), x, self._steps(x), refine=1)
        return Parts({**{_part(n): z[:, i] for i, n in enumerate(self.graph.names)}, _NOISE: noise})

    def decode(self, parts: Parts) -> Float[Tensor, "batch c h w"]:
        z = torch.stack([parts[_part(n)] for n in self.graph.names], 1)
        return self._drawn(z, parts[_NOISE], 1.0)

    def chance(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch n block"]:
        """U of images in [-1, 1]."""
        mean: Tensor = self.core.encoder(x)[0]
        return mean.reshape(len(x), -1, self.block)

    def _steps(self, like: Tensor) -> Int[Tensor, " drawn"]:
        return spaced(self.config.noises, self.config.drawn).to(like.device)

    def _predict(self, z: Float[Tensor, "batch n block"], strength: float = 1.0) -> Predict:
        code = z.flatten(1)
        return guided(
            lambda x, t: self.core.denoiser(x, t, code),
            lambda x, t: self.core.denoiser(x, t, torch.zeros_like(code)),
            strength,
        )

    def _drawn(self, z: Tensor, noise: Tensor, strength: float, steps: Tensor | None = None) -> Tensor:
        steps = self._steps(noise) if steps is None else steps
        made = self.noise.ddim(self._predict(z, strength), noise, steps)
        return ((made + 1) / 2).clamp(0, 1)

    # -------------------------------------------------------------------------------------------------- counterfactuals

    def do(self, batch: Batch, values: Mapping[str, Tensor]) -> Float[Tensor, "batch c h w"]:
        return self.under(batch, values)

    def under(
        self,
        batch: Batch,
        values: Mapping[str, Tensor],
        strength: float = 1.0,
        inversion: Literal["ddim", "partial"] = "ddim",
    ) -> Float[Tensor, "batch c h w"]:
        """What items would look like under variable -> value (batch,), in the units of the data.

        Args:
            batch: The items.
            values: What is set.
            strength: w of the guidance: 1 as trained, more insists on the code.
            inversion: How the rest of an item is kept: the noise that DDIM leads back to, or the item itself with
                a quarter of the noise steps added, as the released script has it.

        Raises:
            ConfigError: A variable that there is not.
        """
        x = 2 * batch["x"] - 1
        u = self.chance(x)
        z = self.intervened(u, values)
        if inversion == "partial":
            top = max(1, self.config.noises // 4)
            t = torch.full((len(x),), top - 1, dtype=torch.long, device=x.device)
            generator = torch.Generator(x.device).manual_seed(0)
            noisy = self.noise.q(x, t, torch.randn(x.shape, generator=generator, device=x.device))
            return self._drawn(z, noisy, strength, spaced(top, self.config.drawn).to(x.device))
        noise = self.noise.invert(self._predict(self.core.mechanisms(u)), x, self._steps(x), refine=1)
        return self._drawn(z, noise, strength)

    def intervened(
        self, u: Float[Tensor, "batch n block"], values: Mapping[str, Tensor]
    ) -> Float[Tensor, "batch n block"]:
        """The blocks when some variables are set: their effects follow, their causes do not matter to them."""
        u, fixed = u.clone(), {}
        for name, value in values.items():
            i = _position(name, self.graph.names)
            fixed[i] = ((value.to(u) - self.middle[i]) / self.spread[i])[:, None].expand(-1, self.block)
            u[:, i] = fixed[i]
        z = self.core.mechanisms(u)
        return torch.stack([fixed.get(i, z[:, i]) for i in range(z.shape[1])], 1)

    @action
    def counterfactual(
        self, do: tuple[str, ...], data: Source | None = None, items: int = 8, strength: float = 1.0
    ) -> Pictures:
        """Draw items as they would be, had a variable been another.

        Args:
            do: What is set: `variable=value`, in the units of the data; several may be given.
            data: The items; those of the run where left out.
            items: How many of the first.
            strength: How much to insist on the variables; 1 as trained.
        """
        assert data is not None
        batch = data.take(torch.arange(min(items, len(data))), self.middle.device)
        x = batch["x"]
        values = {name: torch.full((len(x),), v, device=x.device) for name, v in map(_assignment, do)}
        with torch.no_grad():
            made = self.under(batch, values, strength)
        return Pictures(torch.cat([x, made]), ["as it is"] * len(x) + [", ".join(do)] * len(x))

    def examine(self, data: Source) -> Findings:
        """How well each block tells its variable, and, in a made world, how near counterfactuals are to the truth."""
        batch = data.take(torch.arange(min(_JUDGED, len(data))), self.middle.device)
        with torch.no_grad():
            z = self.core.mechanisms(self.chance(2 * batch["x"] - 1))
            labels, _ = self.labels(batch)
            told_ = 1 - (z.mean(2) - labels).square().mean(0) / labels.var(0, correction=0).clamp(min=1e-6)
            numbers = {f"R2 of {n} as its block says": float(told_[i]) for i, n in enumerate(self.graph.names)}
            if hasattr(data, "counterfactual") or hasattr(getattr(data, "inner", None), "counterfactual"):
                numbers |= self._against_truth(data, batch)
        units = {n: "1 is the truth, 0 as if nothing had been done" for n in numbers if n.startswith("truth")}
        return Findings(numbers, units=units)

    def _against_truth(self, data: Source, batch: Batch) -> dict[str, float]:
        """1 - squared error of counterfactuals / squared error of the items as they are, for each variable set."""
        world = data if hasattr(data, "counterfactual") else data.inner  # type: ignore[attr-defined]
        x, found = batch["x"], {}
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        for i, name in enumerate(self.graph.names):
            value = batch["factors"][order, self.chosen[i]]  # somebody else's
            truth = world.counterfactual(batch["index"].cpu(), {name: value.cpu()}).to(x)
            made = self.under(batch, {name: value})
            found[f"truth of do({name})"] = 1 - float((made - truth).square().sum() / (x - truth).square().sum())
        return found


class _Core(nn.Module):
    """All that is trained."""

    def __init__(self, config: CausalDiffAE.Config, shape: Sequence[int], graph: Graph, noise: Noise) -> None:
        super().__init__()
        channels, size = shape[0], shape[1]
        self.encoder = GaussianConvEncoder(channels, size, config.code, config.encoder)
        self.mechanisms = Mechanisms(graph.matrix(), config.code // len(graph.names))
        self.denoiser: nn.Module = (
            UNetDenoiser(channels, size, config.code, config.width, config.factors, config.blocks)
            if config.network == "unet"
            else MLPDenoiser(noise, shape, config.code, config.width)
        )


def label_divergence(
    z: Float[Tensor, "batch n block"], label: Float[Tensor, "batch n"], known: Bool[Tensor, "batch n"]
) -> Float[Tensor, " batch"]:
    """Sum of KL(N(z_i, I) || N(label_i, I)) over the variables that are known.

    >>> z, label = torch.ones(1, 2, 3), torch.tensor([[1.0, 3.0]])
    >>> label_divergence(z, label, torch.tensor([[True, True]])).item()
    6.0
    """
    divergence: Tensor = (z - label[..., None]).square().sum(2) / 2
    return (divergence * known).sum(1)


def _mean_of_kept(value: Float[Tensor, " batch"], keep: Float[Tensor, " batch"], at: At) -> Float[Tensor, ""]:
    """The mean over the items, of all processes, that kept their code."""
    kept: Tensor = at.world.sum(keep.sum()).clamp(min=1)
    return at.world.sum((value * keep).sum()) / kept


def _part(name: str) -> str:
    """A variable's name as the name of a part."""
    word = "".join(c if c.isalnum() or c == "_" else "_" for c in name)
    return word if word.isidentifier() and word != _NOISE else f"variable_{word}"


def _position(name: str, names: Sequence[str]) -> int:
    if name not in names:
        raise ConfigError("the name of a variable", got=f"'{name}'", fix=nearest(name, names))
    return list(names).index(name)


def _assignment(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        raise ConfigError("variable=value", got=f"'{text}'", where="--do") from None
