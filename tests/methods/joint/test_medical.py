"""The benchmark around other methods: what it trains, on which rows, and what it finds where the answer is known."""

import numpy as np
import pytest
import torch

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.given import Given
from unbraid.data.catalog import open_data
from unbraid.data.digits import digits
from unbraid.data.made.specimens import Specimens
from unbraid.data.splits import training_part
from unbraid.data.wrapped import in_roles
from unbraid.methods.joint.medical import Coded, Items, MedicalBenchmark, elsewhere, evened, in_domain, start_from
from unbraid.nets.resnet import ResNet
from unbraid.testing.contract import check_method
from unbraid.training.build import build
from unbraid.training.fit import fit

TINY = override(MedicalBenchmark.Config(), MedicalBenchmark.presets["tiny"])
DATA = in_roles(open_data("specimens:rows=72,size=16"), ("x",), {}, ("label",))
EIGHT = ("simclr", "byol", "mocov3", "nnclr", "dino", "ressl", "vicreg", "barlow-twins")


def made(**changes):
    return build(MedicalBenchmark, override(TINY, changes), DATA.fields)


def test_the_contract():
    check_method(MedicalBenchmark)


@pytest.mark.parametrize("name", EIGHT)
def test_every_method_of_the_paper_can_be_named(name):
    method = made(method=name)
    fit(method, DATA, seed=0)
    codes = method.eval().codes(DATA)
    assert len(codes.train.codes) == 40, "at most so many of a split"
    assert np.isfinite(codes.test.codes).all()


@pytest.mark.parametrize("name", EIGHT)
def test_the_settings_of_the_benchmark(name):
    method = made(method=name, preset="benchmark", options=("backbone=resnet8", "width=4"))
    config = method.inner.config
    assert (config.batch, config.epochs, config.views) == (256, 400.0, "medical")
    [stage] = method.stages()
    moved = stage.updates[0].optim
    assert moved.kind == ("sgd" if name == "ressl" else "lars")
    assert moved.lr == {"simclr": 0.4, "byol": 1.0, "nnclr": 0.4, "ressl": 0.05}.get(name, 0.3)
    assert getattr(config, "warmup", 10) in (5, 10, 40)


def test_it_trains_what_the_inner_method_alone_would():
    alone = in_roles(Specimens(rows=72, size=16), ("x",), {})
    outer = made()
    inner = build(type(outer.inner), outer.inner.config, DATA.fields)
    for key, value in inner.state_dict().items():
        assert torch.equal(value, outer.inner.state_dict()[key])
    fit(outer, DATA, seed=3)
    fit(inner, training_part(alone), seed=3)
    for key, value in inner.state_dict().items():
        torch.testing.assert_close(value, outer.inner.state_dict()[key], msg=key)


def test_training_sees_neither_validation_nor_test():
    split = [f.name for f in DATA.factors].index("split")
    rows = made().sources(DATA)["train"]
    assert len(rows) == 48
    assert set(rows.take(torch.arange(48))["factors"][:, split].tolist()) == {0.0}


def test_a_reference_learns_from_the_labels_that_probes_are_told():
    method = made(method="classifier", labelled=0.25)
    rows = method.sources(DATA)["train"]
    batch = rows.take(torch.arange(len(rows)))
    assert torch.bincount(batch["label"]).tolist() == [3, 3, 3, 3]
    fit(method, DATA, seed=0)
    assert method.codes(DATA).classes == 4


def test_codes_are_taken_in_eval_mode_and_modes_come_back():
    method = made(method="barlow-twins").train()
    before = {name: m.training for name, m in method.named_modules()}
    buffers = {name: b.clone() for name, b in method.named_buffers()}
    first = method.codes(DATA).test.codes
    assert {name: m.training for name, m in method.named_modules()} == before
    for name, buffer in method.named_buffers():
        assert torch.equal(buffer, buffers[name]), name
    batch = DATA.take(torch.arange(56, 72))
    with torch.no_grad():
        np.testing.assert_allclose(first, method.eval().encode(batch)["embedding"].numpy(), rtol=1e-5, atol=1e-6)


def test_what_is_found():
    stripes, second = "specimens:kind=stripes,rows=72,size=16", "specimens:kind=blobs,rows=72,size=16,seed=1"
    own = "specimens:kind=blobs,rows=72,size=16"
    method = made(others=(stripes, second, own), kin=("specimens:kind=blobs",), shares=(0.25, 1.0)).eval()
    found = method.examine(DATA)
    numbers, table = found.numbers, found.tables["other sets"]
    assert {"accuracy at 25 %", "AUC at 100 %", "gain by labels", f"accuracy on {own}", f"accuracy on {second}"} <= {
        *numbers
    }
    assert "accuracy at 100 %" in numbers
    assert numbers["accuracy at 100 %"] == numbers[f"accuracy on {own}"]
    assert numbers["gap to elsewhere"] == pytest.approx(
        numbers[f"accuracy on {own}"] - np.mean([numbers[f"accuracy on {d}"] for d in (stripes, second)])
    )
    rows = table.rows()
    assert len(rows) == 2 * 2 * 4, "two sets, seen in two ways, by four scores; the own set is left out"
    assert {(row[0], row[1]) for row in rows} == {(stripes, False), (second, True)}
    colours = {row[0:1] + row[3:] for row in rows if row[2] == "as it is"}
    assert colours == {row[0:1] + row[3:] for row in rows if row[2] == "in grey"}, "there is no colour to take away"
    far = next(row for row in rows if row[0] == stripes and row[3] == "mahalanobis" and row[2] == "as it is")
    assert numbers["AUROC by mahalanobis"] == far[4]
    assert numbers["FPR95 by mahalanobis"] == far[7]


