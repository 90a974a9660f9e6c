"""DCCF's views, losses and gradients, and its ranking scores, against the authors' code."""

import numpy as np
import torch

from unbraid.core.fields import Field, Fields
from unbraid.core.method import Alone, At
from unbraid.methods.graph.dccf import DCCF
from unbraid.methods.graph.recommender import Triple
from unbraid.metrics.ranking_lists import Lists, recall_ndcg

SLUG = "08-dccf"
OURS = {
    "user_embedding": "users",
    "item_embedding": "items",
    "user_intent": "user_intents",
    "item_intent": "item_intents",
}
VIEWS = {"gnn": "graph", "intent": "intent", "gaa": "graph_masked", "iaa": "intent_masked"}
SETTINGS = {"temp": "temperature", "emb_reg": "l2", "cen_reg": "prototypes", "ssl_reg": "contrast"}


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    return _ranking(arrays) if "relevance" in arrays else _model(arrays)


def _ranking(arrays: dict[str, np.ndarray]) -> set[str]:
    scores, relevant = torch.tensor(arrays["scores"]), torch.tensor(arrays["relevance"]) > 0
    ks, (n_users, _) = arrays["K"].tolist(), scores.shape
    held = Lists(relevant.nonzero(), n_users)
    nothing = Lists(torch.zeros((0, 2), dtype=torch.int64), n_users)
    ours = recall_ndcg(torch.eye(n_users, dtype=scores.dtype), scores.T.contiguous(), nothing, held, ks)
    for key in ("recall", "ndcg"):
        np.testing.assert_allclose([ours[f"{key}@{k}"] for k in ks], arrays[key], atol=1e-6, err_msg=key)
    return {"scores", "relevance", "K", "recall", "ndcg"}


def _model(arrays: dict[str, np.ndarray]) -> set[str]:
    method = _built(arrays)
    final, views = method.layers()
    n_users = method.n_users
    found = {
        **{key: torch.stack([getattr(layer, view) for layer in views]) for key, view in VIEWS.items()},
        "final_user": final[:n_users],
        "final_item": final[n_users:],
        "scores": final[:n_users] @ final[n_users:].T,
    }
    for key, value in found.items():
        np.testing.assert_allclose(value.detach().numpy(), arrays[key], rtol=2e-4, atol=2e-5, err_msg=key)
    triple = Triple(*(torch.tensor(arrays[key]) for key in ("users", "pos", "neg")))
    embeddings, prototypes = method.weight_norms(triple, At(world=Alone()))
    losses = {
        "mf_loss": method.preference(final, triple).mean(),
        "emb_loss": method.config.l2 * embeddings,
        "cen_loss": method.config.prototypes * prototypes,
        "cl_loss": method.config.contrast * method.contrast(views, triple, At(world=Alone())),
    }
    for key, value in losses.items():
        np.testing.assert_allclose(value.item(), arrays[key], rtol=1e-4, err_msg=key)
    gradients = torch.autograd.grad(
        torch.stack(list(losses.values())).sum(), [getattr(method, ours) for ours in OURS.values()]
    )
    for key, gradient in zip(OURS, gradients, strict=True):
        np.testing.assert_allclose(gradient.numpy(), arrays[f"grad_{key}"], rtol=2e-4, atol=2e-5, err_msg=key)
    inputs = {"edges", "n_users", "n_items", "users", "pos", "neg", *SETTINGS, *OURS}
    return inputs | set(found) | set(losses) | {f"grad_{key}" for key in OURS}


class _Edges:
    """The case's interactions, as a source."""

    def __init__(self, pairs: torch.Tensor) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def take(self, indices: torch.Tensor, device: object = "cpu") -> dict[str, torch.Tensor]:
        return {"user": self.pairs[indices, 0], "item": self.pairs[indices, 1]}


def _built(arrays: dict[str, np.ndarray]) -> DCCF:
    width, intents = arrays["user_intent"].shape
    options = {ours: float(arrays[theirs]) for theirs, ours in SETTINGS.items()}
    config = DCCF.Config(width=width, layers=len(arrays["gnn"]), intents=intents, **options)
    counts = {side: Field((), "int64", classes=int(arrays[f"n_{side}s"])) for side in ("user", "item")}
    method = DCCF(config, Fields(**counts))
    method.connect({"train": _Edges(torch.tensor(arrays["edges"]))}, At())
    method.load_tensors(method.tensors() | {ours: torch.tensor(arrays[theirs]) for theirs, ours in OURS.items()})
    return method
