"""Quantum transfer: the circuit in closed form, what each stage moves, what the shots are."""

import itertools
import math

import pytest
import torch
from sklearn.decomposition import PCA

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.data.digits import digits
from unbraid.data.wrapped import in_roles
from unbraid.methods.quantum.transfer import QuantumTransfer, feature_map
from unbraid.ops.statevector import probabilities
from unbraid.testing import check_method
from unbraid.testing.made import tiny_data
from unbraid.training.build import build
from unbraid.training.fit import fit

TINY = QuantumTransfer.presets["tiny"]
EXACT = {"shots": None}


def make(fields=None, **changes):
    config = override(QuantumTransfer.Config(), {**TINY, **changes})
    return build(QuantumTransfer, config, fields or tiny_data(QuantumTransfer).fields)


def trained(**changes):
    data = tiny_data(QuantumTransfer)
    method = make(**changes)
    fit(method, data, seed=0)
    return method.eval(), data


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"features": "code"},
        {"features": "components", "reconstruction": "bce"},
        {"trainable_angles": True, "shots": None},
        {"depolarising": 0.05, "damping": 0.1, "readout": 0.02, "reduce": "first", "rotation": "rx-rz"},
    ],
    ids=["quantum", "code", "components", "trainable", "noisy"],
)
def test_contract(changes):
    config = override(QuantumTransfer.Config(), {**TINY, **changes})
    assert "sums" in check_method(QuantumTransfer, tiny_data(QuantumTransfer), config)


def test_the_default_circuit_in_closed_form():
    """P(b) is the product over qubits of (1 +- sin t) / 2 at b' = b with the cascade undone."""
    torch.manual_seed(0)
    t = torch.rand(7, 5, dtype=torch.float64) * 4 - 1
    p = probabilities(feature_map(5, "all", "ry")(t))
    for b in itertools.product((0, 1), repeat=5):
        before = [b[0], *(b[q] ^ b[q - 1] for q in range(1, 5))]
        marginals = [(1 + t[:, q].sin() * (1 - 2 * before[q])) / 2 for q in range(5)]
        outcome = int("".join(map(str, b)), 2)
        torch.testing.assert_close(p[:, outcome], torch.stack(marginals).prod(0), rtol=0, atol=1e-14)


def test_hadamard_gates_before_the_rotations_shift_the_angle():
    """RY(t) H |0> = RY(t + pi / 2) |0>."""
    t = torch.rand(5, 3, dtype=torch.float64)
    before, none = feature_map(3, "before", "ry"), feature_map(3, "none", "ry")
    torch.testing.assert_close(probabilities(before(t)), probabilities(none(t + math.pi / 2)), rtol=0, atol=1e-14)
    first = probabilities(feature_map(3, "first", "ry")(t)).reshape(5, 2, 4).sum(2)
    torch.testing.assert_close(first[:, 0], (1 + t[:, 0].sin()) / 2)


