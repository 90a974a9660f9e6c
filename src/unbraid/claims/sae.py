"""Sparse autoencoders: what their features control, what sparsity costs them, and two ways in which they go wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from unbraid.claims.claim import SEEDS, Arm, Claim, Contrast, Gate, Metric
from unbraid.claims.scoring import Trained

if TYPE_CHECKING:
    from torch import Tensor

    from unbraid.core.method import Method

_KINDS = {
    "relu": {"kind": "relu", "sparsity": 1.5},
    "topk": {"kind": "topk", "k": 8},
    "gated": {"kind": "gated", "sparsity": 3.0},
}
_CALLED = {"relu": "a ReLU", "topk": "a TopK", "gated": "a gated"}
_SMALL = {
    "width": 512,
    "batch": 128,
    "steps": 800,
    "optim.lr": 3e-3,
    "optim.schedule.warmup": 0,
    "optim.schedule.hold": 0.5,
    "attributes": ("io",),
    "items": 500,
}
_OCCLUDED = {
    "kind": "topk",
    "k": 2,
    "width": 160,
    "batch": 256,
    "steps": 1000,
    "optim.lr": 3e-3,
    "optim.schedule.warmup": 0,
    "optim.schedule.hold": 0.5,
    "items": 1600,
}
_PRICE = 1.0


def number(name: str) -> Metric:
    """One of the numbers of the examination."""
    return Metric(f'The examination\'s "{name}".', lambda arm: arm.findings.numbers[name])


def one_edit(arm: Trained) -> float:
    """Agreement of edits of the indirect object: by its vectors, or by two features."""
    numbers = arm.findings.numbers
    return numbers["io, edited"] if "io, edited" in numbers else numbers["io, k=2"]


# --------------------------------------------------------------------------------------------------------- the gates


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """Over-splitting by algebra, occlusion by training, and what the autoencoder's steps keep."""
    return [*_splitting(), _occlusion(cls), *_steps(cls)]


def _splitting() -> Iterator[Gate]:
    """Two clouds around a mean and its opposite: two features are all there is, and many cost less."""
    import torch

    from unbraid.data.made.directions import blobs

    data = blobs()
    batch = data.take(torch.arange(len(data)))
    sign = 1 - 2 * batch["factors"]
    mean = torch.nn.functional.normalize((sign * batch["x"]).mean(0, keepdim=True), dim=1)
    axes = torch.linalg.qr(torch.cat([mean, torch.eye(mean.shape[1])[1:]]).T).Q.T
    two, many = (_cost(torch.cat([rows, -rows]), batch["x"]) for rows in (axes[:1], axes))
    claim = "Of two Gaussian clouds, a feature for either half of every axis costs less than one for each cloud."
    yield Gate(claim, "squared error and price", many, two, expect="worse")


def _cost(rows: Tensor, x: Tensor) -> float:
    """The objective of the best codes that orthogonal axes, each both ways, can have: values less half the price.

    For any one feature (t - c)^2 + price c is least at c = t - price / 2, or 0 where that is negative.
    """
    import torch

    from unbraid.nets.dictionary import ReLUDictionary

    net = ReLUDictionary(rows.shape[1], len(rows))
    own = {"encoder": rows, "decoder": rows, "bias": torch.full((len(rows),), -_PRICE / 2)}
    net.load_state_dict({**net.state_dict(), **own})
    with torch.no_grad():
        coded = net(x)
        return float(((coded.reconstruction - x).square().sum(1) + _PRICE * coded.price).mean())


def _occlusion(cls: type[Method[Any]]) -> Gate:
    """Of two attributes of which one adds longer vectors, features are found for the values of that."""
    from unbraid.core.config import override
    from unbraid.data.made.directions import Directions

    data = Directions()
    config = override(cls.Config(), _OCCLUDED)
    found = [_fitted(cls, config, data, seed).examine(data).numbers for seed in SEEDS]
    longer, shorter = (sum(n[f"values of {name} found"] for n in found) / len(found) for name in ("u", "v"))
    claim = "Of sums of two directions, one a third longer, more of the longer have a feature with F1 of 0.9 or more."
    return Gate(claim, "share of directions", longer, shorter, expect="better", margin=0.2)


