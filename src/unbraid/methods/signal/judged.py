"""How labels are told from brain potentials: by symbols, and by what is usual."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unbraid.core.outcome import Findings, Table
from unbraid.core.parts import Parts
from unbraid.data.dataset import Dataset
from unbraid.data.epochs import SPAN, clean_of, epochs_of
from unbraid.data.wrapped import Subset
from unbraid.losses.gaussian import kl
from unbraid.methods.signal.symbols import every_symbol, learn_symbols
from unbraid.metrics.ranking import balanced_accuracy

if TYPE_CHECKING:
    from unbraid.methods.signal.scan import SCAN

MOST = 4000
"""Items that are looked at."""

_COMPONENTS = 10
_LATE, _RAW, _FEW, _LATENTS = "late potential", "raw", "principal components", "latents"

Reads = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(features to learn from, their classes, features in question) -> classes."""


def judge(method: SCAN, data: Dataset) -> Findings:
    """The standard evaluation: balanced accuracy of each label, what each label rests on, and denoising.

    Participants are divided into folds. The beta-VAE stays as it is, since it saw no label; everything that learns
    from labels does so on the participants of the other folds.
    """
    rows = torch.linspace(0, len(data) - 1, min(len(data), MOST), dtype=torch.float64).long()
    few = data if len(rows) == len(data) else Subset(data, rows)
    batch = few.take(torch.arange(len(few)), method.symbols.edges.device)
    with torch.no_grad():
        y = method.symbol_of(batch, few.fields)
        known, upper = (t.cpu().numpy() for t in (y.sum(2) > 0, y[:, :, 1] > 0))
        z = method.infer(batch["x"])[0].cpu().double().numpy()
    folds = group_folds(batch["group"].cpu().numpy() if "group" in batch else np.arange(len(few)), method.config.folds)
    x = batch["x"].cpu().double().numpy()
    told = {"symbols": _by_symbols(method, few, folds)}
    for name, features, reads in (
        (_LATENTS, z, linear()),
        (_LATE, late_potential(x, data, method.config.late), linear()),
        (_RAW, x.reshape(len(x), -1), linear(strength=0.01)),
        (_FEW, x.reshape(len(x), -1), linear(components=_COMPONENTS)),
    ):
        told[name] = out_of_fold(features, upper, known, folds, reads)
    scores = {
        name: [_score(said[:, k], upper[:, k], known[:, k]) for k in range(y.shape[1])] for name, said in told.items()
    }
    numbers = {f"balanced accuracy of {c}": s for c, s in zip(method.concepts, scores["symbols"], strict=True)}
    numbers = {name: score for name, score in numbers.items() if np.isfinite(score)}
    relevance, table = decided(method)
    numbers |= {"latents in use": float((table_of_use(method, batch) > method.config.relevant).sum())}
    arrays: dict[str, Tensor] = {"relevance": relevance, **imagined(method, data)}
    clean = clean_of(few, torch.arange(len(few)))
    if clean is not None:
        numbers |= denoising(method, batch["x"], clean)
    units = {name: "chance is 0.5" for name in numbers if name.startswith("balanced")}
    units |= {"relevance": "nats; a row for either value of each label, a column for each latent"}
    units |= {name: _axis(data) for name in arrays if name != "relevance"}
    notes = [
        f"Labels are learned on {method.config.folds - 1} of {method.config.folds} folds of participants and told on "
        "the last; the beta-VAE saw all, but no label.",
    ]
    lines: dict[str, list[Any]] = {"label": list(method.concepts), **scores}
    tables = {"balanced accuracy": Table(lines), "what a label decides": table}
    return Findings(numbers, arrays, units, notes, tables)


# ------------------------------------------------------------------------------------------------------ telling labels


def group_folds(groups: Int[np.ndarray, " n"], k: int) -> Int[np.ndarray, " n"]:
    """The fold of each item: groups are dealt out in an order of chance that is always the same.

    >>> group_folds(np.array([5, 5, 2, 7]), 2)[:2].tolist() in ([0, 0], [1, 1])
    True
    """
    unique, which = np.unique(groups, return_inverse=True)
    order = np.random.default_rng(0).permutation(len(unique))
    return np.asarray((order % min(k, len(unique)))[which])


def _by_symbols(method: SCAN, data: Dataset, folds: Int[np.ndarray, " n"]) -> Bool[np.ndarray, "n k"]:
    """What symbols that were learned on the other folds say."""
    posteriors = method.posteriors(data)
    device = method.symbols.edges.device
    said = np.zeros((len(data), len(method.concepts)), dtype=bool)
    for fold in range(folds.max() + 1):
        learn, ask = (torch.from_numpy(np.flatnonzero(which)) for which in (folds != fold, folds == fold))
        symbols = learn_symbols(Subset(posteriors, learn), method.config, device, seed=fold)
        with torch.no_grad():
            mu = posteriors.take(ask, device)["x"].chunk(2, 1)[0]
            said[ask.numpy()] = symbols.read(mu).argmax(2).bool().cpu().numpy()
    return said


