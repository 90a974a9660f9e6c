"""The attribute CVAE: samples that have what was asked for and are not all alike, with either prior."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from unbraid.claims.claim import Arm, Claim, Contrast, Gate, Metric
from unbraid.claims.scoring import Trained

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from unbraid.core.method import Method
    from unbraid.data.dataset import Dataset

_DIGITS = 10
_EACH = 200  # samples of each digit
_STEPS = 1500
_TRAIN = "digits:size=8,split=train"
_EPOCHS = _STEPS * 128 / 1437


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """Algebra of the edit and of the mixed bound, in a small untrained method."""
    return list(_gates(cls))


def _gates(cls: type[Method[Any]]) -> Iterator[Gate]:
    import torch

    from unbraid.core.config import override
    from unbraid.core.method import At
    from unbraid.data.catalog import open_data
    from unbraid.data.wrapped import in_roles
    from unbraid.training.build import build

    data = in_roles(open_data(_TRAIN), cls.card.needs, {})
    batch = data.take(torch.arange(16))
    y, other = batch["attributes"], batch["attributes"].flip(0)
    for said, alpha in (("The encoder learns from the bound.", 1.0), ("It learns nothing from the prior alone.", 0.0)):
        config = override(cls.Config(), {**cls.presets["tiny"], "alpha": alpha})
        method: Any = build(cls, config, data.fields, seed=0).eval()
        terms = method.loss(batch, At(epoch=9.0))
        total = torch.stack([weight * value.mean() for weight, value in terms.values()]).sum()
        grads = torch.autograd.grad(total, list(method.encoder.parameters()), allow_unused=True)
        moved = float(sum(g is not None and bool(g.any()) for g in grads))
        yield Gate(said, "weights with a gradient", moved, 0.0, "better" if alpha else "same")
    if method.prior is not None:
        with torch.no_grad():
            method.prior.net[-1].weight.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        z = method.infer(batch["x"], y)[0]
        still = float((method.moved(z, y, y) - z).abs().max())
        back = float((method.moved(method.moved(z, y, other), other, y) - z).abs().max())
    yield Gate("An edit without a change leaves the code.", "largest difference", still, 0.0, margin=1e-5)
    yield Gate("An edit and the edit back leave the code.", "largest difference", back, 0.0, margin=1e-4)


@lru_cache(maxsize=1)
def _classifier() -> tuple[Any, float]:
    """Logistic regression of the pixels, and its accuracy on digits that were held out."""
    from sklearn.linear_model import LogisticRegression

    from unbraid.data.catalog import open_data

    (x, y), (x_test, y_test) = (_pixels(open_data(f"digits:size=8,split={part}")) for part in ("train", "test"))
    model = LogisticRegression(max_iter=2000).fit(x, y)
    return model, float(model.score(x_test, y_test))


def _pixels(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    import torch

    batch = data.take(torch.arange(len(data)))
    return batch["x"].flatten(1).double().numpy(), batch["factors"][:, 0].long().numpy()


def _right(x: Tensor, digits: Tensor) -> float:
    said = _classifier()[0].predict(x.flatten(1).double().numpy())
    return float((said == digits.numpy()).mean())


def _seeded() -> torch.Generator:
    import torch

    return torch.Generator().manual_seed(0)


def _drawn(arm: Trained) -> tuple[Tensor, Tensor]:
    """Samples of every digit, one digit after the other; of a method without attributes, samples of any."""
    import torch

    method: Any = arm.method
    digits = torch.arange(_DIGITS).repeat_interleave(_EACH)
    with torch.no_grad():
        if not hasattr(method, "with_attributes"):
            return method.sample(len(digits), _seeded()), digits
        return method.with_attributes(torch.eye(_DIGITS)[digits], _seeded()), digits


def classifies(_arm: Trained) -> float:
    """How the classifier does on real digits."""
    return _classifier()[1]


def accuracy(arm: Trained) -> float:
    """Share of samples that the classifier takes for the digit asked for."""
    return _right(*_drawn(arm))


def edits(arm: Trained) -> float:
    """Share of items that it takes for the digit three further on, when they were edited to be it."""
    import torch

    digits = (arm.batch["factors"][:, 0].long() + 3) % _DIGITS
    method: Any = arm.method
    with torch.no_grad():
        if not hasattr(method, "changed"):
            return _right(method.decode(method.encode(arm.batch)), digits)
        return _right(method.changed(arm.batch, torch.eye(_DIGITS)[digits]), digits)


def diversity(arm: Trained) -> float:
    """Variance of the samples of a digit, over that of the data."""
    made, _ = _drawn(arm)
    within = made.reshape(_DIGITS, _EACH, -1).var(1, correction=0).mean()
    return float(within / arm.batch["x"].flatten(1).var(0, correction=0).mean())


def _of_model(what: Callable[[Any, dict[str, Any]], float]) -> Callable[[Trained], float]:
    def measured(arm: Trained) -> float:
        import torch

        with torch.no_grad():
            return what(arm.method, dict(arm.batch))

    return measured


def _squared(method: Any, batch: dict[str, Any]) -> float:
    x, y = batch["x"], batch["attributes"]
    return float((method.made(method.infer(x, y)[0], y) - x).square().mean())


def _divergence(method: Any, batch: dict[str, Any]) -> float:
    from unbraid.losses.gaussian import kl

    posterior = method.infer(batch["x"], batch["attributes"])
    return float(kl(*posterior, *method.of_attributes(batch["attributes"])).sum(1).mean())


def _bound(method: Any, batch: dict[str, Any]) -> float:
    import torch

    x, y = batch["x"], batch["attributes"]
    mean, logvar = method.infer(x, y)
    z = mean + (logvar / 2).exp() * torch.randn(mean.shape, generator=_seeded())
    return -float(method.nll(method.decoder(z, y), x).mean()) - _divergence(method, batch)


_OPTIONS = {"latents": 8, "network": "mlp", "width": 128, "batch": 128, "optim.lr": 2e-3}


def _arm(prior: str, beta: float) -> Arm:
    changes = {**_OPTIONS, "layers": 1, "epochs": _EPOCHS, "warm": 0.0, "prior": prior, "beta": beta}
    return Arm(f"{prior}, beta {beta:g}", "attribute-cvae", changes)


CLAIM = Claim(
    method="attribute-cvae",
    task="1,437 of the digits of 8 x 8 pixels with ten attributes, one for each digit; 8 latents, perceptrons of one "
    "hidden layer of width 128 (two where there are no attributes), 1,500 steps of 128 images. A logistic regression "
    "of the pixels says what a sample is.",
    data=_TRAIN,
    arms=(
        *(_arm(prior, beta) for prior in ("conditional", "standard") for beta in (0.1, 1.0)),
        _arm("conditional", 5.0),
        Arm("no attributes", "vae", {**_OPTIONS, "steps": _STEPS}),
    ),
    gates=gates,
    contrasts=(
        Contrast("Samples are what was asked for.", "accuracy", "conditional, beta 1", 0.95),
        Contrast("Without attributes they are not.", "accuracy", "no attributes", 0.3, "worse"),
        Contrast("Items become the digit that they are edited to be.", "edits", "conditional, beta 1", 0.9),
        Contrast("Samples of one digit differ.", "diversity", "conditional, beta 1", 0.05),
        Contrast(
            "At beta 5 they do not, while all are what was asked for: accuracy alone says little.",
            "diversity", "conditional, beta 5", 0.05, "worse",
        ),
        Contrast("The same, as accuracy.", "accuracy", "conditional, beta 5", 0.95),
        Contrast("A larger weight costs detail.", "error", "conditional, beta 1", "conditional, beta 0.1", "worse"),
        Contrast("And leaves less in the code.", "kl", "conditional, beta 1", "conditional, beta 0.1"),
        Contrast(
            "With little weight a prior that follows the attributes gives more samples that are what was asked for.",
            "accuracy", "conditional, beta 0.1", "standard, beta 0.1", margin=0.02,
        ),
        Contrast("And a tighter bound.", "bound", "conditional, beta 0.1", "standard, beta 0.1"),
        Contrast("The classifier on real digits held out.", "classifier", "conditional, beta 1", 1.0, "report"),
        Contrast("With full weight, either prior.", "accuracy", "conditional, beta 1", "standard, beta 1", "report"),
        Contrast("Edits without attributes.", "edits", "no attributes", 0.9, "report"),
        Contrast(
            "Edits with little weight.", "edits", "conditional, beta 0.1", "standard, beta 0.1", "report"
        ),
    ),
    metrics={
        "accuracy": Metric("Share of 200 samples of each digit that the classifier takes for it.", accuracy),
        "edits": Metric("Share of items that it takes for the digit three further on, edited to be it.", edits),
        "diversity": Metric("Variance of the samples of one digit, over that of the data.", diversity),
        "error": Metric("Mean squared error of the reconstruction.", _of_model(_squared), more=False),
        "kl": Metric("KL of the posteriors to the prior, in nats.", _of_model(_divergence), more=False),
        "bound": Metric("The bound on log p(x | digit) with weight 1, in nats.", _of_model(_bound)),
        "classifier": Metric("Accuracy of the classifier on digits that were held out.", classifies),
    },
    note=(
        "Options are those of the first check on seeds 1 and 2. With two hidden layers and little weight the lead of "
        "the prior that follows attributes was not there on seed 1 (0.992 against 0.989 of samples, and a looser "
        "bound). With one, three seeds give a lead of 0.027 "
        "and do not decide whether it exceeds 0.02. No table is published: faces (CelebA) and birds (CUB) were judged "
        "by eye; `--data celeba:FOLDER` and `--data cub:FOLDER` read their lists."
    ),
)  # fmt: skip