def _fitted(cls: type[Method[Any]], config: Any, data: Any, seed: int = 0) -> Any:
    import torch

    from unbraid.training.build import build
    from unbraid.training.fit import fit

    method = build(cls, config, data.fields, seed, given={"subject": torch.nn.Identity()})
    fit(method, data, seed=seed)
    return method.eval()


def _steps(cls: type[Method[Any]]) -> Iterator[Gate]:
    """A few steps on `directions`: lengths, sparsity, and features that were pointed elsewhere."""
    import torch

    from unbraid.core.config import override
    from unbraid.data.made.directions import Directions

    data = Directions(values=8, width=12)
    small = {
        "kind": "topk",
        "k": 2,
        "width": 48,
        "batch": 16,
        "steps": 20,
        "resample": (20,),
        "patience": 20,
        "optim.schedule.warmup": 0,
    }
    method = _fitted(cls, override(cls.Config(), small), data)
    with torch.no_grad():
        code = method.encode(data.take(torch.arange(len(data))))["features"]
    lengths = method.dictionary.decoder.detach().norm(dim=1)
    yield Gate("Decoder rows have length one.", "largest excess", float((lengths - 1).abs().max()), 0.0, margin=1e-5)
    active = float((code != 0).sum(1).max())
    yield Gate("A TopK code has k active features.", "active features", active, 2.0)
    x = torch.nn.functional.normalize(data.take(torch.arange(len(data)))["x"], dim=1)
    nearest = (method.dictionary.decoder.detach() @ x.T).amax(1)
    moved = float((nearest > 1 - 1e-5).sum())
    yield Gate("Features that were silent point at inputs.", "features", moved, 0.0, expect="better")


# --------------------------------------------------------------------------------------------------------- the table


def _contrasts() -> Iterator[Contrast]:
    for kind, called in _CALLED.items():
        yield Contrast(
            f"Four features of {called} autoencoder make the network say another name, against four of one whose "
            "decoder stays random.",
            "io, k=4",
            kind,
            f"{kind}, frozen",
            margin=0.15,
        )
        yield Contrast(
            f"The vectors of known attributes do so more often than two features of {called} autoencoder.",
            "one edit",
            "attributes",
            kind,
        )
    yield Contrast("TopK explains more than ReLU.", "explained variance", "topk", "relu")
    yield Contrast("And this with how many active features.", "active features", "topk", "relu", expect="report")
    yield Contrast("Gated explains, against ReLU.", "explained variance", "gated", "relu", expect="report")
    yield Contrast("With how many active features.", "active features", "gated", "relu", expect="report")
    for kind, called in _CALLED.items():
        claim = f"Reconstructions of {called} autoencoder, in place of the vectors' sums."
        yield Contrast(claim, "sufficiency", kind, "attributes", expect="report")
        claim = f"What {called} autoencoder's reconstructions leave out, against what sums leave out."
        yield Contrast(claim, "necessity", kind, "attributes", expect="report")


_NUMBERS = ("explained variance", "sufficiency", "necessity", "io, k=4")

CLAIM = Claim(
    method="sae",
    task=(
        "The 48,640 sentences of `ioi` and, for each seed, a transformer of two blocks that was trained on them in 400 "
        "steps; its residual stream (64 numbers) at the last token after the last attention. 512 features, 800 steps "
        "of 128 activations at rate 0.003; ReLU with price 1.5, TopK with 8 active features, gated with price 3."
    ),
    data="ioi",
    arms=(
        *(Arm(kind, "sae", {**_SMALL, **changes}) for kind, changes in _KINDS.items()),
        *(Arm(f"{kind}, frozen", "sae", {**_SMALL, **changes, "frozen": True}) for kind, changes in _KINDS.items()),
        Arm("attributes", "attribute-dictionary", {"items": 4000}),
    ),
    contrasts=tuple(_contrasts()),
    gates=gates,
    metrics={
        **{name: number(name) for name in _NUMBERS},
        "active features": Metric("Features of which an activation is made.", number("active features").of, more=False),
        "one edit": Metric("Agreement of edits of the indirect object, by its vectors or by two features.", one_edit),
    },
    note=(
        "Agreement is how often the network says what it says with the activation of the sentence that differs in the "
        "indirect object only; without an edit it never does. Prices and k were chosen so that about eight features "
        "are active. The network is small and so are its activations; the paper's own size is GPT-2's, with 2,000 "
        "passes over 20,000 prompts."
    ),
)
