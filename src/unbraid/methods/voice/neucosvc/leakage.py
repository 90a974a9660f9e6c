"""How conversion is judged: does a converted recording say the same, and whose is it by probes of real recordings?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.core.method import Source
from unbraid.core.outcome import Findings, Table
from unbraid.methods.voice.frames import Frames
from unbraid.methods.voice.neucosvc.columns import Pool
from unbraid.metrics.conversion import Judge

if TYPE_CHECKING:
    from unbraid.methods.voice.neucosvc.method import NeuCoSVC

ITEMS, CONVERTED, POOL = 2000, 200, 100
"""Most recordings that are looked at, most that are converted, and most of a target that frames are taken from."""

_BLOCK = 64
_UNITS = {
    "content": "share that still say the same, by a probe of real recordings",
    "target": "share that are the target's, by a probe of real recordings",
    "leak": "share that are still the source's, by the same probe",
    "target by spread": "share that are likeliest under the distribution of the target's frames",
    "leak by spread": "share that are likeliest under that of the source's",
}
_MEANT = {
    "recordings": "the recordings as they are",
    "mean shift": "each frame moved by the difference of the target's mean frame and the recording's own",
    "speaker shift": "the same with the mean of the source's other recordings, which conversion does not ask for",
    "random frames": "random frames of the target in place of near ones",
    "nearest frames": "the frames that conversion takes",
    "sound": "the converted sound",
    "own sound": "the sound of a recording's own frames: what making sound loses by itself",
}


@dataclass(frozen=True)
class _Recordings:
    """All that is asked of some recordings.

    Attributes:
        wave: The waves, cut to whole frames.
        frames: Their frames.
        mel: Their mel bands, which the probes read.
        pitch: Their pitch.
        loud: Their loudness.
        said: What they say; of one class where nobody knows.
        speaker: Who says it.
    """

    wave: Float[Tensor, "n t"]
    frames: Frames
    mel: Float[Tensor, "n f m"]
    pitch: Float[Tensor, "n fine"]
    loud: Float[Tensor, "n fine"]
    said: Int[Tensor, " n"]
    speaker: Int[Tensor, " n"]

    @property
    def valid(self) -> Bool[Tensor, "n f"]:
        """Which frames are real."""
        return self.frames.valid

    def rows(self, rows: Int[Tensor, " m"]) -> _Recordings:
        """Some of them."""
        plain = (t[rows] for t in (self.mel, self.pitch, self.loud, self.said, self.speaker))
        return _Recordings(self.wave[rows], Frames(*(t[rows] for t in self.frames)), *plain)


@torch.no_grad()
def leakage(method: NeuCoSVC, data: Source, pool: int = POOL) -> Findings:
    """Convert recordings of some speakers into others' voices, and ask probes what they are.

    One half of the recordings, drawn at random, trains the probes and gives the targets' frames; recordings of the
    other half are converted, each into another speaker's voice. "Leak" is the share that the probe still hears as the
    source's.

    Args:
        method: Trained.
        data: Recordings of at least two speakers (`group`), and what they say where it is known.
        pool: Most recordings of a target that frames are taken from.

    Raises:
        DataError: Nobody knows who speaks, there is one speaker only, or a speaker is in one of the halves only.
    """
    data.fields["group"]
    generator = torch.Generator().manual_seed(0)
    every = _take(method, data, torch.randperm(len(data), generator=generator)[:ITEMS])
    half = len(every.speaker) // 2
    known, asked = every.rows(torch.arange(half)), every.rows(torch.arange(half, min(2 * half, half + CONVERTED)))
    speakers = torch.unique(known.speaker)
    if len(speakers) < 2 or not torch.isin(asked.speaker, speakers).all():
        raise DataError("several recordings of each of two speakers or more", got="fewer", where="field 'group'")
    place = torch.searchsorted(speakers, asked.speaker)
    step = torch.randint(1, len(speakers), (len(place),), generator=generator).to(place.device)
    target = speakers[(place + step) % len(speakers)]
    judge = Judge.fit(known.mel, known.valid, known.said, known.speaker)
    heard = _conversions(method, known, asked, target, pool, generator)
    return _findings(method, judge, asked, target, heard, _names(data))


def _take(method: NeuCoSVC, data: Source, rows: Int[Tensor, " n"]) -> _Recordings:
    found: dict[str, list[Tensor]] = {}
    for some in torch.split(rows, _BLOCK):
        batch = data.take(some, method.device)
        wave = batch["wave"][:, : batch["wave"].shape[1] // method.hop * method.hop]
        pitch, loud = method.course(wave)
        values = {
            "wave": wave,
            "mel": method.mel(wave),
            "pitch": pitch,
            "loud": loud,
            "said": _said(data, batch),
            "speaker": batch["group"],
            **method.frames(wave, batch["length"])._asdict(),
        }
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    all_of = {name: torch.cat(values) for name, values in found.items()}
    frames = Frames(*(all_of.pop(name) for name in Frames._fields))
    return _Recordings(frames=frames, **all_of)


def _said(data: Source, batch: Mapping[str, Tensor]) -> Int[Tensor, " n"]:
    """The label, or the factor that a data set says is its label."""
    if "label" in batch:
        return batch["label"]
    names = [f.name for f in getattr(data, "factors", ())]
    factor = getattr(data, "roles", {}).get("label")
    if factor not in names:
        return torch.zeros_like(batch["index"])
    return batch["factors"][:, names.index(factor)].long()


def _names(data: Source) -> Mapping[int, str]:
    """The speakers' names by their codes, where they have any."""
    factors = {f.name: f for f in getattr(data, "factors", ())}
    group = factors.get(getattr(data, "roles", {}).get("group", ""))
    return dict(enumerate(group.labels)) if group else {}


