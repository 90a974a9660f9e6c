"""Disentangled contrastive collaborative filtering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.action import action
from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import At, Source, Terms
from unbraid.core.outcome import Table
from unbraid.core.parts import Parts, PartSpec
from unbraid.losses.contrastive import info_nce
from unbraid.methods.graph.recommender import Options, Recommender, Triple, interactions, position
from unbraid.ops.graph import Graph, cosines, propagate, shares

_EPS = 1e-8

SSLREC = {
    "variant": "sslrec",
    "temperature": 0.2,
    "contrast": 1e-2,
    "l2": 1e-4,
    "batch": 4096,
}


class Layer(NamedTuple):
    """What all nodes look like from one layer on: (nodes, width) each."""

    graph: Tensor
    intent: Tensor
    graph_masked: Tensor
    intent_masked: Tensor


class DCCF(Recommender["DCCF.Config"]):
    """Embeddings that gather neighbours and intents, and two views in which doubtful interactions count less.

    For each layer, with X_0 the embeddings of all users and items: 1. Graph view G = D^-1/2 A D^-1/2 X. 2. Intent view
    Z = softmax(X C) C^T, with prototypes C of the users and others of the items, the same in all layers. 3. Masks: an
    interaction weighs (cosine of both ends in G + 1) / 2, of a share of its head's; the view G' is the mean of X under
    these weights. Z' is the same by the cosines in Z. 4. X becomes G + Z + G' + Z' + X.

    An item is ranked by the product of its sum over X_0..X_L with the user's. Descend BPR, the squared norms of the X_0
    of the batch (a sum) and of the prototypes, and InfoNCE of G against Z, G' and Z' in each layer, among the users of
    the batch and among the items.

    Source:
        Ren et al., 2023, sections 3.1 to 3.4; DCCF, model.py; SSLRec for the variant "sslrec".
    """

    card = Card(
        name="dccf",
        title="Disentangled Contrastive Collaborative Filtering",
        paper="arXiv:2305.02759",
        year=2023,
        number=8,
        modality=("interactions",),
        needs=("user", "item"),
        scope="data",
        example="intents",
        tiny="intents:users=12,items=24,intents=3",
        summary="A recommender whose embeddings hold apart what neighbours tell, intents, and views without noise.",
        claim="Its masks find interactions that are noise, and contrast makes the intent view know the intents.",
    )
    aliases = {"dccf-sslrec": SSLREC}
    about = {"dccf-sslrec": "DCCF as SSLRec has it: other first numbers, all norms held down, a sharper contrast."}
    presets = {
        "gowalla": {"steps": 6000},
        "amazon-book": {"steps": 4000},
        "tmall": {"steps": 4000},
        "quick": {
            "intents": 16,
            "batch": 1024,
            "steps": 240,
            "l2": 2e-3,
            "contrast": 3e-3,
            "temperature": 0.2,
        },
        "tiny": {"width": 8, "intents": 4, "batch": 16, "steps": 6},
    }

    @dataclass(frozen=True)
    class Config(Options):
        """Options of DCCF.

        Attributes:
            width: Numbers in an embedding.
            layers: Steps over the graph.
            l2: Weight of the squared norms of the embeddings, summed over the batch.
            batch: Interactions per step, each of a user drawn evenly.
            steps: Steps of training: epochs of 40, of which the paper takes 150 (Gowalla) or 100.
            optim: How everything moves.
            intents: Prototypes of the users, and of the items.
            prototypes: Weight of the squared norms of the prototypes.
            contrast: Weight of InfoNCE.
            temperature: Of InfoNCE.
            variant: "sslrec" draws other numbers to begin with, holds down the norms of all parameters, contrasts the
                items not taken too, and divides the contrast of the items by the number of users.
        """

        l2: float = told(2.5e-5, by="code")
        batch: int = told(10_240, by="code")
        steps: int = told(6000, by="code")
        intents: int = told(128, by="code")
        prototypes: float = told(5e-3, by="code")
        contrast: float = told(0.1, by="code")
        temperature: float = told(1.0, by="code")
        variant: Literal["paper", "sslrec"] = told("paper", by="code")

        least = {**Options.least, "intents": 1}

    def __init__(self, config: DCCF.Config, fields: Fields) -> None:
        super().__init__(config, fields)
        self.user_intents = nn.Parameter(torch.empty(config.width, config.intents))
        self.item_intents = nn.Parameter(torch.empty(config.width, config.intents))
        begin = nn.init.xavier_normal_ if config.variant == "paper" else nn.init.xavier_uniform_
        for table in (self.users, self.items, self.user_intents, self.item_intents):
            begin(table)

    def parts(self) -> tuple[PartSpec, ...]:
        width = self.config.layers * self.config.width
        return (
            PartSpec("local", "vec", (width,)),
            PartSpec("intent", "vec", (width,), carries=("topic",)),
            PartSpec("augmented", "vec", (2 * width,)),
        )

    def layers(self) -> tuple[Float[Tensor, "nodes width"], list[Layer]]:
        """The embeddings that rank, and the views of each layer."""
        graph = self.graph
        x = total = torch.cat([self.users, self.items])
        views = []
        for _ in range(self.config.layers):
            near = propagate(x, graph, self.weights, symmetric=True)
            meant = torch.cat(
                [
                    intents(x[: self.n_users], self.user_intents),
                    intents(x[self.n_users :], self.item_intents),
                ]
            )
            masked = (propagate(x, graph, mask(view, graph)) for view in (near, meant))
            views.append(Layer(near, meant, *masked))
            x = torch.stack([*views[-1], x]).sum(0)
            total = total + x
        return total, views

    def travel(self) -> tuple[Float[Tensor, "nodes width"], Parts]:
        total, views = self.layers()
        return total, Parts(
            local=torch.cat([v.graph for v in views], 1),
            intent=torch.cat([v.intent for v in views], 1),
            augmented=torch.cat([t for v in views for t in (v.graph_masked, v.intent_masked)], 1),
        )

    def loss(self, batch: Batch, at: At) -> Terms:
        triple = self.triple(batch, at)
        final, views = self.layers()
        embeddings, prototypes = self.weight_norms(triple, at)
        return {
            "bpr": self.preference(final, triple),
            "embeddings": (self.config.l2, embeddings),
            "prototypes": (self.config.prototypes, prototypes),
            "contrast": (self.config.contrast, self.contrast(views, triple, at)),
        }

    def weight_norms(self, of: Triple, at: At) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Squared norms of the embeddings and of the prototypes."""
        prototypes = self.user_intents.square().sum() + self.item_intents.square().sum()
        if self.config.variant == "paper":
            return at.world.sum(self.norms(of).sum()), prototypes
        return self.users.square().sum() + self.items.square().sum(), prototypes

    def contrast(self, views: list[Layer], of: Triple, at: At) -> Float[Tensor, ""]:
        """InfoNCE of the graph view against the others, over the layers, for users and items of the whole batch."""
        sslrec = self.config.variant == "sslrec"
        users = torch.unique(at.world.gather(of.users))
        items = torch.unique(at.world.gather(torch.cat([of.items, of.others]) if sslrec else of.items))
        share = len(items) / len(users) if sslrec else 1.0
        terms = []
        for layer in views:
            anchor, *others = layer
            for nodes, weight in ((users, 1.0), (items + self.n_users, share)):
                terms += [
                    weight * info_nce(anchor[nodes], view[nodes], self.config.temperature, _EPS) for view in others
                ]
        return torch.stack(terms).sum()

    @action
    def edge_weights(self, user: str | None = None, layer: int = 1, data: Source | None = None) -> Table:
        """How much each interaction counts for its user in the masked views, as a share of all of the user's.

        Args:
            user: Only this user's, as the file of interactions calls the user; all users' where left out.
            layer: The layer whose masks are meant, from 1 on.
            data: The interactions that it was trained on.
        """
        known = interactions(data)
        if not 1 <= layer <= self.config.layers:
            raise ConfigError(f"a layer 1..{self.config.layers}", got=str(layer), where="--layer")
        row = None if user is None else position(known.users.ids, user, "--user")
        users, items, starts = self.taken()
        ours = slice(0, len(users)) if row is None else slice(int(starts[row]), int(starts[row + 1]))
        with torch.no_grad():
            _, views = self.layers()
            view = views[layer - 1]
            weights = {name: mask(getattr(view, name), self.graph)[ours].tolist() for name in ("graph", "intent")}
        return Table(
            {
                "user": [known.users.ids[i] for i in users[ours].tolist()],
                "item": [known.items.ids[i] for i in items[ours].tolist()],
                **weights,
            }
        )


def intents(x: Float[Tensor, "nodes width"], prototypes: Float[Tensor, "width intents"]) -> Tensor:
    """Each row as a mean of the prototypes, the better these agree with it the more they count."""
    return (x @ prototypes).softmax(1) @ prototypes.T


def mask(view: Float[Tensor, "nodes width"], graph: Graph) -> Float[Tensor, " edges"]:
    """The weight of each edge: how alike both ends look, as a share of all edges of its head."""
    return shares((cosines(view, graph) + 1) / 2, graph)
