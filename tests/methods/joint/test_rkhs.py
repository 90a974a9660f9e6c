import numpy as np
import pytest
import torch
from torch import nn

from unbraid.core.action import actions
from unbraid.core.config import override
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Field, Fields
from unbraid.core.given import Given
from unbraid.core.method import At
from unbraid.data.made.hypercube import Hypercube
from unbraid.data.made.tiny import tiny_images, tiny_vectors
from unbraid.methods.joint.rkhs import AugmentationTheory
from unbraid.testing import check_method
from unbraid.training.fit import fit
from unbraid.views.bits import every_view

TINY = override(AugmentationTheory.Config(), AugmentationTheory.presets["tiny"])
CUBE = Hypercube(d=4)


class Bits(nn.Module):
    """The bits of a view: with the constant, the best encoder of its width."""

    def forward(self, x):
        return x.flatten(1)


def made(data=CUBE, given=None, **changes):
    torch.manual_seed(0)
    return AugmentationTheory(override(TINY, changes), data.fields, given)


def best(**changes):
    method = made(given=Given(encoder=Bits()), ratio=0.3, **changes)
    fit(method, CUBE, seed=0)
    return method.eval()


@pytest.mark.parametrize(
    ("data", "changes"),
    [(CUBE, {}), (CUBE, {"views": "block", "flip": 0.2}), (tiny_vectors(), {}), (tiny_images(), {"views": "written"})],
)
def test_it_keeps_the_contract(data, changes):
    check_method(AugmentationTheory, data, override(TINY, changes))


def test_it_keeps_the_contract_with_an_encoder():
    check_method(AugmentationTheory, CUBE, TINY, given={"encoder": Bits()})


def test_the_loss_is_least_at_the_top_eigenfunctions():
    """There it is minus the sum of the squares of their eigenvalues."""
    method = made(ratio=0.3)
    values = torch.cat([torch.ones(81, 1), every_view(4) / 0.7**0.5], 1)  # orthonormal over views
    scaled = values * torch.tensor([1.0, *[0.7**0.5] * 4])
    p = method.view.log_density(CUBE.take(torch.arange(16))["x"], every_view(4)).exp().float()
    marginal = p.mean(0)

    def value(phi):
        mean, gram = p @ phi, (phi * marginal[:, None]).T @ phi
        return float(-2 * (mean**2).sum(1).mean() + (gram**2).sum())

    assert value(scaled) == pytest.approx(-(1 + 4 * 0.7**2), rel=1e-4)
    noise = torch.randn(81, 5, generator=torch.Generator().manual_seed(0))
    assert all(value(scaled + step * noise) > value(scaled) for step in (-0.1, 0.1))


def test_the_loss_of_a_batch_estimates_it():
    method = made(ratio=0.3)
    method.encoder = Bits()
    x = CUBE.take(torch.randint(16, (4000,), generator=torch.Generator().manual_seed(0)))["x"]
    at = At()
    seen = torch.stack([method.view(x, at), method.view(x, at)], 1)
    terms = method.loss({"x": seen}, at)
    assert float(terms["agreement"].mean()) == pytest.approx(-2 * 4 * 0.7**2, rel=0.05)
    assert float(terms["overlap"].mean()) == pytest.approx(4 * 0.7**2, rel=0.05)


def test_a_given_encoder_is_rotated_and_nothing_is_trained():
    method = best()
    assert [stage.name for stage in method.stages()] == ["rotate"]
    assert not [*method.parameters()]
    assert method.ratios.tolist() == pytest.approx([1.0, *[0.7] * 4], abs=0.12)
    spectrum = method.encode({"x": CUBE.take(torch.arange(16))["x"]})["spectrum"]
    assert spectrum[:, 0].abs().tolist() == pytest.approx([1.0] * 16, abs=0.05)


def test_of_the_best_encoder_it_finds_what_is_known_of_it():
    found = best().augmentation_complexity(CUBE, views=200)
    numbers = found.numbers
    assert numbers["kappa^2, largest"] == pytest.approx(1.7**4)
    assert numbers["trace"] == pytest.approx(1.7**4)
    assert numbers["ratio trace"] == pytest.approx(1 + 4 * 0.7, rel=0.05)
    assert numbers["ratio trace over the best"] == pytest.approx(1, rel=0.05)
    assert numbers["trace gap"] == pytest.approx(0.49, abs=0.1)
    assert numbers["isometry eps of parity1"] == pytest.approx(0.3, abs=0.05)
    assert numbers["outside the span of parity1"] < 0.05
    assert numbers["outside the span of parity2"] > 0.9
    assert "approximation bound of parity2" not in numbers  # its isometry says nothing
    assert set(numbers) - set(found.units) == {"ratio trace", "trace"}
    gap, eps = numbers["trace gap"], numbers["isometry eps of parity1"]
    assert numbers["approximation bound of parity1"] == pytest.approx(gap / (1 - gap) * eps / (1 - eps))
    assert numbers["estimation term of parity1"] == pytest.approx(1.7**4 / (1 - eps) * 5 / 64)
    assert found.arrays["eigenvalues of the augmentation"].shape == (16,)


def test_where_no_view_can_be_another_items_it_says_so():
    found = made(ratio=0.01).augmentation_complexity(CUBE)
    assert any("at most 16" in note for note in found.notes)


def test_densities_of_vectors_that_are_not_signs_come_from_draws():
    data = tiny_vectors(width=4)
    found = made(data).augmentation_complexity(data, items=20, views=4)
    assert 1 <= found.numbers["trace"] <= 20
    assert "trace gap" in found.numbers


def test_without_densities_eigenvalues_are_those_of_the_span():
    data = tiny_images()
    found = made(data, views="written").augmentation_complexity(data, items=12, views=3)
    assert "trace" not in found.numbers
    gap = found.numbers["trace gap without the last function, at least"]
    assert gap == pytest.approx(float(found.arrays["ratios of the encoder"].clip(0, 1)[-1]))
    assert any("No densities" in note for note in found.notes)


def test_the_action_is_on_the_command_line():
    assert "augmentation-complexity" in actions(AugmentationTheory)
    with pytest.raises(ConfigError, match="views: expected at least 2"):
        made().augmentation_complexity(CUBE, views=1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"dims": 0}, "dims"), ({"batch": 1}, "batch"), ({"ratio": 2.0}, "ratio"), ({"flip": -1.0}, "flip")],
)
def test_bad_options_are_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        override(TINY, changes)


def test_images_are_not_masked_entry_by_entry():
    with pytest.raises(ConfigError, match="views of images"):
        AugmentationTheory(TINY, Fields(x=Field((1, 16, 16), unit=True)))


def test_functions_that_the_encoder_does_not_have_are_zero():
    method = best(dims=9)
    assert np.count_nonzero(method.ratios.numpy()) == 5
    assert method.encode({"x": torch.ones(2, 4)})["spectrum"][:, 5:].abs().max() == 0
