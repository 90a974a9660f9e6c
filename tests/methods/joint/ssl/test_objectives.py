"""What all objectives of the package share, and each one's order of a step."""

import math
from itertools import chain

import pytest
import torch
from torch.nn import functional

from unbraid.core.config import override
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.data.made.tiny import tiny_images
from unbraid.methods.joint.ssl.base import adamw, spread_of, usage
from unbraid.methods.joint.ssl.clustering import MSN, SwAV
from unbraid.methods.joint.ssl.contrastive import NNCLR, MoCo, SimCLR
from unbraid.methods.joint.ssl.distillation import DINO, ReSSL
from unbraid.methods.joint.ssl.pixels import MAE, SimMIM
from unbraid.methods.joint.ssl.redundancy import VICReg
from unbraid.methods.joint.ssl.tokens import BEiT, Data2Vec
from unbraid.testing import check_method
from unbraid.training.stepper import Stepper
from unbraid.verbs.trying import tiny_config

IMAGES = Fields(x=Field((1, 16, 16), unit=True))
EITHER = [SimCLR, MoCo, NNCLR, VICReg, ReSSL, DINO, SwAV]
TRANSFORMERS = [MSN, MAE, SimMIM, BEiT, Data2Vec]


def made(cls, alias="", **changes):
    torch.manual_seed(0)
    return cls(override(tiny_config(cls, cls.aliases.get(alias)), changes), IMAGES)


def stepper_of(method, steps=8):
    return Stepper(method, method.stages()[-1], seed=0, steps=steps)


def batch(n=16):
    return {"x": torch.rand(n, 1, 16, 16, generator=torch.Generator().manual_seed(0)), "index": torch.arange(n)}


def weighted(terms):
    pairs = [t if isinstance(t, tuple) else (1.0, t) for t in terms.values()]
    return sum(w * t.mean() for w, t in pairs)


# ---------------------------------------------------------------------------------------------------------- all alike


@pytest.mark.parametrize(("cls", "alias"), [(DINO, "ibot"), (MoCo, "mocov2")])
def test_variants_keep_the_contract(cls, alias):
    assert "sums" in check_method(cls, config=tiny_config(cls, cls.aliases[alias]))


@pytest.mark.parametrize("cls", EITHER)
def test_convolutional_networks_learn_by_it_too(cls):
    method = made(cls, backbone="resnet8", width=4)
    assert [spec.name for spec in method.parts()][:1] == ["cls"]
    assert "patches" not in [spec.name for spec in method.parts()]
    before = method.encoder.net.net.stem[0].weight.detach().clone()
    stepper_of(method).step(batch(), 0)
    assert not torch.equal(before, method.encoder.net.net.stem[0].weight)
    assert len(method.encode(batch(3))["cls"]) == 3


@pytest.mark.parametrize("cls", TRANSFORMERS)
def test_masked_models_ask_for_a_transformer(cls):
    with pytest.raises(ConfigError, match=r"backbone: expected a transformer"):
        override(cls.Config(), {"backbone": "resnet18"})


@pytest.mark.parametrize("cls", [*EITHER, *TRANSFORMERS])
def test_twins_and_centres_have_no_gradient_and_move_otherwise(cls):
    method = made(cls)
    moved = {id(p) for p in chain(*(m.parameters() for m in method.moves()))}
    for name, parameter in method.named_parameters():
        if name.startswith("teacher"):
            assert not parameter.requires_grad
            assert id(parameter) not in moved
        elif not (cls is MoCo and "embed" in name):
            assert id(parameter) in moved, name


@pytest.mark.parametrize("cls", [*EITHER, *TRANSFORMERS])
def test_neither_biases_nor_norms_nor_special_tokens_decay(cls):
    method = made(cls, optim=adamw(1e-3, 0.1, 0.4))
    (move,) = stepper_of(method)._moves.values()
    free = {id(p) for g in move.optimizer.param_groups if g["weight_decay"] == 0 for p in g["params"]}
    for name, parameter in zip(move.names, move.parameters, strict=True):
        special = parameter.ndim == 1 or name.endswith(("positions", "mask_token", ".cls"))
        assert (id(parameter) in free) == special, name


