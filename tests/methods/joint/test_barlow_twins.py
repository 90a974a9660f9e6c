import numpy as np
import pytest
import torch

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import Alone, At, Optim
from unbraid.data.made.tiny import tiny_images
from unbraid.methods.joint.barlow_twins import BarlowTwins
from unbraid.testing.contract import _sides
from unbraid.training.fit import fit
from unbraid.training.stepper import Stepper

TINY = override(BarlowTwins.Config(), BarlowTwins.presets["tiny"])
IMAGES = Fields(x=Field((1, 16, 16), unit=True))


def made(**changes):
    torch.manual_seed(0)
    return BarlowTwins(override(TINY, changes), IMAGES)


def views(n=8):
    return {"x": torch.rand(n, 2, 1, 16, 16, generator=torch.Generator().manual_seed(0))}


def total(terms):
    return sum(weight * raw for weight, raw in terms.values())


def by_formula(a, b, redundancy):
    """The loss entry by entry, in double precision."""
    a, b = ((z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5) for z in (a, b))
    loss = 0.0
    for i in range(a.shape[1]):
        for j in range(a.shape[1]):
            c = np.mean(a[:, i] * b[:, j])
            loss += (c - 1) ** 2 if i == j else redundancy * c**2
    return loss


# ------------------------------------------------------------------------------------------------------- the loss


def test_the_loss_is_that_of_the_paper():
    method, batch = made(redundancy=0.3, scale=0.5), views()
    terms = method.loss(batch, At())
    again = made(redundancy=0.3)
    a, b = (again.projector(again.encoder(x)).detach().double().numpy() for x in batch["x"].unbind(1))
    assert total(terms).item() == pytest.approx(0.5 * by_formula(a, b, 0.3), rel=1e-4)


def test_it_is_zero_where_the_cross_correlation_is_the_identity_and_only_there():
    terms = made().terms(torch.eye(4), At())
    assert total(terms) == 0
    for i, j in ((0, 0), (1, 2)):
        c = torch.eye(4)
        c[i, j] += 0.1
        assert total(made().terms(c, At())) > 0


def test_scale_and_place_of_a_unit_do_not_matter_but_its_position_does():
    method = made()
    z = torch.randn(2, 50, 6, generator=torch.Generator().manual_seed(0))
    z[1] = z[0] + 0.3 * z[1]

    def loss(a, b):
        a, b = (method.standardise(v, Alone()) for v in (a, b))
        return total(method.terms(a.mT @ b / len(a), At()))

    torch.testing.assert_close(loss(*z), loss(z[0] * torch.arange(1.0, 7) + 3, z[1]), rtol=1e-3, atol=0)
    assert loss(z[0], z[1].roll(1, 1)) > 2 * loss(*z)


def test_both_views_have_gradients():
    method = made()
    a, b = torch.randn(2, 10, 6, generator=torch.Generator().manual_seed(0)).requires_grad_().unbind()
    c = method.standardise(a, Alone()).mT @ method.standardise(b, Alone()) / 10
    assert all(g.abs().max() > 1e-3 for g in torch.autograd.grad(total(method.terms(c, At())), (a, b)))


def test_without_standardisation_it_is_the_distance_of_the_views():
    method, batch = made(standardise=False), views()
    again = made()
    a, b = (again.projector(again.encoder(x)) for x in batch["x"].unbind(1))
    torch.testing.assert_close(method.loss(batch, At())["distance"], (a - b).square().sum(1))


# --------------------------------------------------------------------------------------------------- two processes


