from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError, NumericsError
from unbraid.core.fields import Field, Fields
from unbraid.core.given import Given
from unbraid.core.method import At
from unbraid.data.dataset import MemoryDataset
from unbraid.data.wrapped import in_roles
from unbraid.methods.joint.barlow_twins import BarlowTwins
from unbraid.methods.joint.condensed import FINE_TUNING, LINEAR, Judge, Regression, moments
from unbraid.methods.joint.krr_st import AUGMENT, KRRST
from unbraid.methods.joint.target import Target
from unbraid.testing.contract import check_method
from unbraid.testing.made import tiny_images
from unbraid.training.build import build, stand_in
from unbraid.training.feed import budget
from unbraid.training.fit import fit
from unbraid.training.schedules import factor
from unbraid.training.stepper import Stepper

TINY = override(KRRST.Config(), KRRST.presets["tiny"])
IMAGES = Fields(x=Field((1, 8, 8), unit=True))


def linear(width=5):
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width))


def made(begun=True, **changes):
    method = build(KRRST, override(TINY, {"augment": "none", **changes}), IMAGES, 0, {"target": linear()})
    if begun:
        with torch.no_grad():
            method.begin(method.sources(tiny_images(size=8)), At())
    return method


def real(n=20):
    return {"x": tiny_images(size=8).take(torch.arange(n))["x"]}


@pytest.fixture(scope="module")
def trained():
    data = in_roles(tiny_images(size=8), ["x"], {}, ("label",))
    method = build(KRRST, TINY, data.fields, 0, {"target": linear()})
    fit(method, data, seed=0)
    return method, data


def test_the_contract_holds():
    data = in_roles(tiny_images(size=8), ["x"], {}, ("label",))
    assert "resume" in check_method(KRRST, data)


# ------------------------------------------------------------------------------------------------------- the loss


def test_the_error_is_that_of_ridge_regression_in_double_precision():
    method, batch, at = made(), real(), At()
    error = method.loss(batch, at)["error"]
    net = method.pool.network(at.memo["network"]).eval().double()
    with torch.no_grad():
        phi, asked = (
            torch.cat([z := net.features(x.double()), torch.ones(len(z), 1, dtype=z.dtype)], 1)
            for x in (method.images, method.seen(batch["x"]))
        )
        ridge = 1e-6 * phi.square().sum() * torch.eye(phi.shape[1], dtype=phi.dtype)
        weights = torch.linalg.solve(phi.mT @ phi + ridge, phi.mT @ method.targets.double())
        wanted = (asked @ weights - method.target(batch["x"]).double()).square().mean(1)
    torch.testing.assert_close(error.double(), wanted, rtol=2e-3, atol=1e-4)


def test_gradients_reach_what_is_made_and_stop_elsewhere():
    method = made()
    for p in method.target.net.inner.parameters():
        p.requires_grad_(True)
    x = real()["x"].requires_grad_()
    loss = method.loss({"x": x}, At())["error"].mean()
    found = torch.autograd.grad(
        loss, [method.images, method.targets, x, *method.target.net.inner.parameters()], allow_unused=True
    )
    assert all(g.abs().max() > 0 for g in found[:2])
    assert all(g is None for g in found[2:])
    assert not any(t.requires_grad for t in method.pool.buffers())


@pytest.mark.parametrize(
    ("learned", "moved"), [("both", (True, True)), ("images", (True, False)), ("targets", (False, True))]
)
def test_what_is_learned_moves_and_one_network_follows(learned, moved):
    method = made(learned=learned)
    stepper = Stepper(method, method.stages()[0], seed=0, steps=6)
    before = {n: t.clone() for n, t in method.tensors().items()}
    stepper.step(real(), 0)
    after = method.tensors()
    assert tuple(not torch.equal(before[n], after[n]) for n in ("images", "targets")) == moved
    ages = (after["pool.ages"] != before["pool.ages"]).sum()
    assert ages == 1


def test_the_network_follows_on_the_updated_set():
    method = made(pool=1, horizon=50)
    net = method.pool.network(0).train()
    stepper = Stepper(method, method.stages()[0], seed=0, steps=6)
    momenta = {n: m[0].clone() for n, m in method.pool.momenta.named_buffers()}
    stepper.step(real(), 0)
    loss = nn.functional.mse_loss(net(method.images.detach()), method.targets.detach())
    slope = torch.autograd.grad(loss, net.head.bias)[0]
    momentum = 0.9 * momenta["head/bias"] + slope + 1e-3 * net.head.bias.detach()
    wanted = net.head.bias.detach() - 0.1 * momentum
    torch.testing.assert_close(method.pool.tensors(0)["head.bias"], wanted)


