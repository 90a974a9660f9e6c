"""DiST: clips through a frozen image network, a light temporal one, and a branch that integrates both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from jaxtyping import Bool, Float, Int
from scipy.special import betaincinv
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, log_softmax, one_hot

from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Frozen, Given, Hooked, Port
from unbraid.core.method import At, Budget, Method, Optim, Prediction, Schedule, Source, Stage, Stream, Terms, Update
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, PartSpec
from unbraid.data.dataset import Dataset
from unbraid.data.order import split
from unbraid.data.wrapped import Subset
from unbraid.nets.dist import Clips, DiST, Sizes
from unbraid.views.mixing import mixed

_JUDGED, _CHUNK = 1024, 64

Pixels = Literal["unit", "imagenet", "clip"]
_PIXELS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}


class DiSTClassifier(Method["DiSTClassifier.Config"]):
    """Classifies clips with a frozen image network, without back-propagating through it.

    1. The image network sees every second frame; the tokens behind each of its blocks are kept, without gradients. 2. A
    small convolutional network sees all frames. 3. Layer by layer an integration branch adds the tokens to what it has,
    exchanges with the temporal network both ways, and passes on what two perceptrons make of it. 4. Attention pools its
    tokens within and then over frames; the mean class token of the image network is added. 5. Descend the
    cross-entropy, labels smoothed, clips blended or pasted into one another.

    Source:
        Qing et al., 2023; the authors' code, models/module_zoo/branches/dist.py and models/base/clip.py.
    """

    card = Card(
        name="dist",
        title="Disentangling Spatial and Temporal Learning for Efficient Image-to-Video Transfer Learning",
        paper="arXiv:2309.07911",
        year=2023,
        number=26,
        modality=("video",),
        needs=("x", "label"),
        ports=(
            Port(
                "backbone",
                "an image network whose blocks give (batch, 1 + patches, width) tokens, the class token first",
                standin="unbraid.standins.vit:UNTRAINED",
            ),
            Port(
                "text", "gives an embedding of every class, (classes, width), when called without input", optional=True
            ),
        ),
        example="moving-sprites",
        tiny="moving-sprites:frames=4,size=16",
        summary="A video classifier beside a frozen image network: a light temporal encoder and an integration branch.",
        claim="It tells motions that no single frame shows, and no gradient passes through the image network.",
    )
    presets = {
        "quick": {"width": 64, "temporal": 12, "pooling": 1, "init": "xavier", "mixup": 0.0, "cutmix": 0.0}
        | {"pixels": "imagenet", "batch": 16, "steps": 1000, "warmup": 0.05}
        | {"optim.lr": 1.5e-3, "optim.schedule.kind": "constant"},
        "tiny": {"width": 16, "temporal": 6, "pooling": 1, "init": "xavier", "pixels": "unit", "batch": 8, "steps": 8},
    }

    @dataclass(frozen=True)
    class Config:
        """Options of DiST.

        Attributes:
            alpha: The image network sees every alpha-th frame.
            layers: Modules of the image network whose tokens are read; all of its blocks where empty.
            pixels: What the image network takes: as they are, or standardised as for ImageNet or CLIP.
            width: Of the integration branch.
            temporal: Channels of the temporal encoder.
            kernel: Frames under the first kernel of the temporal encoder.
            ratio: Hidden width of its blocks, in their own.
            ffn: Hidden width of the integration branch's perceptron, in its own.
            temporal_ffn: The same of its temporal perceptron.
            pooling: Layers of the pooling head.
            init: Weights drawn from a normal of deviation 0.02, or after Glorot, which learns in fewer steps.
            branches: Both, only the integration branch, or neither: a linear layer on the mean class token.
            averaged: Whether every frame is replaced by the mean of the clip: an ablation that takes time away.
            scale: Factor on the cosine to the classes' embeddings, where these are given.
            smoothing: Share of a label that is spread over all classes.
            mixup: Both parameters of the Beta distribution by which clips are blended; 0 blends none.
            cutmix: The same for boxes pasted; 0 pastes none.
            held: Share of the clips that is kept out of training, to be judged by.
            batch: Clips per step.
            steps: Steps; 36 epochs of Something-Something V2.
            warmup: Share of them in which the learning rate rises.
            optim: How everything but the image network moves.
        """

        alpha: int = told(2, by="code")
        layers: tuple[str, ...] = told((), by="code")
        pixels: Pixels = told("clip", by="code")
        width: int = told(384, by="code")
        temporal: int = told(96, by="code")
        kernel: int = told(5, by="code")
        ratio: float = told(1.0, by="code")
        ffn: float = told(1.0, by="code")
        temporal_ffn: float = told(0.25, by="code")
        pooling: int = told(2, by="code")
        init: Literal["normal", "xavier"] = told("normal", by="code")
        branches: Literal["all", "integration", "none"] = told("all", by="paper")
        averaged: bool = told(False, by="ours")
        scale: float = told(100.0, by="memory")
        smoothing: float = told(0.1, by="code")
        mixup: float = told(0.8, by="code")
        cutmix: float = told(1.0, by="code")
        held: float = told(0.2, by="ours")
        batch: int = told(256, by="code")
        steps: int = told(23_800, by="code")
        warmup: float = told(1 / 6, by="code")
        optim: Optim = told(Optim("adamw", lr=3.2e-4, weight_decay=1e-4, schedule=Schedule("cosine")), by="code")

        def __post_init__(self) -> None:
            for name in ("alpha", "width", "temporal", "kernel", "pooling", "batch", "steps"):
                if getattr(self, name) < 1:
                    raise ConfigError("a whole number above 0", got=str(getattr(self, name)), where=name)
            if self.kernel % 2 == 0:
                raise ConfigError("an odd number of frames", got=str(self.kernel), where="kernel")
            if not (0 <= self.smoothing < 1 and 0 < self.held < 1 and 0 <= self.warmup < 1):
                got = f"{self.smoothing}, {self.held} and {self.warmup}"
                raise ConfigError("shares below 1", got=got, where="smoothing, held, warmup")
            if min(self.mixup, self.cutmix) < 0:
                raise ConfigError("numbers from 0", got=f"{self.mixup} and {self.cutmix}", where="mixup, cutmix")
            if self.width > 64 and self.width % 64:
                raise ConfigError("a width below 64, or a multiple of it", got=str(self.width), where="width")

    def __init__(self, config: DiSTClassifier.Config, fields: Fields, given: Given) -> None:
        super().__init__(config, fields, given)
        x, classes = fields["x"], fields["label"].classes
        if len(x.shape) != 4 or x.shape[1] not in (1, 3) or not x.unit:
            raise DataError("clips (T, C, H, W) in [0, 1]", got=f"items of shape {x.shape}", where="field 'x'")
        if x.shape[0] % config.alpha:
            fix = f"choose other frames, or --set alpha={math.gcd(x.shape[0], config.alpha)}"
            raise DataError(f"a multiple of {config.alpha} frames", got=str(x.shape[0]), fix=fix, where="field 'x'")
        if not classes or classes < 2:
            raise DataError("a label of two classes or more", got=str(classes), where="field 'label'")
        self.classes, self.frames = classes, x.shape[0] // config.alpha
        self.backbone = Frozen(given["backbone"])
        self.layers = config.layers or blocks_of(self.backbone.inner)
        self.upright = True
        shape = self._probe(x.shape)
        self.text = Frozen(given["text"]) if "text" in given else None
        c, temporal, deep = config, config.branches == "all", config.branches != "none"
        self.net = DiST(
            Sizes(
                tokens=shape[2],
                layers=len(self.layers) * deep,
                patch=_patch(shape[1] - 1, x.shape[2], x.shape[3]),
                width=c.width,
                temporal=c.temporal * temporal,
                out=classes if self.text is None else self.text().shape[1],
                frames=self.frames,
                alpha=c.alpha,
                pooling=c.pooling * deep,
                heads=max(1, c.width // 64),
                kernel=c.kernel,
                ratio=c.ratio,
                ffn=c.ffn,
                temporal_ffn=c.temporal_ffn,
            )
        )
        self.net.reset(xavier=c.init == "xavier")

    def parts(self) -> tuple[PartSpec, ...]:
        d, out = self.net.cls.in_features, self.net.cls.out_features
        temporal = PartSpec("temporal", "vec", (self.config.temporal,), carries=("motion",), free_of=("appearance",))
        return (
            PartSpec("spatial", "vec", (d,), carries=("appearance",)),
            *([] if self.net.stem is None else [temporal]),
            PartSpec("integrated", "vec", (out,), carries=("label",)),
        )

    def stages(self) -> Sequence[Stage]:
        c = self.config
        optim = replace(c.optim, schedule=replace(c.optim.schedule, warmup=int(c.warmup * c.steps)))
        stream = Stream(c.batch, draw=with_partners if c.mixup or c.cutmix else None)
        return [
            Stage("fit", [Update("fit", self.loss, lambda: [self.net], optim)], Budget(steps=c.steps), {"": stream})
        ]

    def sources(self, data: Source) -> Mapping[str, Source]:
        """What is learned from, and what is held out: the same of the same data, whatever the seed."""
        kept, held = split(len(data), self.config.held, seed=0)
        whole = cast(Dataset, data)
        return {"train": Subset(whole, kept), "held": Subset(whole, held)}

    def loss(self, batch: Batch, at: At) -> Terms:
        """Cross-entropy with soft labels; no gradient reaches the image network."""
        c, x, label = self.config, batch["x"], batch["label"]
        target = one_hot(label, self.classes).to(x)
        if label.ndim == 2:  # with partners
            share, pasted = self._shares(at, len(x))
            x, share = mixed(x, share, pasted, at.rand((len(x), 2)))
            target = share[:, None] * target[:, 0] + (1 - share[:, None]) * target[:, 1]
        target = (1 - c.smoothing) * target + c.smoothing / self.classes
        return {"classification": -(target * log_softmax(self.logits(self.clips(x)), 1)).sum(1)}

    def _shares(self, at: At, n: int) -> tuple[Float[Tensor, " n"], Bool[Tensor, " n"]]:
        """How much of each clip stays, and whether its partner is pasted into it: one or the other, evenly."""
        c, u = self.config, at.rand((n, 2))
        chance = 0.5 if c.mixup and c.cutmix else float(not c.mixup)
        pasted = u[:, 1] < chance
        both = [torch.as_tensor(betaincinv(a, a, u[:, 0].double().cpu().numpy())) for a in (c.mixup, c.cutmix) if a]
        blended, cut = (t.to(u) for t in (both[0], both[-1]))
        return torch.where(pasted, cut, blended), pasted

    def clips(self, x: Float[Tensor, "b tf c h w"]) -> Clips:
        """What DiST makes of clips."""
        x = x.expand(-1, -1, 3, -1, -1)
        x = x.mean(1, keepdim=True).expand_as(x) if self.config.averaged else x
        mean, std = (x.new_tensor(values)[:, None, None] for values in _PIXELS[self.config.pixels])
        x = (x - mean) / std
        out: Clips = self.net(x, self.tokens(x))
        return out

    @torch.no_grad()
    def tokens(self, x: Float[Tensor, "b tf c h w"]) -> list[Float[Tensor, "b t l d"]]:
        """What stands behind the image network's blocks, for every alpha-th frame; without gradients."""
        frames = x[:, :: self.config.alpha]
        _, seen = Hooked(self.backbone.inner).run(frames.flatten(0, 1), read=self.layers)
        read = [seen[name] if self.upright else seen[name].transpose(0, 1) for name in self.layers]
        return [t.reshape(*frames.shape[:2], *t.shape[1:]) for t in read]

    def logits(self, clips: Clips) -> Float[Tensor, "b classes"]:
        """Of each class: a linear function, or the scaled cosine to the classes' embeddings."""
        y = clips.integrated @ self.net.out
        if self.text is None:
            return y
        return self.config.scale * cosine_similarity(y[:, None], self.text()[None], dim=2)

    def predict(self, batch: Batch) -> Prediction:
        """The classes of the items of a batch."""
        return Prediction(self.logits(self.clips(batch["x"])))

    def encode(self, batch: Batch) -> Parts:
        clips = self.clips(batch["x"])
        temporal = {} if clips.temporal is None else {"temporal": clips.temporal}
        return Parts({"spatial": clips.spatial, **temporal, "integrated": clips.integrated})

    @torch.no_grad()
    def examine(self, data: Source) -> Findings:
        """Accuracies on clips held out, as they are and in reverse."""
        held, device = self.sources(data)["held"], self.net.norm.weight.device
        rows = torch.linspace(0, len(held) - 1, min(len(held), _JUDGED), dtype=torch.float64).long()
        right = torch.zeros(2, dtype=torch.float64)
        for some in torch.split(rows, _CHUNK):
            batch = held.take(some, device)
            ways = (batch["x"], batch["x"].flip(1))
            right += torch.stack([(self.predict({"x": x}).label == batch["label"]).sum().cpu() for x in ways])
        numbers = dict(zip(("accuracy", "accuracy of clips in reverse"), (right / len(rows)).tolist(), strict=True))
        return Findings(numbers, notes=[f"On {len(rows)} clips held out."])

    def _probe(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape (frames, 1 + patches, d) of the tokens of two frames; sees whether frames come first."""
        frames = torch.zeros(2, 3, *shape[2:])
        try:
            with torch.no_grad():
                _, seen = Hooked(self.backbone.inner).run(frames, read=self.layers)
        except (RuntimeError, ValueError, TypeError) as error:
            got = " ".join(str(error).split())[:120]
            raise ConfigError(
                f"an image network that takes (batch, 3, {shape[2]}, {shape[3]})", got=got, where="backbone"
            ) from None
        shapes = {tuple(t.shape) for t in seen.values()}
        found = next(iter(shapes))
        self.upright = found[0] == 2
        if len(shapes) != 1 or len(found) != 3 or 2 not in found[:2]:
            raise ConfigError(
                "layers that give (batch, 1 + patches, width)",
                got=f"{sorted(shapes)}",
                fix="name others with --set layers=...",
                where="backbone",
            )
        return found if self.upright else (found[1], found[0], found[2])


def blocks_of(net: nn.Module) -> tuple[str, ...]:
    """The names of a network's blocks: the longest list in it of modules of one class, which are no single layers.

    >>> from unbraid.nets.vit import ViT
    >>> blocks_of(ViT(16, patch=8, width=12, depth=2, heads=3))
    ('blocks.0', 'blocks.1')
    """
    best: tuple[str, ...] = ()
    for name, module in net.named_modules():
        inside = list(module.named_children()) if isinstance(module, nn.ModuleList | nn.Sequential) else []
        alike = len({type(m) for _, m in inside}) == 1 and all(len(list(m.children())) for _, m in inside)
        if alike and len(inside) > len(best):
            best = tuple(f"{name}.{k}".lstrip(".") for k, _ in inside)
    if not best:
        raise ConfigError(
            "an image network with a list of blocks",
            got=type(net).__name__,
            fix="name the modules to read with --set layers=...",
            where="backbone",
        )
    return best


def with_partners(source: Any, indices: Int[Tensor, " batch"], generator: torch.Generator) -> Int[Tensor, "batch 2"]:
    """Every clip with another one, drawn from all."""
    return torch.stack([indices, torch.randint(len(source), indices.shape, generator=generator)], 1)


def _patch(patches: int, height: int, width: int) -> int:
    """The side of square patches of which so many tile the picture."""
    for side in range(1, min(height, width) + 1):
        if height % side == 0 and width % side == 0 and (height // side) * (width // side) == patches:
            return side
    raise ConfigError(
        f"square patches that tile {height} x {width}, and one class token",
        got=f"{patches + 1} tokens",
        where="backbone",
    )
