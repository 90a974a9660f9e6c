"""Neural concatenative voice conversion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from unbraid.core.action import action
from unbraid.core.card import Card
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given, Port
from unbraid.core.method import At, Budget, Method, Source, Stage, Stream, Terms, Update
from unbraid.core.outcome import Findings, Sound
from unbraid.core.parts import Parts, PartSpec
from unbraid.losses.adversarial import least_squares
from unbraid.losses.stft import multi_resolution_stft
from unbraid.methods.voice.bands import at_loudness, sound_of_bands
from unbraid.methods.voice.frames import Frames, Mel, cepstra, in_context, mean_of, normalised, valid_frames
from unbraid.methods.voice.given import SpeechEncoder, entry, fitted
from unbraid.methods.voice.neucosvc.columns import Columns, Pool
from unbraid.methods.voice.neucosvc.config import PRESETS, ConversionConfig
from unbraid.methods.voice.neucosvc.leakage import leakage
from unbraid.methods.voice.neucosvc.vocoder import Vocoder
from unbraid.nets.masked import MaskedEncoder, masked_prediction, spans
from unbraid.nets.wave import WaveCritics
from unbraid.ops.audio import loudness, resample
from unbraid.ops.kmeans import kmeans, nearest_centre
from unbraid.ops.matching import matched
from unbraid.ops.pitch import f0

_BLOCK = 64
_CEPSTRA = 13
_RAISED = 1.2


class NeuCoSVC(Method[ConversionConfig]):
    """Speaks with another voice by replacing every frame by like frames of that voice (Sha et al., 2024).

    1. Take two kinds of frames of a wave: by one, frames are compared; from the other, sound is made. 2. For each
    recording, replace the second by the mean of those of the nearest frames in the same speaker's other recordings.
    3. Learn to make the wave from these, its pitch and its loudness. 4. To convert, take the nearest frames among
    another speaker's recordings, scale the pitch to that speaker's, and make the wave.

    With a HuBERT or WavLM for the port `encoder`, frames are its hidden states. Without one, sound is made from mel
    bands, and frames are compared by a masked encoder that is trained here first, or by the bands themselves.

    Source:
        Sha et al., 2024; NeuCoSVC, dataset/prematch_dataset.py, modules/FastSVC.py, modules/nhv, trainer.py.
    """

    card = Card(
        name="neucosvc",
        title="Neural Concatenative Singing Voice Conversion",
        paper="arXiv:2312.04919",
        year=2024,
        number=7,
        modality=("wave",),
        needs=("wave", "length", "index", "group"),
        summary="Converts a voice by nearest frames in the target's recordings, and makes sound of them.",
        claim="Converted recordings are the target's by a probe, not the source's, and still say what they said.",
        extras=("audio",),
        ports=(Port("encoder", "A speech encoder of transformers, such as hf:microsoft/wavlm-large.", optional=True),),
        example="vowels",
        tiny="vowels:speakers=2,pitches=2,levels=2,takes=1",
    )
    scaffold = ("columns", "critics")
    presets = PRESETS
    Config = ConversionConfig

    def __init__(self, config: ConversionConfig, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        self.hop, self.fine = prod(config.factors), prod(config.factors[1:])
        if fields["wave"].shape[0] < self.hop:
            got = f"{fields['wave'].shape[0]} samples"
            raise DataError(f"items of at least a frame, {self.hop} samples", got=got, where="field 'wave'")
        self.mel = Mel(config.rate, self.hop, config.bands)
        self.given = self._given_encoder(given["encoder"]) if given and "encoder" in given else None
        self.own = config.features == "masked" and self.given is None
        if self.own:
            width, depth = config.encoder_width, config.encoder_depth
            self.encoder = MaskedEncoder(config.bands, width, depth, classes=config.classes)
            self.register_buffer("centres", torch.zeros(config.classes, _CEPSTRA))
        self.columns = Columns()
        if config.render == "network":
            self.vocoder = Vocoder(self.given.width if self.given else config.bands, config)
            self.critics = WaveCritics(width=config.critic_width, factors=config.critic_factors)

    def _given_encoder(self, net: nn.Module) -> SpeechEncoder:
        if self.config.render != "network":
            fix = "leave it out, or set render=network"
            raise ConfigError("mel bands to make sound from", got="a given encoder", fix=fix, where="render")
        if 50 * self.hop != self.config.rate:
            fix = f"a product of {self.config.rate / 50:g}"
            raise ConfigError(
                "frames of 20 ms for a given encoder", got=f"{self.hop} samples", fix=fix, where="factors"
            )
        return SpeechEncoder(net, scaled=self.config.scaled)

    # ---------------------------------------------------------------------------------------------------- the parts

    def parts(self) -> tuple[PartSpec, ...]:
        c = self.config
        count = self.fields["wave"].shape[0] // self.hop
        own = (c.encoder_width if self.own else c.bands) * (2 * c.context + 1)
        compared, sounded = (self.given.width, self.given.width) if self.given else (own, c.bands)
        fine = count * c.factors[0]
        return (
            PartSpec("content", "seq", (count, compared), ("phone",), ("speaker",)),
            PartSpec("timbre", "seq", (count, sounded), ("speaker",)),
            PartSpec("pitch", "seq", (fine, 1), ("pitch",)),
            PartSpec("loudness", "seq", (fine, 1), ("loudness",)),
        )

    def encode(self, batch: Batch) -> Parts:
        frames = self.frames(batch["wave"], batch["length"])
        pitch, loud = self.course(batch["wave"])
        return Parts(content=frames.matching, timbre=frames.synthesis, pitch=pitch[..., None], loudness=loud[..., None])

    def decode(self, parts: Parts) -> Float[Tensor, "b t"]:
        """The waves of a timbre under a pitch and a loudness; content decides which timbre, and is not heard itself."""
        made = self.sound(parts["timbre"], parts["pitch"][..., 0], parts["loudness"][..., 0])
        return nn.functional.pad(made, (0, self.fields["wave"].shape[0] - made.shape[1]))

    def frames(self, wave: Float[Tensor, "b t"], length: Int[Tensor, " b"]) -> Frames:
        """Both kinds of frames."""
        c = self.config
        count = wave.shape[1] // self.hop
        valid = valid_frames(length, count, self.hop)
        if self.given is not None:
            states = self.given(wave[:, : count * self.hop], c.rate)
            compared = torch.stack([entry(states, i, "matching") for i in c.matching]).mean(0)
            return Frames(fitted(compared, count), fitted(entry(states, c.synthesis, "synthesis"), count), valid)
        mel = self.mel(wave[:, : count * self.hop])
        if c.features == "raw":
            return Frames(in_context(mel, c.context), mel, valid)
        compared = normalised(mel, valid)
        if self.own:
            compared = normalised(mean_of(self.encoder(compared, valid), c.entries), valid)
        return Frames(in_context(compared, c.context), mel, valid)

    def course(self, wave: Float[Tensor, "b t"]) -> tuple[Float[Tensor, "b fine"], Float[Tensor, "b fine"]]:
        """Pitch and loudness, a value for every finer frame."""
        c = self.config
        count = wave.shape[1] // self.hop * c.factors[0]
        pitch = f0(wave, c.rate, self.fine, c.low, c.high)[:, :count]
        padded = nn.functional.pad(wave, (0, max(0, c.loudness_window // 2 + 1 - wave.shape[1])))
        return pitch, loudness(padded, c.rate, self.fine, c.loudness_window)[:, :count]

    def sound(
        self, synthesis: Float[Tensor, "b f e"], pitch: Float[Tensor, "b fine"], loud: Float[Tensor, "b fine"]
    ) -> Float[Tensor, "b t"]:
        """The waves of some frames; their noise is always the same."""
        generator = torch.Generator(synthesis.device).manual_seed(0)
        shape = (1, synthesis.shape[1] * self.hop)
        noise = torch.randn(shape, generator=generator, device=synthesis.device).expand(len(synthesis), -1)
        if self.config.render == "network":
            made: Tensor = self.vocoder(synthesis, pitch, loud, noise)
            return made
        made = sound_of_bands(synthesis, pitch, self.mel, noise)
        return at_loudness(made, self.course(made)[1], loud)

    @property
    def sounds(self) -> bool:
        """Whether what makes sound is ready to."""
        return self.config.render == "bands" or self.config.steps > 0

    # --------------------------------------------------------------------------------------------------- conversion

    def pool(self, reference: Source) -> Pool:
        """The frames of all recordings of a data set, which are taken to be one speaker's."""
        found = []
        for batch in _blocks(reference, self.device):
            wave = _whole(batch["wave"], self.hop)
            frames, (pitch, loud) = self.frames(wave, batch["length"]), self.course(wave)
            real = self.fine_of(frames.valid)
            found.append((frames.matching[frames.valid], frames.synthesis[frames.valid], pitch[pitch > 0], loud[real]))
        keys, values, pitch, loud = (torch.cat(kind) for kind in zip(*found, strict=True))
        return Pool(keys, values, pitch.mean(), loud.mean())

    def fine_of(self, valid: Bool[Tensor, "b f"]) -> Bool[Tensor, "b fine"]:
        """Which values of a pitch or loudness are real."""
        return valid.repeat_interleave(self.config.factors[0], 1)

    def level(self, loud: Float[Tensor, "b fine"], valid: Bool[Tensor, "b f"], pool: Pool) -> Float[Tensor, "b fine"]:
        """The loudness that a conversion is asked for."""
        if not self.config.levelled:
            return loud
        real = self.fine_of(valid)
        return loud + pool.loudness - ((loud * real).sum(1) / real.sum(1))[:, None]

    def replaced(self, frames: Frames, pool: Pool) -> Float[Tensor, "b f e"]:
        """Frames as the pool would have them."""
        near = matched(frames.matching.flatten(0, 1), pool.keys, pool.values, self.config.k)
        return near.reshape(*frames.matching.shape[:2], -1)

    @action
    def convert(self, source: Sound, reference: Source, pitch: float | None = None, sung: bool = False) -> Sound:
        """Say what a recording says in the voice of others.

        Args:
            source: The recording that says it.
            reference: Recordings of the voice, a folder of WAV or FLAC files: the more, the better.
            pitch: Factor on the pitch; the ratio of the mean pitches where left out.
            sung: Whether the source is sung and the reference spoken; then the pitch is raised by a fifth besides.
        """
        rate = getattr(reference, "rate", None) or self.config.rate
        if rate != self.config.rate:
            fix = f"open them with rate={self.config.rate}"
            raise DataError(f"recordings at {self.config.rate} samples a second", got=str(rate), fix=fix)
        count = max(1, round(len(source.wave) * self.config.rate / source.rate))
        wave = _whole(resample(source.wave[None].to(self.device), count), self.hop)
        with torch.no_grad():
            pool = self.pool(reference)
            frames = self.frames(wave, torch.tensor([count], device=self.device))
            course, loud = self.course(wave)
            factor = pitch if pitch is not None else ratio(pool.pitch, course) * (_RAISED if sung else 1.0)
            made = self.sound(self.replaced(frames, pool), course * factor, self.level(loud, frames.valid, pool))
        return Sound(made[0, :count].clamp(-1, 1).cpu(), self.config.rate)

    @action
    def examine(self, data: Source) -> Findings:
        """Convert recordings into one another's voices, and let probes say what they say and who says it.

        Args:
            data: Recordings of several speakers; the label is what they say.
        """
        return leakage(self, data)

    @property
    def device(self) -> torch.device:
        """Where the method lies."""
        return self.columns.pitch.device

    # ----------------------------------------------------------------------------------------------------- training

    def sources(self, data: Source) -> Mapping[str, Source]:
        rate = getattr(data, "rate", None)
        if rate is not None and rate != self.config.rate:
            fix = f"say --set rate={rate}, or rate={self.config.rate} in --data"
            raise DataError(f"waves at {self.config.rate} samples a second", got=str(rate), fix=fix)
        return {"train": data}

    def stages(self) -> Sequence[Stage]:
        c = self.config
        encoder = Stage(
            "encoder",
            [Update("encoder", self.encoder_loss, lambda: [self.encoder], c.encoder_optim)],
            Budget(steps=c.encoder_steps),
            {"": Stream(c.encoder_batch)},
            solve=self.cluster,
        )
        vocoder = Stage(
            "vocoder",
            [
                Update("vocoder", self.vocoder_loss, lambda: [self.vocoder], c.optim),
                Update("critics", self.critics_loss, lambda: [self.critics], c.optim),
            ],
            Budget(steps=c.steps),
            {"": Stream(c.batch)},
            solve=self.prematch,
        )
        return [*([encoder] if self.own else []), *([vocoder] if c.render == "network" and c.steps else [])]

    def cluster(self, sources: Mapping[str, Source], at: At) -> None:
        """The classes that frames are of: clusters of their cepstra."""
        shapes = []
        for batch in _blocks(sources["train"], at.device):
            mel, valid = self.heard(batch)
            shapes.append(cepstra(mel, _CEPSTRA)[valid])
        found = torch.cat(shapes)
        if len(found) < self.config.classes:
            fix = "give more data, or fewer --set classes"
            raise DataError(f"at least {self.config.classes} frames, one a class", got=str(len(found)), fix=fix)
        self.centres = kmeans(found, self.config.classes, at.shared())[0]

    def heard(self, batch: Batch) -> tuple[Float[Tensor, "b f m"], Bool[Tensor, "b f"]]:
        """What the encoder reads, and which frames are real."""
        mel = self.mel(batch["wave"][:, : batch["wave"].shape[1] // self.hop * self.hop])
        valid = valid_frames(batch["length"], mel.shape[1], self.hop)
        return normalised(mel, valid), valid

    def encoder_loss(self, batch: Batch, at: At) -> Terms:
        """How badly the encoder names the classes of frames that it does not see."""
        c = self.config
        mel, valid = self.heard(batch)
        classes = nearest_centre(cepstra(mel, _CEPSTRA).flatten(0, 1), self.centres).reshape(valid.shape)
        masked = spans(at.rand(valid.shape) < c.hidden, c.stretch) & valid
        logits = self.encoder.read(self.encoder(mel, valid, masked)[-1])
        return {"prediction": masked_prediction(logits, classes, masked, at.world.mean)}

    def prematch(self, sources: Mapping[str, Source], at: At) -> None:
        """Every item's frames in terms of the same speaker's other recordings; its pitch and loudness."""
        found: dict[str, list[Tensor]] = {}
        for batch in _blocks(sources["train"], at.device):
            pitch, loud = self.course(batch["wave"])
            kept = {"pitch": pitch, "loudness": loud, "index": batch["index"], "group": batch["group"]}
            kept |= {"song": batch.get("instance", batch["index"])}
            kept |= self.frames(batch["wave"], batch["length"])._asdict()
            for name, value in kept.items():
                found.setdefault(name, []).append(value)
        self.columns.fill({name: torch.cat(values) for name, values in found.items()}, self.config.k)

    def stretch(self, batch: Batch, at: At) -> dict[str, Tensor]:
        """A stretch of each item, of what is real in it where it is long enough, and what it shall be made from."""
        columns = self.columns
        rows = columns.rows(batch["index"])
        long = max(1, min(columns.matched.shape[1], self.config.clip // self.hop))
        room = (batch["length"] // self.hop - long).clamp(min=0)
        start = (at.rand((len(rows),)) * (room + 1)).long()[:, None]
        fine = self.config.factors[0]
        frames = start + torch.arange(long, device=start.device)
        courses = start * fine + torch.arange(long * fine, device=start.device)
        samples = start * self.hop + torch.arange(long * self.hop, device=start.device)
        pitch, loud = (c[rows].gather(1, courses) for c in (columns.pitch, columns.loudness))
        usable = columns.usable[rows, None].float()
        return {
            "wave": batch["wave"].gather(1, samples) * usable,
            "synthesis": columns.matched[rows[:, None], frames],
            "pitch": pitch,
            "loudness": loud,
            "usable": usable,
        }

    def rendered(self, stretch: Mapping[str, Tensor], at: At) -> Float[Tensor, "b t"]:
        """The wave of a stretch; silence in place of items of which there is no second recording."""
        noise = at.randn(stretch["wave"].shape)
        made: Tensor = self.vocoder(stretch["synthesis"], stretch["pitch"], stretch["loudness"], noise)
        return made * stretch["usable"]

    def vocoder_loss(self, batch: Batch, at: At) -> Terms:
        """What the vocoder descends."""
        c = self.config
        stretch = at.once("stretch", lambda: self.stretch(batch, at))
        made = self.rendered(stretch, at)
        spectral = multi_resolution_stft(made, stretch["wave"], c.sizes, at.world.mean)
        terms: dict[str, Any] = spectral._asdict()
        if at.step >= c.adversarial_from:
            terms["adversarial"] = (c.adversarial, least_squares(self.critics(made), 1.0))
        return terms

    def critics_loss(self, batch: Batch, at: At) -> Terms | None:
        """How badly the critics tell real waves from made ones, which the vocoder makes anew after its move."""
        if at.step < self.config.adversarial_from:
            return None
        stretch = at.once("stretch", lambda: self.stretch(batch, at))
        with torch.no_grad():
            made = self.rendered(stretch, at)
        real, fake = self.critics(stretch["wave"]), self.critics(made)
        return {"real": least_squares(real, 1.0), "fake": least_squares(fake, 0.0)}


def ratio(target: Float[Tensor, ""], pitch: Float[Tensor, "b fine"]) -> float:
    """The factor that brings a pitch to another mean; 1 where one of the two has no voice.

    >>> ratio(torch.tensor(200.0), torch.tensor([[0.0, 100.0]])), ratio(torch.tensor(200.0), torch.zeros(1, 2))
    (2.0, 1.0)
    """
    factor = target / pitch[pitch > 0].mean()
    return float(factor) if bool(factor.isfinite()) else 1.0


def _whole(wave: Float[Tensor, "b t"], hop: int) -> Float[Tensor, "b longer"]:
    """Waves of whole frames, silence at their ends."""
    return nn.functional.pad(wave, (0, -wave.shape[1] % hop))


def _blocks(source: Source, device: torch.device) -> Iterator[Mapping[str, Tensor]]:
    """A whole data set, some items at a time."""
    for rows in torch.split(torch.arange(len(source)), _BLOCK):
        yield source.take(rows, device)
