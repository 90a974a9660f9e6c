"""One stream, predicted by every method of adaptation from the same classifier."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.config import override
from unbraid.core.given import Given
from unbraid.core.method import At, Source
from unbraid.core.outcome import Findings, Table
from unbraid.data.dataset import Dataset
from unbraid.data.wrapped import Subset
from unbraid.losses.entropy import entropy
from unbraid.methods.robust.accuracy import accuracies, batches, tell
from unbraid.methods.robust.adaptation import Adaptation
from unbraid.methods.robust.deyo import DeYO
from unbraid.methods.robust.eata import EATA
from unbraid.methods.robust.sar import SAR
from unbraid.methods.robust.tent import Tent

RIVALS: tuple[type[Adaptation[Any]], ...] = (Tent, EATA, SAR, DeYO)
"""The last takes images only."""

_FEW = 10
_MOST = 10_000
"""Items of a stream that are looked at."""


def compare(method: Adaptation[Any], data: Source) -> Findings:
    """How often each method is right about a stream that it predicts while adapting, from the same start.

    Batch, norms and optimiser are those of `method`; the other options of the others are their paper's, or those of
    their preset "quick" where there are ten classes or fewer. Without labels, how sure each is is all that can be said.
    """
    data = first_of(data, _MOST)
    rows: dict[str, dict[str, float]] = {}
    for name, said in _told(method, data).items():
        rows[name] = {**accuracies(said, data), "entropy": float(entropy(said).mean())}
    measures = list(rows["no adaptation"])
    table = Table({"method": list(rows), **{m: [row[m] for row in rows.values()] for m in measures}})
    notes = [
        "Every answer was given before its batch was learnt from, in the order of the data.",
        "'as given' uses the running statistics of batch normalisation, 'no adaptation' those of each batch.",
    ]
    if len(data) == _MOST:
        notes.append(f"Of the first {_MOST:,} items.")
    if len(measures) == 1:
        notes.append("These data have no labels: of the answers only the entropy is known.")
    return Findings(rows[method.card.name], units={"entropy": "nats"}, notes=notes, tables={"while adapting": table})


def online(method: Adaptation[Any], data: Source) -> Float[Tensor, "n classes"]:
    """What a method says of a stream, each batch before it is learnt from, starting where it was given."""
    return torch.cat([prediction.logits for prediction in method.restarted().adapt(data)]).cpu()


def first_of(data: Source, most: int) -> Source:
    """The first items of a long stream."""
    return data if len(data) <= most or not isinstance(data, Dataset) else Subset(data, torch.arange(most))


def _told(method: Adaptation[Any], data: Source) -> dict[str, Float[Tensor, "n classes"]]:
    still, size = method.restarted(), method.config.batch
    with torch.no_grad():
        given = torch.cat([still.as_given(batch["x"]) for batch in batches(data, size)])
        said = {"as given": given, "no adaptation": tell(still.predict, data, size)}
    pictures = len(method.fields["x"].shape) == 3
    for rival in RIVALS if pictures else RIVALS[:-1]:
        said[rival.card.name] = online(method if type(method) is rival else rivalling(rival, still, data), data)
    return said


def rivalling(rival: type[Adaptation[Any]], method: Adaptation[Any], data: Source) -> Adaptation[Any]:
    """Another method in the place of one, with its classifier."""
    own = override(rival.Config(), rival.presets["quick"]) if method.classes <= _FEW else rival.Config()
    config = replace(own, batch=method.config.batch, skip=method.config.skip, optim=method.config.optim)
    other = rival(config, method.fields, Given(classifier=method.classifier))
    [stage] = other.stages()
    if stage.solve is not None:
        stage.solve(other.sources(data), At(device=method.start.device))
    return other