def test_the_union_of_far_sets_is_told_too():
    method = made(others=tuple(f"specimens:kind={k},rows=72,size=16" for k in ("stripes", "chequers")), grey=False)
    rows = method.eval().examine(DATA).tables["other sets"].rows()
    assert [row[0] for row in rows].count("all of them") == 4


def coded(seed, signal):
    rng = np.random.default_rng(seed)

    def items(n):
        labels = np.arange(n) % 3
        return Items(rng.normal(size=(n, 8)) + signal * np.eye(3, 8)[labels], labels)

    return Coded(items(300), items(60), items(150), 3)


def test_probes_of_made_codes():
    numbers = in_domain(coded(0, 3.0), (0.01, 0.1, 1.0)).numbers
    assert numbers["accuracy at 100 %"] > numbers["accuracy at 1 %"]
    assert numbers["AUC at 100 %"] > 0.95
    blind = in_domain(coded(0, 0.0), (1.0,)).numbers["accuracy at 100 %"]
    assert blind == pytest.approx(1 / 3, abs=0.12)
    moved = elsewhere("a", {"a": coded(0, 4.0), "b": coded(1, 0.0)}).numbers
    assert moved["gap to elsewhere"] > 0.4


def test_sets_of_a_union_can_count_alike(tmp_path):
    for name, n in (("a", 8), ("b", 3)):
        images = {f"{p}_images": np.zeros((n, 8, 8), np.uint8) for p in ("train", "val", "test")}
        labels = {f"{p}_labels": np.zeros((n, 1), np.uint8) for p in ("train", "val", "test")}
        np.savez(tmp_path / f"{name}.npz", **images, **labels)
    rows = made(even=True).sources(open_data(f"medmnist:{tmp_path}"))["train"]
    assert rows.table(torch.arange(len(rows))).column("set").tolist() == [0.0] * 8 + [1.0] * 8
    with pytest.raises(DataError, match="several sets"):
        evened(Specimens(rows=72))


def test_an_encoder_starts_from_the_weights_of_another_with_its_own_stem():
    ours, theirs = ResNet(18, 3, "cifar", 8), ResNet(18, 3, "imagenet", 8)
    stem = ours.stem[0].weight.clone()
    assert (
        start_from(ours, torch.nn.ModuleList([theirs, torch.nn.Linear(64, 10)]))
        == sum(t.is_floating_point() for t in theirs.state_dict().values()) - 1
    )
    assert torch.equal(ours.stem[0].weight, stem)
    for (name, own), (_, other) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert name == "stem.0.weight" or torch.equal(own, other), name
    with pytest.raises(ConfigError, match="tensors fit"):
        start_from(ours, torch.nn.Linear(3, 3))


def test_weights_are_given_by_a_port():
    options = override(TINY, {"options": ("backbone=resnet8", "width=4")})
    other = ResNet(8, 3, "cifar", 4)
    method = MedicalBenchmark(options, DATA.fields, Given(weights=other))
    assert torch.equal(method.inner.encoder.net.net.stages[0][0].conv1.weight, other.stages[0][0].conv1.weight)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"method": "medical-benchmark"}, "trained alone"),
        ({"method": "deyo"}, "trained alone"),
        ({"method": "simklr"}, "simclr"),
        ({"preset": "large"}, "one of"),
        ({"options": ("batch",)}, "option=value"),
        ({"options": ("bach=3",)}, "batch"),
        ({"shares": (0.0,)}, "shares above 0"),
        ({"labelled": 2.0}, "shares above 0"),
        ({"neighbours": 0}, "a neighbour"),
    ],
)
def test_bad_options(changes, match):
    with pytest.raises(ConfigError, match=match) as error:
        made(**changes)
    assert "\n" not in str(error.value)


def test_bad_data():
    with pytest.raises(DataError, match="split"):
        made(others=()).examine(digits())
    with pytest.raises(DataError, match=r"\(3, 16, 16\)"):
        made(others=("specimens",)).examine(DATA)
    grey = Fields(x=Field((1, 16, 16), unit=True))
    assert build(MedicalBenchmark, TINY, grey).parts()[0].name == "embedding"