@pytest.mark.parametrize("cls", [MoCo, ReSSL, DINO, MSN, Data2Vec])
def test_only_the_student_leaves_out_branches(cls):
    method = made(cls, depth=2, drop_path=0.3).train()
    assert [b.drop.rate for b in method.encoder.vit.blocks] == [0, 0.3]
    assert [b.drop.rate for b in method.teacher.twin[0].vit.blocks] == [0, 0]


def test_signs_of_collapse():
    z = torch.randn(4000, 16, generator=torch.Generator().manual_seed(0))
    assert spread_of(z) == pytest.approx(1, abs=0.02)
    assert spread_of(z + 100) < 0.02
    even, one = torch.full((8, 4), 0.25), torch.eye(4)[:1].expand(8, -1)
    assert usage(even).numbers["doubt of prototypes"] == pytest.approx(1)
    assert usage(one).numbers == {"doubt of prototypes": 0, "use of prototypes": 0, "prototypes in use": 0.25}


@pytest.mark.parametrize(
    ("cls", "changes", "what"),
    [
        (SimCLR, {"temperature": 0.0}, "temperature"),
        (SimCLR, {"warmup": -1.0}, "warmup"),
        (MoCo, {"momentum": 1.5}, "momentum"),
        (NNCLR, {"queue": 0}, "queue"),
        (VICReg, {"variance": -1.0}, "variance"),
        (DINO, {"local": -1}, "local"),
        (DINO, {"backbone": "resnet18", "patches": True}, "patches"),
        (DINO, {"teacher_temperature": (0.0, 0.1)}, "temperature"),
        (SwAV, {"wait": -1.0}, "wait"),
        (MAE, {"mask": 1.5}, "mask"),
        (Data2Vec, {"beta": -1.0}, "beta"),
    ],
)
def test_options_that_cannot_be_meant(cls, changes, what):
    with pytest.raises(ConfigError, match=what):
        override(cls.Config(), changes)


def test_weight_decay_ends_where_it_should():
    method = made(DINO, optim=adamw(1e-3, 0.04, 0.4))
    stepper = stepper_of(method, steps=3)
    seen = []
    for step in range(3):
        stepper.step(batch(), step)
        seen.append(max(g["weight_decay"] for g in stepper._moves["online"].optimizer.param_groups))
    assert seen == pytest.approx([0.04, 0.04 + 0.36 * 0.25, 0.04 + 0.36 * 0.75])


# --------------------------------------------------------------------------------------------------------- contrast


def test_simclr_with_one_negative():
    method = made(SimCLR, negatives=1).eval()
    views = torch.rand(5, 2, 1, 16, 16)
    loss = method.loss({"x": views}, At())["contrast"]
    a, b = (functional.normalize(method.behind(x), dim=1) for x in views.unbind(1))
    own, other = (a * b).sum(1), (a * b.roll(-1, 0)).sum(1)
    t = method.config.temperature
    torch.testing.assert_close(loss, -torch.log(torch.exp(own / t) / (torch.exp(own / t) + torch.exp(other / t))))


def test_moco_follows_before_it_makes_keys_and_counts_twice_the_temperature():
    method = made(MoCo).eval()
    with torch.no_grad():
        for p in method.encoder.parameters():
            p.add_(0.1)
    start = method.teacher.twin[0].vit.blocks[0].out.weight.clone()
    method.ahead({}, At(step=0, steps=10))
    now = method.teacher.twin[0].vit.blocks[0].out.weight
    torch.testing.assert_close(now, 0.99 * start + 0.01 * method.encoder.vit.blocks[0].out.weight)
    x1, x2 = torch.rand(2, 6, 1, 16, 16).unbind()
    loss = method.loss({"x": torch.stack([x1, x2], 1)}, At())["contrast"]
    encoder, projector = method.teacher.twin
    expected = 0
    for q, k in ((x1, x2), (x2, x1)):
        q = functional.normalize(method.predictor(method.behind(q)), dim=1)
        k = functional.normalize(projector(encoder(k)), dim=1)
        expected = expected + 0.4 * functional.cross_entropy(q @ k.T / 0.2, torch.arange(6))
    torch.testing.assert_close(loss.mean(), expected)