def linear(strength: float = 1.0, components: int = 0) -> Reads:
    """Logistic regression on standardised features, or on their first principal components.

    Args:
        strength: Inverse of the weight of the penalty.
        components: How many of these; 0 for the features themselves.
    """

    def reads(learn: np.ndarray, y: np.ndarray, ask: np.ndarray) -> np.ndarray:
        from sklearn.decomposition import PCA
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        few = [PCA(min(components, *learn.shape), random_state=0)] if components else []
        last = LogisticRegression(C=strength, class_weight="balanced", max_iter=2000)
        return np.asarray(make_pipeline(*few, StandardScaler(), last).fit(learn, y).predict(ask))

    return reads


def out_of_fold(
    features: Float[np.ndarray, "n d"],
    upper: Bool[np.ndarray, "n k"],
    known: Bool[np.ndarray, "n k"],
    folds: Int[np.ndarray, " n"],
    reads: Reads,
) -> Bool[np.ndarray, "n k"]:
    """What a reader that learned from the other folds says of each label."""
    said = np.zeros(upper.shape, dtype=bool)
    for fold in range(folds.max() + 1):
        ask = folds == fold
        for k in range(upper.shape[1]):
            learn = ~ask & known[:, k]
            classes = np.unique(upper[learn, k])
            if len(classes) == 2:
                said[ask, k] = reads(features[learn], upper[learn, k], features[ask])
            elif len(classes):
                said[ask, k] = classes[0]
    return said


def late_potential(
    x: Float[np.ndarray, "n c t"], data: Dataset, window: tuple[float, float]
) -> Float[np.ndarray, "n c"]:
    """The mean of each channel in a window of time."""
    epochs = epochs_of(data)
    times = epochs.times if epochs is not None else np.linspace(*SPAN, x.shape[2])
    inside = (times >= window[0]) & (times <= window[1])
    return np.asarray(x[:, :, inside if inside.any() else slice(None)].mean(2))


def _score(said: np.ndarray, upper: np.ndarray, known: np.ndarray) -> float:
    return balanced_accuracy(said[known].astype(int), upper[known].astype(int)) if known.any() else float("nan")


# ------------------------------------------------------------------------------------------------ what labels rest on


@torch.no_grad()
def decided(method: SCAN) -> tuple[Float[Tensor, "symbols latents"], Table]:
    """Nats by which either value of each concept moves each latent from the prior, and how many are decided."""
    mu, logvar = method.symbols.posterior(every_symbol(len(method.concepts), method.symbols.edges.device))
    nats = kl(mu, logvar)
    narrowest = logvar.argmin(1)
    names = [f"{concept}={value}" for concept in method.concepts for value in (0, 1)]
    columns: dict[str, list[Any]] = {
        "label": names,
        "decided": [int(n) for n in (nats > method.config.relevant).sum(1)],
        "narrowest": [f"latents[{int(i)}]" for i in narrowest],
        "sigma": [float(v) for v in (0.5 * logvar).exp().amin(1)],
    }
    return nats.cpu(), Table(columns)


def table_of_use(method: SCAN, batch: Mapping[str, Tensor]) -> Float[Tensor, " latents"]:
    """Mean nats of each latent."""
    with torch.no_grad():
        return kl(*method.infer(batch["x"])).mean(0)


@torch.no_grad()
def imagined(method: SCAN, data: Dataset) -> dict[str, Tensor]:
    """The potential at the mean of either value of each concept, in the channel where these differ most."""
    epochs = epochs_of(data)
    mu, _ = method.symbols.posterior(every_symbol(len(method.concepts), method.symbols.edges.device))
    x = method.decode(Parts(latents=mu)).cpu()
    found: dict[str, Tensor] = {}
    for k, concept in enumerate(method.concepts):
        low, high = x[2 * k], x[2 * k + 1]
        channel = int((high - low).square().sum(1).argmax())
        name = epochs.channels[channel] if epochs is not None else f"channel {channel}"
        found |= {f"imagined {concept}=0, {name}": low[channel], f"imagined {concept}=1, {name}": high[channel]}
    return found


def denoising(method: SCAN, x: Float[Tensor, "n c t"], clean: Float[Tensor, "n c t"]) -> dict[str, float]:
    """How well potentials go with the true ones, as they are and as they are rebuilt."""
    with torch.no_grad():
        rebuilt = method.decode(Parts(latents=method.infer(x)[0])).cpu()
    before, after = correlation(x.cpu(), clean), correlation(rebuilt, clean)
    numbers = {"correlation with the truth, as recorded": before, "correlation with the truth, denoised": after}
    return {name: float(value.mean()) for name, value in numbers.items()}


def correlation(a: Float[Tensor, "n c t"], b: Float[Tensor, "n c t"]) -> Float[Tensor, " n"]:
    """Of each item, over channels and time.

    >>> x = torch.arange(6.0).reshape(1, 2, 3)
    >>> round(correlation(x, 2 * x + 1).item(), 6)
    1.0
    """
    a, b = ((t - t.mean((1, 2), keepdim=True)).flatten(1) for t in (a, b))
    return torch.nn.functional.cosine_similarity(a, b)


def _axis(data: Dataset) -> str:
    epochs = epochs_of(data)
    begin, end = epochs.span if epochs is not None else SPAN
    return f"over samples from {begin:g} to {end:g} seconds" + (", in microvolts" if epochs is not None else "")
