"""BEiT and data2vec: hidden patches are told as tokens, or as what a twin makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Frozen, Given, Port
from unbraid.core.method import At, Clip, Optim, Source, Stage, Terms
from unbraid.core.outcome import Findings
from unbraid.losses.masked import layers_mean, masked_features, masked_tokens
from unbraid.methods.joint.embedding import spaced
from unbraid.methods.joint.ssl.base import QUICK, SEEN, TINY, adamw, joined, spread_of
from unbraid.methods.joint.ssl.masked import Masked, MaskedOptions
from unbraid.nets.vit import patches_of
from unbraid.ops.kmeans import kmeans, nearest_centre
from unbraid.training.schedules import between

_CLUSTERED = 20_000  # patches among which k-means looks for tokens


class BEiT(Masked["BEiT.Config"]):
    """Blocks of patches are hidden, and their tokens are told (Bao et al., 2022).

    1. A frozen tokenizer gives each patch one of a few thousand tokens. 2. Put a learned token in the place of the
    patches of random blocks. 3. Minimise the mean cross-entropy of the tokens of hidden patches. Where no tokenizer is
    given, a token is the nearest of centres that k-means finds among the patches of the data.
    """

    card = Card(
        number=44,
        name="beit",
        title="BEiT: BERT Pre-Training of Image Transformers",
        paper="arXiv:2106.08254",
        year=2022,
        modality=("image",),
        family="masked modelling",
        summary="An encoder that tells the discrete tokens of hidden blocks of patches.",
        claim="It tells hidden tokens of new images more often than by always naming the commonest.",
        example="digits",
        ports=(
            Port(
                "tokenizer",
                "A network from images (B, C, H, W) in [0, 1] to a whole number for each patch, (B, patches).",
                optional=True,
            ),
        ),
    )
    positions = "learned"
    presets = {
        "quick": {**QUICK, "tokens": 64, "least": 2},
        "tiny": {**TINY, "tokens": 5, "least": 2},
    }

    @dataclass(frozen=True)
    class Config(MaskedOptions):
        """Options of BEiT.

        Attributes:
            tokens: Different tokens.
            mask: Share of the patches that is hidden.
            least: Patches in a block.
        """

        width: int = told(768, by="paper")
        heads: int = told(12, by="paper")
        drop_path: float = told(0.1, by="paper")
        tokens: int = told(8192, by="paper")
        mask: float = told(0.4, by="paper")
        least: int = told(16, by="paper")
        optim: Optim = told(adamw(1.875e-4, 0.05, clip=Clip("norm", 3.0)), by="memory")

        counts = (*MaskedOptions.counts, "tokens", "least")
        shares = (*MaskedOptions.shares, "mask")

    centres: Tensor

    def __init__(self, config: BEiT.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        self.head = nn.Linear(config.width, config.tokens)
        tokenizer = (given or Given()).get("tokenizer")
        self.tokenizer = None if tokenizer is None else Frozen(tokenizer)
        self.register_buffer("centres", torch.zeros(config.tokens, config.patch**2 * fields["x"].shape[0]))

    def moves(self) -> list[nn.Module]:
        return [self.encoder, self.head]

    def stages(self) -> Sequence[Stage]:
        stages = [Stage("pretrain", [self.update()], self.config.budget, {"": self.stream()})]
        return stages if self.tokenizer is not None else [Stage("tokens", solve=self.find_tokens), *stages]

    def find_tokens(self, sources: Mapping[str, Source], at: At) -> None:
        """The centres of k-means among the patches of some images."""
        data, (rows, columns) = sources["train"], self.encoder.vit.grid
        items = spaced(len(data), max(1, _CLUSTERED // (rows * columns)))
        x = data.take(items, self.centres.device)["x"]
        patches = patches_of(self.encoder.net.standard(x), self.config.patch).flatten(0, 1)
        if len(patches) < len(self.centres):
            fix = "give a tokenizer, or set fewer tokens"
            raise DataError(f"at least {len(self.centres)} patches", got=str(len(patches)), fix=fix)
        self.centres.copy_(kmeans(patches, len(self.centres), at.shared())[0])

    @torch.no_grad()
    def tokens(self, x: Float[Tensor, "batch c h w"]) -> Int[Tensor, "batch patches"]:
        """The token of each patch."""
        if self.tokenizer is not None:
            given: Tensor = self.tokenizer(x)
            return given.flatten(1)
        patches = patches_of(self.encoder.net.standard(x), self.config.patch)
        return nearest_centre(patches.flatten(0, 1), self.centres).view(len(x), -1)

    def fill(
        self, x: Float[Tensor, "batch c h w"], at: At
    ) -> tuple[Float[Tensor, "batch patches k"], Bool[Tensor, "batch patches"]]:
        """The logits of every patch's token, and which patches are hidden."""
        mask = self.blocks(len(x), self.config.mask, self.config.least, at)
        seen = self.encoder.tokens(x, masked=mask)
        at.note(spread=spread_of(self.encoder.read(seen)))
        return self.head(seen.patches), mask.flatten(1)

    def loss(self, batch: Batch, at: At) -> Terms:
        logits, mask = self.fill(batch["x"], at)
        return {"tokens": masked_tokens(logits, self.tokens(batch["x"]), mask, at.world)}

    def examine(self, data: Source) -> Findings:
        """The standard evaluation, and how many hidden tokens are told."""

        def told(x: Tensor, at: At) -> Tensor:
            (logits, mask), tokens = self.fill(x, at), self.tokens(x)
            return torch.stack([logits.argmax(2)[mask], tokens[mask]], 1)

        guess, token = torch.cat(self._over(data, spaced(len(data), SEEN), told)).unbind(1)
        right = float((guess == token).float().mean())
        commonest = float(torch.bincount(token).max()) / len(token)
        numbers = {"hidden tokens told right": right, "lead over the commonest token": right - commonest}
        return joined(super().examine(data), Findings(numbers, units=dict.fromkeys(numbers, "share of tokens")))