def test_it_begins_with_real_images_and_what_the_target_says_of_them():
    method = made(pixels="standard", pool=3, horizon=4)
    train = method.sources(tiny_images(size=8))["train"]
    x = train.take(method.begun)["x"]
    assert len(method.begun.unique()) == 12
    assert torch.equal(method.images, x)
    torch.testing.assert_close(method.targets, method.target(x))
    assert set(method.pool.ages.tolist()) <= {1, 2, 3}
    every = train.take(torch.arange(len(train)))["x"]
    seen = method.seen(every)
    torch.testing.assert_close(seen.mean(), torch.tensor(0.0), rtol=0, atol=1e-5)
    torch.testing.assert_close(seen.std(correction=0), torch.tensor(1.0), rtol=1e-4, atol=0)
    assert torch.equal(made(pixels="raw").seen(every), every)


def test_moments_are_of_each_channel():
    data = tiny_images(rows=30, channels=3)
    x = data.take(torch.arange(30))["x"]
    mean, deviation = moments(data, torch.device("cpu"))
    torch.testing.assert_close(mean[:, 0, 0], x.mean((0, 2, 3)))
    torch.testing.assert_close(deviation[:, 0, 0], x.std((0, 2, 3), correction=0))


def test_the_published_schedule_and_budget():
    method = KRRST(override(KRRST.Config(), {"widths": (4, 8)}), IMAGES, Given(target=linear()))
    distil, pretrain = method.stages()
    optim = distil.updates[0].optim
    rates = [optim.lr * factor(optim.schedule, At(step=s, steps=160_000)) for s in (0, 80_000, 159_999)]
    np.testing.assert_allclose(rates, [1e-4, 1e-4 * (1 + 1e-3) / 2, 1e-7], rtol=1e-2)
    assert (distil.feed[""].batch, pretrain.feed[""].batch) == (1024, 256)
    assert distil.feed[""].views is AUGMENT["shift-flip"]
    sources = {"train": range(1000), "made": range(1000)}
    assert budget(distil, sources) == 160_000
    assert budget(pretrain, sources) == 3907  # 1,000 epochs over 1,000 images
    assert optim.weight_decay == 0


# ----------------------------------------------------------------------------------------------- what comes of it


def test_the_made_set_is_a_data_set(trained):
    method, data = trained
    made_set = method.make(data)
    batch = made_set.take(torch.arange(len(made_set)))
    assert torch.equal(batch["x"], method.images.detach())
    assert torch.equal(batch["factors"], method.targets.detach())
    assert made_set.factors[1].name == "target[1]"


def test_it_is_written_as_arrays_and_shown_within_range(trained, tmp_path):
    method, _ = trained
    shown = method.distilled(tmp_path / "made.npz").images
    assert shown.min() >= 0
    assert shown.max() <= 1
    with np.load(tmp_path / "made.npz") as file:
        np.testing.assert_array_equal(file["images"], method.images.detach().numpy())
        np.testing.assert_array_equal(file["targets"], method.targets.detach().numpy())
    for path, said in ((tmp_path / "made.txt", r"\.npz"), (tmp_path / "no" / "made.npz", "folder that is there")):
        with pytest.raises(ConfigError, match=said):
            method.distilled(path)


@pytest.mark.parametrize(("network", "epochs", "lr"), [("convnet", 12, None), ("resnet10", 4, 3e-3)])
def test_a_network_is_trained_on_it_and_kept(trained, tmp_path, network, epochs, lr):
    method, _ = trained
    short, long = (
        method.pretrain(tmp_path / f"{n}.safetensors", network, n, lr).numbers["error on the made set"]
        for n in (1, epochs)
    )
    assert long < short
    assert load_file(tmp_path / f"{epochs}.safetensors")["head.weight"].shape[0] == 5


def test_a_network_that_diverges_is_not_kept(trained, tmp_path):
    method, _ = trained
    with pytest.raises(NumericsError, match="lower lr, now 1e\\+30"):
        method.pretrain(tmp_path / "net.safetensors", lr=1e30)
    assert not list(tmp_path.iterdir())


