"""Local learning in blocks, each of which hears a copy of the layer that comes after it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given
from unbraid.core.method import At, Budget, Method, Optim, Prediction, Schedule, Source, Stage, Stream, Terms, Update
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, PartSpec
from unbraid.data.origin import held_out_of
from unbraid.losses.contrastive import supervised
from unbraid.methods.edge.judged import accuracy, read_by_depth, step_of
from unbraid.nets.local import Layers, LocalClassifier, LocalDecoder
from unbraid.nets.resnet import DEPTHS, ResNet, Standardised, stem_for
from unbraid.training.ema import EMA
from unbraid.training.memory import peak_saved_bytes
from unbraid.views.image import Flip, Shift
from unbraid.views.view import compose

AUGMENT = {"none": None, "shift": compose(Shift(4, "reflect"), Flip())}
_TEMPERATURE = 0.07


class MomentumAuxiliary(Method["MomentumAuxiliary.Config"]):
    """Trains a residual network block by block; no gradient passes from one block to another (Su et al., 2024).

    For every block k but the last, with h_k = B_k(sg(h_{k-1})) and N_k the first layer of the next block:

    1. z_k = LB_k(h_k) + E_k(h_k): LB_k is a copy of N_k that learns with this block, E_k one that follows N_k.
    2. Descend a_k BCE(decoder_k(z_k), x) + b_k CE(classifier_k(z_k), y) at once, by B_k, LB_k, decoder and classifier.
    3. Move E_k: m E_k + (1 - m) N_k, the next block not yet having moved in this step.

    The last block descends the cross-entropy of its own maps. Only one block's maps are kept at a time. When all is
    learned, the blocks in a row are an ordinary network, and all else is thrown away.

    Source:
        JunhaoSu0/MAN, resnetInfoPro_MAN.py. It weighs terms by the stage of the next layer in the place of k, and draws
        the copies anew: quirks "stage_ratio" and "fresh_copies".
    """

    card = Card(
        number=49,
        name="momentum-auxiliary",
        title="Momentum Auxiliary Network for Supervised Local Learning",
        paper="arXiv:2407.05623",
        year=2024,
        modality=("image",),
        needs=("x", "label"),
        family="local learning",
        summary="Trains a network block by block, each for what a copy of the next layer makes of it, in less memory.",
        claim=(
            "No gradient passes between blocks, and a step keeps less than 0.6 of the bytes of ordinary training; its "
            "answers are right more often than those of blocks that each serve a classifier of their own."
        ),
        example="placed-digits:rows=800,noise=0.2",
        tiny="placed-digits:rows=48",
    )
    aliases = {
        "momentum-auxiliary-ema": {"path": "ema"},
        "momentum-auxiliary-twin": {"path": "twin"},
        "infopro": {"path": "none"},
        "greedy-local": {"path": "none", "classifier": "0c1f", "reconstruction": (0.0, 0.0), "task": (1.0, 1.0)},
        "deep-local": {"path": "none", "classifier": "2c2f", "reconstruction": (0.0, 0.0), "task": (1.0, 1.0)},
        "end-to-end": {"blocks": 1},
    }
    about = {
        "momentum-auxiliary-ema": "The same with the copy that follows the next layer, and none that learns.",
        "momentum-auxiliary-twin": "The same with the copy of the next layer that learns, and none that follows.",
        "infopro": "Trains a network block by block, each to keep what the image was and to tell its class (InfoPro).",
        "greedy-local": "Trains a network block by block, each for a linear classifier of its own maps.",
        "deep-local": "Trains a network block by block, each for a small convolutional classifier of its own maps.",
        "end-to-end": "An ordinary residual classifier, the baseline of local learning.",
    }
    presets = {
        "tiny": {
            "depth": 8,
            "width": 4,
            "hidden": 8,
            "augment": "none",
            "batch": 12,
            "epochs": 1.0,
            "optim.lr": 0.02,
        },
        "quick": {"depth": 10, "blocks": 4, "augment": "none", "batch": 64, "epochs": 12.0, "optim.lr": 0.1},
        "cifar10": {"quirks": frozenset({"stage_ratio", "fresh_copies"}), "task": (0.5, 0.0)},
        "resnet110": {"depth": 110, "blocks": 32},
        "stl10": {"batch": 128, "optim.lr": 0.1},
    }

    @dataclass(frozen=True)
    class Config:
        """Options of local learning.

        Attributes:
            depth: Layers of the network; see `unbraid.nets.resnet.DEPTHS`.
            width: Channels after its stem.
            blocks: K; residual layers are shared out evenly, and there are no more blocks than layers (the released 16
                blocks of 32 layers are 15). 1 is ordinary training.
            path: What lies between a block and what it learns by: both copies of the next layer, one, or nothing.
            momentum: m, the share of the old copy that is kept.
            reconstruction: Weight of the decoder's term in the first and in the last local block; those between lie
                between. Without any there is no decoder.
            task: Weight of the classifier's term, likewise. The released 0.5 and 0 go with its weights by stage, which
                stay near the first number; by depth, 0 would leave the last local block untaught.
            classifier: Convolutions and dense layers of the local classifiers.
            hidden: Numbers between their dense layers.
            widen: Factor on the widths of decoders and classifiers.
            contrast: Whether they learn by supervised contrast in the place of cross-entropy.
            augment: What is random: nothing, or shifts by up to 4 pixels and mirroring.
            quirks: "stage_ratio" weighs terms by stage / (K - 2) in the place of depth; "fresh_copies" draws the
                convolutions of the copies anew.
            batch: Images per step.
            epochs: Passes over the data.
            optim: How everything moves.
        """

        depth: int = told(32, by="code")
        width: int = told(16, by="code")
        blocks: int = told(16, by="code")
        path: Literal["both", "ema", "twin", "none"] = told("both", by="paper")
        momentum: float = told(0.995, by="code")
        reconstruction: tuple[float, float] = told((5.0, 0.0), by="code")
        task: tuple[float, float] = told((0.5, 0.5), by="ours")
        classifier: Layers = told("2c2f", by="code")
        hidden: int = told(128, by="code")
        widen: float = told(1.0, by="code")
        contrast: bool = told(False, by="code")
        augment: Literal["none", "shift"] = told("shift", by="code")
        quirks: frozenset[str] = told(frozenset(), by="ours")
        batch: int = told(1024, by="code")
        epochs: float = told(400.0, by="code")
        optim: Optim = told(
            Optim(
                "sgd",
                lr=0.8,
                momentum=0.9,
                weight_decay=1e-4,
                nesterov=True,
                schedule=Schedule("cosine", share=10 / 400),
            ),
            by="code",
        )

        known_quirks: ClassVar[frozenset[str]] = frozenset({"stage_ratio", "fresh_copies"})

        def __post_init__(self) -> None:
            if self.depth not in DEPTHS:
                raise ConfigError(f"one of {', '.join(map(str, DEPTHS))}", got=str(self.depth), where="depth")
            for name, least in {"width": 1, "hidden": 1, "batch": 2, "blocks": 1}.items():
                if getattr(self, name) < least:
                    raise ConfigError(f"a whole number from {least} on", got=str(getattr(self, name)), where=name)
            for name in ("epochs", "widen"):
                if getattr(self, name) <= 0:
                    raise ConfigError("a number above 0", got=f"{getattr(self, name):g}", where=name)
            for name in ("reconstruction", "task"):
                if len(getattr(self, name)) != 2 or min(getattr(self, name)) < 0:
                    raise ConfigError("two weights of at least 0", got=str(getattr(self, name)), where=name)
            if not 0 <= self.momentum <= 1:
                raise ConfigError("a share from 0 to 1", got=f"{self.momentum:g}", where="momentum")
            if unknown := self.quirks - self.known_quirks:
                known = " and ".join(sorted(self.known_quirks))
                raise ConfigError(f"{known}, or nothing", got=", ".join(sorted(unknown)), where="quirks")

    def __init__(self, config: MomentumAuxiliary.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        shape, classes = fields["x"].shape, fields["label"].classes
        if len(shape) != 3 or not fields["x"].unit:
            raise DataError("images (C, H, W) in [0, 1]", got=f"items of shape {shape}", where="field 'x'")
        if classes is None or classes < 2:
            raise DataError("labels of two or more classes", got=str(classes), where="field 'label'")
        net = ResNet(config.depth, shape[0], stem_for(min(shape[1:])), config.width)
        layers = [layer for stage in net.stages for layer in stage.children()]
        stages = [i + 1 for i, stage in enumerate(net.stages) for _ in stage.children()]
        count = min(config.blocks, len(layers))
        cuts = [len(layers) * k // count for k in range(count + 1)]
        runs = [layers[a:b] for a, b in pairwise(cuts)]
        first = nn.Sequential(Standardised(net.stem, shape[0]), *runs[0])
        self.blocks = nn.ModuleList([first, *(nn.Sequential(*run) for run in runs[1:])])
        self.head = nn.Linear(net.width, classes)
        self.stages_after = [stages[cut] for cut in cuts[1:-1]]
        self.shapes = self._shapes()
        self.paths = nn.ModuleList(self._path(k, net.width, classes) for k in range(count - 1))

    scaffold = ("paths",)

    @torch.no_grad()
    def _shapes(self) -> list[tuple[int, ...]]:
        """Of the maps of every block, and behind those of the layer after it."""
        self.eval()
        maps = self.maps(torch.zeros(1, *self.fields["x"].shape))
        self.train()
        return [tuple(h.shape[1:]) for h in maps]

    def _path(self, k: int, most: int, classes: int) -> LocalPath:
        c, layer = self.config, self.next_layer(k)
        after = self.shapes[k][0] if c.path == "none" else _channels(layer)
        out = c.hidden if c.contrast else classes
        decoder = LocalDecoder(after, self.fields["x"].shape, c.widen) if max(c.reconstruction) else None
        classifier = LocalClassifier(after, most, out, c.classifier, c.hidden, c.widen)
        return LocalPath(layer, c.path, c.momentum, decoder, classifier, fresh="fresh_copies" in c.quirks)

    def next_layer(self, k: int) -> nn.Module:
        """The first layer of the block after block k, counted from 0."""
        following = self.blocks[k + 1]
        assert isinstance(following, nn.Sequential)
        return following[0]

    def parts(self) -> tuple[PartSpec, ...]:
        last = len(self.shapes) - 1
        return tuple(
            PartSpec(f"h_{k + 1}", "map", shape, carries=("label",) if k == last else ())
            for k, shape in enumerate(self.shapes)
        )

    # ------------------------------------------------------------------------------------------------------- training

    def stages(self) -> Sequence[Stage]:
        c, last = self.config, len(self.blocks) - 1
        end = Update(f"block_{last + 1}", self.end, lambda: [self.blocks[last], self.head], c.optim)
        feed = {"": Stream(c.batch, views=AUGMENT[c.augment])}
        return [Stage("fit", [*map(self._update, range(last)), end], Budget(epochs=c.epochs), feed)]

    def _update(self, k: int) -> Update:
        loss, after = partial(self.local, k), partial(self.follow, k)
        return Update(f"block_{k + 1}", loss, lambda: [self.blocks[k], self.paths[k]], self.config.optim, after=after)

    def weights(self, k: int) -> tuple[float, float]:
        """Weights a and b of local block k, counted from 0."""
        c, by_stage = self.config, "stage_ratio" in self.config.quirks
        steps = (c.blocks if by_stage else len(self.blocks)) - 2
        r = (self.stages_after[k] if by_stage else k) / steps if steps > 0 else 0.0
        a, b = (first * (1 - r) + last * r for first, last in (c.reconstruction, c.task))
        return a, b

    def local(self, k: int, batch: Batch, at: At) -> Terms:
        """What block k descends, alone."""
        h = self._through(k, batch, at)
        return self.local_terms(k, h, batch, at)

    def local_terms(self, k: int, h: Float[Tensor, "batch c h w"], batch: Batch, at: At) -> Terms:
        """How well the image and its class are told from maps of block k, through its path."""
        path, (a, b) = self.paths[k], self.weights(k)
        assert isinstance(path, LocalPath)
        z, y = path(h), batch["label"]
        said = path.classifier(z)
        if self.config.contrast:
            task = supervised(said, y, _TEMPERATURE, at.world)
        else:
            task = functional.cross_entropy(said, y, reduction="none")
        terms = {"task": (b, task)}
        if path.decoder is not None:
            apart = functional.binary_cross_entropy(path.decoder(z), batch["x"], reduction="none")
            terms["reconstruction"] = (a, apart.flatten(1).mean(1))
        return terms

    def follow(self, k: int, at: At) -> None:
        """Move the copy of the layer after block k towards it."""
        path = self.paths[k]
        assert isinstance(path, LocalPath)
        if path.ema is not None:
            path.ema.follow(self.next_layer(k))

    def end(self, batch: Batch, at: At) -> Terms:
        """What the last block descends."""
        logits = self.read(self._through(len(self.blocks) - 1, batch, at))
        return {"label": functional.cross_entropy(logits, batch["label"], reduction="none")}

    def _through(self, k: int, batch: Batch, at: At) -> Float[Tensor, "batch c h w"]:
        """Maps of block k; what goes in is what the block before left in the memo, which no graph hangs on."""
        x = at.memo.pop("maps") if k else batch["x"]
        h: Tensor = self.blocks[k](x)
        at.memo["maps"] = h.detach()
        return h

    # ---------------------------------------------------------------------------------------------------- what it can

    def maps(self, x: Float[Tensor, "batch c h w"]) -> list[Tensor]:
        """h_1 to h_K."""
        found = []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        return found

    def read(self, h: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch classes"]:
        """Logits from the last maps."""
        logits: Tensor = self.head(h.mean((2, 3)))
        return logits

    def encode(self, batch: Batch) -> Parts:
        return Parts({f"h_{k + 1}": h for k, h in enumerate(self.maps(batch["x"]))})

    def predict(self, batch: Batch) -> Prediction:
        """The classes of a batch, by the blocks alone."""
        return Prediction(self.read(self.maps(batch["x"])[-1]))

    def examine(self, data: Source) -> Findings:
        """Accuracy on test items where there are, what a linear probe reads at each depth, and the memory of a step."""
        held = held_out_of(data, ["label"]) or data
        curve = read_by_depth(self, held)
        numbers = {
            "accuracy": accuracy(self, held),
            **{f"linear probe of block {k + 1}": value for k, value in enumerate(curve.tolist())},
            "saved bytes against end-to-end": self.saved_share(data),
        }
        units = {**dict.fromkeys(numbers, "share"), "linear probe by depth": "share right"}
        notes = [
            f"{len(held)} {'items of the training data' if held is data else 'test items'}.",
            "Bytes are those that automatic differentiation keeps at once in a step, without weights.",
        ]
        return Findings(numbers, {"linear probe by depth": curve}, units, notes)

    def saved_share(self, data: Source, most: int = 64) -> float:
        """What a step keeps for its backward passes, as a share of what a step of ordinary training keeps."""
        device = self.head.weight.device
        batch = data.take(torch.arange(min(len(data), most)), device)
        with torch.random.fork_rng(devices=[]):  # a step seeds the generators
            whole = type(self)(replace(self.config, blocks=1), self.fields).to(device)
            kept = [peak_saved_bytes(step_of(m, batch), m.state_dict().values()) for m in (copy.deepcopy(self), whole)]
        return kept[0] / kept[1]


class LocalPath(nn.Module):
    """What block k learns by: copies of the layer after it, a decoder and a classifier.

    Args:
        layer: The layer after the block.
        kind: Which copies there are.
        momentum: Of the one that follows.
        decoder: Of the image, or None.
        classifier: Of the class.
        fresh: Whether the convolutions of the copies are drawn anew.
    """

    def __init__(
        self,
        layer: nn.Module,
        kind: Literal["both", "ema", "twin", "none"],
        momentum: float,
        decoder: LocalDecoder | None,
        classifier: LocalClassifier,
        *,
        fresh: bool = False,
    ) -> None:
        super().__init__()
        self.twin = copy.deepcopy(layer) if kind in ("both", "twin") else None
        self.ema = EMA(layer, momentum, buffers="own", live=True) if kind in ("both", "ema") else None
        self.decoder, self.classifier = decoder, classifier
        if fresh:
            for copied in (self.twin, self.ema):
                for module in copied.modules() if copied is not None else ():
                    if isinstance(module, nn.Conv2d):
                        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, h: Float[Tensor, "batch before h w"]) -> Float[Tensor, "batch after h2 w2"]:
        """The sum of what the copies make of the maps, each with its own last ReLU; the maps, where there are none."""
        made: list[Tensor] = [copied(h) for copied in (self.twin, self.ema) if copied is not None]
        return sum(made[1:], made[0]) if made else h


def _channels(layer: nn.Module) -> int:
    """Channels that a residual layer gives out."""
    last = layer.last
    assert isinstance(last, nn.modules.batchnorm._BatchNorm)
    return last.num_features