def _conversions(
    method: NeuCoSVC,
    known: _Recordings,
    asked: _Recordings,
    target: Int[Tensor, " n"],
    most: int,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """The mel bands of every kind of conversion, and of converted sounds the pitch that was asked for."""
    synthesis = asked.frames.synthesis
    near, random, shifted, moved = synthesis.clone(), synthesis.clone(), asked.mel.clone(), asked.mel.clone()
    factor, loud = torch.ones_like(asked.pitch[:, :1]), asked.loud.clone()
    for speaker in torch.unique(target):
        rows = (target == speaker).nonzero()[:, 0]
        theirs = known.rows((known.speaker == speaker).nonzero()[:most, 0])
        pool = _pool(method, theirs)
        mine = asked.rows(rows)
        near[rows] = method.replaced(mine.frames, pool)
        random[rows] = pool.values[torch.randint(len(pool.values), mine.valid.shape, generator=generator)]
        mean = theirs.mel[theirs.valid].mean(0)
        shifted[rows] += mean - _mean(mine.mel, mine.valid)
        moved[rows] += mean - _mean_of_sources(known, mine)
        factor[rows, 0] = _ratios(pool.pitch, mine.pitch)
        loud[rows] = method.level(mine.loud, mine.valid, pool)
    heard = {"recordings": asked.mel}
    if method.given is None:
        heard |= {"mean shift": shifted, "speaker shift": moved, "random frames": random, "nearest frames": near}
    if method.sounds:
        pitch = asked.pitch * factor
        heard |= {"asked pitch": pitch, "asked loudness": loud, "wave": _sound(method, near, pitch, loud)}
        heard["sound"] = method.mel(heard["wave"])
        heard["own sound"] = method.mel(_sound(method, synthesis, asked.pitch, asked.loud))
    return heard


def _pool(method: NeuCoSVC, theirs: _Recordings) -> Pool:
    voiced = theirs.pitch[theirs.pitch > 0]
    loud = theirs.loud[method.fine_of(theirs.valid)]
    frames = theirs.frames
    return Pool(frames.matching[theirs.valid], frames.synthesis[theirs.valid], voiced.mean(), loud.mean())


def _mean(mel: Float[Tensor, "n f m"], valid: Bool[Tensor, "n f"]) -> Float[Tensor, "n 1 m"]:
    """The mean of each recording's real frames."""
    return (mel * valid[..., None]).sum(1, keepdim=True) / valid.sum(1)[:, None, None]


def _mean_of_sources(known: _Recordings, mine: _Recordings) -> Float[Tensor, "n 1 m"]:
    """For each recording, the mean frame of whoever speaks in it."""
    means = {int(s): known.mel[known.speaker == s][known.valid[known.speaker == s]].mean(0) for s in mine.speaker}
    return torch.stack([means[int(s)] for s in mine.speaker])[:, None]


def _ratios(target: Float[Tensor, ""], pitch: Float[Tensor, "n fine"]) -> Float[Tensor, " n"]:
    """The factor on each pitch that brings its mean to the target's; 1 where one of the two has no voice."""
    voiced = pitch > 0
    factors = target * voiced.sum(1) / pitch.sum(1)
    return factors.where(factors.isfinite(), torch.ones_like(factors))


def _sound(method: NeuCoSVC, synthesis: Tensor, pitch: Tensor, loud: Tensor) -> Float[Tensor, "n t"]:
    parts = (torch.split(t, _BLOCK) for t in (synthesis, pitch, loud))
    return torch.cat([method.sound(*some) for some in zip(*parts, strict=True)])


def _findings(
    method: NeuCoSVC,
    judge: Judge,
    asked: _Recordings,
    target: Int[Tensor, " n"],
    heard: Mapping[str, Tensor],
    names: Mapping[int, str],
) -> Findings:
    kinds = [name for name in _MEANT if name in heard]

    def verdict(kind: str, rows: Tensor | slice) -> dict[str, float]:
        mine = asked.rows(torch.arange(len(target))[rows])
        return judge.verdict(heard[kind][rows], mine.valid, mine.said, mine.speaker, target[rows])

    whole = {kind: verdict(kind, slice(None)) for kind in kinds}
    numbers = {f"{name} of {kind}": value for kind in kinds for name, value in whole[kind].items()}
    units = {f"{name} of {kind}": _UNITS[name] for kind in kinds for name in whole[kind]}
    best = "sound" if "sound" in heard else "nearest frames"
    if "wave" in heard:
        courses = _courses(method, asked, heard)
        numbers |= courses
        units |= {"pitch correlation": "of log pitch asked for and heard", "pitch error": "octaves, root mean square"}
        units |= {"loudness error": "log10 of power, root mean square"}
    table: dict[str, Sequence[object]] = {"what is heard": kinds, **{n: [whole[k][n] for k in kinds] for n in _UNITS}}
    by_target = [(int(t), verdict(best, target == t)) for t in torch.unique(target)]
    by_source = [(int(s), verdict(best, asked.speaker == s)) for s in torch.unique(asked.speaker)]
    tables = {"conversion": Table(table)}
    for title, rows in (("into the voice of", by_target), ("from the voice of", by_source)):
        columns = {title: [names.get(s, str(s)) for s, _ in rows]}
        tables[title] = Table(columns | {n: [v[n] for _, v in rows] for n in _UNITS})
    notes = [f"{kind}: {_MEANT[kind]}." for kind in kinds]
    notes.append(f"{len(target)} conversions; the tables by speaker are of: {_MEANT[best]}.")
    notes.append("The probes are linear: to them, whatever has the mean of a voice is that voice's. Spread is not.")
    return Findings(numbers, {}, units, tuple(notes), tables)


def _courses(method: NeuCoSVC, asked: _Recordings, heard: Mapping[str, Tensor]) -> dict[str, float]:
    """How well converted sounds have the pitch and the loudness that were asked for."""
    pitch, loud = method.course(heard["wave"])
    both = (pitch > 0) & (heard["asked pitch"] > 0)
    got, wanted = pitch[both].log2(), heard["asked pitch"][both].log2()
    real = method.fine_of(asked.valid)
    correlation = torch.corrcoef(torch.stack([got, wanted]))[0, 1] if len(got) > 2 else torch.zeros(())
    return {
        "pitch correlation": float(correlation.nan_to_num()),
        "pitch error": float((got - wanted).square().mean().sqrt().nan_to_num()),
        "loudness error": float((loud - heard["asked loudness"])[real].square().mean().sqrt()),
    }