def test_components_are_those_of_scikit_learn_and_their_ranges_those_of_training():
    method, data = trained(latents=8, qubits=4, **EXACT)
    kept = method.sources(data)["train"]
    with torch.no_grad():
        codes = method.encoder(kept.take(torch.arange(len(kept)))["x"])
    pca = PCA(4).fit(codes.double().numpy())
    axes = torch.tensor(pca.components_.T)
    signs = (axes * method.angles.axes.double()).sum(0)
    torch.testing.assert_close(signs.abs(), torch.ones(4, dtype=torch.float64), rtol=0, atol=1e-5)
    angles = method.angles(codes)
    torch.testing.assert_close(angles.amin(0), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(angles.amax(0), torch.full((4,), math.pi), rtol=0, atol=1e-5)
    beyond = method.angles(codes * 10)
    assert beyond.min() >= 0
    assert beyond.max() <= math.pi + 1e-6
    assert (method.angles.axes.gather(0, method.angles.axes.abs().argmax(0, keepdim=True)) > 0).all()


def test_the_classifier_leaves_the_autoencoder_alone_and_its_input_is_standardised():
    method, data = trained(**EXACT)
    kept = method.sources(data)["train"]
    batch = kept.take(torch.arange(len(kept)))
    standard = method.standard(method.features(batch["x"]))
    torch.testing.assert_close(standard.mean(0), torch.zeros(8), rtol=0, atol=1e-4)
    torch.testing.assert_close(standard.std(0, correction=0), torch.ones(8), rtol=0, atol=1e-3)
    loss = method.loss(batch, At())["classification"].mean()
    encoder = list(method.encoder.parameters())
    assert all(g is None for g in torch.autograd.grad(loss, encoder, allow_unused=True, retain_graph=True))
    right = torch.nn.functional.cross_entropy(method.predict(batch).logits, batch["label"])
    torch.testing.assert_close(loss, right)


def test_squared_error_and_cross_entropy_of_pixels():
    x = torch.rand(4, 12)
    for kind, of in (("mse", torch.nn.functional.mse_loss), ("bce", torch.nn.functional.binary_cross_entropy)):
        method = make(reconstruction=kind)
        made = method.decoder(method.encoder(x)).sigmoid()
        torch.testing.assert_close(method.reconstruction({"x": x}, At())["reconstruction"].mean(), of(made, x))


def test_trainable_angles_learn_through_the_circuit():
    method, _ = trained(trainable_angles=True, **EXACT)
    assert (method.angles.scale != 1).all()
    assert (method.angles.offset != 0).all()


def test_shots_belong_to_the_item_and_are_as_scattered_as_counts_are():
    method, data = trained(shots=500)
    x = data.take(torch.arange(48))["x"]
    with torch.no_grad():
        together = method.encode({"x": x})["quantum"]
        alone = torch.cat([method.encode({"x": x[i : i + 1]})["quantum"] for i in range(48)])
        exact = probabilities(method.circuit(method.angles(method.encoder(x))))
    torch.testing.assert_close(together, alone, rtol=0, atol=2.1 / 500)
    torch.testing.assert_close(together * 500, (together * 500).round(), rtol=0, atol=1e-3)
    scatter = ((together - exact).square() / (exact * (1 - exact) / 500).clamp_min(1e-9)).mean()
    assert 0.7 < scatter < 1.3


def test_items_are_held_out_and_judged_by():
    method, data = trained(held=0.25)
    sources = method.sources(data)
    kept, held = (set(sources[name].indices.tolist()) for name in ("train", "held"))
    assert len(held) == 12
    assert not kept & held
    found = method.examine(data).numbers
    batch = sources["held"].take(torch.arange(12))
    with torch.no_grad():
        assert found["accuracy"] == pytest.approx(
            float((method.predict(batch).label == batch["label"]).double().mean())
        )


def test_digits_with_the_quick_preset_for_one_epoch():
    data = in_roles(digits(8), ["label"], {})
    quick = {**QuantumTransfer.presets["quick"], "epochs": 1, "classifier_epochs": 2}
    method = build(QuantumTransfer, override(QuantumTransfer.Config(), quick), data.fields)
    fit(method, data, seed=0)
    assert method.eval().examine(data).numbers["accuracy"] > 0.2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"qubits": 9}, "at most 8 qubits"),
        ({"latents": 8, "qubits": 7, "damping": 0.1}, "at most 6 qubits, where gates are noisy"),
        ({"shots": 0}, "shots: expected a whole number above 0"),
        ({"readout": 1.5}, "readout: expected a number from 0 to 1"),
        ({"held": 1.0}, "held: expected a share"),
        ({"trainable_angles": True, "shots": 10}, "no shots where angles are trainable"),
    ],
)
def test_options_that_make_no_sense(changes, says):
    with pytest.raises(ConfigError, match=says):
        make(**changes)


def test_data_that_do_not_fit():
    label = Field((), "int64", classes=3)
    with pytest.raises(DataError, match=r"in \[0, 1\]"):
        make(Fields(x=Field((4,)), label=label))
    with pytest.raises(DataError, match="two classes"):
        make(Fields(x=Field((4,), unit=True), label=Field((), "int64", classes=1)))
