"""Sparse autoencoders: losses by formula, what happens after a step, networks of every kind, errors in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from unbraid.core.action import actions
from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At, Optim, Schedule
from unbraid.core.parts import Parts
from unbraid.data.activations import Activations
from unbraid.data.dataset import MemoryDataset
from unbraid.data.made.directions import Directions
from unbraid.data.made.ioi import Sentences
from unbraid.data.made.tiny import tiny_images
from unbraid.methods.inside.dictionaries.sae import SAE
from unbraid.nets.dictionary import Kind
from unbraid.nets.transformer import LanguageModel
from unbraid.ops.dictionary import scale_of
from unbraid.testing import check_method
from unbraid.training.build import build
from unbraid.training.fit import fit
from unbraid.training.stepper import Stepper

KINDS = get_args(Kind)
WORLD = Directions(values=8, width=12)


def config(**changes: Any) -> SAE.Config:
    made: SAE.Config = override(override(SAE.Config(), SAE.presets["tiny"]), changes)
    return made


def made(data: Any = WORLD, subject: nn.Module | None = None, **changes: Any) -> SAE:
    return build(SAE, config(**changes), data.fields, given={"subject": subject or nn.Identity()})


def language_model(data: Sentences) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(len(data.vocabulary), 10, dim=16, depth=2, heads=2)


@pytest.mark.parametrize("kind", KINDS)
def test_contract(kind: str) -> None:
    check_method(SAE, config=config(kind=kind))


@pytest.mark.parametrize("kind", KINDS)
def test_losses_by_formula(kind: str) -> None:
    method, batch = made(kind=kind, sparsity=0.7), WORLD.take(torch.arange(20))
    method.scale.fill_(2.0)
    x, net = batch["x"] / 2.0, method.dictionary
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    pre = (x - net.centre) @ net.encoder.T + net.bias
    code = net.code(x)
    terms = method.loss(batch, At())
    expected = {"reconstruction": (code @ net.decoder + net.centre - x).square().sum(1)}
    if kind != "topk":
        expected["sparsity"] = pre.relu().sum(1)  # of the gate's readings where there is a gate
    if kind == "gated":
        expected["auxiliary"] = (pre.relu() @ net.decoder + net.centre - x).square().sum(1)
    assert set(terms) == set(expected)
    for name, value in expected.items():
        term = terms[name]
        torch.testing.assert_close(term[1] if isinstance(term, tuple) else term, value, rtol=1e-5, atol=1e-5)
    assert kind == "topk" or terms["sparsity"][0] == 0.7  # type: ignore[index]


def test_the_scale_makes_the_mean_length_the_root_of_the_width() -> None:
    method = made()
    method.measure({"train": WORLD}, At())
    x = WORLD.take(torch.arange(64))["x"]
    torch.testing.assert_close(method.scale, scale_of(x))
    torch.testing.assert_close((x / method.scale).norm(dim=1).mean(), torch.tensor(12.0).sqrt())


def test_rows_have_length_one_after_every_step_and_a_frozen_decoder_stays() -> None:
    for frozen in (False, True):
        method = made(frozen=frozen, steps=5)
        before = method.dictionary.decoder.detach().clone()
        fit(method, WORLD)
        after = method.dictionary.decoder.detach()
        torch.testing.assert_close(after.norm(dim=1), torch.ones(24))
        assert torch.equal(before, after) == frozen
        assert not torch.equal(before, method.dictionary.encoder)


def test_silent_features_start_again_and_the_optimiser_forgets_them() -> None:
    method = made(kind="relu", steps=8, resample=(4,), patience=3, batch=32)
    stage = method.stages()[0]
    stepper, batch = Stepper(method, stage, seed=0, steps=8), WORLD.take(torch.arange(32))
    with torch.no_grad():
        method.dictionary.bias[:5] = -100.0
    for step in range(3):
        stepper.step(batch, step)
    assert method.idle[:5].tolist() == [3.0] * 5
    alive = int((method.idle < 3).sum())
    stepper.step(batch, 3)
    x = torch.nn.functional.normalize(batch["x"], dim=1)
    dead = method.dictionary.decoder[:5]
    torch.testing.assert_close((dead @ x.T).amax(1), torch.ones(5))
    assert method.dictionary.bias[:5].abs().sum() == 0
    assert method.idle[:5].sum() == 0
    moments = stepper.state()
    for name in ("encoder", "decoder", "bias"):
        for slot in ("exp_avg", "exp_avg_sq"):
            found = moments[f"fit|dictionary.{name}|{slot}"]
            assert found[:5].abs().sum() == 0
            assert found[5:].abs().sum() > 0
    assert alive > 0


def test_the_rate_rises_anew_after_resampling() -> None:
    optim = Optim("adam", lr=1e-3, schedule=Schedule("linear", warmup=2, hold=0.5))
    update = made(resample=(6, 9), optim=optim).stages()[0].updates[0]
    assert update.optim == replace(optim, schedule=replace(optim.schedule, restarts=(6, 9)))


def test_topk_explains_what_two_sets_of_directions_are_made_of() -> None:
    method = made(kind="topk", k=2, width=32, steps=400, batch=64, resample=(), **{"optim.lr": 1e-2})
    fit(method, WORLD)
    x = WORLD.take(torch.arange(64))["x"]
    with torch.no_grad():
        error = method.decode(method.encode({"x": x})) - x
    assert float(error.square().sum() / (x - x.mean(0)).square().sum()) < 0.05


# ------------------------------------------------------------------------------------------------------- the network


def test_activations_of_a_transformer_are_computed_once_and_read_at_one_token() -> None:
    data = Sentences(names=3)
    net, calls = language_model(data), []
    net.register_forward_hook(lambda *_: calls.append(1))
    method = made(data, net, at="body.blocks.0.mid", position=6, columns=(8, 16), steps=20, batch=16)
    source = method.sources(data)["train"]
    assert isinstance(source, Activations)
    assert source.fields["feature"].shape == (1, 8)
    fit(method, data)
    assert len(calls) < 5
    batch = data.take(torch.arange(3))
    seen: list[Tensor] = []
    net.get_submodule("body.blocks.0.mid").register_forward_hook(lambda _m, _i, out: seen.append(out))
    net(batch["token"])
    torch.testing.assert_close(method.rows(batch) * method.scale, seen[0][:, 6, 8:16])


def test_where_no_module_is_named_the_last_mid_is_read() -> None:
    data = Sentences(names=3)
    assert made(data, language_model(data)).subject.site.module == "body.blocks.1.mid"
    with pytest.raises(ConfigError, match=r"at: expected the name of the module to read, got none; set at=NAME"):
        made(tiny_images(), nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()))
    with pytest.raises(ConfigError, match=r"module of the network, got 'body.blocks.1.midd'; did you mean"):
        made(data, language_model(data), at="body.blocks.1.midd")


def test_maps_of_a_convolutional_network_give_an_activation_for_every_place() -> None:
    data = tiny_images()
    net = nn.Sequential(nn.Conv2d(1, 6, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    net(data.take(torch.arange(1))["x"])
    method = made(data, net, at="1", position=None, steps=10)
    fit(method, data)
    batch = data.take(torch.arange(5))
    assert method.rows(batch).shape == (5 * 16, 6)
    each = method.dictionary.code(method.rows(batch)).view(5, 16, -1)
    assert torch.equal(method.encode(batch)["features"], each.amax(1))
    found = method.examine(data)
    assert "sufficiency" in found.numbers or any("inactive" in note for note in found.notes)
    assert any("one place" in note for note in found.notes)


def test_a_network_of_the_library_transformers() -> None:
    library = pytest.importorskip("transformers")
    data = Sentences(names=3)
    options = {"vocab_size": len(data.vocabulary), "n_positions": 10, "n_embd": 16, "n_layer": 2, "n_head": 2}
    torch.manual_seed(0)
    net = library.GPT2LMHeadModel(library.GPT2Config(**options)).eval()
    method = made(data, net, at="transformer.h.1", steps=5, items=50, attributes=("io",))
    fit(method, data)
    batch = data.take(torch.arange(4))
    with torch.no_grad():
        hidden = net(batch["token"], output_hidden_states=True)
        torch.testing.assert_close(method.subject.logits(batch), hidden.logits[:, -1])
        same = method.subject.logits(batch, method.subject.activations(batch))
        other = method.subject.logits(batch, torch.zeros(4, 1, 16))
    torch.testing.assert_close(same, hidden.logits[:, -1])
    assert not torch.allclose(other, hidden.logits[:, -1])
    assert "gap" in method.examine(data).numbers


def test_a_network_stays_as_it_is() -> None:
    data = Sentences(names=3)
    net = language_model(data)
    before = [p.detach().clone() for p in net.parameters()]
    method = made(data, net, steps=5)
    fit(method, data)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert not any("subject" in name for name in method.tensors())


def test_activations_that_are_a_data_set_already() -> None:
    data = Sentences(names=3)
    net = language_model(data)
    source = Activations(data, lambda batch: net.token(batch["token"])[:, -1:].detach(), "embedding")
    method = build(SAE, config(steps=5), source.fields, given={"subject": nn.Identity()})
    fit(method, source)
    assert method.encode(source.take(torch.arange(3)))["features"].shape == (3, 24)


# -------------------------------------------------------------------------------------------------------- using it


def test_decode_is_the_inverse_of_what_encode_says() -> None:
    method = made()
    fit(method, WORLD)
    x = WORLD.take(torch.arange(6))["x"]
    with torch.no_grad():
        code = method.encode({"x": x})["features"]
        expected = (code @ method.dictionary.decoder + method.dictionary.centre) * method.scale
        torch.testing.assert_close(method.decode(Parts(features=code)), expected)


def test_edits_of_all_features_do_what_the_twin_does() -> None:
    method = made(kind="topk", k=2, width=32, steps=400, batch=64, resample=(), **{"optim.lr": 1e-2})
    fit(method, WORLD)
    few, many = (method.edit_attribute(WORLD, "u", "3", k=k) for k in (1, 4))
    assert few.numbers["agreement without an edit"] == pytest.approx(0.0, abs=1e-6)
    assert 0.1 < few.numbers["agreement"] < many.numbers["agreement"]
    assert many.numbers["agreement"] > 0.8
    assert (WORLD.factors_of(many.arrays["index"])[:, 0] != 3).all()
    meant = WORLD.factors_of(many.arrays["index"])
    meant[:, 0] = 3
    torch.testing.assert_close(many.arrays["meant"], WORLD.render(meant))


def test_edits_say_what_they_cannot_do() -> None:
    method = made()
    with pytest.raises(ConfigError, match="the name of a factor, got 'w'; choose from u, v"):
        method.edit_attribute(WORLD, "w", "3")
    with pytest.raises(ConfigError, match="a value of u, got '9'"):
        method.edit_attribute(WORLD, "u", "9")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_features_of_a_file_are_judged_as_ours_are(tmp_path: Path, suffix: str) -> None:
    method = made(steps=30)
    fit(method, WORLD)
    net = method.dictionary
    arrays = {"W_enc": net.encoder.T, "b_enc": net.bias, "W_dec": net.decoder, "b_dec": net.centre}
    arrays = {name: t.detach().contiguous() for name, t in {**arrays, "scale": method.scale}.items()}
    path = tmp_path / f"theirs{suffix}"
    if suffix == ".npz":
        np.savez(path, **{name: t.numpy() for name, t in arrays.items()})
    else:
        save_file(arrays, path)
    theirs, ours = method.score(WORLD, path).numbers, method.score(WORLD).numbers
    assert theirs.keys() == ours.keys()
    np.testing.assert_allclose(list(theirs.values()), list(ours.values()), rtol=1e-5, atol=1e-6)


def test_files_that_are_not_dictionaries_are_refused(tmp_path: Path) -> None:
    method, path = made(), tmp_path / "theirs.npz"
    np.savez(path, W_enc=np.zeros((12, 5)), b_enc=np.zeros(5), W_dec=np.zeros((5, 12)))
    with pytest.raises(DataError, match=r"theirs.npz: expected the arrays W_enc, .* got no b_dec"):
        method.score(WORLD, path)
    np.savez(path, W_enc=np.zeros((9, 5)), b_enc=np.zeros(5), W_dec=np.zeros((5, 9)), b_dec=np.zeros(9))
    with pytest.raises(DataError, match=r"'W_enc' of shape \(12, 5\), got \(9, 5\)"):
        method.score(WORLD, path)
    (tmp_path / "theirs.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"a whole .safetensors file"):
        method.score(WORLD, tmp_path / "theirs.safetensors")
    with pytest.raises(DataError, match=r".npz or .safetensors, got 'theirs.pt'"):
        method.score(WORLD, tmp_path / "theirs.pt")


def test_activations_as_data_keep_their_factors() -> None:
    data = Sentences(names=3)
    method = made(data, language_model(data))
    kept = method.activations(data)
    assert isinstance(kept, MemoryDataset)
    assert kept.fields["x"].shape == (16,)
    assert [f.name for f in kept.factors] == [f.name for f in data.factors]
    rows = torch.tensor([5, 100])
    torch.testing.assert_close(kept.take(rows)["x"], method.subject.activations(data.take(rows))[:, 0])


def test_actions_and_aliases() -> None:
    assert set(actions(SAE)) == {"edit-attribute", "score", "activations"}
    kinds = {name: override(SAE.Config(), changes).kind for name, changes in SAE.aliases.items()}
    assert kinds == {"topk-sae": "topk", "gated-sae": "gated"}


def test_options_and_data_that_make_no_sense() -> None:
    with pytest.raises(ConfigError, match="width: expected a whole number above 0, got 0"):
        config(width=0)
    with pytest.raises(ConfigError, match="k: expected at most 24 active features, got 30"):
        made(kind="topk", k=30)
    with pytest.raises(DataError, match=r"field 'x': expected vectors \(D,\), got shape \(1, 16, 16\); give a network"):
        made(tiny_images())
    with pytest.raises(DataError, match="data with the field 'x'"):
        build(SAE, config(), Fields(index=Field((), "int64")), given={"subject": nn.Identity()})
