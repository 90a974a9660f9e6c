import math

import pytest
import torch
from torch.nn import functional

from unbraid.core.config import override
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.data.made.tiny import tiny_images
from unbraid.methods.joint.franca.franca import Franca
from unbraid.testing import check_method
from unbraid.training.stepper import Stepper
from unbraid.verbs.trying import tiny_config

IMAGES = Fields(x=Field((1, 16, 16), unit=True))


def made(**changes):
    torch.manual_seed(0)
    return Franca(override(tiny_config(Franca), changes), IMAGES)


def batch(n=8, crops=2):
    g = torch.Generator().manual_seed(0)
    return {"x": torch.rand(n, 2, 1, 16, 16, generator=g), "crops": torch.rand(n, crops, 1, 8, 8, generator=g)}


def at(progress=0.5):
    return At(step=round(100 * progress), steps=100, generator=torch.Generator().manual_seed(0))


def values(terms):
    return {n: t if isinstance(t, tuple) else (1.0, t) for n, t in terms.items()}


def test_it_keeps_the_contract():
    assert "sums" in check_method(Franca)


def balanced(scores, temperature, rounds=3):
    """Sinkhorn and Knopp as the paper writes it, prototypes x items."""
    q = (scores / temperature).exp().T
    q = q / q.sum()
    for _ in range(rounds):
        q = q / q.sum(1, keepdim=True) / len(q)
        q = q / q.sum(0, keepdim=True) / q.shape[1]
    return (q * q.shape[1]).T


def test_the_terms_are_those_of_the_paper():
    method, b, here = made().eval(), batch(), at()
    terms = values(method.loss(b, here))
    masks = method.masks(8, 2, at()).flatten(1)
    x = torch.cat(b["x"].unbind(1))
    twin_encoder, twin_head = method.twin
    seen = method.encoder.tokens(x, masked=masks.view(16, *method.encoder.vit.grid))
    whole = twin_encoder.tokens(x)
    local = [method.head(method.encoder(crop)) for crop in b["crops"].unbind(1)]
    views = patches = 0.0
    student, hidden = method.head(seen.cls), method.patch_head(seen.patches)
    for i, (t, h) in enumerate(zip(twin_head(whole.cls), method.patch_twin(whole.patches), strict=True)):
        q, said = balanced(t, 0.07), [s[i] for s in local]
        own = (student[i] / 0.1).log_softmax(1)
        swapped = torch.cat(q.chunk(2)[::-1])
        total = 2 * -(swapped * own).sum(1).mean()
        for crop in said:
            log_p = (crop / 0.1).log_softmax(1)
            total = total + sum(-(view * log_p).sum(1).mean() for view in q.chunk(2))
        views = views + total / (2 + 2 * len(said))
        of = balanced(h[masks], 0.07)
        each = -(of * (hidden[i][masks] / 0.1).log_softmax(1)).sum(1)
        weight = (1 / masks.sum(1).clamp(min=1))[:, None].expand_as(masks)[masks]
        patches = patches + (each * weight).sum() / len(masks)
    apart = 0.0
    for z in functional.normalize(seen.cls, dim=1).chunk(2):
        distance = torch.cdist(z, z) + torch.diag(torch.full((8,), torch.inf))
        apart = apart - distance.min(1).values.log().mean()
    for name, wanted in (("views", views), ("patches", patches), ("apart", apart)):
        torch.testing.assert_close(terms[name][1].mean(), torch.as_tensor(wanted), rtol=1e-4, atol=1e-4)
    assert {name: weight for name, (weight, _) in terms.items()} == {"views": 1.0, "patches": 1.0, "apart": 0.1}


def test_the_twin_gets_no_gradient_and_follows():
    method = made(momentum=0.5)
    stepper = Stepper(method, method.stages()[0], seed=0, steps=4)
    before = {n: p.clone() for n, p in method.teacher.twin.named_parameters()}
    images = {"x": torch.rand(8, 1, 16, 16), "index": torch.arange(8)}
    stepper.step(images, 0)
    assert all(p.grad is None for p in method.teacher.parameters())
    for name, p in method.teacher.twin.named_parameters():
        wanted = 0.5 * before[name] + 0.5 * method.online().get_parameter(name)
        torch.testing.assert_close(p, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("progress", "moves"), [(0.0, False), (0.9, True)])
def test_prototypes_wait_for_the_first_epoch(progress, moves):
    method = made(freeze=100.0)
    terms = values(method.loss(batch(), at(progress)))
    sum(w * t.mean() for w, t in terms.values()).backward()
    grads = [p.grad for head in (method.head, method.patch_head) for p in head.prototypes.parameters()]
    assert all((g is not None and bool(g.any())) == moves for g in grads)


def test_masks_hide_half_of_the_views_and_always_more():
    method = made(patch=2)
    masks = method.masks(40, 2, at())
    hidden = masks.flatten(1).sum(1)
    assert masks.shape == (80, 8, 8)
    for view in hidden.chunk(2):
        some = view[view > 0].sort().values
        assert len(some) == 20
        bounds = torch.linspace(0.1, 0.65, 21) * 64
        assert (some >= bounds[:-1].floor()).all()
        assert (some <= bounds[1:]).all()


def test_rates_grow_with_the_root_of_the_batch_and_the_first_layer_moves_less():
    config = Franca.Config()
    assert config.moving.lr == pytest.approx(7.01e-4 * math.sqrt(2))
    assert config.moving.schedule.share == 128 / 800
    method = made(optim=config.optim)
    (move,) = Stepper(method, method.stages()[0], seed=0, steps=4)._moves.values()
    rate = {
        id(p): g["initial_lr"] if "initial_lr" in g else g["lr"]
        for g in move.optimizer.param_groups
        for p in g["params"]
    }
    embed, other = method.encoder.vit.embed.weight, method.head.mlps[0][0].weight
    assert rate[id(embed)] == pytest.approx(0.2 * rate[id(other)])


def test_levels_are_parts_that_sum_to_one():
    method, data = made().eval(), tiny_images(rows=6)
    parts = method.encode(data.take(torch.arange(6)))
    assert [spec.name for spec in method.parts()] == ["cls", "patches", "level_0", "level_1", "level_2"]
    for i, count in enumerate((4, 8, 16)):
        assert parts[f"level_{i}"].shape == (6, count)
        torch.testing.assert_close(parts[f"level_{i}"].sum(1), torch.ones(6))


def test_what_an_examination_finds():
    found = made().examine(tiny_images(rows=40)).numbers
    assert found["least use of prototypes"] > 0.95
    assert {"use of prototypes at level 2", "neighbours of kind by the first quarter"} <= set(found)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"backbone": "resnet18"}, "backbone"),
        ({"mask": (0.6, 0.2)}, "mask"),
        ({"mask": (0.1, 1.0)}, "mask"),
        ({"levels": (0.5, 2.0)}, "levels"),
        ({"levels": ()}, "levels"),
        ({"iterations": -1}, "iterations"),
        ({"teacher_temperature": (0.0, 0.1)}, "teacher_temperature"),
        ({"masked": 1.5}, "masked"),
        ({"std": 0.0}, "std"),
    ],
)
def test_options_that_cannot_be_meant(changes, what):
    with pytest.raises(ConfigError, match=what):
        override(Franca.Config(), changes)
