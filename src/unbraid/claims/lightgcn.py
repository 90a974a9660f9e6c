"""LightGCN: the graph helps to rank."""

from __future__ import annotations

from typing import Any

from unbraid.claims.claim import Arm, Claim, Contrast, Metric
from unbraid.claims.scoring import Trained, found

FILMS = "interactions:interactions/movietweetings-100k,rating=7,core=10,seed=3"
"""Real interactions, below `UNBRAID_DATA`: ratings of 7 and more, users and items with 10 of them; an own split."""

SMALL = {"width": 32, "layers": 2, "batch": 1024, "steps": 480, "optim.lr": 5e-3}
"""Options of the recommenders on the made world: a few seconds for each arm and seed."""


def bare_recall(arm: Trained) -> float:
    """Recall@20 by the same embeddings before they travel."""
    import torch

    from unbraid.methods.graph.recommender import interactions
    from unbraid.metrics.ranking_lists import Lists, recall_ndcg

    method: Any = arm.method
    data = interactions(arm.data)
    held = Lists(data.held, len(data.users.ids))
    with torch.no_grad():
        return recall_ndcg(method.users, method.items, method.seen(), held, (20,))["recall@20"]


RECALL = found("recall@20", "Share of a user's held-out items among the 20 that rank highest, of all not taken.")
NDCG = found("ndcg@20", "NDCG of the 20 items that rank highest.")

CLAIM = Claim(
    method="lightgcn",
    task=(
        "The made world `intents`: 500 users, 400 items, 5,500 interactions of which a fifth are noise, 3,000 held "
        "out. 480 steps of 1,024 interactions at rate 0.005, width 32, 2 layers; the baseline has none, which is "
        "matrix factorisation by BPR. Either side has the weight of the norms that was best on other seeds: 0.03 and "
        "0.13, and 0.01 and 0.06 on the films."
    ),
    data="intents",
    settings=SMALL,
    arms=(
        Arm("lightgcn", "lightgcn", {"l2": 0.03}),
        Arm("no graph", "lightgcn", {"l2": 0.13, "layers": 0}),
        Arm("lightgcn, films", "lightgcn", {"l2": 0.01}, FILMS),
        Arm("no graph, films", "lightgcn", {"l2": 0.06, "layers": 0}, FILMS),
    ),
    contrasts=(
        Contrast("It ranks held-out items higher than without the graph.", "recall@20", "lightgcn", "no graph"),
        Contrast("The same by NDCG.", "ndcg@20", "lightgcn", "no graph"),
        Contrast(
            "On real interactions with films it ranks held-out ones higher than without the graph.",
            "recall@20",
            "lightgcn, films",
            "no graph, films",
        ),
        Contrast(
            "Its embeddings, before they travel, against those of matrix factorisation.",
            "recall@20 before the travel",
            "lightgcn",
            "no graph",
            expect="report",
        ),
    ),
    metrics={
        "recall@20": RECALL,
        "ndcg@20": NDCG,
        "recall@20 before the travel": Metric(
            "Recall@20 by the embeddings of training as they are, without the graph.", bare_recall
        ),
    },
    note=(
        "The films are the first 100,000 ratings of MovieTweetings, those of 7 and more, with 1,311 users and 682 "
        "films that have 10 of them each; their rows are left out where the files are not below `UNBRAID_DATA`."
    ),
)
