"""DCCF: masks that find noise, and intents that contrast makes known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unbraid.claims.claim import Arm, Claim, Contrast, Gate, Metric
from unbraid.claims.lightgcn import FILMS, NDCG, RECALL, SMALL
from unbraid.claims.scoring import Trained

if TYPE_CHECKING:
    from unbraid.core.method import Method

ON_FILMS = {
    "intents": 16,
    "steps": 240,
    "optim.lr": 1e-3,
    "l2": 2e-3,
    "contrast": 3e-3,
    "temperature": 0.2,
}


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """What holds of masks and losses whatever was learnt, on a small world of intents before training."""
    import torch

    from unbraid.core.config import override
    from unbraid.core.method import At
    from unbraid.data.made.intents import Intents
    from unbraid.methods.graph.dccf import mask
    from unbraid.training.build import build

    data = Intents(users=60, items=60, intents=4)
    method: Any = build(cls, override(cls.Config(), {"width": 8, "intents": 4}), data.fields, seed=0)
    method.connect({"train": data}, At())
    with torch.no_grad():
        _, views = method.layers()
        graph = method.graph
        sums = [
            torch.zeros(120).index_add(0, graph.heads, mask(view, graph))[graph.degrees > 0]
            for layer in views
            for view in (layer.graph, layer.intent)
        ]
        terms = method.loss(data.take(torch.arange(64)), At())
    finite = [torch.isfinite(t[1] if isinstance(t, tuple) else t).all() for t in terms.values()]
    astray = float((torch.cat(sums) - 1).abs().max())
    return (
        Gate(
            "The weights of a node's interactions sum to 1 under every mask.", "largest miss", astray, 0.0, margin=1e-5
        ),
        Gate("All four losses are finite.", "finite losses", float(sum(finite)), 4.0),
    )


def mask_auc(arm: Trained, view: str) -> float:
    """How well a mask tells true interactions from noise: its weight among the user's, averaged over the layers."""
    import torch
    from sklearn.metrics import roc_auc_score

    from unbraid.methods.graph.dccf import mask

    method: Any = arm.method
    data: Any = arm.data
    with torch.no_grad():
        _, views = method.layers()
        weights = torch.stack([mask(getattr(layer, view), method.graph) for layer in views]).mean(0)
    return float(roc_auc_score(~data.noise.numpy(), weights[: len(data)].numpy()))


def intents_found(arm: Trained, part: str) -> float:
    """Normalised mutual information of the items' intents with the clusters of a part, as many as there are intents."""
    import numpy as np
    from sklearn.cluster import KMeans

    from unbraid.metrics.information import entropy, label_encode, mutual_information

    data: Any = arm.data
    truth = data.items.table.column("intent")[:, None]
    rows = arm.parts.matrix(part)[len(data.users.ids) :].numpy()
    clusters = KMeans(len(np.unique(truth)), n_init=10, random_state=0).fit_predict(rows)[:, None]
    one, two = label_encode(truth), label_encode(clusters)
    return float(mutual_information(two, one)[0, 0] / (0.5 * (entropy(one)[0] + entropy(two)[0])))


CLAIM = Claim(
    method="dccf",
    task=(
        "The made world `intents`: 500 users of 2 intents each, 400 items of 8 intents, 5,500 interactions of which a "
        "fifth serve no intent of their user, 3,000 held out. 480 steps of 1,024 interactions at rate 0.005, width 32, "
        "2 layers, 16 prototypes, weight 0.02 of the contrast. And real interactions with films, where there are 240 "
        "steps of 1,024, and every setting of either method was chosen on other splits."
    ),
    data="intents",
    settings={**SMALL, "l2": 1e-4},
    gates=gates,
    arms=(
        Arm("dccf", "dccf", {"intents": 16, "contrast": 0.02}),
        Arm("no contrast", "dccf", {"intents": 16, "contrast": 0.0}),
        Arm("lightgcn", "lightgcn", {"l2": 1e-3}),
        Arm("dccf, films", "dccf", ON_FILMS, FILMS),
        Arm("lightgcn, films", "lightgcn", {"steps": 240, "optim.lr": 1e-2, "l2": 1e-2}, FILMS),
    ),
    contrasts=(
        Contrast(
            "The mask of the graph view weighs true interactions above noise.", "graph mask", "dccf", 0.5, margin=0.15
        ),
        Contrast(
            "Contrast makes the intent view know the items' intents.",
            "intents in the intent view",
            "dccf",
            "no contrast",
            margin=0.2,
        ),
        Contrast("How well the mask of the intent view tells noise.", "intent mask", "dccf", 0.5, expect="report"),
        Contrast("Recall against LightGCN.", "recall@20", "dccf", "lightgcn", expect="report"),
        Contrast("NDCG against LightGCN.", "ndcg@20", "dccf", "lightgcn", expect="report"),
        Contrast(
            "On real interactions with films it ranks those held out higher than LightGCN, by Recall.",
            "recall@20",
            "dccf, films",
            "lightgcn, films",
        ),
        Contrast(
            "On real interactions with films it ranks those held out higher than LightGCN, by NDCG.",
            "ndcg@20",
            "dccf, films",
            "lightgcn, films",
        ),
        Contrast("Recall against what it is without contrast.", "recall@20", "dccf", "no contrast", expect="report"),
    ),
    metrics={
        "recall@20": RECALL,
        "ndcg@20": NDCG,
        "graph mask": Metric(
            "Area under the ROC curve of true interactions against noise by their weight in the masked graph view.",
            lambda arm: mask_auc(arm, "graph"),
        ),
        "intent mask": Metric(
            "The same by their weight in the masked intent view.", lambda arm: mask_auc(arm, "intent")
        ),
        "intents in the intent view": Metric(
            "Normalised mutual information of the items' intents with 8 clusters (k-means) of their intent view.",
            lambda arm: intents_found(arm, "intent"),
        ),
    },
    note=(
        "The films are those of the claim of `lightgcn`. What either method has there was chosen on two other splits: "
        "rate, steps and weight of the norms of LightGCN, rate and weights of norms and contrast of DCCF. Equal are "
        "steps, batches and widths, not time: a step of DCCF takes about eight times as long, though more steps do not "
        "help LightGCN. The lead hangs on these weights. With the paper's contrast (0.1 at temperature 1) DCCF ranks "
        "films worse than their popularity does (Recall@20 of 0.27 and 0.30). On the made world the settings are such "
        "that show what masks and contrast do, and rank badly; with those of the films and twice the rate, Recall@20 "
        "is 0.32 on seed 1, and LightGCN's 0.37 at its best. Whether DCCF leads at the paper's own settings takes a "
        "million interactions to see."
    ),
)
