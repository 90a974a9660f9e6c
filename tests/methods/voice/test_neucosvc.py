"""Voice conversion by its formulas, as an action, with an encoder of others, and on real recordings."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from scipy.stats import multivariate_normal
from torch import nn

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.method import At
from unbraid.core.outcome import Sound
from unbraid.data.catalog import open_data
from unbraid.data.made.vowels import Vowels
from unbraid.data.wrapped import Subset, in_roles
from unbraid.losses.stft import multi_resolution_stft
from unbraid.methods.voice.bands import at_loudness, sound_of_bands
from unbraid.methods.voice.frames import Mel, cepstra, in_context, normalised, valid_frames
from unbraid.methods.voice.given import SpeechEncoder, fitted
from unbraid.methods.voice.neucosvc.method import NeuCoSVC, ratio
from unbraid.metrics.conversion import GaussianVoices, Judge, RidgeClassifier, same_length
from unbraid.ops.pitch import f0
from unbraid.testing import check_method
from unbraid.training.build import build
from unbraid.training.fit import fit
from unbraid.verbs import apply, train
from unbraid.verbs.request import Request

TINY = NeuCoSVC.presets["tiny"]
SMALL = {**TINY, "bands": 40, "features": "mel", "context": 0}


def voices(**options):
    return in_roles(Vowels(**{"speakers": 2, "pitches": 2, "levels": 2, "takes": 1, **options}), ["group"], {})


def make(data, given=None, **changes):
    config = override(NeuCoSVC.Config(), {**TINY, "features": "mel", **changes})
    return build(NeuCoSVC, config, data.fields, seed=0, given=given).eval()


def prematched(data, **changes):
    method = make(data, **changes)
    with torch.no_grad():
        method.prematch(method.sources(data), At())
    return method


# --------------------------------------------------------------------------------------------------------- the frames


def test_frames_normalised_in_context_and_valid_by_hand():
    x = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    valid = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    ours = normalised(x, valid)
    real = x[1, :4]
    theirs = (real - real.mean(0)) / (real.std(0, correction=0) + 1e-3)
    torch.testing.assert_close(ours[1, :4], theirs)
    assert ours[1, 4:].abs().max() == 0
    wide = in_context(x, 2)
    torch.testing.assert_close(wide[0, 2], x[0, :5].flatten())
    assert wide[0, 0, :6].abs().max() == 0
    assert valid_frames(torch.tensor([0, 81, 240]), 3, 80).sum(1).tolist() == [1, 1, 3]


def test_mel_and_cepstra():
    mel = Mel(8000, 160, 40)(torch.zeros(1, 1600))
    assert mel.shape == (1, 10, 40)
    assert (mel == -5).all()
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(1600) / 8000)[None]
    louder, softer = (Mel(8000, 160, 40)(level * tone) for level in (1.0, 0.1))
    peak = louder[0, 5].argmax()
    assert louder[0, 5, peak] - softer[0, 5, peak] == pytest.approx(1.0, abs=1e-3)
    shapes = cepstra(torch.randn(1, 1, 40) + 3, 13)
    assert shapes.shape == (1, 1, 13)
    assert cepstra(torch.full((1, 1, 40), 7.0), 13).abs().max() < 1e-4, "no level in the shape"


# -------------------------------------------------------------------------------------------------------- the training


def test_frames_are_matched_with_the_same_speakers_other_songs():
    data = voices()
    songs = in_roles(Vowels(speakers=2, pitches=2, levels=2, takes=1), ["group"], {"instance": "vowel"})
    for source, barred in ((data, "index"), (songs, "instance")):
        method = prematched(source)
        batch = source.take(torch.arange(len(source)))
        frames = method.frames(batch["wave"], batch["length"])
        row = 7
        allowed = (batch["group"] == batch["group"][row]) & (batch[barred] != batch[barred][row])
        keys, values = frames.matching[allowed][frames.valid[allowed]], frames.synthesis[allowed][frames.valid[allowed]]
        near = nn.functional.cosine_similarity(frames.matching[row, 3, None], keys, dim=1).topk(4).indices
        torch.testing.assert_close(method.columns.matched[row, 3], values[near].mean(0))
    assert method.columns.usable.all()
    assert method.columns.matched.shape == (len(data), 20, 16)


def test_a_speaker_with_one_recording_is_passed_over():
    data = voices()
    group = data.take(torch.arange(len(data)))["group"]
    some = torch.cat([(group == 0).nonzero()[:4, 0], (group == 1).nonzero()[:1, 0]])
    method = prematched(Subset(data, some))
    assert method.columns.usable.tolist() == [True] * 4 + [False]
    batch = Subset(data, some).take(torch.tensor([4]))
    stretch = method.stretch(batch, At())
    assert stretch["wave"].abs().max() == 0
    assert method.rendered(stretch, At()).abs().max() == 0
    with pytest.raises(DataError, match="a speaker of several recordings"):
        prematched(Subset(data, some[3:]))


def test_a_stretch_is_cut_where_its_frames_are():
    data = voices()
    method = prematched(data, clip=480)
    batch = data.take(torch.arange(6))
    stretch = method.stretch(batch, At())
    assert [tuple(stretch[n].shape) for n in ("wave", "synthesis", "pitch")] == [(6, 480), (6, 3, 16), (6, 6)]
    for row in range(6):
        starts = [
            s for s in range(18) if torch.equal(batch["wave"][row, 160 * s : 160 * s + 480], stretch["wave"][row])
        ]
        [start] = starts
        torch.testing.assert_close(stretch["synthesis"][row], method.columns.matched[row, start : start + 3])
        torch.testing.assert_close(stretch["loudness"][row], method.columns.loudness[row, 2 * start : 2 * start + 6])
        assert 160 * start + 480 <= batch["length"][row]


def test_the_losses_by_their_formulas():
    data = voices()
    method = prematched(data, adversarial_from=5, adversarial=2.5)
    batch = data.take(torch.arange(4))
    early = method.vocoder_loss(batch, At(step=4))
    assert list(early) == ["convergence", "magnitude"]
    assert method.critics_loss(batch, At(step=4)) is None
    at = At(step=5)
    terms = method.vocoder_loss(batch, at)
    stretch = at.memo["stretch"]
    again = At(step=5)
    again.memo["stretch"] = stretch
    again.rand((4,))
    made = method.rendered(stretch, again)
    spectral = multi_resolution_stft(made, stretch["wave"], method.config.sizes)
    torch.testing.assert_close(terms["convergence"], spectral.convergence)
    torch.testing.assert_close(terms["magnitude"], spectral.magnitude)
    weight, verdict = terms["adversarial"]
    assert weight == 2.5
    torch.testing.assert_close(verdict, torch.stack([(v - 1).square().mean() for v in method.critics(made)]).mean())
    critics = method.critics_loss(batch, at)
    real = torch.stack([(v - 1).square().mean() for v in method.critics(stretch["wave"])]).mean()
    torch.testing.assert_close(critics["real"], real)
    slopes = torch.autograd.grad(critics["fake"], list(method.vocoder.parameters()), allow_unused=True)
    assert all(s is None for s in slopes), "the critics' loss does not reach the vocoder"


def test_the_encoder_learns_to_name_hidden_frames():
    data = voices()
    method = make(data, features="masked", encoder_steps=60, encoder_batch=16, steps=0)
    first = fit(method, data, seed=0, every=60)
    assert [s.name for s in method.stages()] == ["encoder"]
    assert method.centres.abs().sum() > 0
    with torch.no_grad():
        batch = data.take(torch.arange(len(data)))
        after = method.encoder_loss(batch, At())["prediction"]
        fresh = make(data, features="masked", steps=0)
        fresh.centres = method.centres
        before = fresh.encoder_loss(batch, At())["prediction"]
    assert first
    assert after < 0.9 * before


# ------------------------------------------------------------------------------------------------------ the conversion


def test_parts_and_their_sound():
    data = voices()
    method = make(data)
    batch = data.take(torch.arange(3))
    parts = method.encode(batch)
    assert {n: tuple(parts[n].shape[1:]) for n in parts} == {
        "content": (20, 80),
        "timbre": (20, 16),
        "pitch": (40, 1),
        "loudness": (40, 1),
    }
    wave = method.decode(parts)
    assert wave.shape == batch["wave"].shape
    assert torch.equal(wave, method.decode(parts)), "its noise is always the same"
    specs = {s.name: s for s in method.parts()}
    assert specs["content"].carries == ("phone",)
    assert specs["content"].free_of == ("speaker",)


def test_a_conversion_takes_frames_and_mean_pitch_of_the_reference(monkeypatch):
    data = voices(levels=1, pitches=4, speakers=2)
    method = make(data)
    batch = data.take(torch.arange(len(data)))
    low, high = ((batch["factors"][:, 2] == level).nonzero()[:, 0] for level in (0, 3))
    theirs = Subset(data, high[batch["group"][high] == 1])
    seen = {}

    def sound(synthesis, pitch, loud):
        seen.update(synthesis=synthesis, pitch=pitch, loud=loud)
        return torch.zeros(1, synthesis.shape[1] * method.hop)

    monkeypatch.setattr(method, "sound", sound)
    source = Sound(batch["wave"][low[0], :3001], 8000)
    made = method.convert(source, theirs)
    assert (made.rate, tuple(made.wave.shape)) == (8000, (3001,))
    assert seen["pitch"][seen["pitch"] > 0].mean() == pytest.approx(190, rel=0.1)
    pool = method.pool(theirs)
    closest = torch.cdist(seen["synthesis"][0], pool.values).min(1).values
    assert closest.median() < torch.cdist(method.mel(batch["wave"][low[:1]])[0], pool.values).min(1).values.median()
    asked = seen["pitch"].clone()
    method.convert(source, theirs, sung=True)
    torch.testing.assert_close(seen["pitch"], 1.2 * asked)
    method.convert(source, theirs, pitch=0.5)
    torch.testing.assert_close(seen["pitch"], 0.5 * method.course(nn.functional.pad(source.wave, (0, 39))[None])[0])
    twice = Sound(source.wave.repeat_interleave(2), 16000)
    assert method.convert(twice, theirs).wave.shape == (3001,)


def test_a_silent_reference_leaves_the_pitch():
    assert ratio(torch.tensor(float("nan")), torch.ones(1, 3)) == 1.0


def test_an_action_from_file_to_file(tmp_path):
    run = tmp_path / "run"
    changes = {"features": "mel", "steps": "2"}
    train(Request(method="neucosvc", data="vowels:speakers=2,pitches=1,levels=1", preset="tiny", set=changes), run)
    folder = tmp_path / "bob"
    folder.mkdir()
    batch = Vowels(speakers=2, pitches=1, levels=1).take(torch.arange(20))
    for i in range(20):
        if batch["factors"][i, 1] == 1:
            soundfile.write(folder / f"{i}.wav", batch["wave"][i].numpy(), 8000)
    soundfile.write(tmp_path / "a.wav", batch["wave"][0].numpy(), 8000)
    out = tmp_path / "b.wav"
    wanted = ["--source", str(tmp_path / "a.wav"), "--reference", str(folder), "--out", str(out)]
    assert apply(run, ["convert", *wanted]) == [f"wrote {out}"]
    assert soundfile.info(str(out)).frames == 3200
    assert (run / "report.html").exists()
    assert "target of sound" in (run / "findings.json").read_text()
    with pytest.raises(DataError, match="recordings at 8000 samples a second, got 16000"):
        apply(run, ["convert", *wanted[:2], "--reference", f"waves:{folder},rate=16000"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"factors": "160"}, "two factors or more"),
        ({"width": "36"}, "a multiple of 16"),
        ({"filter_width": "12"}, "a multiple of 8"),
        ({"cepstrum": "13"}, "an even number"),
        ({"entries": "3"}, r"hidden states 0\.\.2"),
        ({"low": "5000"}, "0 < low < high"),
        ({"k": "0"}, "above 0"),
        ({"hidden": "2"}, "a share"),
    ],
)
def test_wrong_options_are_told_in_a_line(changes, words):
    with pytest.raises(ConfigError, match=words) as error:
        override(override(NeuCoSVC.Config(), TINY), changes)
    assert "\n" not in str(error.value)


def test_data_that_do_not_fit_are_told_in_a_line():
    data = voices()
    with pytest.raises(DataError, match=r"waves at 16000 samples a second, got 8000; say --set rate=8000"):
        fit(make(data, rate=16000), data, seed=0)
    with pytest.raises(DataError, match="at least a frame"):
        make(data, factors="8,8,8,8")
    with pytest.raises(DataError, match="at least 999 frames"):
        fit(make(data, features="masked", classes=999), data, seed=0)


def test_presets_are_as_published_where_nothing_is_said():
    config = NeuCoSVC.Config()
    assert (config.optim.lr, config.optim.schedule.kind, config.optim.schedule.stair) == (5e-4, "stairs", 100_000)
    assert config.optim.clip.limit == 1.0
    for name in NeuCoSVC.presets:
        override(config, NeuCoSVC.presets[name])


# --------------------------------------------------------------------------------------------- sound without training


def test_sound_has_the_bands_and_the_pitch_that_were_asked_for():
    data = voices(speakers=6, pitches=4, levels=2)
    batch = data.take(torch.arange(0, len(data), 4))
    wave, mel = batch["wave"], Mel(8000, 160, 40)
    real = valid_frames(batch["length"], 20, 160)
    noise = torch.randn(1, 3200, generator=torch.Generator().manual_seed(0)).expand(len(wave), -1)
    pitch = f0(wave, 8000, 80)[:, :40]
    made = sound_of_bands(mel(wave), pitch, mel, noise)
    assert made.shape == wave.shape
    before, after = ((mel(w) - mel(wave))[real].abs().mean() for w in (noise, made))
    assert after < 0.12
    assert after < 0.2 * before
    higher = sound_of_bands(mel(wave), 1.3 * pitch, mel, noise)
    heard = f0(higher, 8000, 80)[:, :40]
    both = (heard > 0) & (pitch > 0)
    assert both.float().mean() > 0.5
    assert ((heard / pitch)[both] / 1.3 - 1).abs().median() < 0.02


def test_a_sound_is_brought_to_a_loudness():
    wave = torch.sin(torch.arange(800.0))[None]
    made, asked = torch.zeros(1, 10), torch.full((1, 10), -1.0)
    torch.testing.assert_close(at_loudness(wave, made, asked), wave * 10**-0.5)
    torch.testing.assert_close(at_loudness(wave, made, asked - 9), wave * 0.1, msg="by at most 20 decibels")


def test_without_a_network_there_is_less_to_train():
    data = voices()
    method = make(data, render="bands", levelled=True)
    assert method.stages() == []
    assert not list(method.parameters())
    assert method.sounds
    assert not make(data, steps=0).sounds
    batch = data.take(torch.arange(40))
    loud = method.course(batch["wave"])[1]
    valid = valid_frames(batch["length"], 20, 160)
    theirs = Subset(data, (batch["factors"][:, 3] == 1).nonzero()[:, 0])
    pool = method.pool(theirs)
    asked = method.level(loud, valid, pool)
    real = method.fine_of(valid)
    torch.testing.assert_close(asked[0][real[0]].mean(), pool.loudness)
    assert torch.equal(make(data).level(loud, valid, pool), loud), "as published, it is the source's"
    made = method.decode(method.encode(batch))
    assert made.shape == batch["wave"].shape
    with pytest.raises(ConfigError, match="mel bands to make sound from"):
        make(data, {"encoder": Stub()}, render="bands")


# ---------------------------------------------------------------------------------------------------------- the judges


def test_a_ridge_classifier_by_its_formula():
    x, y = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).double(), torch.arange(40) % 3
    ours = RidgeClassifier.fit(x, y, 3, penalty=0.5)
    z = (x - x.mean(0)) / (x.std(0, correction=0) + 1e-6)
    goal = nn.functional.one_hot(y, 3).double()
    theirs = torch.linalg.solve(z.T @ z + 20 * torch.eye(3), z.T @ (goal - goal.mean(0)))
    torch.testing.assert_close(ours.weights[:3], theirs)
    torch.testing.assert_close(ours.weights[3], goal.mean(0))


def test_a_verdict_counts_what_probes_say():
    frames = torch.zeros(8, 4, 2)
    said, speaker = torch.arange(8) % 2, torch.arange(8) // 4
    frames[..., 0], frames[..., 1] = said[:, None].float(), speaker[:, None].float()
    valid = torch.ones(8, 4, dtype=torch.bool)
    judge = Judge.fit(frames, valid, said, speaker, count=4)
    found = judge.verdict(frames, valid, said, speaker, 1 - speaker)
    assert found == {"content": 1, "target": 0, "leak": 1, "target by spread": 0, "leak by spread": 1}
    moved = frames.clone()
    moved[:2, :, 1] = 1.0
    found = judge.verdict(moved, valid, said, speaker, 1 - speaker)
    assert found == {"content": 1, "target": 0.25, "leak": 0.75, "target by spread": 0.25, "leak by spread": 0.75}
    assert same_length(frames, valid, 9).shape == (8, 9, 2)


def test_voices_by_their_spread_as_scipy_has_it():
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(6, 30, 3, generator=generator) * (1 + torch.arange(6) // 3)[:, None, None]
    valid, speaker = torch.rand(6, 30, generator=generator) < 0.8, torch.arange(6) // 3
    ours = GaussianVoices.fit(frames, valid, speaker, ridge=0.1).predict(frames, valid)
    scores = []
    for number in (0, 1):
        x = frames[speaker == number][valid[speaker == number]].double().numpy()
        law = multivariate_normal(x.mean(0), np.cov(x.T, bias=True) + 0.1 * np.eye(3))
        scores.append([law.logpdf(f[v].numpy()).sum() for f, v in zip(frames, valid, strict=True)])
    assert ours.tolist() == np.argmax(scores, 0).tolist() == speaker.tolist()


def test_made_voices_are_converted():
    data = in_roles(open_data("vowels:pitches=2,levels=2"), ["group"], {})
    numbers = make(data, **{**SMALL, "context": 2, "render": "bands", "levelled": True}).examine(data).numbers
    assert numbers["leak of recordings"] > 0.9
    assert numbers["target of sound"] > numbers["leak of sound"] + 0.5
    assert numbers["content of sound"] > numbers["content of random frames"] + 0.2
    assert numbers["pitch correlation"] > 0.9
    assert numbers["target of nearest frames"] > 0.85
    assert numbers["leak of nearest frames"] < 0.05
    assert numbers["content of nearest frames"] > numbers["content of random frames"] + 0.2
    raw = make(data, **{**SMALL, "features": "raw", "steps": 0}).examine(data).numbers
    assert raw["leak of nearest frames"] > numbers["leak of nearest frames"] + 0.1


@pytest.mark.skipif(
    not (Path(os.environ.get("UNBRAID_DATA", "")) / "fsdd" / "recordings").is_dir(), reason="no recordings"
)
def test_real_voices_are_converted():
    spec = "waves:fsdd/recordings,pattern={digit}_{speaker}_{take},seconds=0.8,only=*_[0-9].wav"
    data = in_roles(open_data(spec), ["group"], {})
    numbers = make(data, **{**SMALL, "render": "bands", "levelled": True}).examine(data).numbers
    for kind in ("nearest frames", "sound"):
        assert numbers[f"target of {kind}"] > 0.9
        assert numbers[f"leak of {kind}"] < 0.05
    assert numbers["content of nearest frames"] > numbers["content of random frames"] + 0.2


def test_speakers_must_be_known_and_several():
    data = Vowels(speakers=2, pitches=1, levels=1)
    with pytest.raises(DataError, match="group"):
        make(voices()).examine(data)
    alone = Subset(voices(), torch.arange(40)[voices().take(torch.arange(40))["group"] == 0])
    with pytest.raises(DataError, match="two speakers or more"):
        make(voices()).examine(alone)


# ------------------------------------------------------------------------------------------------- an encoder of others


class Stub(nn.Module):
    """The interface of a HuBERT: frames of 320 samples, a norm after the last block that `hidden_states` include."""

    def __init__(self, width=8, depth=3):
        super().__init__()
        self.config = SimpleNamespace(hidden_size=width)
        self.conv = nn.Conv1d(1, width, 400, stride=320)
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.encoder.layer_norm = nn.LayerNorm(width)

    def forward(self, wave, output_hidden_states):
        assert output_hidden_states
        states = [self.conv(wave[:, None]).transpose(1, 2)]
        for layer in self.encoder.layers:
            states.append(layer(states[-1]))
        states[-1] = self.encoder.layer_norm(states[-1])
        return SimpleNamespace(hidden_states=tuple(states))


def test_a_given_encoder_says_what_frames_are():
    data = voices()
    torch.manual_seed(0)
    net = Stub()
    method = make(data, {"encoder": net}, matching="1,3", synthesis=2)
    batch = data.take(torch.arange(2))
    frames = method.frames(batch["wave"], batch["length"])
    states = SpeechEncoder(net)(batch["wave"], 8000)
    assert [tuple(s.shape) for s in states] == [(2, 20, 8)] * 4
    torch.testing.assert_close(states[3], net.encoder.layers[2](states[2]), msg="before the last norm")
    torch.testing.assert_close(frames.matching, (states[1] + states[3]) / 2)
    torch.testing.assert_close(frames.synthesis, states[2])
    assert not any(n.startswith("given") for n in method.tensors())
    assert [s.name for s in method.stages()] == ["vocoder"]
    assert {s.name: s.shape for s in method.parts()}["content"] == (20, 8)
    louder = SpeechEncoder(net, scaled=True)
    torch.testing.assert_close(louder(batch["wave"], 8000)[1], louder(3 * batch["wave"], 8000)[1], atol=1e-3, rtol=1e-3)
    config = override(NeuCoSVC.Config(), {**TINY, "matching": "1,3", "synthesis": 2, "steps": 2, "batch": 2})
    assert "resume" in check_method(NeuCoSVC, data, config, given={"encoder": net})


def test_encoders_that_do_not_fit_are_told_in_a_line():
    data = voices()
    with pytest.raises(ConfigError, match=r"a speech encoder with config\.hidden_size, got Linear"):
        make(data, {"encoder": nn.Linear(2, 2)})
    with pytest.raises(ConfigError, match="frames of 20 ms"):
        make(data, {"encoder": Stub()}, factors="2,4,4")
    method = make(data, {"encoder": Stub()})
    with pytest.raises(ConfigError, match=r"hidden states 0\.\.3 of the encoder, got 20"):
        method.encode(data.take(torch.arange(1)))
    assert fitted(torch.ones(1, 3, 2), 2).shape == (1, 2, 2)


def test_models_of_transformers_are_such_encoders():
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    small |= {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, "conv_dim": (8,) * 7}
    wave = torch.randn(2, 3200)
    for stable in (False, True):
        norm = {"feat_extract_norm": "layer" if stable else "group"}
        config = transformers.WavLMConfig(**small, **norm, do_stable_layer_norm=stable, num_buckets=16)
        net = transformers.WavLMModel(config).eval()
        states = SpeechEncoder(net)(wave, 8000)
        assert [tuple(s.shape) for s in states] == [(2, 20, 16)] * 4
    config = transformers.HubertConfig(**small)
    assert len(SpeechEncoder(transformers.HubertModel(config).eval())(wave, 8000)) == 4
