"""DirectPred and its kin: joint embedding with a target and a predictor, which is trained or set from statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.action import action
from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given
from unbraid.core.method import At, Optim, Source, Stage, Terms, Update
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, PartSpec
from unbraid.losses.joint import twice_cosine
from unbraid.methods.joint.embedding import JointEmbedding, Options, Seen, spaced
from unbraid.metrics.gauges import effective_rank, mean_cosine
from unbraid.nets import heads
from unbraid.nets.backbones import Backbone
from unbraid.nets.norm import together
from unbraid.ops.joint_dynamics import Flow, alignment, asymmetry, integrate, matrices, misalignment, modes
from unbraid.ops.linalg import eigh_sorted
from unbraid.training.ema import EMA
from unbraid.training.schedules import between

Scale = Literal["unit", "raw", "paper"]
Constraint = Literal["none", "symmetric", "unit", "diagonal"]

_LEAST = 1e-4
_SEEN = 2000  # items whose embeddings an examination looks at
_STEP = 0.1  # of the simulated time


def gains(
    s: Float[Tensor, " d"], power: float, eps: float, scale: Scale = "unit", *, inside: bool = False
) -> Float[Tensor, " d"]:
    """What the predictor multiplies each direction by, from the variances along them.

    Args:
        s: Eigenvalues of the correlation, largest first; negative ones count as 0.
        power: 1/2 for DirectPred.
        eps: Added to every gain.
        scale: Divide by the largest eigenvalue ("unit", as released), leave them ("raw"), or leave them and give `eps`
            in units of the largest ("paper").
        inside: Whether `eps`, which may then be negative, is added before the power.

    >>> gains(torch.tensor([4.0, 1.0, 0.0]), power=0.5, eps=0.1).tolist()
    [1.100000023841858, 0.6000000238418579, 0.10000000149011612]
    """
    s = s.clamp(min=0)
    top = s[0].clamp(min=1e-30)
    s = s / top if scale == "unit" else s
    eps = float(eps * top) if scale == "paper" else eps
    if inside:
        return (s + eps).clamp(min=_LEAST).pow(power)
    return (s.pow(power) + eps).clamp(min=_LEAST)


def direct(
    correlation: Float[Tensor, "d d"], power: float, eps: float, scale: Scale = "unit", *, inside: bool = False
) -> Float[Tensor, "d d"]:
    """The predictor with the eigenvectors of a correlation and the `gains` of its eigenvalues.

    With power 1 it is the correlation itself, and no decomposition is needed (DirectCopy).
    """
    if power == 1 and scale == "raw" and not inside and eps >= _LEAST:
        return correlation + eps * torch.eye(len(correlation), device=correlation.device, dtype=correlation.dtype)
    s, axes = eigh_sorted(correlation)
    return (axes * gains(s, power, eps, scale, inside=inside)) @ axes.mT


def constrained(matrix: Float[Tensor, "d d"], constraint: Constraint) -> Float[Tensor, "d d"]:
    """A trained predictor brought back: its symmetric part, that over its largest eigenvalue, or its diagonal."""
    if constraint == "diagonal":
        return torch.diag(matrix.diagonal())
    symmetric = (matrix + matrix.mT) / 2
    return symmetric / eigh_sorted(symmetric)[0][0] if constraint == "unit" else symmetric


class DirectPred(JointEmbedding["DirectPred.Config"]):
    """A linear predictor set from the correlation of what it reads (Tian et al., 2021, algorithm 1).

    1. Embed two views by the online and by the target network. 2. Minimise -2 cos(W_p f1, t2) - 2 cos(W_p f2, t1) over
    the online network. 3. F = rho F + (1 - rho) mean f f^T. 4. With F = U diag(s) U^T, set W_p = U diag(sqrt(s) + eps)
    U^T. 5. The target follows the online network.

    Source:
        facebookresearch/luckmatters, ssl/real-dataset.
    """

    card = Card(
        number=43,
        name="directpred",
        title="Understanding Self-Supervised Learning Dynamics without Contrastive Pairs",
        paper="arXiv:2102.06810",
        year=2021,
        modality=("image",),
        family="self-distillation",
        summary="BYOL with a linear predictor that is not trained but set from the spectrum of the embeddings.",
        claim=(
            "Its embeddings point in more different ways than with a trained linear predictor, and the flow of linear "
            "networks aligns predictor and correlation and ends where the theory says."
        ),
        example="digits",
    )
    aliases = {
        "byol": {"predictor": "mlp", "ramp": True},
        "simsiam": {"predictor": "mlp", "target": "online", "last_norm": True},
        "directset": {"power": 1.0, "scale": "unit", "eps": 0.3},
        "directcopy": {"power": 1.0, "scale": "raw"},
    }
    about = {
        "byol": "Predicts the embedding of one view that a slowly following twin makes, by a trained predictor.",
        "simsiam": "Predicts one view's embedding from that of another by a trained predictor; nothing else moves.",
        "directset": "BYOL with a linear predictor set to the scaled correlation of embeddings, without eigenvectors.",
        "directcopy": "BYOL whose linear predictor is the correlation of its embeddings, copied.",
    }
    presets = {
        "cifar10": {"views": "cifar", "epochs": 500.0},
        "quick": {
            "backbone": "resnet10",
            "width": 16,
            "views": "cifar",
            "projector": (256, 64),
            "hidden": 256,
            "decay": 0.99,
            "steps": 600,
        },
        "tiny": {
            "backbone": "resnet8",
            "width": 4,
            "views": "written",
            "projector": (12, 8),
            "hidden": 8,
            "batch": 16,
            "steps": 8,
        },
    }

    @dataclass(frozen=True)
    class Config(Options):
        """Options of DirectPred, BYOL, SimSiam and what lies between.

        Attributes:
            projector: Width of each layer of the projector.
            predictor: Set from the correlation ("direct"), solved by least squares from it ("solve"), trained as one
                matrix ("linear") or with a hidden layer ("mlp"), or "none".
            power: Exponent of the eigenvalues: 1/2 for DirectPred, 1 for DirectCopy, others for DirectSet.
            eps: Added to the gains; the ridge of "solve".
            scale: What eigenvalues and `eps` are measured in, see `gains`.
            inside: Whether `eps` is added before the power.
            shrink: Share taken off the predictor when it is set.
            rho: Share of the old correlation that is kept at each step.
            centred: Whether the mean embedding is taken out of the correlation.
            every: Set the predictor at steps divisible by this; it is trained in between.
            constraint: What a trained linear predictor is brought back to after each step: "none", its part that is
                "symmetric", that divided by its largest eigenvalue ("unit"), or "diagonal".
            hidden: Width of the hidden layer of "mlp".
            target: A network that follows ("ema"), or the online one itself ("online", as in SimSiam).
            stopped: Whether no gradient goes through the target; without, embeddings collapse.
            start: Whether the target starts as a copy, or as a network of its own, as released.
            decay: Share of the target that is kept at each step.
            ramp: Whether this share goes to 1 on half a cosine, as in BYOL.
            last_norm: Whether the projector's last layer is normalised, too, as in SimSiam.
            optim: How online network and predictor move.
        """

        backbone: Backbone = told("resnet18", by="code")
        views: Seen = told("stl", by="code")
        batch: int = told(128, by="code")
        epochs: float = told(100, by="code")
        projector: tuple[int, ...] = told((512, 128), by="code")
        predictor: Literal["direct", "solve", "linear", "mlp", "none"] = told("direct", by="paper")
        power: float = told(0.5, by="paper")
        eps: float = told(0.01, by="code")
        scale: Scale = told("unit", by="code")
        inside: bool = told(False, by="code")
        shrink: float = told(0.0, by="code")
        rho: float = told(0.3, by="code")
        centred: bool = told(False, by="code")
        every: int = told(1, by="code")
        constraint: Constraint = told("none", by="code")
        hidden: int = told(512, by="code")
        target: Literal["ema", "online"] = told("ema", by="code")
        stopped: bool = told(True, by="paper")
        start: Literal["copy", "own"] = told("copy", by="ours")
        decay: float = told(0.996, by="code")
        ramp: bool = told(False, by="code")
        last_norm: bool = told(False, by="code")
        optim: Optim = told(Optim("sgd", lr=0.03, momentum=0.9, weight_decay=4e-4), by="code")

        counts = (*Options.counts, "projector", "every", "hidden")

        def __post_init__(self) -> None:
            super().__post_init__()
            for name in ("rho", "decay", "shrink"):
                if not 0 <= getattr(self, name) <= 1:
                    raise ConfigError("a share between 0 and 1", got=str(getattr(self, name)), where=name)
            if self.power <= 0:
                raise ConfigError("an exponent above 0", got=str(self.power), where="power")

    correlation: Tensor
    crossed: Tensor
    counted: Tensor

    def __init__(self, config: DirectPred.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        width = config.projector[-1]
        self.projector = self._projector()
        self.predictor: nn.Module = nn.Identity()
        if config.predictor == "mlp":
            self.predictor = heads.predictor(width, config.hidden)
        elif config.predictor != "none":
            self.predictor = nn.Linear(width, width, bias=False)
        if config.target == "ema":
            online = self._online() if config.start == "copy" else self._another()
            self.target = EMA(online, config.decay, buffers="own", live=True)
        for name in ("correlation", "crossed"):
            self.register_buffer(name, torch.zeros(width, width))
        self.register_buffer("counted", torch.zeros((), dtype=torch.int64))

    def _projector(self) -> nn.Sequential:
        c, plain = self.config, {"bias": True, "affine": False, "last_bias": True}
        return heads.projector(self.encoder.width, c.projector, **plain, last_norm=c.last_norm)

    def _online(self) -> nn.Sequential:
        return nn.Sequential(self.encoder, self.projector)

    def _another(self) -> nn.Sequential:
        return nn.Sequential(self.new_encoder(), self._projector())

    def parts(self) -> tuple[PartSpec, ...]:
        eigen = PartSpec("eigen", "fam", (self.config.projector[-1],), of="embedding")
        return (*super().parts(), eigen)

    def encode(self, batch: Batch) -> Parts:
        """The embedding, and its projection on the eigenvectors of the correlation, largest first."""
        embedding = self.encoder(batch["x"])
        return Parts(embedding=embedding, eigen=self.projector(embedding) @ eigh_sorted(self.correlation)[1])

    # --------------------------------------------------------------------------------------------------- training

    def stages(self) -> Sequence[Stage]:
        c = self.config
        moving = [self.encoder, self.projector, *([self.predictor] if c.predictor != "none" else [])]
        online = Update("online", self.loss, lambda: moving, c.optim, after=self.after)
        return [Stage("pretrain", [online], c.budget, {"": self.stream()})]

    def loss(self, batch: Batch, at: At) -> Terms:
        views = batch["x"].unbind(1)
        with together(at.world):
            f1, f2 = (self.projector(self.encoder(x)) for x in views)
            if self.config.target == "online":
                t1, t2 = f1, f2
            else:
                t1, t2 = (self.target(x) for x in views)
            if self.config.stopped:
                t1, t2 = t1.detach(), t2.detach()
            p1, p2 = self.predictor(f1), self.predictor(f2)
        self._measure(torch.cat([f1, f2]).detach(), torch.cat([t2, t1]).detach(), at)
        return {"likeness": twice_cosine(p1, t2) + twice_cosine(p2, t1)}

    def _measure(self, f: Float[Tensor, "both d"], t: Float[Tensor, "both d"], at: At) -> None:
        """Correlations of this batch, over all processes, for `after`."""
        mean = at.world.mean(f.mean(0)) if self.config.centred else 0.0
        at.memo["correlation"] = at.world.mean((f - mean).mT @ (f - mean) / len(f))
        at.memo["crossed"] = at.world.mean(t.mT @ f / len(f))

    @torch.no_grad()
    def after(self, at: At) -> None:
        """Once the online network has moved: the correlation, then the predictor, then the target."""
        keep = self.config.rho if self.counted > 0 else 0.0
        self.counted += 1
        self.correlation.lerp_(at.memo["correlation"], 1 - keep)
        self.crossed.lerp_(at.memo["crossed"], 1 - keep)
        if isinstance(self.predictor, nn.Linear):
            self._set_predictor(self.predictor.weight, at)
        if self.config.target == "ema":
            keep = between(self.config.decay, 1.0, at.progress) if self.config.ramp else self.config.decay
            self.target.follow(self._online(), keep)

    def _set_predictor(self, weight: Tensor, at: At) -> None:
        c = self.config
        if c.predictor == "linear":
            if c.constraint != "none":
                weight.copy_(constrained(weight, c.constraint))
        elif at.step % c.every == 0:
            weight.copy_(self.wanted() * (1 - c.shrink))

    def wanted(self) -> Float[Tensor, "d d"]:
        """The predictor that the statistics ask for."""
        c = self.config
        if c.predictor == "solve":
            ridge = c.eps * torch.eye(len(self.crossed), device=self.crossed.device)
            solved: Tensor = torch.linalg.solve(self.correlation + ridge, self.crossed, left=False)
            return solved
        return direct(self.correlation, c.power, c.eps, c.scale, inside=c.inside)

    # ------------------------------------------------------------------------------------------------- evaluation

    def examine(self, data: Source) -> Findings:
        """The standard evaluation, and the spectra of the correlation and of a linear predictor."""
        found, spectra = super().examine(data), self.spectrum()
        read = torch.cat(self._over(data, spaced(len(data), _SEEN), lambda x, _: self.projector(self.encoder(x))))
        seen = read.cpu().numpy()
        numbers = {"effective rank behind the projector": effective_rank(seen), "mean cosine there": mean_cosine(seen)}
        return replace(
            found,
            numbers={**found.numbers, **numbers, **spectra.numbers},
            arrays=spectra.arrays,
            units={**found.units, **spectra.units, "mean cosine there": "-1 to 1"},
        )

    @action
    def spectrum(self) -> Findings:
        """Eigenvalues of the correlation, and how far a linear predictor shares its eigenvectors."""
        s, axes = eigh_sorted(self.correlation.cpu())
        numbers, arrays, units = {}, {"spectrum of the correlation": s}, {}
        if isinstance(self.predictor, nn.Linear):
            w = self.predictor.weight.detach().cpu()
            shared = alignment(w, axes)
            numbers = {
                "asymmetry of the predictor": asymmetry(w),
                "misalignment of predictor and correlation": float(misalignment(w, self.correlation.cpu())),
                "mean alignment of the eigenvectors": float(shared.mean()),
            }
            arrays["gain along each eigenvector"] = (axes * (w @ axes)).sum(0)
            arrays["alignment of each eigenvector"] = shared
            units = {"alignment of each eigenvector": "0 to 1", "mean alignment of the eigenvectors": "0 to 1"}
        return Findings(numbers, arrays, units)

    @action
    def simulate(
        self,
        noise: float = 0.5,
        ratio: float = 1.0,
        tau: float = 1.0,
        decay: float = 0.02,
        gain: float = 0.05,
        variance: float = 0.0025,
        size: int = 8,
        time: float = 120.0,
        seed: int = 0,
    ) -> Findings:
        """The theory: the flow of linear networks in one direction, and of whole matrices from a random start.

        Args:
            noise: Variance that views add, relative to that of the data.
            ratio: Learning rate of the predictor relative to the network's.
            tau: The target as a multiple of the online network.
            decay: Weight decay.
            gain: Where the predictor starts in the one direction.
            variance: Where the embedding starts in it.
            size: Rows of the matrices.
            time: How long the flow runs.
            seed: Of the matrices.
        """
        for name, value in (("gain", gain), ("variance", variance), ("size", size), ("time", time)):
            if value <= 0:
                raise ConfigError("a number above 0", got=str(value), where=f"--{name}")
        return simulated(Flow(noise, ratio, tau, None, decay), gain, variance, size, time, seed)


def simulated(flow: Flow, gain: float, variance: float, size: int, time: float, seed: int) -> Findings:
    """The flow in one direction and of matrices, with what the theory says of where they end."""
    steps = max(100, round(time / _STEP))
    keep = max(1, steps // 200)
    one = torch.tensor([gain], dtype=torch.float64), torch.tensor([variance], dtype=torch.float64)
    start = (*one, torch.full((1,), flow.tau, dtype=torch.float64))
    p, s, _ = integrate(lambda state: modes(state, flow), start, time / steps, steps, keep)
    w, f = integrate(lambda state: matrices(state, flow), begin(size, seed), time / steps, steps, keep)
    apart = misalignment(w, f)
    ends = flow.fixed_points
    numbers = {
        "gain at the end": float(p[-1]),
        "variance at the end": float(s[-1]),
        "weight decay beyond which all collapses": flow.most_decay,
        "misalignment at the start": float(apart[0]),
        "misalignment at the end": float(apart[-1]),
    }
    if ends is not None:
        numbers |= {"gain below which it collapses": ends[0], "gain where it stays": ends[1]}
    arrays = {
        "gain of the predictor": p[:, 0],
        "variance of the embedding": s[:, 0],
        "misalignment of the matrices": apart,
        "eigenvalues of the last predictor": eigh_sorted(w[-1])[0],
        "eigenvalues of the last correlation": eigh_sorted(f[-1])[0],
    }
    return Findings(numbers, arrays, notes=[f"Curves have {len(p)} points over a time of {time:g}."])


def begin(size: int, seed: int) -> tuple[Tensor, Tensor]:
    """A small symmetric predictor with positive gains and an unrelated correlation, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for low, high in ((0.1, 0.4), (0.01, 0.16)):
        axes = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]
        made.append((axes * torch.linspace(high, low, size, dtype=torch.float64)) @ axes.mT)
    return made[0], made[1]
