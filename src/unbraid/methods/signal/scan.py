"""The beta-VAE of brain potentials, and the symbols that are grounded in it (SCAN)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.action import action
from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import At, Budget, Method, Optim, Prediction, Source, Stage, Stream, Terms, Update
from unbraid.core.outcome import Findings, Table
from unbraid.core.parts import Parts, PartSpec
from unbraid.data.dataset import Dataset, MemoryDataset
from unbraid.data.epochs import PARTICIPANT, Epochs, epochs_of
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.loader import batches
from unbraid.data.splits import training_part
from unbraid.data.wrapped import SPLIT
from unbraid.losses.gaussian import gaussian_nll, kl, sample
from unbraid.methods.signal.judged import judge
from unbraid.methods.signal.symbols import Symbol, SymbolOptions, Symbols, learn_symbols, symbol_stage
from unbraid.nets.observed import Observed
from unbraid.nets.series import SeriesDecoder, SeriesEncoder

NO_CONCEPTS = (PARTICIPANT, "trial", SPLIT)
"""Factors that are no concepts unless they are named."""

_BATCH = 512


class SCAN(Method["SCAN.Config"]):
    """A beta-VAE of event-related potentials, then a VAE of labels in its latent space (Honke et al., 2021).

    1. Train a beta-VAE on potentials (C, T), each channel standardised over the training set, without labels:
       minimise -log N(x; decoder(z), I) + beta KL(q(z|x) || N(0, I)).
    2. With that frozen, train q(z|y) and p(y|z) on pairs of potential and labels, half of the labels left unsaid:
       minimise E[-log p(y|z)] + KL(q(z|y) || N(0, I)) + 10 KL(q(z|x) || q(z|y)).

    The last divergence is infinite where a label does not cover the codes of its items, so that the label's posterior
    is narrow in those latents alone that the label decides, and as wide as the prior in the others.

    A label is one of two values. Factors with more, which must be numbers, are cut in two so that half of the training
    set lies on either side.
    """

    card = Card(
        name="scan",
        title="Representation learning for improved interpretability and classification accuracy of clinical factors "
        "from EEG",
        paper="arXiv:2010.15274",
        year=2021,
        number=15,
        modality=("signal",),
        needs=("x", "factors", "known"),
        wants=("group",),
        summary="A beta-VAE that takes the noise off brain potentials, and labels that find their place among its "
        "latents.",
        claim="A label's posterior is narrow in the latents that it decides and in no others, and reads the label.",
        example="erp",
        tiny="erp:people=12,trials=1",
    )
    presets = {
        "quick": {
            "channels": (8, 16),
            "width": 64,
            "optim.lr": 2e-3,
            "optim.schedule.kind": "cosine",
            "steps": 2000,
            "symbol_steps": 800,
            "folds": 5,
        },
        "tiny": {
            "latents": 3,
            "channels": (2, 4),
            "width": 8,
            "batch": 4,
            "steps": 4,
            "hidden": 8,
            "symbol_batch": 4,
            "symbol_steps": 4,
            "folds": 2,
        },
    }

    @dataclass(frozen=True)
    class Config(SymbolOptions):
        """Options of the beta-VAE; those of the labels are `SymbolOptions`.

        Attributes:
            concepts: The factors that are labels; all of the data but participant, trial and split where empty.
            latents: Numbers in the code.
            channels: Of the encoder's convolutions, which halve the time; the decoder's are the same backwards.
            kernel: Their length.
            width: Of the dense layer.
            beta: Weight of the divergence of the code from the prior.
            batch: Items per step.
            steps: Steps of training.
            optim: How the beta-VAE moves.
            relevant: Nats of divergence from the prior above which a latent belongs to a label.
            late: First and last second of the window whose mean is the late positive potential, to compare with.
            folds: Into how many the participants are divided to judge how well labels are told.
        """

        concepts: tuple[str, ...] = told((), by="ours")
        latents: int = told(10, by="paper")
        channels: tuple[int, ...] = told((32, 64), by="ours")
        kernel: int = told(6, by="ours")
        width: int = told(128, by="ours")
        beta: float = told(4.0, by="ours")
        batch: int = told(64, by="ours")
        steps: int = told(100_000, by="ours")
        optim: Optim = told(Optim("adam", lr=1e-4), by="ours")
        relevant: float = told(0.1, by="ours")
        late: tuple[float, float] = told((0.4, 0.75), by="ours")
        folds: int = told(10, by="memory")

        def __post_init__(self) -> None:
            counts = ("latents", "width", "batch", "steps", "hidden", "symbol_batch", "symbol_steps")
            for name in counts:
                if getattr(self, name) < 1:
                    raise ConfigError("1 or more", got=str(getattr(self, name)), where=name)
            if not 0 <= self.drop < 1:
                raise ConfigError("a share of 0 to below 1", got=f"{self.drop:g}", where="drop")
            if self.folds < 2:
                raise ConfigError("2 or more", got=str(self.folds), where="folds")

    def __init__(self, config: SCAN.Config, fields: Fields) -> None:
        super().__init__(config, fields)
        shape = fields["x"].shape
        if len(shape) != 2:
            raise DataError("series (C, T)", got=f"items of shape {shape}", fix="open recordings as eeg:PATH")
        self.observed = Observed(replace(fields["x"], unit=False))
        self.encoder = SeriesEncoder(*shape, 2 * config.latents, config.channels, config.kernel, config.width)
        self.decoder = SeriesDecoder(config.latents, *shape, config.channels, config.kernel, config.width)
        self.concepts = _chosen(config.concepts, fields["factors"].names)
        self.symbols = Symbols(len(self.concepts), config.latents, config.hidden)

    def parts(self) -> tuple[PartSpec, ...]:
        latents = (self.config.latents,)
        return (PartSpec("latents", "fam", latents, one=True), PartSpec("symbol", "fam", latents, of="latents"))

    # ------------------------------------------------------------------------------------------------------- training

    def sources(self, data: Source) -> Mapping[str, Source]:
        """The rows of the split "train", or all."""
        rows = training_part(cast(Dataset, data))
        _check_kinds(rows, self.concepts)
        return {"train": rows}

    def stages(self) -> Sequence[Stage]:
        c = self.config
        vae = Update("vae", self.loss, lambda: [self.encoder, self.decoder], c.optim)
        first = Stage("vae", [vae], Budget(steps=c.steps), {"": Stream(c.batch)}, solve=self.observed.measure)
        return [first, symbol_stage(self.symbols, self.symbol_loss, self._cut, c)]

    def loss(self, batch: Batch, at: At) -> Terms:
        """The terms of the first stage."""
        mu, logvar = self.infer(batch["x"])
        z = sample(mu, logvar, at.randn(mu.shape))
        rest = kl(mu, logvar)
        at.note(used=(rest.mean(0) > self.config.relevant).sum())
        reconstruction = gaussian_nll(self.decoder(z), self.observed(batch["x"]))
        return {"reconstruction": reconstruction, "kl": (self.config.beta, rest.sum(1))}

    def symbol_loss(self, batch: Batch, at: At) -> Terms:
        """The terms of the second stage, for which the first is a constant."""
        with torch.no_grad():
            mu, logvar = self.infer(batch["x"])
        return self.symbols.loss(mu, logvar, self.symbol_of(batch), at, self.config)

    def _cut(self, sources: Mapping[str, Source], at: At) -> None:
        self.symbols.cut(sources["train"], self._columns(sources["train"].fields), self.concepts, at)

    # ----------------------------------------------------------------------------------------------------- the pieces

    def infer(self, x: Float[Tensor, "batch c t"]) -> tuple[Float[Tensor, "batch latents"], Tensor]:
        """Means and log variances of q(z|x)."""
        mu, logvar = self.encoder(self.observed(x)).chunk(2, 1)
        return mu, logvar

    def symbol_of(self, batch: Batch, fields: Fields | None = None) -> Symbol:
        """What the labels of items say; of other data than those of training with their own fields."""
        columns = self._columns(fields or self.fields)
        return self.symbols.symbol(batch["factors"][:, columns], batch["known"][:, columns])

    def _columns(self, fields: Fields) -> list[int]:
        names = fields["factors"].names
        for name in self.concepts:
            if name not in names:
                raise DataError(f"data with the factor '{name}'", got=f"the factors {', '.join(names)}")
        return [names.index(name) for name in self.concepts]

    # ---------------------------------------------------------------------------------------------------- what it can

    def encode(self, batch: Batch) -> Parts:
        mu, _ = self.infer(batch["x"])
        return Parts(latents=mu, symbol=self.symbols.posterior(self.symbols.read(mu).exp())[0])

    def posterior(self, batch: Batch) -> tuple[Parts, Parts]:
        """Means and log variances: of the latents, and of the symbol that is read from their means."""
        mu, logvar = self.infer(batch["x"])
        mine, spread = self.symbols.posterior(self.symbols.read(mu).exp())
        return Parts(latents=mu, symbol=mine), Parts(latents=logvar, symbol=spread)

    def decode(self, parts: Parts) -> Float[Tensor, "batch c t"]:
        """The potential of each code, without noise."""
        return self.observed.restore(self.decoder(parts["latents"]))

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n c t"]:
        """Potentials decoded from draws of the prior."""
        z = torch.randn(n, self.config.latents, generator=generator, device=generator.device)
        return self.decode(Parts(latents=z))

    def predict(self, batch: Batch) -> Prediction:
        """The value of the first concept; `tell` says all of them."""
        return Prediction(self.symbols.read(self.infer(batch["x"])[0])[:, 0])

    def examine(self, data: Source) -> Findings:
        """How well labels are told beside the usual ways, what each rests on, and how near the truth denoising is."""
        return judge(self, cast(Dataset, data))

    @action
    def explain(self, label: str, data: Source | None = None) -> Table:
        """Say which latents a label decides.

        Args:
            label: Such as sex=male, or sex=1 for the upper of its two values; several with commas between them.
            data: Where the names of values are from; those of the run where left out.
        """
        mu, logvar = self._symbol(label, data)
        nats = kl(mu, logvar)[0]
        order = nats.argsort(descending=True)
        columns = {"mean": mu[0], "sigma": (0.5 * logvar[0]).exp(), "nats": nats}
        table: dict[str, Sequence[object]] = {"latent": [f"latents[{int(i)}]" for i in order]}
        table |= {name: [round(float(v), 4) for v in values[order]] for name, values in columns.items()}
        return Table({**table, "decided": [bool(v) for v in nats[order] > self.config.relevant]})

    @action
    def imagine(self, label: str, count: int = 64, seed: int = 0, data: Source | None = None) -> Dataset:
        """Make potentials of a label.

        Args:
            label: Such as sex=male, or sex=1 for the upper of its two values; several with commas between them.
            count: How many.
            seed: Which of the many.
            data: Where the names of values are from; those of the run where left out.
        """
        if count < 1:
            raise ConfigError("1 or more", got=str(count), where="--count")
        mu, logvar = self._symbol(label, data)
        noise = torch.randn(count, mu.shape[1], generator=torch.Generator().manual_seed(seed)).to(mu)
        with torch.no_grad():
            x = self.decode(Parts(latents=sample(mu, logvar, noise))).cpu()
        said = FactorTable([Factor("imagined", "categorical", (label,))], torch.zeros(count, 1).numpy())
        return _alike(data, f"imagined {label}", x, said, [str(i) for i in range(count)])

    @action
    def tell(self, data: Source | None = None) -> Table:
        """Say how likely the upper value of each label is for every item.

        Args:
            data: Recordings; those of the run where left out.
        """
        items = _present(data)
        with torch.no_grad():
            chances = [self.symbols.read(self.infer(batch["x"])[0])[:, :, 1].exp() for batch in self.taken(items)]
        said = torch.cat(chances).double().cpu().T.tolist()
        ids = items.ids(torch.arange(len(items)))
        return Table({"item": ids, **{n: [round(v, 4) for v in p] for n, p in zip(self.concepts, said, strict=True)}})

    @action
    def denoise(self, data: Source | None = None) -> Dataset:
        """Rebuild potentials from the means of their codes, which leaves the noise out.

        Args:
            data: Recordings, single trials too; those of the run where left out.
        """
        items = _present(data)
        everything = torch.arange(len(items))
        with torch.no_grad():
            x = torch.cat([self.decode(Parts(latents=self.infer(batch["x"])[0])).cpu() for batch in self.taken(items)])
        return _alike(data, f"{items.name}, denoised", x, items.table(everything), items.ids(everything))

    @action(changes=True)
    def remap(self, concepts: tuple[str, ...] = (), data: Source | None = None) -> Findings:
        """Put other labels in place of those that are there, on the same latents.

        Args:
            concepts: The factors that are to be labels; all of the data where left out.
            data: Items with these factors; those of the run where left out.
        """
        items = _present(data)
        names = _chosen(concepts, items.fields["factors"].names)
        rows = training_part(items)
        _check_kinds(rows, names)
        device = self.symbols.edges.device
        self.symbols = learn_symbols(self.posteriors(rows, names), self.config, device)
        self.concepts, self.fields = names, items.fields
        self.config = replace(self.config, concepts=concepts)
        return self.examine(items)

    @torch.no_grad()
    def posteriors(self, data: Dataset, concepts: Sequence[str] | None = None) -> MemoryDataset:
        """Means and log variances (2 L,) of all items, with the concepts as their factors."""
        table = data.table(torch.arange(len(data)))
        names = self.concepts if concepts is None else concepts
        columns = np.stack([table.column(name) for name in names], 1)
        x = torch.cat([torch.cat(self.infer(batch["x"]), 1).cpu() for batch in self.taken(data)])
        return MemoryDataset("posteriors", x, FactorTable([table.factor(name) for name in names], columns))

    def taken(self, data: Dataset) -> Iterator[Batch]:
        """All items, some at a time."""
        rows = torch.split(torch.arange(len(data)), _BATCH)
        yield from (batch for _, batch in batches(data, rows, self.symbols.edges.device))

    @torch.no_grad()
    def _symbol(self, label: str, data: Source | None) -> tuple[Tensor, Tensor]:
        """Mean and log variance of a label's posterior, each (1, L)."""
        y = torch.zeros(1, len(self.concepts), 2, device=self.symbols.edges.device)
        for text in label.split(","):
            concept, value = read_label(text.strip(), self.concepts, data)
            y[0, concept] = torch.eye(2, device=y.device)[value]
        return self.symbols.posterior(y)