def test_patches_stay_as_they_were_drawn_where_moco_wants_them_to():
    assert not made(MoCo).encoder.vit.embed.weight.requires_grad
    assert made(MoCo, stable=False).encoder.vit.embed.weight.requires_grad


def test_the_queue_has_the_keys_of_the_last_steps():
    method = made(MoCo, "mocov2", queue=20)
    assert not [*method.predictor.parameters()]
    stepper = stepper_of(method)
    for step in range(2):
        stepper.step(batch(16), step)
    assert int(method.queue.seen) == 32
    torch.testing.assert_close(method.queue.rows.norm(dim=1), torch.ones(20))


def test_neighbours_come_from_the_queue_and_are_told_by_the_other_view():
    method = made(NNCLR).eval()
    views = torch.rand(5, 2, 1, 16, 16)
    at = At()
    loss = method.loss({"x": views}, at)["contrast"]
    z = [functional.normalize(method.behind(x), dim=1) for x in views.unbind(1)]
    p = [functional.normalize(method.predictor(method.behind(x)), dim=1) for x in views.unbind(1)]
    near = [method.queue.rows[(one @ method.queue.rows.T).argmax(1)] for one in z]
    each = [functional.cross_entropy(near[a] @ p[b].T / 0.1, torch.arange(5)) for a, b in ((0, 1), (1, 0))]
    torch.testing.assert_close(loss.mean(), sum(each) / 2)
    torch.testing.assert_close(at.memo["z"], z[0].detach())


# ----------------------------------------------------------------------------------------------------- distillation


def test_the_twin_of_ressl_sees_the_weak_view():
    method = made(ReSSL)
    x = torch.rand(64, 1, 16, 16)
    seen = method.two_views()(x, At())
    apart = (seen - x[:, None]).abs().mean((0, 2, 3, 4))
    assert apart[1] < apart[0]


def test_a_step_of_dino_in_its_order():
    """The twin's probabilities use the old centre; then twin and centre follow, the centre the raw logits."""
    method = made(DINO, momentum=0.9, freeze=0.0)
    stepper, b = stepper_of(method, steps=4), batch()
    seen = stepper.viewed(b, stepper.at(0))
    encoder, head = method.teacher.twin
    with torch.no_grad():
        raw = torch.cat([head(encoder(x)) for x in seen["x"].unbind(1)])
    start = {n: p.clone() for n, p in method.teacher.twin.named_parameters()}
    stepper.step(b, 0)
    torch.testing.assert_close(method.centre.mean, 0.1 * raw.mean(0))
    for name, p in method.online().named_parameters():
        torch.testing.assert_close(method.teacher.twin.get_parameter(name), 0.9 * start[name] + 0.1 * p.detach())


def test_the_loss_of_dino_pairs_large_targets_with_all_other_views():
    method = made(DINO, local=3).eval()
    with torch.no_grad():
        method.centre.mean.normal_(generator=torch.Generator().manual_seed(1))
    b = method.stages()[0].feed[""].views(batch(4)["x"], At())
    loss = method.loss(b, At(epoch=0.5))["views"]
    encoder, head = method.teacher.twin
    temperature = 0.04 + 0.03 * 0.5
    targets = [((head(encoder(x)) - method.centre.mean) / temperature).softmax(1) for x in b["x"].unbind(1)]
    views = [*b["x"].unbind(1), *b["crops"].unbind(1)]
    said = [(method.behind(x) / 0.1).log_softmax(1) for x in views]
    each = [-(targets[g] * said[v]).sum(1) for g in range(2) for v in range(5) if v != g]
    torch.testing.assert_close(loss, torch.stack(each).mean(0))
    assert b["crops"].shape[-1] == 8


