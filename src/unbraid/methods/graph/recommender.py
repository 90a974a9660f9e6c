"""What recommenders over the graph of interactions have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.core.action import action
from unbraid.core.card import told
from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import At, Budget, Method, Optim, Source, Stage, Stream, Terms, Update
from unbraid.core.outcome import Findings, Table
from unbraid.core.parts import Parts
from unbraid.data.interactions import Interactions, by_user
from unbraid.losses.ranking import bpr
from unbraid.metrics.ranking_lists import MASKED, Lists, recall_ndcg
from unbraid.ops.graph import Graph, graph_of, symmetric_weights

_BLOCK = 2**20
_MANY = 2**62


@dataclass(frozen=True)
class Options:
    """Options of every recommender over a graph.

    Attributes:
        width: Numbers in an embedding.
        layers: Steps over the graph.
        l2: Weight of the squared norms of the embeddings.
        batch: Interactions per step, each of a user drawn evenly.
        steps: Steps of training.
        optim: How everything moves.
    """

    width: int = told(32, by="code")
    layers: int = told(2, by="code")
    l2: float = told(1e-4, by="code")
    batch: int = told(2048, by="code")
    steps: int = told(10_000, by="ours")
    optim: Optim = told(Optim("adam", lr=1e-3), by="code")

    least: ClassVar[Mapping[str, int]] = {"width": 1, "layers": 1, "batch": 1, "steps": 1}

    def __post_init__(self) -> None:
        for name, least in self.least.items():
            if getattr(self, name) < least:
                raise ConfigError(f"a whole number from {least} on", got=str(getattr(self, name)), where=name)


C = TypeVar("C", bound=Options)


class Triple(NamedTuple):
    """Users, an item that each took, and one that he did not."""

    users: Int[Tensor, " batch"]
    items: Int[Tensor, " batch"]
    others: Int[Tensor, " batch"]


class Recommender(Method[C]):
    """Embeddings of users and items whose inner product ranks items, after they travelled over the graph.

    The graph is that of the training interactions; nodes are the users, then the items.
    """

    starts: Tensor
    heads: Tensor
    tails: Tensor
    twins: Tensor
    weights: Tensor
    gaps: Tensor
    final: Tensor

    def __init__(self, config: C, fields: Fields) -> None:
        super().__init__(config, fields)
        self.n_users, self.n_items = _count(fields, "user"), _count(fields, "item")
        self.users = nn.Parameter(torch.empty(self.n_users, config.width))
        self.items = nn.Parameter(torch.empty(self.n_items, config.width))
        for name in ("starts", "heads", "tails", "twins"):
            self.slot(name, torch.int32)
        self.slot("weights")
        self.slot("gaps", torch.int64)
        # What `refresh` computes from the rest, and no file has to hold.
        for name in ("final", *(_cache(spec.name) for spec in self.parts())):
            self.register_buffer(name, torch.zeros(0), persistent=False)

    def stages(self) -> Sequence[Stage]:
        stream = Stream(self.config.batch, order="iid", draw=by_user)
        update = Update("rank", self.loss, lambda: [self], self.config.optim)
        return [Stage("fit", [update], Budget(self.config.steps), {"": stream}, solve=self.connect)]

    def loss(self, batch: Batch, at: At) -> Terms:
        """The terms that training descends."""
        raise NotImplementedError(f"{type(self).__name__}.loss")

    def travel(self) -> tuple[Float[Tensor, "nodes width"], Parts]:
        """The embeddings that rank, and the parts, of all nodes."""
        raise NotImplementedError(f"{type(self).__name__}.travel")

    # ------------------------------------------------------------------------------------------------- the graph

    def connect(self, sources: Mapping[str, Source], at: At) -> None:
        """Learn the graph from the training interactions."""
        data = sources["train"]
        blocks = (data.take(rows, at.device) for rows in torch.split(torch.arange(len(data)), _BLOCK))
        pairs = torch.cat([torch.stack([b["user"], b["item"] + self.n_users], 1) for b in blocks])
        graph = graph_of(pairs, self.n_users + self.n_items)
        if int(graph.degrees[: self.n_users].max()) >= self.n_items:
            fix = "leave out who took everything: no item could stand against those taken"
            raise DataError("users who did not take every item", got="one who did", fix=fix, where="interactions")
        self.starts, self.heads, self.tails, self.twins = graph
        self.weights = symmetric_weights(graph)
        users, items, starts = self.taken()
        within = torch.arange(len(users), device=at.device) - starts[users]
        self.gaps = users * (self.n_items + 1) + items - within

    @property
    def graph(self) -> Graph:
        """Who is whose neighbour; nobody is, as long as no data were seen."""
        if not len(self.starts):
            nobody = torch.zeros((0, 2), dtype=torch.int64, device=self.users.device)
            return graph_of(nobody, self.n_users + self.n_items)
        return Graph(self.starts, self.heads, self.tails, self.twins)

    def taken(self) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"], Int[Tensor, " users_and_one"]]:
        """User and item of each training interaction, in the order of the users, and where each user's begin."""
        graph = self.graph
        starts = graph.starts[: self.n_users + 1].long()
        ours = slice(0, int(starts[-1]))
        return graph.heads[ours].long(), graph.tails[ours].long() - self.n_users, starts

    def seen(self) -> Lists:
        """The items of each user's training interactions."""
        users, items, _ = self.taken()
        return Lists(torch.stack([users, items], 1), self.n_users)

    def triple(self, batch: Batch, at: At) -> Triple:
        """The users of a batch, what they took, and what they did not."""
        return Triple(batch["user"], batch["item"], self.negatives(batch["user"], at))

    def preference(self, final: Float[Tensor, "nodes width"], of: Triple) -> Float[Tensor, " batch"]:
        """How little each user prefers, by these embeddings, what he took to what he did not."""
        users, items = final[: self.n_users][of.users], final[self.n_users :]
        return bpr((users * items[of.items]).sum(1), (users * items[of.others]).sum(1))

    def norms(self, of: Triple) -> Float[Tensor, " batch"]:
        """Squared norms of the embeddings before their travel, summed over the triple."""
        rows = self.users[of.users], self.items[of.items], self.items[of.others]
        return torch.stack([row.square().sum(1) for row in rows]).sum(0)

    def negatives(self, users: Int[Tensor, " batch"], at: At) -> Int[Tensor, " batch"]:
        """For each user an item that he did not take, evenly drawn.

        `gaps` says how many items not taken come before each one taken: the item not taken of rank r follows as many
        taken ones as have at most r before them.
        """
        starts = self.starts[: self.n_users + 1].long()
        first, last = starts[users], starts[users + 1]
        rank = at.randint(_MANY, (len(users),)) % (self.n_items - (last - first))
        passed = torch.searchsorted(self.gaps, users * (self.n_items + 1) + rank, right=True) - first
        return rank + passed

    # ------------------------------------------------------------------------------------------ once it is trained

    def refresh(self) -> None:
        """Let the embeddings travel once, for all that is asked afterwards."""
        with torch.no_grad():
            self.final, parts = self.travel()
        for name, part in parts.items():
            setattr(self, _cache(name), part)

    def encode(self, batch: Batch) -> Parts:
        """The parts of the nodes named by the field `node`."""
        if not len(self.final):
            self.refresh()
        return Parts({spec.name: getattr(self, _cache(spec.name))[batch["node"]] for spec in self.parts()})

    def rank(self, users: Int[Tensor, " batch"]) -> Float[Tensor, "batch items"]:
        """The score of every item for some users; those of items they took lie below all others."""
        if not len(self.final):
            self.refresh()
        scores = self.final[users] @ self.final[self.n_users :].T
        rows, items = self.seen().of(users).unbind(1)
        scores[rows, items] = MASKED
        return scores

    def examine(self, data: Source) -> Findings:
        """Recall and NDCG at 20 and 40 of the interactions held out, out of all items that a user did not take."""
        known = interactions(data)
        if not len(self.final):
            self.refresh()
        held = Lists(known.held.to(self.users.device), self.n_users)
        found = recall_ndcg(self.final[: self.n_users], self.final[self.n_users :], self.seen(), held)
        users, pairs = int((held.sizes > 0).sum()), len(known.held)
        notes = [f"Means over the {users:,} users of whom something was held out, {pairs:,} interactions in all."]
        return Findings(found, units=dict.fromkeys(found, "0..1"), notes=notes if pairs else ["Nothing was held out."])

    @action
    def recommend(self, user: str, k: int = 10, data: Source | None = None) -> Table:
        """The items that a user would like best, of those not taken yet.

        Args:
            user: The user, as the file of interactions calls it.
            k: How many items; fewer where fewer are left.
            data: The interactions that it was trained on.
        """
        known = interactions(data)
        row = position(known.users.ids, user, "--user")
        if not 1 <= k <= self.n_items:
            raise ConfigError(f"1..{self.n_items} items", got=str(k), where="--k")
        scores, best = self.rank(torch.tensor([row], device=self.users.device))[0].topk(k)
        new = scores > MASKED
        rows = best[new].tolist()
        columns: dict[str, list[Any]] = {"item": [known.items.ids[i] for i in rows], "score": scores[new].tolist()}
        if known.items.titles:
            columns["title"] = [known.items.titles[i] for i in rows]
        return Table(columns)


def interactions(data: Any) -> Interactions:
    """The data, if they are interactions."""
    if not isinstance(data, Interactions):
        raise DataError("interactions", got=type(data).__name__, fix="use interactions:PATH", where="data")
    return data


def position(ids: Sequence[str], name: str, where: str) -> int:
    """Which user or item it is that a file calls by a name."""
    if name not in ids:
        hint = nearest(name, ids)
        fix = hint if hint.startswith("did") else f"there are {len(ids):,}, such as '{ids[0]}'"
        raise ConfigError("one that the interactions know", got=f"'{name}'", fix=fix, where=where)
    return ids.index(name)


def _cache(part: str) -> str:
    return f"cached_{part}"


def _count(fields: Fields, name: str) -> int:
    count = fields[name].classes
    if count is None:
        raise DataError(f"how many values the field '{name}' takes", got="nothing", where="fields")
    return count
