"""NeuCoSVC: conversion by nearest frames, judged by probes of recordings that nobody converted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from unbraid.claims.claim import Arm, Claim, Contrast, Gate, Metric

if TYPE_CHECKING:
    from torch import Tensor

    from unbraid.claims.scoring import Trained
    from unbraid.core.method import Method
    from unbraid.core.outcome import Findings
    from unbraid.data.dataset import Dataset

_RECORDINGS = "waves:fsdd/recordings,pattern={digit}_{speaker}_{take},rate=8000,seconds=0.8,only=*_[12][0-9].wav"
_SMALL = {
    "rate": 8000,
    "factors": "2,4,4,5",
    "bands": 40,
    "loudness_window": 512,
    "encoder_steps": 200,
    "encoder_batch": 16,
    "levelled": True,
    "render": "bands",
}
_FEW, _MANY = 5, 100


@cache
def worlds() -> tuple[str, str, str]:
    """Everybody's recordings, the same without one speaker, and that speaker's name.

    The recordings of spoken digits where they lie below `UNBRAID_DATA`, else the made vowels. The speaker who is left
    out is the last by name.
    """
    beside = os.environ.get("UNBRAID_DATA")
    folder = Path(beside) / "fsdd" / "recordings" if beside else Path("nowhere")
    names = sorted({p.stem.split("_")[1] for p in folder.glob("*_*_1[0-9].wav")})
    if len(names) > 2:
        return _RECORDINGS, f"{_RECORDINGS},without=*_{names[-1]}_*", names[-1]
    return "vowels", "vowels:speakers=5", "fay"


# ------------------------------------------------------------------------------------------------------- the numbers


_FOUND: WeakKeyDictionary[Method[Any], dict[int, Findings]] = WeakKeyDictionary()


@cache
def _everybody() -> Dataset:
    from unbraid.data.catalog import open_data
    from unbraid.data.wrapped import in_roles

    return in_roles(open_data(worlds()[0]), ("group",), {})


def _judged(arm: Trained, pool: int = _MANY) -> Findings:
    """What probes say of conversions between all speakers, the one whom the encoder never heard among them."""
    from unbraid.methods.voice.neucosvc.leakage import leakage

    method: Any = arm.method
    found = _FOUND.setdefault(method, {})
    if pool not in found:
        found[pool] = leakage(method, _everybody(), pool)
    return found[pool]


def _number(name: str, pool: int = _MANY) -> Callable[[Trained], float]:
    return lambda arm: float(_judged(arm, pool).numbers[name])


def _unseen(name: str) -> Callable[[Trained], float]:
    """A column of the tables in the row of the speaker whom the encoder never heard; the mean of into and from."""

    def of(arm: Trained) -> float:
        tables = [_judged(arm).tables[f"{way} the voice of"].columns for way in ("into", "from")]
        rows = [list(next(iter(columns.values()))).index(worlds()[2]) for columns in tables]
        return sum(float(columns[name][row]) for columns, row in zip(tables, rows, strict=True)) / 2

    return of


def _above_random(arm: Trained) -> float:
    numbers = _judged(arm).numbers
    return float(numbers["content of nearest frames"] - numbers["content of random frames"])


def _gained(few: int) -> Callable[[Trained], float]:
    """The content that a large pool keeps over one of a few recordings."""

    def of(arm: Trained) -> float:
        small, large = (_judged(arm, pool).numbers["content of nearest frames"] for pool in (few, _MANY))
        return float(large - small)

    return of


def _below_shift(arm: Trained) -> float:
    numbers = _judged(arm).numbers
    return float(numbers["leak by spread of mean shift"] - numbers["leak by spread of nearest frames"])


METRICS = {
    "content": Metric(
        "Share of converted recordings that still say the same, by a probe.", _number("content of nearest frames")
    ),
    "target": Metric("Share that are the target's, by a probe.", _number("target of nearest frames")),
    "leak": Metric("Share that are still the source's.", _number("leak of nearest frames"), more=False),
    "target of the sound": Metric("Share whose sound is the target's, by a probe.", _number("target of sound")),
    "leak of the sound": Metric("Share whose sound is still the source's.", _number("leak of sound"), more=False),
    "content of the sound": Metric("Share whose sound still says the same.", _number("content of sound")),
    "leak of the sound by spread": Metric(
        "The same, by how the frames of the sound spread.", _number("leak by spread of sound"), more=False
    ),
    "pitch correlation": Metric("Of the log pitch asked for and heard.", _number("pitch correlation")),
    "content above random frames": Metric("What nearness adds to the content.", _above_random),
    "content gained over a few": Metric("100 recordings of the target in place of 5.", _gained(_FEW)),
    "content gained over some": Metric("100 recordings of the target in place of 20.", _gained(20)),
    "leak below a shift": Metric("How much more leaks, by the spread of frames, if they are only moved.", _below_shift),
    "leak of a shift": Metric(
        "Share that are still the source's, by a linear probe, if frames are only moved to the target's mean.",
        _number("leak of mean shift"),
        more=False,
    ),
    "content of a shift": Metric("Share that then still say the same.", _number("content of mean shift")),
    "target, unseen": Metric("Into or from the voice that training did not hear.", _unseen("target")),
    "leak, unseen": Metric("The same.", _unseen("leak"), more=False),
    "content, unseen": Metric("The same.", _unseen("content")),
}


# ----------------------------------------------------------------------------------------------------------- the facts


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """What holds of the harmonics, the filters, the matching and the updates, whatever was trained."""
    return [*_sounds(), *_training(cls)]


def _sounds() -> Iterator[Gate]:
    import torch

    from unbraid.ops.harmonic import harmonics, impulse_responses, ltv_filter

    power = torch.fft.rfft(harmonics(torch.full((1, 100), 200.0), 8000, 80)[0]).abs().square()
    yield Gate("A constant pitch sounds at its multiples alone.", "share of power", _at(power, 200), 1.0, margin=1e-6)
    impulse = torch.zeros(1, 960)
    impulse[0, 400] = 1.0
    for centred, what, margin in ((False, "as published, no filter lets sound pass", 2e-3), (True, "", 1e-5)):
        heard = ltv_filter(impulse, impulse_responses(torch.zeros(1, 4, 6), 1024, centred), 240, centred)
        claim = f"With zeros for a cepstrum, {what or 'a centred filter changes nothing'}."
        yield Gate(claim, "an impulse after it", float(heard.abs().max()), float(centred), margin=margin)


def _at(power: Tensor, step: int) -> float:
    return float(power[::step].sum() / power.sum())


def _training(cls: type[Method[Any]]) -> Iterator[Gate]:
    """A few steps on a tiny world."""
    import torch

    from unbraid.core.config import override
    from unbraid.core.method import At
    from unbraid.data.catalog import open_data
    from unbraid.data.wrapped import in_roles
    from unbraid.training.build import build

    data = in_roles(open_data(cls.card.tiny), cls.card.needs, {})
    method: Any = build(cls, override(cls.Config(), {**cls.presets["tiny"], "features": "mel"}), data.fields)
    batch = data.take(torch.arange(8))
    with torch.no_grad():
        method.prematch({"train": data}, At())
        own = method.frames(batch["wave"], batch["length"])
    same = (method.columns.matched[:8] - own.synthesis).abs().amax(2)[own.valid] == 0
    yield Gate("No frame is matched with its own recording.", "share of frames", float(same.double().mean()), 0.0)
    early, late = (method.critics_loss(batch, At(step=s)) for s in (0, method.config.adversarial_from))
    yield Gate("The critics wait for their step.", "terms before it", float(len(early or ())), 0.0)
    yield Gate("Then they descend two terms.", "terms from it on", float(len(late or ())), 2.0)


_ALL, _HEARD, _LEFT_OUT = worlds()
_REAL = _ALL != "vowels"
_TASK = (
    "Takes 10 to 29 of the recordings of spoken digits below `UNBRAID_DATA` (where they are not, the made world "
    "`vowels`), without one speaker. An encoder of mel bands is trained for 200 steps of 16 to name hidden frames. "
    "Then 200 recordings of all speakers, the one left out among them, are converted with the frames of at most 100 "
    "of another speaker. Probes are trained on real recordings that are not converted."
)

CLAIM = Claim(
    method="neucosvc",
    task=_TASK,
    data=_HEARD,
    settings=_SMALL,
    arms=(
        Arm("masked", "neucosvc", {"features": "masked"}),
        Arm("mel", "neucosvc", {"features": "mel"}),
        Arm("raw", "neucosvc", {"features": "raw", "context": 0}),
        Arm("raw in context", "neucosvc", {"features": "raw"}),
    ),
    contrasts=(
        Contrast("Converted recordings are the target's.", "target", "masked", 0.9),
        Contrast("They are hardly ever still the source's.", "leak", "masked", 0.03),
        Contrast("Frames compared by the bands that sound leak more of it.", "leak", "masked", "raw", margin=0.1),
        Contrast(
            "By how frames spread, they leak less than frames moved to the mean.", "leak below a shift", "masked", 0.0
        ),
        Contrast("They still say what they said.", "content", "masked", 0.55),
        Contrast("That is due to nearness.", "content above random frames", "masked", 0.0, margin=0.3),
        Contrast("Many recordings of the target keep more of it.", "content gained over a few", "masked", 0.0),
        Contrast("So do 100 over 20.", "content gained over some", "masked", 0.0, expect="report"),
        Contrast("A voice that training never heard is taken and left as well.", "target, unseen", "masked", 0.9),
        Contrast("It leaks no more.", "leak, unseen", "masked", 0.03),
        Contrast("As sound, they are the target's.", "target of the sound", "masked", 0.9),
        Contrast("As sound, they are hardly the source's.", "leak of the sound", "masked", 0.03),
        Contrast("Nor are they by how frames spread.", "leak of the sound by spread", "masked", 0.05),
        Contrast("As sound, they still say what they said.", "content of the sound", "masked", 0.55),
        Contrast("They have the pitch that was asked for.", "pitch correlation", "masked", 0.9),
        Contrast("It keeps what is said.", "content, unseen", "masked", "raw", expect="report"),
        Contrast("The encoder over normalised bands.", "content", "masked", "mel", expect="report"),
        Contrast("Bands compared in as much context as ours.", "leak", "masked", "raw in context", expect="report"),
        Contrast("What conversion costs of the content.", "content", "masked", "raw", expect="report"),
        Contrast("Frames that are only moved, to a linear probe.", "leak of a shift", "masked", 0.03, expect="report"),
        Contrast("They keep more of the content.", "content of a shift", "masked", 0.55, expect="report"),
    ),
    gates=gates,
    metrics=METRICS,
    note=(
        "A linear probe takes frames that were only moved to the target's mean for the target's, and they say more of "
        "what they said; how frames spread gives them away. Sound is made of mel bands without training, because the "
        "paper's network takes more steps than three minutes allow. The paper's claim, better listening scores than a "
        "speaker embedding's on songs, would take its 50 hours of songs, WavLM-Large and listeners."
    ),
)