def test_prototypes_stay_for_the_first_epochs():
    method = made(DINO, freeze=1.0)
    stepper = stepper_of(method)
    before = method.head.prototypes.weight.detach().clone()
    stepper.step(batch(), 0, epoch=0.9)
    assert torch.equal(method.head.prototypes.weight, before)
    assert method.head.prototypes.weight not in stepper._moves["online"].optimizer.state
    stepper.step(batch(), 1, epoch=1.0)
    assert not torch.equal(method.head.prototypes.weight, before)


def test_ibot_does_not_look_at_patches_that_are_seen():
    method = made(DINO, "ibot").eval()
    b = method.stages()[0].feed[""].views(batch(8)["x"], At())
    terms = method.loss(b, At())
    assert set(terms) == {"views", "patches"}
    masks = method.masks(b["x"], At())
    logits, target = torch.randn(16, 16, 12), torch.randn(16, 16, 12).softmax(2)
    from unbraid.losses.distil import masked_patches

    other = torch.where(masks.flatten(1)[..., None], logits, torch.randn(16, 16, 12))
    first, second = (masked_patches(target, s, masks.flatten(1)) for s in (logits, other))
    assert torch.equal(first, second)
    assert 0.2 < (masks.flatten(1).sum(1) > 0).float().mean() < 0.8


def test_the_head_of_ibot_is_shared_by_images_and_patches():
    method = made(DINO, "ibot").eval()
    x = torch.rand(3, 1, 16, 16)
    whole, patches = method.tell(method.encoder, method.head, x)
    tokens = method.encoder.tokens(x)
    torch.testing.assert_close(whole, method.head(tokens.cls))
    torch.testing.assert_close(patches, method.head(tokens.patches))


# -------------------------------------------------------------------------------------------------------- clustering


def test_prototypes_of_swav_stay_on_the_sphere_and_assignments_have_no_gradient():
    method = made(SwAV, freeze=0.0)
    stepper = stepper_of(method)
    before = method.prototypes.weight.detach().clone()
    stepper.step(batch(), 0)
    assert not torch.equal(before, method.prototypes.weight)
    torch.testing.assert_close(method.prototypes.weight.norm(dim=1), torch.ones(6))
    scores = torch.randn(5, 6, requires_grad=True)
    assert not method.assign(scores, 0, At()).requires_grad


def test_earlier_images_are_assigned_too_once_there_are_enough():
    method = made(SwAV)
    scores = method.prototypes(torch.randn(16, 8))
    alone = method.assign(scores, 0, At(step=9, epoch=0.4))
    early = method.assign(scores, 0, At(step=1, epoch=0.9))
    late = method.assign(scores, 0, At(step=2, epoch=0.9))
    assert torch.equal(alone, early)
    assert not torch.allclose(alone, late)
    torch.testing.assert_close(late.sum(1), torch.ones(16))


def test_without_transport_an_assignment_is_a_softmax():
    method = made(SwAV, transport=False)
    scores = torch.randn(5, 6)
    torch.testing.assert_close(method.assign(scores, 0, At()), (scores / 0.05).softmax(1))


def test_the_loss_of_msn_by_its_terms():
    method = made(MSN, drop=0.0, doubt=0.5).eval()
    b = method.stages()[0].feed[""].views(batch(6)["x"], At())
    terms = method.loss(b, At())
    encoder, projector = method.teacher.twin
    norm = functional.normalize
    c = norm(method.prototypes.weight, dim=1)
    seen = [(norm(projector(encoder(b["x"][:, 0])), dim=1) @ c.T / 0.1).softmax(1)]
    target = (seen[0] ** 4) / (seen[0] ** 4).sum(1, keepdim=True)
    anchors = [b["x"][:, 1], *b["crops"].unbind(1)]
    p = torch.cat([(norm(method.behind(x), dim=1) @ c.T / 0.1).softmax(1) for x in anchors])
    torch.testing.assert_close(terms["views"].mean(), -(target.repeat(3, 1) * p.log()).sum(1).mean())
    mean = p.mean(0)
    assert terms["memax"][0] == 1
    torch.testing.assert_close(terms["memax"][1], math.log(6) + (mean * mean.log()).sum())
    assert terms["doubt"][0] == 0.5