class Data2Vec(Masked["Data2Vec.Config"]):
    """Blocks of patches are hidden, and what a twin makes of them in its last blocks is told (Baevski et al., 2022).

    1. The twin sees the whole image; the target is the mean of its last few blocks, each normalised. 2. The student
    sees it with a learned token in the place of hidden patches. 3. Minimise the smooth absolute error of the target at
    hidden patches. 4. The twin follows.
    """

    card = Card(
        number=44,
        name="data2vec",
        title="data2vec: A General Framework for Self-supervised Learning in Speech, Vision and Language",
        paper="arXiv:2202.03555",
        year=2022,
        modality=("image",),
        family="masked modelling",
        summary="An encoder that tells what its slowly following twin makes of hidden blocks of patches.",
        claim="It tells the twin's features of hidden patches better than their mean does.",
        example="digits",
    )
    positions = "learned"
    presets = {
        "quick": {**QUICK, "top": 2, "least": 2, "momentum": 0.99, "last_momentum": 0.999},
        "tiny": {**TINY, "top": 1, "least": 2},
    }

    @dataclass(frozen=True)
    class Config(MaskedOptions):
        """Options of data2vec.

        Attributes:
            top: Last blocks whose mean is told; all where there are fewer.
            normalise: Each of them over the channels of a token ("layer"), or over tokens ("instance").
            beta: Error from which on it counts by its size and not by its square.
            mask: Share of the patches that is hidden.
            least: Patches in a block.
            momentum: Share of the twin that is kept at each step, at the start.
            last_momentum: And at the end, evenly in between.
        """

        width: int = told(768, by="paper")
        heads: int = told(12, by="paper")
        drop_path: float = told(0.2, by="memory")
        top: int = told(6, by="memory")
        normalise: Literal["layer", "instance"] = told("layer", by="memory")
        beta: float = told(2.0, by="memory")
        mask: float = told(0.6, by="memory")
        least: int = told(16, by="memory")
        momentum: float = told(0.9998, by="memory")
        last_momentum: float = told(0.9999, by="memory")
        optim: Optim = told(adamw(2.5e-4, 0.05, clip=Clip("norm", 3.0)), by="memory")

        counts = (*MaskedOptions.counts, "top", "least")
        shares = (*MaskedOptions.shares, "mask", "momentum", "last_momentum")

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.beta < 0:
                raise ConfigError("a number of at least 0", got=str(self.beta), where="beta")

    def __init__(self, config: Data2Vec.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        self.head = nn.Linear(config.width, config.width)
        self.teacher = self.taught()

    def moves(self) -> list[nn.Module]:
        return [self.encoder, self.head]

    def stages(self) -> Sequence[Stage]:
        update = self.update(after=self.after)
        return (Stage("pretrain", [update], self.config.budget, {"": self.stream()}),)

    def loss(self, batch: Batch, at: At) -> Terms:
        c, x = self.config, batch["x"]
        mask = self.blocks(len(x), c.mask, c.least, at)
        told = self.head(self.encoder.tokens(x, masked=mask).patches)
        target = self.target(x)
        at.note(spread=spread_of(target.flatten(0, 1)))
        return {"features": masked_features(told, target, mask.flatten(1), at.world, c.beta)}

    def examine(self, data: Source) -> Findings:
        """The standard evaluation, how well hidden features are told, and whether they collapse."""
        c, rows = self.config, spaced(len(data), SEEN // 4)

        def told(x: Tensor, at: At) -> Tensor:
            mask = self.blocks(len(x), c.mask, c.least, at)
            guess = self.head(self.encoder.tokens(x, masked=mask).patches)
            mask = mask.flatten(1)
            return torch.stack([guess[mask], self.target(x)[mask]], 1)

        guess, target = torch.cat(self._over(data, rows, told)).unbind(1)
        error = (guess - target).square().mean() / target.var(0, correction=0).mean().clamp(min=1e-12)
        numbers = {"error relative to the mean feature": float(error), "spread of features": float(spread_of(target))}
        units = {"error relative to the mean feature": "0 to 1 and worse", "spread of features": "0 collapsed"}
        return joined(super().examine(data), Findings(numbers, units=units))

    @torch.no_grad()
    def target(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch patches d"]:
        """The mean of the twin's last blocks for the patches of whole images."""
        encoder, _ = self.twin
        layers = encoder.vit.layers(encoder.net.standard(x))[1:][-self.config.top :]
        return layers_mean([layer[:, 1:] for layer in layers], self.config.normalise)

    def after(self, at: At) -> None:
        """The twin follows."""
        keep = between(self.config.momentum, self.config.last_momentum, at.progress, "linear")
        self.teacher.follow(self.online(), keep)
