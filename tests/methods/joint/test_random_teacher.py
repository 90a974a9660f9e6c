import pytest
import torch

from unbraid.core.config import override
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.data.made.tiny import tiny_images
from unbraid.methods.joint.random_teacher import RandomTeacher
from unbraid.ops.weights import interpolated, neighbour
from unbraid.testing.contract import check_method
from unbraid.training.fit import fit

TINY = override(RandomTeacher.Config(), RandomTeacher.presets["tiny"])
IMAGES = Fields(x=Field((1, 16, 16), unit=True))


def made(**changes):
    return RandomTeacher(override(TINY, changes), IMAGES)


def gradient(**changes):
    method = made(**changes).train()
    batch = {"x": torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0))}
    loss = method.loss(batch, At())["distillation"]
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(method.student.parameters()))])


def test_the_contract():
    check_method(RandomTeacher, tiny_images())


def test_without_batch_normalisation_the_teacher_is_a_fixed_point_and_its_neighbour_is_not():
    at, near = gradient(backbone="vgg11"), gradient(backbone="vgg11", start="interpolated", alpha=0.1)
    assert at.abs().max() < 1e-3 * near.abs().max()  # not 0: rounding in the softmax


def test_with_batch_normalisation_it_is_not():
    assert gradient().abs().max() > 1e-6


def test_training_leaves_every_bit_of_the_teacher():
    method = made()
    before = {name: value.clone() for name, value in method.teacher.state_dict().items()}
    start = [p.clone() for p in method.student.parameters()]
    fit(method, tiny_images())
    assert all(torch.equal(before[name], value) for name, value in method.teacher.state_dict().items())
    assert not all(torch.equal(a, b) for a, b in zip(start, method.student.parameters(), strict=True))


def test_draws_follow_their_seeds_and_touch_no_other_generator():
    torch.manual_seed(5)
    one = made(start="interpolated", alpha=0.5)
    torch.manual_seed(6)
    two = made(start="interpolated", alpha=0.5)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(next(made(teacher_seed=3).parameters()), next(made().parameters()))


@pytest.mark.parametrize("mix", [interpolated, neighbour])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_mixtures_keep_the_variance(mix, alpha):
    a, b = torch.randn(2, 200_000, generator=torch.Generator().manual_seed(0))
    assert mix(a, b, alpha).var() == pytest.approx(1.0, abs=0.01)


def test_cross_entropy_and_divergence_have_the_same_gradient():
    taught, logits = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    logits.requires_grad_(True)
    ours = torch.autograd.grad(made().terms(taught, logits, At())["distillation"], logits)[0]
    kl = torch.nn.functional.kl_div(logits.log_softmax(1), taught.softmax(1), reduction="batchmean")
    torch.testing.assert_close(ours, torch.autograd.grad(kl, logits)[0])


def test_the_line_starts_at_the_teacher_and_leaves_the_student():
    method = made(backbone="vgg11", start="interpolated", alpha=0.5)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    found = method.line(tiny_images(), points=3)
    assert found.numbers["loss at the teacher"] == pytest.approx(0, abs=1e-6)
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())


def test_findings_tell_student_teacher_and_random():
    names = made().examine(tiny_images()).numbers
    assert {"effective rank", "teacher: effective rank", "random: effective rank"} <= set(names)


@pytest.mark.parametrize("wrong", [{"alpha": 0.5}, {"start": "interpolated", "alpha": 2.0}, {"temperature": 0.0}])
def test_bad_options_are_one_line(wrong):
    with pytest.raises(ConfigError):
        made(**wrong)