def halves(method, batch):
    """The losses of two processes that share the batch, in train mode, each derived as if on its own."""
    import threading

    found, sides = [None, None], _sides()

    def one(rank):
        part = {"x": batch["x"][rank * 4 : rank * 4 + 4]}
        found[rank] = total(method.loss(part, At(world=sides[rank])))

    threads = [threading.Thread(target=one, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_value_and_gradient_of_two_processes_are_those_of_one():
    one, two = made(), made()
    whole, parts = total(one.loss(views(), At())), halves(two, views())
    for part in parts:
        torch.testing.assert_close(part, whole, rtol=1e-5, atol=1e-5)
    gradients = torch.autograd.grad(whole, list(one.parameters()))
    shared = torch.autograd.grad(sum(parts) / 2, list(two.parameters()))
    for g, s in zip(gradients, shared, strict=True):
        torch.testing.assert_close(g, s, rtol=1e-3, atol=1e-5)


def test_the_official_gradient_is_the_true_one_over_the_number_of_processes():
    one, two = made(), made(gradient="official")
    whole, parts = total(one.loss(views(), At())), halves(two, views())
    torch.testing.assert_close(parts[0], whole, rtol=1e-5, atol=1e-5)
    gradients = torch.autograd.grad(whole, list(one.parameters()))
    shared = torch.autograd.grad(sum(parts) / 2, list(two.parameters()))
    for g, s in zip(gradients, shared, strict=True):
        torch.testing.assert_close(g / 2, s, rtol=1e-3, atol=1e-5)


# ---------------------------------------------------------------------------------------------------- the method


def test_rates_grow_with_the_batch_and_biases_have_their_own():
    method = made(batch=512, optim=BarlowTwins.Config().optim, epochs=200, warmup=10)
    optim = method.stages()[0].updates[0].optim
    assert optim.lr == 0.4
    assert optim.schedule.share == 0.05
    stepper = Stepper(method, method.stages()[0], seed=0, steps=10)
    by_rate = {group["lr"]: group for group in stepper._moves["twins"].optimizer.param_groups}
    assert {rate: (g["trust"], g["weight_decay"]) for rate, g in by_rate.items()} == {
        0.4: (0.001, 1e-6),
        0.0096: (0.0, 0.0),
    }
    assert all(p.ndim > 1 for p in by_rate[0.4]["params"])
    assert all(p.ndim == 1 for p in by_rate[0.0096]["params"])


def test_blocks_start_as_the_identity_and_the_last_layer_is_bare():
    method = made()
    assert all((m.last.weight == 0).all() for m in method.modules() if hasattr(m, "last"))
    assert method.projector[-1].bias is None


def test_training_makes_units_agree_and_the_report_shows_the_matrix():
    data = tiny_images(64)
    method = made(steps=25, batch=32, optim=Optim("adam", lr=1e-2), backbone="conv", width=16)
    lines = fit(method, data, seed=0, every=1)
    assert lines[-1]["notes"]["invariance"] > lines[0]["notes"]["invariance"] + 0.1
    found = method.examine(data)
    c = found.arrays["cross-correlation of two views"]
    assert c.shape == (8, 8)
    torch.testing.assert_close(c.diagonal(), found.arrays["invariance of each unit"])
    assert found.numbers["mean of the diagonal of C"] == pytest.approx(float(c.diagonal().mean()))
    assert {"linear probe of kind", "nearest neighbours of kind", "effective rank"} <= set(found.numbers)
    held = method.probe(tiny_images(32, seed=1), data)
    assert held.numbers["linear probe of kind"] > held.numbers["chance of kind"]
    with pytest.raises(DataError, match="both data sets"):
        method.probe(tiny_images(32, seed=1), data.inner if hasattr(data, "inner") else Bare(data))


class Bare:
    """Data without factors."""

    factors = ()

    def __init__(self, data):
        self.data, self.fields = data, data.fields

    def __len__(self):
        return len(self.data)

    def take(self, indices, device="cpu"):
        return self.data.take(indices, device)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"batch": 1}, "batch"),
        ({"projector": ()}, "projector"),
        ({"projector": (4, 0)}, "projector"),
        ({"redundancy": -1.0}, "redundancy"),
        ({"epochs": 0.0}, "epochs"),
        ({"epochs": 5.0, "warmup": 6.0}, "warmup"),
        ({"steps": 0}, "steps"),
    ],
)
def test_options_that_cannot_be_meant(changes, what):
    with pytest.raises(ConfigError, match=f"{what}: expected"):
        override(BarlowTwins.Config(), changes)


def test_transformers_learn_by_it_too():
    method = made(backbone="vit", width=8, patch=4, depth=1, heads=2)
    before = method.encoder.vit.embed.weight.detach().clone()
    Stepper(method, method.stages()[0], seed=0, steps=4).step(
        {"x": torch.rand(8, 1, 16, 16), "index": torch.arange(8)}, 1
    )
    assert not torch.equal(before, method.encoder.vit.embed.weight)
