"""What every method of this wing says of its augmentations."""

import numpy as np
import pytest
import torch

from unbraid.core.action import actions
from unbraid.core.config import override
from unbraid.core.errors import ConfigError
from unbraid.core.method import At, Stream
from unbraid.data.made.tiny import tiny_images
from unbraid.methods.joint.augmented import encoder_terms, leading, one_hot
from unbraid.methods.joint.barlow_twins import BarlowTwins
from unbraid.methods.joint.directpred import DirectPred
from unbraid.methods.joint.ssl.contrastive import SimCLR
from unbraid.methods.joint.ssl.distillation import DINO
from unbraid.methods.joint.ssl.pixels import MAE

DATA = tiny_images()
NAMES = ("ratio trace", "trace gap of the leading half, at least", "kappa^2 within the span", "isometry eps of kind")


def made(cls, **changes):
    torch.manual_seed(0)
    return cls(override(override(cls.Config(), cls.presets["tiny"]), changes), DATA.fields).eval()


@pytest.mark.parametrize("cls", [BarlowTwins, DirectPred, SimCLR, DINO, MAE])
def test_the_evaluation_of_every_method_has_it(cls):
    method = made(cls)
    before = {name: value.clone() for name, value in method.tensors().items()}
    found = method.examine(DATA)
    assert set(NAMES) <= set(found.numbers)
    assert all(name in found.units for name in NAMES)
    assert all(np.isfinite(found.numbers[name]) for name in NAMES)
    assert "augmentation-complexity" in actions(cls)
    assert all(torch.equal(value, before[name]) for name, value in method.tensors().items())


def test_the_views_are_those_of_training():
    method = made(BarlowTwins)
    method.stream = lambda: Stream(4, views=lambda x, at: torch.stack([torch.zeros_like(x), torch.ones_like(x)], 1))
    x = DATA.take(torch.arange(3))["x"]
    with torch.no_grad():
        phi = method._augmented(x, 5, At())
        zero, one = method.encoder(torch.zeros_like(x)), method.encoder(torch.ones_like(x))
    assert phi.shape[:2] == (3, 5)
    torch.testing.assert_close(phi[:, 0], zero)
    torch.testing.assert_close(phi[:, 3], one)
    method.stream = lambda: Stream(4)
    torch.testing.assert_close(method._augmented(x, 2, At())[:, 1], method.encoder(x))


def test_too_few_augmentations_are_refused():
    with pytest.raises(ConfigError, match="views: expected at least 2"):
        made(SimCLR).augmentation_complexity(DATA, views=1)


def test_an_embedding_of_the_item_alone_loses_nothing_and_one_of_noise_everything():
    g = np.random.default_rng(0)
    labels = g.integers(3, size=200)
    own = np.repeat(g.normal(size=(200, 1, 4)) + one_hot(labels)[:, None, :1], 8, 1)
    found = encoder_terms(own, {"kind": labels}).numbers
    assert found["ratio trace per function"] == pytest.approx(1.0)
    assert found["isometry eps of kind"] == pytest.approx(0.0, abs=1e-9)
    noise = encoder_terms(g.normal(size=(200, 8, 4)), {"kind": labels}).numbers
    assert noise["ratio trace"] == pytest.approx(1.0, abs=0.1)  # the constant
    assert noise["outside the span of kind"] > 0.9


def test_an_embedding_that_collapsed_has_the_constant_alone():
    found = encoder_terms(np.ones((20, 4, 6)), {})
    assert found.numbers["ratio trace"] == pytest.approx(1.0)
    assert found.arrays["eigenvalues, lower estimates"].tolist() == pytest.approx([1.0])


def test_variance_that_augmentations_move_leaves_a_gap():
    g = np.random.default_rng(0)
    kept, moved = np.repeat(g.normal(size=(300, 1, 4)), 8, 1), g.normal(size=(300, 8, 4))

    def gap(large, small):
        return encoder_terms(np.concatenate([10 * large, small], 2), {}).numbers[NAMES[1]]

    assert gap(kept, moved) < 0.1
    assert gap(moved, kept) > 0.8


def test_leading_components_are_centred_and_in_the_order_of_their_variance():
    phi = np.random.default_rng(0).normal(size=(40, 3, 5)) * [1, 5, 2, 0.1, 3] + 7
    found = leading(phi, 4)
    assert found.shape == (40, 3, 4)
    assert (found[..., 0] == 1).all()
    flat = found.reshape(-1, 4)[:, 1:]
    np.testing.assert_allclose(flat.mean(0), 0, atol=1e-9)
    spread = flat.std(0)
    assert (np.diff(spread) < 0).all()
    np.testing.assert_allclose(np.corrcoef(flat.T), np.eye(3), atol=1e-9)