# -------------------------------------------------------------------------------------------------- masked modelling


def test_mae_encodes_only_what_is_seen():
    method = made(MAE).eval()
    x = torch.rand(4, 1, 16, 16)
    told, mask = method.fill(x, At(generator=torch.Generator().manual_seed(0)))
    hidden = mask.view(-1, 4, 4).repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None]
    other = torch.where(hidden, torch.rand(4, 1, 16, 16), x)
    again, _ = method.fill(other, At(generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(told, again)
    assert (mask.sum(1) == 12).all()


@pytest.mark.parametrize("cls", [MAE, SimMIM])
def test_pixels_that_are_seen_do_not_count(cls):
    method = made(cls, **({"normalised": False} if cls is MAE else {})).eval()
    x = torch.rand(4, 1, 16, 16)
    loss = weighted(method.loss({"x": x}, At(generator=torch.Generator().manual_seed(0))))
    told, mask = method.fill(x, At(generator=torch.Generator().manual_seed(0)))
    error = (told - method.target(x))[mask]
    expected = error.square().mean() if cls is MAE else error.abs().mean()
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", [MAE, SimMIM])
def test_pictures_are_made_of_tokens_and_errors_are_held_against_the_mean(cls):
    data = tiny_images(24)
    method = made(cls).eval()
    made_of = method.decode(method.encode(data.take(torch.arange(5))))
    assert made_of.shape == (5, 1, 16, 16)
    assert made_of.min() >= 0
    assert made_of.max() <= 1
    mean = method.mean(data)
    x = data.take(torch.arange(24))["x"]
    torch.testing.assert_close(mean, method.target(x).mean(0), rtol=1e-4, atol=1e-5)
    found = method.errors(data, mean).numbers
    told, mask = method.fill(x, At(generator=torch.Generator().manual_seed(0)))
    square = (told - method.target(x)).square().mean(2)[mask].mean()
    assert found["error at hidden patches"] == pytest.approx(square.item(), rel=1e-4)
    ratio = found["error at hidden patches"] / found["error of the mean image"]
    assert found["error relative to the mean image"] == pytest.approx(ratio)


class Parity(torch.nn.Module):
    """The sign of the mean of each patch of 4."""

    def forward(self, x):
        return (functional.avg_pool2d(x, 4).flatten(1) > 0.5).long()


def test_tokens_are_the_nearest_centres_or_those_of_a_given_network():
    data = tiny_images(24)
    method = made(BEiT)
    first, second = method.stages()
    first.solve({"train": data}, At())
    x = data.take(torch.arange(6))["x"]
    patches = functional.unfold((x - 0.5) / 0.25, 4, stride=4).mT
    nearest = torch.cdist(patches, method.centres.expand(6, -1, -1)).argmin(2)
    assert torch.equal(method.tokens(x), nearest)
    assert len(nearest.unique()) > 1
    torch.manual_seed(0)
    from unbraid.core.given import Given

    told = BEiT(tiny_config(BEiT), IMAGES, Given(tokenizer=Parity()))
    assert [stage.name for stage in told.stages()] == [second.name]
    assert torch.equal(told.tokens(x), Parity()(x))


def test_data2vec_tells_the_mean_of_the_last_blocks_and_its_twin_follows_evenly():
    method = made(Data2Vec, depth=3, top=2, momentum=0.9, last_momentum=0.95).eval()
    x = torch.rand(3, 1, 16, 16)
    encoder = method.teacher.twin[0]
    layers = encoder.vit.layers(encoder.net.standard(x))[-2:]
    expected = sum(functional.layer_norm(layer[:, 1:], (8,)) for layer in layers) / 2
    torch.testing.assert_close(method.target(x), expected)
    assert not method.target(x).requires_grad
    with torch.no_grad():
        method.encoder.vit.norm.bias.add_(1)
    method.after(At(step=5, steps=10))
    torch.testing.assert_close(encoder.vit.norm.bias, torch.full((8,), 1 - 0.925))