def test_learning_a_set_is_a_function_of_the_seed_and_leaves_chance_alone():
    x, y = real(10)["x"], torch.randn(10, 5, generator=torch.Generator().manual_seed(0))
    how = Regression(made(begun=False).make_net, TINY.inner, 20, 4)
    state = torch.get_rng_state()
    one, same, other = (how.learn(x, y, seed) for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(one.head.weight, same.head.weight)
    assert not torch.equal(one.head.weight, other.head.weight)
    judge = Judge(x, y, x, {})
    assert judge(one)["error"] < judge(how.fresh(x.device, 0))["error"]


def test_a_probe_learns_from_few_labels():
    data = tiny_images(rows=60, size=8)
    x = data.take(torch.arange(60))["x"]
    kinds = data.take(torch.arange(60))["factors"][:, 0].long().numpy()
    net = nn.Sequential()
    net.add_module("features", nn.Flatten())
    net.add_module("head", nn.Linear(64, 5))
    labels = {"kind": np.concatenate([kinds[:40], kinds[40:]])}
    numbers = Judge(x[40:], torch.zeros(20, 5), x[:40], labels)(net)
    assert numbers["probe of kind"] > 0.9


def test_an_examination_compares_sets(trained):
    method, data = trained
    numbers = method.examine(data).numbers
    for name in ("made set", "random images", "herded images", "nothing"):
        assert numbers[f"error, {name}"] > 0
        assert 0 <= numbers[f"probe of kind, {name}"] <= 1
    quotient = numbers["error, made set"] / numbers["error, random images"]
    assert numbers["error, made over random"] == pytest.approx(quotient)


def blocks(n=40):
    """Images that two classes part, and their labels."""
    labels = torch.arange(n) % 2
    x = 0.3 * torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    x[labels == 1, :, :4] += 0.5
    return x, labels


@pytest.mark.parametrize(("use", "lr"), [(FINE_TUNING, 0.05), (LINEAR, 0.2)])
def test_a_task_is_learned_by_all_weights_or_by_the_head(use, lr):
    (x, labels), net = blocks(), made(begun=False).make_net().eval()
    before = {n: t.clone() for n, t in net.state_dict().items()}
    told = replace(use, steps=30, lr=lr).learn(net, x, labels, 2, seed=0)
    assert (told(x).argmax(1) == labels).all()
    assert all(torch.equal(before[n], t) for n, t in net.state_dict().items())
    same = all(torch.equal(before[f"features.{n}"], t) for n, t in told[0].state_dict().items())
    assert same == (use is LINEAR)


def test_it_is_compared_on_a_task(trained):
    method, data = trained
    numbers = method.transfer(data, data, steps=3).numbers
    assert {name.partition(", ")[2] for name in numbers} == {"made set", "random images", "herded images", "nothing"}
    assert all(0 <= value <= 1 for value in numbers.values())
    with pytest.raises(DataError, match="classes that both"):
        method.transfer(MemoryDataset("bare", torch.rand(4, 1, 8, 8)), data)


def test_the_published_ways_to_use_it():
    assert (FINE_TUNING.steps, FINE_TUNING.batch, FINE_TUNING.lr, FINE_TUNING.weight_decay) == (10_000, 256, 0.01, 5e-4)
    assert (LINEAR.steps, LINEAR.batch, LINEAR.lr) == (5000, 512, 0.2)


# -------------------------------------------------------------------------------------------------- what is given


def test_a_run_can_be_the_target():
    field = Field((1, 16, 16), unit=True)
    config = override(BarlowTwins.Config(), BarlowTwins.presets["tiny"])
    twins = BarlowTwins(config, Fields(x=field)).eval()
    x = torch.rand(3, 1, 16, 16)
    target = Target(twins, field)
    assert torch.equal(target(x), twins.encode({"x": x})["embedding"])
    assert target.width == twins.encoder.width
    with pytest.raises(ConfigError, match="embedding"):
        Target(twins, field, "digit")


@pytest.mark.parametrize(
    ("net", "said"), [(nn.Linear(3, 2), "takes images"), (nn.Identity(), "row of numbers"), (nn.Flatten(), "")]
)
def test_a_target_gives_rows(net, said):
    if not said:
        assert Target(net, IMAGES["x"]).width == 64
        return
    with pytest.raises(ConfigError, match=said):
        Target(net, IMAGES["x"])


def test_the_target_is_not_stored_with_it():
    assert not any(name.startswith("target.") for name in made(begun=False).tensors())


@pytest.mark.parametrize(
    "changes",
    [{"images": 1}, {"pool": 0}, {"widths": ()}, {"held": 1.0}, {"ridge": 0.0}, {"learn_batch": 1}, {"steps": 0}],
)
def test_options_that_cannot_be_are_refused(changes):
    with pytest.raises(ConfigError) as error:
        override(TINY, changes)
    assert next(iter(changes)) in str(error.value)


def test_data_that_cannot_be_are_refused():
    for field in (Field((8,), unit=True), Field((1, 8, 8))):
        with pytest.raises(DataError, match="images"):
            KRRST(TINY, Fields(x=field), Given(target=linear()))
    with pytest.raises(DataError, match="at least 100 images"):
        made(images=100)


@pytest.mark.parametrize("name", sorted(KRRST.presets))
def test_presets_build(name):
    size = 8 if name in ("tiny", "quick") else 64
    fields = Fields(x=Field((1, size, size), unit=True))
    net = nn.Sequential(nn.Flatten(), nn.Linear(size * size, 3))
    changes = {"images": 2} if name not in ("tiny", "quick") else {}
    config = override(override(KRRST.Config(), KRRST.presets[name]), {**changes, "pool": 1})
    assert KRRST(config, fields, Given(target=net)).target.width == 3


def test_a_stand_in_learns_labels():
    data = in_roles(tiny_images(size=8), ["x"], {}, ("label",))
    assert build(KRRST, TINY, data.fields, 0, stand_in(KRRST, data, 0)).target.width == 32
