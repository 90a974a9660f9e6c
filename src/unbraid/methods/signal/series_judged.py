"""How codes of series are judged: what a fresh probe reads from each part, and the parts of the divergence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.core.outcome import Findings, Table
from unbraid.core.parts import Parts
from unbraid.data.dataset import Dataset
from unbraid.data.factors import Factor
from unbraid.data.splits import part_of
from unbraid.data.wrapped import SPLIT
from unbraid.losses.gaussian import sample
from unbraid.losses.total_correlation import decompose
from unbraid.methods.signal.verification import spread
from unbraid.metrics.recognition import recognition
from unbraid.ops.series import Course, course

if TYPE_CHECKING:
    from unbraid.methods.signal.dts import DTS, DTSGroup
    from unbraid.methods.signal.series_vae import SeriesVAE

MOST = 3000
"""Items that are looked at."""

_COMPARED = 1024  # posteriors that are held against each other
_BATCH, _FOLDS, _MOVED, _LEVELS = 256, 5, 32, (-3.0, 3.0)


@dataclass(frozen=True)
class Judged:
    """Items of a data set as a trained method sees them.

    Attributes:
        data: The items: those of the split "test" where there are some.
        rows: Which of them.
        x: Standardised.
        mu: Means of the posterior.
        logvar: Its log variances.
        made: What the decoder makes of the means, standardised; left alone where training forced it.
        parts: The means by part.
        batch: Labels, domains and groups, where the method has them.
        folds: A fold for each; a group, where there are groups, lies in one.
    """

    data: Dataset
    rows: Int[Tensor, " n"]
    x: Float[Tensor, "n channels time"]
    mu: Float[Tensor, "n width"]
    logvar: Float[Tensor, "n width"]
    made: Float[Tensor, "n channels time"]
    parts: Parts
    batch: Mapping[str, Tensor]
    folds: Int[np.ndarray, " n"]

    @classmethod
    def of(cls, method: SeriesVAE[Any], data: Dataset) -> Judged:
        """Look at some items, without gradients."""
        items = part_of(data, "test") or data
        if data.roles.get("domain") == SPLIT:
            items = data
        rows = spread(len(items), MOST)
        device = next(method.parameters()).device
        seen: list[tuple[Tensor, ...]] = []
        fields: list[dict[str, Tensor]] = []
        with torch.no_grad():
            for chunk in torch.split(rows, _BATCH):
                batch = items.take(chunk, device)
                x = method.observed(batch["x"])
                mu, logvar = method.infer(x)
                seen.append(tuple(t.cpu() for t in (x, mu, logvar, method.decoder(mu))))
                fields.append({n: batch[n].cpu() for n in ("label", "domain", "group") if n in batch})
            x, mu, logvar, made = (torch.cat(column) for column in zip(*seen, strict=True))
            known = {name: torch.cat([f[name] for f in fields]) for name in fields[0]}
            parts = method.named(mu)
        return cls(items, rows, x, mu, logvar, made, parts, known, _folds(len(rows), known.get("group")))

    def findings(self, numbers: Mapping[str, float] | None = None, *, tables: Mapping[str, Table]) -> Findings:
        """These numbers, those of the divergence, and tables."""
        error = (self.made - self.x).square().mean() / (self.x - self.x.mean((0, 2), keepdim=True)).square().mean()
        rows = spread(len(self.mu), _COMPARED)
        compared = (self.draw[rows].double(), self.mu[rows].double(), self.logvar[rows].double())
        mi, tc, each = (float(v.mean()) for v in decompose(*compared, n=len(rows)))
        split = [f"The split 'test' of {self.data.name}."] if self._tested() else []
        notes = [
            *split,
            f"Linear probes on {len(self.mu)} items, of parts the means; five folds"
            + (" that cut no group." if "group" in self.batch else "."),
            f"The divergence of {len(rows)} items, whose mutual information is at most {math.log(len(rows)):.2f}.",
        ]
        told = {"mutual information": mi, "total correlation": tc, "dimension-wise KL": each}
        units = dict.fromkeys(told, "nats") | {"explained": "share of the variance, made from the means alone"}
        return Findings(
            {**(numbers or {}), **told, "explained": 1 - float(error)}, units=units, notes=notes, tables=tables
        )

    @cached_property
    def draw(self) -> Float[Tensor, "n width"]:
        """One draw from each posterior: what the decoder learnt to read. A probe of the means finds even what an empty
        code still betrays by differences far smaller than its spread.
        """
        noise = torch.randn(self.mu.shape, generator=torch.Generator().manual_seed(0))
        return sample(self.mu, self.logvar, noise)

    @cached_property
    def drawn(self) -> Mapping[str, Tensor]:
        """The draws by part."""
        widths = [self.parts.matrix(name).shape[1] for name in self.parts]
        return dict(zip(self.parts, torch.split(self.draw, widths, 1), strict=True))

    def _tested(self) -> bool:
        return any(f.name == SPLIT for f in self.data.factors) and self.data.roles.get("domain") != SPLIT


# ------------------------------------------------------------------------------------------------------------- probes


def probed(judged: Judged) -> Table:
    """How well each part, all together, and the series itself tell each factor."""
    codes = {name: judged.parts.matrix(name).numpy() for name in judged.parts}
    codes |= {"all parts": judged.mu.numpy()} if len(codes) > 1 else {}
    codes["a draw of the code"] = judged.draw.numpy()
    codes["the series itself"] = judged.x.flatten(1).numpy()
    lines: dict[str, list[object]] = {"factor": [], "measure": [], **{name: [] for name in codes}, "chance": []}
    for factor, column in _factors(judged):
        scores = [_score(factor, code, column, judged.folds) for code in codes.values()]
        if any(score is None for score in scores):
            continue
        lines["factor"].append(factor.name)
        lines["measure"].append("R2" if _is_number(factor) else "accuracy")
        for name, score in zip(codes, scores, strict=True):
            lines[name].append(round(score[0], 3) if score else None)
        lines["chance"].append(round(scores[0][1], 3) if scores[0] else None)
    return Table(lines)


def _factors(judged: Judged) -> Iterator[tuple[Factor, np.ndarray]]:
    table = judged.data.table(judged.rows)
    for factor in table.factors:
        if factor.name != SPLIT:
            yield factor, table.column(factor.name)


def _is_number(factor: Factor) -> bool:
    return factor.kind in ("continuous", "circular")


def _score(factor: Factor, codes: np.ndarray, column: np.ndarray, folds: np.ndarray) -> tuple[float, float] | None:
    """R2 of a number, an angle as sine and cosine, or accuracy of a class; beside it, chance. None for too little."""
    known = ~np.isnan(column)
    codes, column, folds = codes[known], column[known], folds[known]
    if len(np.unique(column)) < 2 or any((folds == f).sum() < 2 for f in range(_FOLDS)):
        return None
    if factor.size and all(len(np.unique(folds[column == value])) == 1 for value in np.unique(column)):
        return None  # each value lies in a fold of its own, as users do where folds cut no user
    if _is_number(factor):
        angle = 2 * math.pi * column / max(1, factor.size)
        goal = np.stack([np.sin(angle), np.cos(angle)], 1) if factor.kind == "circular" else column[:, None]
        return explained(codes, goal, folds), 0.0
    try:
        found = recognition(codes, column.astype(np.int64), folds)
    except DataError:
        return None
    return found.linear, found.chance


def explained(codes: Float[np.ndarray, "n d"], goal: Float[np.ndarray, "n k"], folds: Int[np.ndarray, " n"]) -> float:
    """R2 of ridge regressions on standardised codes, each fold told by what was learnt on the others.

    >>> x = np.arange(20.0)[:, None]
    >>> round(explained(x, 3 * x + 1, np.arange(20) % 2), 2)
    1.0
    """
    left = np.zeros_like(goal, dtype=np.float64)
    for fold in np.unique(folds):
        learn = folds != fold
        mean, scale = codes[learn].mean(0), codes[learn].std(0) + 1e-9
        x = (codes - mean) / scale
        middle = goal[learn].mean(0)
        gram = x[learn].T @ x[learn] + 1e-3 * learn.sum() * np.eye(x.shape[1])
        weights = np.linalg.solve(gram, x[learn].T @ (goal[learn] - middle))
        left[~learn] = (goal - middle - x @ weights)[~learn]
    return float(1 - (left**2).sum() / ((goal - goal.mean(0)) ** 2).sum())


def _folds(n: int, group: Tensor | None) -> Int[np.ndarray, " n"]:
    """Five folds; groups are dealt out, the largest first, where there are enough of them."""
    if group is None or len(torch.unique(group)) < _FOLDS:
        return np.arange(n) % _FOLDS
    names, position, counts = np.unique(group.numpy(), return_inverse=True, return_counts=True)
    fold, full = np.zeros(len(names), dtype=np.int64), np.zeros(_FOLDS)
    for name in np.argsort(-counts, kind="stable"):
        fold[name] = full.argmin()
        full[fold[name]] += counts[name]
    return np.asarray(fold[position])


# --------------------------------------------------------------------------------------------------------- two levels


def moved(method: DTS, judged: Judged) -> Table:
    """How the made series change when one number goes from -3 to 3, the others at their means."""
    base = judged.mu[spread(len(judged.mu), _MOVED)].to(next(method.parameters()).device)
    lines: dict[str, list[object]] = {"moved": [], **{name: [] for name in Course._fields}}
    for j in range(base.shape[1]):
        ends = []
        for level in _LEVELS:
            code = base.clone()
            code[:, j] = level
            with torch.no_grad():
                ends.append(course(method.decode(method.named(code)).cpu()))
        lines["moved"].append(f"factors[{j}]")
        for name, low, high in zip(Course._fields, *ends, strict=True):
            lines[name].append(round(float((high - low).mean()), 2))
    return Table(lines)


def adapted(method: DTSGroup, judged: Judged, learnt: Bool[Tensor, " domains"]) -> tuple[dict[str, float], Table]:
    """How often the label is told right, and its macro-F1, over each domain."""
    label = judged.batch["label"].numpy()
    device = next(method.parameters()).device
    with torch.no_grad():
        told = method.label(judged.parts["content"].to(device)).argmax(1).cpu().numpy()
    domain = judged.batch.get("domain", torch.zeros(len(label), dtype=torch.long)).numpy()
    names = _names(judged.data, len(learnt))
    lines: dict[str, list[object]] = {"domain": [], "labels": [], "items": [], "accuracy": [], "macro-F1": []}
    numbers: dict[str, float] = {}
    for kind, chosen in (("source", learnt.cpu().numpy()), ("target", ~learnt.cpu().numpy())):
        counted = chosen[domain] & (label >= 0)
        if counted.any():
            numbers[f"accuracy of {kind}"] = float((told == label)[counted].mean())
            numbers[f"macro-F1 of {kind}"] = macro_f1(label[counted], told[counted])
    for at, name in enumerate(names):
        counted = (domain == at) & (label >= 0)
        if counted.any():
            lines["domain"].append(name)
            lines["labels"].append("learnt from" if learnt[at] else "not seen")
            lines["items"].append(int(counted.sum()))
            lines["accuracy"].append(round(float((told == label)[counted].mean()), 3))
            lines["macro-F1"].append(round(macro_f1(label[counted], told[counted]), 3))
    return numbers | dict(_leaks(judged)), Table(lines)


def _leaks(judged: Judged) -> Iterator[tuple[str, float]]:
    """What a fresh probe tells of label and domain from draws of each segment."""
    for role in ("label", "domain"):
        if role not in judged.batch:
            continue
        for part, codes in judged.drawn.items():
            y = judged.batch[role].numpy()
            try:
                yield f"{role} from {part}", recognition(codes.numpy(), y, judged.folds).linear
            except DataError:
                continue


def _names(data: Dataset, domains: int) -> list[str]:
    factor = next((f for f in data.factors if f.name == data.roles.get("domain")), None)
    return list(factor.labels) if factor and factor.size == domains else [str(i) for i in range(domains)]


def macro_f1(label: Int[np.ndarray, " n"], told: Int[np.ndarray, " n"]) -> float:
    """The mean of the F1 of the classes that occur.

    >>> round(macro_f1(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])), 3)
    0.733
    """
    both = [((label == c) & (told == c)).sum() / ((label == c).sum() + (told == c).sum()) for c in np.unique(label)]
    return float(2 * np.mean(both))
