"""Small networks that judge pictures of heads: their factors, their attributes, who they are, how alike they look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unbraid.core.errors import DataError, nearest
from unbraid.core.fields import Batch, Field, Fields
from unbraid.data.dataset import Dataset, MemoryDataset
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.made.heads import GROUPS, NAMES
from unbraid.data.made.portraits import Heads, sample
from unbraid.data.order import key_of
from unbraid.data.origin import origin_of
from unbraid.data.wrapped import Wrapped
from unbraid.losses.margin import margin_logits
from unbraid.losses.perceptual import feature_l1, pyramid_l1
from unbraid.nets.probe import FactorProbe, UnitEncoder
from unbraid.standins.learning import chance, descend

IDENTITY = (*GROUPS["identity"], "skin_tone")
"""The factors that tell who somebody is."""


@dataclass(frozen=True)
class Probe:
    """A network that tells factors of pictures: in the place of regressors of pose, expression and the like.

    It descends the squared error, each factor in its own units, by Adam, on the data or those that they come from. It
    is the same for every seed, as a checkpoint is.

    Attributes:
        names: The factors; all that the data have where empty.
        steps: Of training.
        batch: Items per step.
        lr: Learning rate, which falls along a cosine.
    """

    names: tuple[str, ...] = ()
    steps: int = 1500
    batch: int = 48
    lr: float = 2e-3

    seedless = True

    def shape(self, fields: Fields) -> FactorProbe:
        """The network before training."""
        return FactorProbe(fields["x"], self._known(fields))

    def make(self, data: Dataset, seed: int) -> FactorProbe:
        """The network, trained."""
        source = origin_of(data) or data
        with chance("probe"):
            net = self.shape(source.fields)
        where = [source.fields["factors"].names.index(name) for name in net.names]

        def loss(batch: Batch) -> Tensor:
            known = batch["known"][:, where]
            return functional.mse_loss(net(batch["x"])[known], batch["factors"][:, where][known])

        descend(net, source, loss, key_of("probe"), steps=self.steps, batch=self.batch, lr=self.lr, cosine=True)
        return net

    def _known(self, fields: Fields) -> tuple[str, ...]:
        known = fields["factors"].names
        for name in self.names:
            if name not in known:
                raise DataError(f"data with the factor '{name}'", got=", ".join(known), fix=nearest(name, known))
        return self.names or known


class AttributeScores(nn.Module):
    """Scores of some factors, and logits of classes that the range 0 to 1 of others is cut into.

    The logit of a class falls with the squared distance of the factor from the middle of the class.

    Args:
        probe: Tells these factors.
        classes: Of each factor, 1 for a score.

    Attributes:
        names: Of the factors.
        classes: As given.
    """

    def __init__(self, probe: FactorProbe, classes: tuple[int, ...]) -> None:
        super().__init__()
        self.probe = probe
        self.names, self.classes = probe.names, classes

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch outputs"]:
        """One column for each score, and for each class."""
        told = self.probe(x).unbind(1)
        columns = [
            factor[:, None] if n == 1 else near_middle(factor, n) for factor, n in zip(told, self.classes, strict=True)
        ]
        return torch.cat(columns, 1)


def near_middle(factor: Float[Tensor, " batch"], classes: int, width: float = 0.1) -> Float[Tensor, "batch classes"]:
    """Logits of the equal stretches that 0..1 is cut into.

    >>> near_middle(torch.tensor([0.1, 0.5, 2.0]), 3).argmax(1).tolist()
    [0, 1, 2]
    """
    middles = (torch.arange(classes, device=factor.device) + 0.5) / classes
    return -0.5 * ((factor[:, None] - middles) / width).square()


@dataclass(frozen=True)
class Scorer:
    """`AttributeScores` in the place of a classifier of attributes, for pictures that codes were made from.

    Attributes:
        names: The factors that are scored.
        classes: Of each, 1 for a score.
        probe: How the probe learns.
    """

    names: tuple[str, ...] = ("glasses", "beard", "smile", "hair_tone")
    classes: tuple[int, ...] = (1, 1, 1, 3)
    probe: Probe = Probe()

    seedless = True

    def fits(self, fields: Fields) -> bool:
        """Whether there are codes, pictures and these factors."""
        known = fields["factors"].names if "factors" in fields else ()
        return "latent" in fields and len(fields["x"].shape) == 3 and set(self.names) <= set(known)

    def shape(self, fields: Fields) -> AttributeScores:
        """The network before training."""
        return AttributeScores(self._probe.shape(fields), self.classes)

    def make(self, data: Dataset, seed: int) -> AttributeScores:
        """The network, trained."""
        return AttributeScores(self._probe.make(data, seed), self.classes)

    @property
    def _probe(self) -> Probe:
        return Probe(self.names, self.probe.steps, self.probe.batch, self.probe.lr)


@dataclass(frozen=True)
class Identity:
    """A network that embeds who is shown, in the place of a recogniser of faces.

    It learns to tell made people apart, with an additive margin between the angles (`losses.margin`): each person is
    twelve factors of the face and a skin tone, shown in heads that are else those of the data. People whom it never saw
    are told apart by the cosine of their embeddings.

    Attributes:
        people: How many.
        each: Pictures of each.
        out: Numbers in an embedding.
        scale: Of the logits.
        margin: In radians.
        steps: Of training.
        batch: Items per step.
        lr: Learning rate, which falls along a cosine.
    """

    people: int = 200
    each: int = 20
    out: int = 64
    scale: float = 16.0
    margin: float = 0.2
    steps: int = 1500
    batch: int = 48
    lr: float = 2e-3

    seedless = True

    def fits(self, fields: Fields) -> bool:
        """Whether there are codes and pictures of heads."""
        known = fields["factors"].names if "factors" in fields else ("",)
        return "latent" in fields and len(fields["x"].shape) == 3 and set(known) <= set(NAMES)

    def shape(self, fields: Fields) -> UnitEncoder:
        """The network before training."""
        return UnitEncoder(fields["x"], self.out)

    def make(self, data: Dataset, seed: int) -> UnitEncoder:
        """The network, trained on people in heads like those of the data."""
        crowd = people(heads_of(data), self.people, self.each, key_of("identity"))
        with chance("identity"):
            net, weight = self.shape(data.fields), nn.Parameter(torch.randn(self.people, self.out))

        def loss(batch: Batch) -> Tensor:
            logits = margin_logits(net(batch["x"]), weight, batch["factors"][:, 0].long(), self.scale, self.margin)
            return functional.cross_entropy(logits, batch["factors"][:, 0].long())

        descend(
            nn.ModuleList([net, nn.ParameterList([weight])]),
            crowd,
            loss,
            key_of("identity"),
            steps=self.steps,
            batch=self.batch,
            lr=self.lr,
        )
        return net


def people(data: Heads, count: int, each: int, seed: int) -> MemoryDataset:
    """Pictures of made people, whose number is the factor `person`: who they are from anywhere, all else from data."""
    generator = torch.Generator().manual_seed(seed)
    who = torch.arange(count).repeat_interleave(each)
    heads = data.heads[torch.randint(len(data), (count * each,), generator=generator)].clone()
    columns = [NAMES.index(name) for name in IDENTITY]
    heads[:, columns] = sample(count, generator)[who][:, columns]
    x = torch.cat([(data.pictures(some) * 255).round().to(torch.uint8) for some in torch.split(heads, 64)])
    person = Factor("person", "categorical", tuple(map(str, range(count))))
    return MemoryDataset("people", x, FactorTable([person], who[:, None].double().numpy()))


def heads_of(data: Any) -> Heads:
    """The pictures of heads that data are, or come from.

    Raises:
        DataError: They are none.
    """
    inner = origin_of(data) or data
    while isinstance(inner, Wrapped):
        inner = inner.inner
    if not isinstance(inner, Heads):
        got = getattr(inner, "name", type(inner).__name__)
        raise DataError("made portraits, for a stand-in that knows faces", got=got, fix="give a network of your own")
    return inner


class PerceptualNet(nn.Module):
    """How differently two pictures look: to a probe, and pixel by pixel at three sizes.

    Args:
        field: Of the pictures.
        names: What the probe tells.
    """

    def __init__(self, field: Field, names: tuple[str, ...]) -> None:
        super().__init__()
        self.probe = FactorProbe(field, names)

    def forward(self, x: Float[Tensor, "batch c h w"], y: Float[Tensor, "batch c h w"]) -> Float[Tensor, " batch"]:
        """The distance of each pair."""
        return feature_l1(self.probe.maps(x), self.probe.maps(y)) + pyramid_l1(x, y)


@dataclass(frozen=True)
class Perceptual:
    """`PerceptualNet` in the place of distances between the features of a large classifier.

    Attributes:
        probe: Whose maps are compared.
    """

    probe: Probe = Probe()

    seedless = True

    def shape(self, fields: Fields) -> PerceptualNet:
        """The network before training."""
        return PerceptualNet(fields["x"], self.probe.shape(fields).names)

    def make(self, data: Dataset, seed: int) -> PerceptualNet:
        """The network, its probe trained."""
        with chance("perceptual"):
            net = self.shape((origin_of(data) or data).fields)
        net.probe.load_state_dict(self.probe.make(data, seed).state_dict())
        return net.eval()


PROBE, SCORER, IDENTITY_ENCODER, PERCEPTUAL = Probe(), Scorer(), Identity(), Perceptual()
