"""LightGCN."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.card import Card, told
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import At, Terms
from unbraid.core.parts import Parts, PartSpec
from unbraid.methods.graph.recommender import Options, Recommender
from unbraid.ops.graph import propagate


class LightGCN(Recommender["LightGCN.Config"]):
    """Embeddings averaged over their own travels along the graph of interactions (He et al., 2020).

    1. X_0: an embedding of each user and item. 2. X_{l+1} = D^-1/2 A D^-1/2 X_l, for L layers. 3. A user likes an item
    as much as their means over X_0..X_L agree. 4. Descend BPR against an item that the user did not take, and the
    squared norms of the X_0 of the batch.
    """

    card = Card(
        name="lightgcn",
        title="LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation",
        paper="arXiv:2002.02126",
        year=2020,
        modality=("interactions",),
        needs=("user", "item"),
        scope="data",
        example="intents",
        tiny="intents:users=12,items=24,intents=3",
        summary="Embeddings of users and items, smoothed over the graph of who took what, that rank items.",
    )
    presets = {
        "quick": {"width": 32, "layers": 2, "batch": 1024, "steps": 480, "l2": 1e-2, "optim.lr": 5e-3},
        "tiny": {"width": 8, "layers": 2, "batch": 16, "steps": 6},
    }

    @dataclass(frozen=True)
    class Config(Options):
        """Options of LightGCN.

        Attributes:
            width: Numbers in an embedding.
            layers: Steps over the graph; none is matrix factorisation.
            l2: Weight of half the squared norms of the embeddings, averaged over the batch.
            batch: Interactions per step, each of a user drawn evenly.
            steps: Steps of training.
            optim: How everything moves.
        """

        least = {**Options.least, "layers": 0}

        width: int = told(64, by="paper")
        layers: int = told(3, by="paper")

    def __init__(self, config: LightGCN.Config, fields: Fields) -> None:
        super().__init__(config, fields)
        for table in (self.users, self.items):
            nn.init.normal_(table, std=0.1)

    def parts(self) -> tuple[PartSpec, ...]:
        return (PartSpec("local", "vec", (self.config.width,)),)

    def travel(self) -> tuple[Float[Tensor, "nodes width"], Parts]:
        graph = self.graph
        x = total = torch.cat([self.users, self.items])
        for _ in range(self.config.layers):
            x = propagate(x, graph, self.weights, symmetric=True)
            total = total + x
        mean = total / (self.config.layers + 1)
        return mean, Parts(local=mean)

    def loss(self, batch: Batch, at: At) -> Terms:
        triple = self.triple(batch, at)
        final, _ = self.travel()
        return {"bpr": self.preference(final, triple), "l2": (self.config.l2, self.norms(triple) / 2)}
