"""Which latents of a variational autoencoder are in use, and what its means and samples are worth without the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.action import action
from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Frozen, Given, Port
from unbraid.core.method import At, Infers, Method, Source, Stage
from unbraid.core.outcome import Findings, Table
from unbraid.core.parts import Parts, PartSpec
from unbraid.data.dataset import Dataset, MemoryDataset
from unbraid.data.order import key_of, shuffled
from unbraid.metrics.downstream import Classifier, downstream, guessed
from unbraid.metrics.gauges import covariance_rank
from unbraid.metrics.information import label_encode
from unbraid.metrics.polarised import (
    GROUPS,
    ITEMS,
    MARGIN,
    SPREAD,
    Regime,
    absolute_correlation,
    correlations,
    drawn,
    regime,
)

_CHUNK = 512
_CODE = "latents"


class ActiveVariables(Method["ActiveVariables.Config"]):
    """Sorts the latents of a trained method with a Gaussian posterior, and judges its codes without some of them.

    1. Infer the posterior variances of many items. 2. A latent whose variance hardly differs between items is passive
    where its mean is near 1, active where it is near 0; all others are mixed. 3. Take the means, and one sample of
    each posterior. 4. For each union of groups: total correlation, Wasserstein correlation, information between
    latents, and the accuracy of a classifier of each factor after few and after many items.

    It learns nothing. The means of passive latents vary little but together with others, so that scores of the means
    say more of them than of what the method learned.

    Source:
        bonheml/tc_study, variables_filter.py, unsupervised_evaluation.py and downstream_task_evaluation.py.
    """

    card = Card(
        number=11,
        name="active-variables",
        title="Be More Active! Understanding the Differences between Mean and Sampled Representations of VAEs",
        paper="arXiv:2109.12679",
        year=2023,
        summary="Sorts the latents of a trained VAE into active, mixed and passive ones, and scores its codes without "
        "the passive ones.",
        ports=(
            Port(
                "subject",
                "a trained method with a Gaussian posterior",
                standin="unbraid.methods.latent.standins:VAE",
            ),
        ),
        claim="The means of a VAE are more correlated than its samples, and equally little without passive latents.",
        example="discs",
    )
    presets = {
        "tiny": {"train": (10, 30), "test": 20, "classifier": "ridge"},
        "quick": {"classifier": "ridge"},
    }

    @dataclass(frozen=True)
    class Config:
        """Options of the sorting of latents.

        Attributes:
            part: Which part of the subject, where several have a posterior; the first where empty.
            items: Items that the groups are told from, at most.
            spread: Variance below which a latent's posterior variance is the same for all items.
            margin: How far the mean variance may be from 0 or 1.
            bins: Of the information between latents.
            train: Numbers of items that a classifier learns from; () for no classifiers.
            test: Items that it then tells, at most a third of all.
            classifier: "logistic" regression as published, gradient boosted "trees", or "ridge" (see
                `unbraid.metrics.downstream`).
        """

        part: str = told("", by="ours")
        items: int = told(ITEMS, by="code")
        spread: float = told(SPREAD, by="code")
        margin: float = told(MARGIN, by="code")
        bins: int = told(20, by="code")
        train: tuple[int, ...] = told((10, 100, 1000, 10_000), by="code")
        test: int = told(5000, by="code")
        classifier: Classifier = told("logistic", by="code")

        def __post_init__(self) -> None:
            for name in ("items", "bins", "test"):
                if getattr(self, name) < 2:
                    raise ConfigError("a whole number above 1", got=str(getattr(self, name)), where=name)
            for name in ("spread", "margin"):
                if not 0 < getattr(self, name) < 0.5:
                    raise ConfigError("a number between 0 and 0.5", got=f"{getattr(self, name):g}", where=name)
            if any(size < 2 for size in self.train):
                raise ConfigError("whole numbers above 1", got=", ".join(map(str, self.train)), where="train")

    group: Tensor  # (L,): position in GROUPS; all mixed until told
    variance: Tensor  # (L,): mean posterior variance
    differs: Tensor  # (L,): variance of the posterior variance

    def __init__(self, config: ActiveVariables.Config, fields: Fields, given: Given) -> None:
        super().__init__(config, fields, given)
        subject = given["subject"]
        if not isinstance(subject, Infers):
            got = type(subject).__name__
            fix = "give the folder of a run of vae, beta-vae or another such with --given subject=FOLDER"
            raise ConfigError("a trained method with a Gaussian posterior", got=got, fix=fix, where="--given subject")
        self.subject = Frozen(cast(Any, subject))
        self.width = self._width(fields)
        self.register_buffer("group", torch.full((self.width,), GROUPS.index("mixed")))
        self.register_buffer("variance", torch.zeros(self.width))
        self.register_buffer("differs", torch.zeros(self.width))

    def _width(self, fields: Fields) -> int:
        device = next((p.device for p in self.subject.inner.parameters()), torch.device("cpu"))
        blank = {n: torch.zeros(1, *f.shape, dtype=getattr(torch, f.dtype), device=device) for n, f in fields.items()}
        try:
            return self.inferred(blank)[0].shape[1]
        except RuntimeError as error:  # whatever the network says of items of another shape
            got = " ".join(str(error).split())[:120]
            raise DataError("items that the subject reads", got=got, where="--given subject") from None

    def parts(self) -> tuple[PartSpec, ...]:
        groups = (PartSpec(name, "vec", (self.width,), of=_CODE) for name in GROUPS)
        return (PartSpec(_CODE, "fam", (self.width,), one=True), *groups)

    def stages(self) -> Sequence[Stage]:
        return [Stage("solve", solve=self.solve)]

    def solve(self, sources: Mapping[str, Source], at: At) -> None:
        """The groups, from at most `items` items."""
        _, variance = self.gathered(sources["train"], self.config.items)
        found = regime(variance, self.config.spread, self.config.margin)
        self.group.copy_(torch.tensor([GROUPS.index(name) for name in found.names]))
        self.variance.copy_(torch.from_numpy(found.mean))
        self.differs.copy_(torch.from_numpy(found.spread))

    @property
    def regime(self) -> Regime:
        """The groups as they were told."""
        active, mixed, passive = (tuple((self.group == i).nonzero()[:, 0].tolist()) for i in range(len(GROUPS)))
        mean, spread = (t.double().cpu().numpy() for t in (self.variance, self.differs))
        return Regime(active, mixed, passive, mean, spread)

    # ----------------------------------------------------------------------------------------------------------- codes

    @torch.no_grad()
    def inferred(self, batch: Batch) -> tuple[Float[Tensor, "batch latents"], Float[Tensor, "batch latents"]]:
        """Means and log variances of the subject's part."""
        subject: Any = self.subject.inner
        means, logvars = subject.posterior(batch)
        name = self.config.part or next(iter(means))
        return means.matrix(name), logvars.matrix(name)

    def posterior(self, batch: Batch) -> tuple[Parts, Parts]:
        """Means and log variances of the subject."""
        mean, logvar = self.inferred(batch)
        return Parts({_CODE: mean}), Parts({_CODE: logvar})

    def encode(self, batch: Batch) -> Parts:
        """The means, and those of each group with the latents of the others at 0."""
        mean, _ = self.inferred(batch)
        return Parts({_CODE: mean, **{name: mean * (self.group == i) for i, name in enumerate(GROUPS)}})

    def gathered(
        self, data: Source, most: int | None = None
    ) -> tuple[Float[np.ndarray, "n l"], Float[np.ndarray, "n l"]]:
        """Means and variances in double precision of all items in order, or of some drawn ones."""
        rows = torch.arange(len(data)) if most is None else _rows(data, most)
        pairs = [self.inferred(data.take(some, self.group.device)) for some in torch.split(rows, _CHUNK)]
        mean, logvar = (torch.cat(found).double().cpu().numpy() for found in zip(*pairs, strict=True))
        return mean, np.exp(logvar)

    # ---------------------------------------------------------------------------------------------------- what it says

    def examine(self, data: Source) -> Findings:
        """The groups, and what means and samples of every union of them are worth."""
        rows = _rows(data, self.config.items)
        mean, variance = self.gathered(data, self.config.items)
        codes = {"mean": mean, "sampled": drawn(mean, variance)}
        found = self.regime
        scored = {of: correlations(z, found.subsets(), self.config.bins) for of, z in codes.items()}
        numbers: dict[str, float] = {f"{name} latents": float(len(getattr(found, name))) for name in GROUPS}
        units: dict[str, str] = {}
        for of, scores in scored.items():
            for subset in ("full", "active+mixed"):
                if subset in scores:
                    numbers[f"total correlation of {of}, {subset}"] = scores[subset].total_scaled
                    units[f"total correlation of {of}, {subset}"] = "nats"
            numbers[f"correlation of passive latents, {of}"] = absolute_correlation(codes[of], found.passive)
            numbers[f"effective rank of {of}"] = covariance_rank(codes[of])
        tables = {"latents": _latents(found), "subsets": _subsets(scored)}
        told_ = self._downstream(cast("Dataset", data), rows, codes, found)
        return Findings(numbers, units=units, tables={**tables, **told_}, notes=self._notes(len(rows)))

    def _downstream(
        self, data: Dataset, rows: Tensor, codes: Mapping[str, np.ndarray], found: Regime
    ) -> dict[str, Table]:
        table = data.table(rows)
        listed = [f.name for f in table.factors if f.size > 1 and not np.isnan(table.column(f.name)).any()]
        test = min(self.config.test, len(rows) // 3)
        if not listed or not self.config.train or not test:
            return {}
        labels = label_encode(np.stack([table.column(name) for name in listed], 1))
        lines: list[dict[str, Any]] = []
        for of, z in codes.items():
            accuracy = downstream(z, labels, found.subsets(), self.config.train, test, self.config.classifier)
            lines += [{"code": of, "latents": s, **asdict(a)} for s, several in accuracy.items() for a in several]
        lines.append({"code": "none", "latents": "none", "train": 0, "mean": guessed(labels), "least": 0.0})
        lines[-1]["least"] = min(1 / len(np.unique(column)) for column in labels.T)
        return {"accuracy": Table({name: [line[name] for line in lines] for name in lines[0]})}

    def _notes(self, items: int) -> tuple[str, ...]:
        few = f"Told from {items} items; the groups are not sure with fewer than a thousand."
        return (few,) if items < 1000 else ()

    @action
    def prune(
        self, data: Source | None = None, code: Literal["mean", "sampled"] = "mean", keep: str = "active+mixed"
    ) -> Dataset:
        """Codes without passive latents.

        Args:
            data: The items; those of the run where left out.
            code: Means, or one sample of each posterior.
            keep: Groups joined by +.
        """
        assert data is not None
        items = cast("Dataset", data)
        kept = self.regime.subsets()
        if keep not in kept:
            raise ConfigError("groups of latents", got=f"'{keep}'", fix=nearest(keep, kept), where="--keep")
        if not kept[keep]:
            raise ConfigError("a group with a latent in it", got=f"none is {keep}", where="--keep")
        mean, variance = self.gathered(items)
        z = mean if code == "mean" else drawn(mean, variance)
        x = torch.from_numpy(np.ascontiguousarray(z[:, list(kept[keep])])).float()
        every = torch.arange(len(items))
        return MemoryDataset(f"{items.name}, {code} of {keep} latents", x, items.table(every), items.ids(every))


def _rows(data: Source, most: int) -> Tensor:
    return shuffled(len(data), key_of("active-variables"), torch.arange(min(most, len(data))))


def _latents(found: Regime) -> Table:
    columns: dict[str, Sequence[Any]] = {"latent": range(len(found.mean)), "group": found.names}
    return Table({**columns, "mean variance": found.mean.tolist(), "variance of variance": found.spread.tolist()})


def _subsets(scored: Mapping[str, Mapping[str, Any]]) -> Table:
    lines = [{"code": of, "latents": s, **asdict(c)} for of, scores in scored.items() for s, c in scores.items()]
    return Table({name: [line[name] for line in lines] for name in (lines[0] if lines else ("code", "latents"))})