def read_label(text: str, concepts: Sequence[str], data: Source | None = None) -> tuple[int, int]:
    """Which concept, and whether its lower or its upper value, a text such as "sex=male" says.

    >>> read_label("sex=1", ["age", "sex"])
    (1, 1)
    """
    name, _, value = (part.strip() for part in text.partition("="))
    if name not in concepts:
        raise ConfigError("CONCEPT=VALUE", got=f"'{text}'", fix=nearest(name, concepts), where="--label")
    factor = next((f for f in getattr(data, "factors", ()) if f.name == name), None)
    values = ("0", "1", *(factor.labels if factor is not None and factor.size == 2 else ()))
    if value not in values:
        raise ConfigError(f"{name}={' or '.join(values)}", got=f"'{text}'", where="--label")
    # Labels win: of a factor whose values are called 1 and 2, "1" is the lower.
    named = values[2:] if value in values[2:] else values[:2]
    return list(concepts).index(name), named.index(value)


def _chosen(asked: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """The concepts among the factors of some data."""
    for name in asked:
        if name not in names:
            raise ConfigError("the name of a factor", got=f"'{name}'", fix=nearest(name, names), where="concepts")
    found = tuple(asked) or tuple(name for name in names if name not in NO_CONCEPTS)
    if not found:
        raise DataError("a factor that can be a label", got=", ".join(names), fix="give some with --factors FILE")
    return found


def _check_kinds(data: Dataset, concepts: Sequence[str]) -> None:
    """Refuse factors that cannot be cut in two."""
    known = {f.name: f for f in data.factors}
    for name in concepts:
        if known[name].kind in ("categorical", "circular") and known[name].size > 2:
            others = [n for n in concepts if known[n].kind not in ("categorical", "circular") or known[n].size <= 2]
            fix = f"name the labels: --set concepts={','.join(others)}" if others else "give labels of two values"
            got = f"{known[name].size} without order"
            raise DataError("a factor of two values, or of numbers", got=got, fix=fix, where=f"factor '{name}'")


def _present(data: Source | None) -> Dataset:
    if data is None:
        raise ConfigError("data", got="none", where="data")
    return cast(Dataset, data)


def _alike(data: Source | None, name: str, x: Tensor, table: FactorTable, ids: Sequence[str]) -> Dataset:
    """Potentials as a data set, as epochs of the channels that the data have."""
    epochs = epochs_of(data)
    if epochs is None or epochs.fields["x"].shape != x.shape[1:]:
        return MemoryDataset(name, x, table, ids)
    return Epochs(name, x, table, ids, epochs.channels, epochs.span)
