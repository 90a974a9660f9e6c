"""The radio fingerprint by its formulas: what each update descends, what it leaves alone, and how it is judged."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from unbraid.core.action import actions
from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.data.catalog import open_data
from unbraid.data.wrapped import in_roles
from unbraid.methods.signal.rf_fingerprint import RFFingerprint
from unbraid.metrics.ranking import auroc, equal_errors
from unbraid.metrics.verification import as_detection, cosine_pairs
from unbraid.testing import check_method
from unbraid.training.build import build
from unbraid.training.fit import fit
from unbraid.training.stepper import Stepper
from unbraid.verbs.applying import apply
from unbraid.verbs.request import Request
from unbraid.verbs.training import train

WORLD = "radio:devices=4,unknown=2,captures=4,packets=3,samples=320"
FIELDS = Fields(x=Field((2, 320)), label=Field((), "int64", classes=5))


def data():
    return in_roles(open_data(WORLD), RFFingerprint.card.needs, {})


def made(fields=FIELDS, **changes):
    config = override(RFFingerprint.Config(), {**RFFingerprint.presets["tiny"], **changes})
    return build(RFFingerprint, config, fields, seed=0)


def batch(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draws = {}
    for name in ("first", "second"):
        x = torch.randn(n, 2, 320, generator=generator)
        draws[name] = {"x": x, "label": torch.randint(5, (n,), generator=generator)}
    return draws


def gradients(term, owner):
    weight, value = term if isinstance(term, tuple) else (1.0, term)
    found = torch.autograd.grad(weight * value.mean(), list(owner.parameters()), retain_graph=True, allow_unused=True)
    return sum(float(g.abs().sum()) for g in found if g is not None)


def test_contract():
    assert "sums" in check_method(RFFingerprint)


# ------------------------------------------------------------------------------------------------------------- losses


def test_what_the_background_and_the_generator_descend():
    method, drawn = made(alpha=3.0, beta=7.0).eval(), batch()
    terms = method.separate(drawn, At())
    x = method.pictures(drawn["first"]["x"])
    noise = torch.randn((6, *method.background.bottom), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        z = method.extractor(x)
        b = method.background(x, noise)
        again = method.generator(b, method.placed.dense(z).reshape(6, *method.generator.bottom))
        p = torch.softmax(method.extractor(b) @ method.devices.T, 1)[torch.arange(6), drawn["first"]["label"]]
    known = (p.log() - np.log(1 / 5)).mean()
    assert terms["told"][0] == 3.0
    torch.testing.assert_close(terms["told"][1].detach(), known.clamp(min=0))
    torch.testing.assert_close(terms["background"].mean().detach(), functional.mse_loss(b, x))
    torch.testing.assert_close(terms["reconstruction"].mean().detach(), functional.mse_loss(again, x))
    weight, back = terms["return"]
    assert weight == 7.0
    torch.testing.assert_close(back.mean().detach(), functional.mse_loss(method.extractor(again), z).detach())


def test_what_the_extractor_descends():
    method, drawn = made(swap=0.3, margin=0.2).eval(), batch()
    terms = method.recognise(drawn, At())
    y = drawn["first"]["label"]
    x1, x2 = (method.pictures(drawn[name]["x"]) for name in ("first", "second"))
    noise = torch.randn((6, *method.background.bottom), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        z = method.extractor(x1)
        swapped = method.generator(method.background(x2, noise), method.placed(z))
        for name, weight, seen in (("real", 0.7, z), ("swapped", 0.3, method.extractor(swapped))):
            angle = torch.acos(functional.cosine_similarity(seen[:, None], method.devices[None], dim=2))
            logits = 10 * (angle + 0.2 * functional.one_hot(y, 5)).cos()
            assert terms[name][0] == pytest.approx(weight)
            torch.testing.assert_close(terms[name][1], functional.cross_entropy(logits, y, reduction="none"))


def test_gradients_pass_through_the_extractor_and_swapped_packets_are_constants():
    method, drawn = made(floor=-100.0), batch()
    separate = method.separate(drawn, At())
    assert gradients(separate["told"], method.background) > 0
    assert gradients(separate["told"], method.generator) == 0
    assert gradients(separate["background"], method.background) > 0
    assert gradients(separate["background"], method.generator) == 0
    for name in ("reconstruction", "return"):
        assert gradients(separate[name], method.background) > 0
        assert gradients(separate[name], method.generator) > 0
        assert gradients(separate[name], method.placed) > 0
    recognise = method.recognise(drawn, At())
    for name in ("real", "swapped"):
        assert gradients(recognise[name], method.extractor) > 0
        assert gradients(recognise[name], method.background) == gradients(recognise[name], method.generator) == 0


def test_each_update_moves_its_own_and_the_second_sees_what_the_first_has_moved():
    method, drawn = made(), batch(4)
    names = [{name for name, _ in method.named_parameters() if name.startswith(own)} for own in _OWN]
    stepper = Stepper(method, method.stages()[0], seed=0, steps=1)
    before = {name: p.detach().clone() for name, p in method.named_parameters()}
    seen = []
    recognise = stepper.stage.updates[1].loss.__func__

    def watched(self, drawn, at):
        seen.append({name for name, p in self.named_parameters() if not torch.equal(p, before[name])})
        return recognise(self, drawn, at)

    method.recognise = watched.__get__(method)
    Stepper(method, method.stages()[0], seed=0, steps=1).step(drawn, 0)
    moved = {name for name, p in method.named_parameters() if not torch.equal(p, before[name])}
    assert seen[0] <= names[0]
    assert seen[0]
    assert moved & names[1]
    assert moved <= names[0] | names[1]


_OWN = (("background.", "generator.", "placed."), ("extractor.", "devices"))


def test_below_the_floor_the_background_is_left_in_peace():
    method, drawn = made(floor=100.0), batch()
    terms = method.separate(drawn, At())
    assert float(terms["told"][1].detach()) == 0
    assert gradients(terms["told"], method.background) == 0


def test_the_released_label_is_the_one_of_the_background():
    sound, released = (made(quirks=q).eval() for q in (frozenset(), frozenset({"label_y2"})))
    drawn = batch()
    ours, theirs = (m.recognise(drawn, At())["swapped"][1] for m in (sound, released))
    differ = drawn["first"]["label"] != drawn["second"]["label"]
    assert differ.any()
    assert torch.equal(ours[~differ], theirs[~differ])
    assert (ours[differ] != theirs[differ]).all()


def test_without_swaps_there_is_only_the_extractor():
    method = made(data().fields, swap=0.0)
    assert [u.name for u in method.stages()[0].updates] == ["recognise"]
    drawn = batch()
    drawn["first"]["label"] %= 4
    assert list(method.recognise(drawn, At())) == ["real"]
    start = {name: p.detach().clone() for name, p in method.named_parameters()}
    fit(method, data())
    for name, p in method.named_parameters():
        assert torch.equal(p, start[name]) == name.startswith(_OWN[0])


def test_backgrounds_are_asked_about_by_product_or_cosine():
    plain, scaled = made().eval(), made(asked="cosine").eval()
    b = torch.randn(4, 2, 8, 40, generator=torch.Generator().manual_seed(0))
    z = plain.extractor(b)
    torch.testing.assert_close(plain.answers(b), z @ plain.devices.T)
    cosine = functional.cosine_similarity(z[:, None], plain.devices[None], dim=2)
    torch.testing.assert_close(scaled.answers(b), 10 * cosine)


# -------------------------------------------------------------------------------------------------------------- parts


def test_strength_does_not_count_and_silence_is_endured():
    method, x = made().eval(), batch()["first"]["x"]
    weak, strong = method.encode({"x": x}), method.encode({"x": 1000 * x})
    for part in weak:
        torch.testing.assert_close(weak[part], strong[part], atol=1e-5, rtol=1e-4)
    assert method.encode({"x": torch.zeros_like(x)})["device"].isfinite().all()


def test_a_packet_is_put_together_from_its_parts():
    method, x = made().eval(), batch()["first"]["x"]
    parts = method.encode({"x": x})
    b = method.background(method.pictures(x))
    torch.testing.assert_close(parts["background"].reshape(b.shape), b)
    torch.testing.assert_close(
        method.decode(parts), method.generator(b, method.placed(parts["device"])).flatten(2), atol=1e-6, rtol=1e-5
    )


def test_training_draws_from_known_devices_alone():
    method, rows = made(), data()
    sources = method.sources(rows)
    split = [set(s.table(torch.arange(len(s))).column("device").tolist()) for s in sources.values()]
    assert split == [{0.0, 1.0}, {0.0, 1.0}]
    assert {n: len(s) for n, s in sources.items()} == {"train": 12, "validation": 6}


# ------------------------------------------------------------------------------------------------------------- judged


@pytest.fixture(scope="module")
def trained():
    method = made(data().fields)
    fit(method, data())
    return method


def pairs(method, rows):
    batch = data().take(torch.from_numpy(np.flatnonzero(rows)))
    with torch.no_grad():
        z = method.encode(batch)["device"].double().numpy()
    return as_detection(*cosine_pairs(z, batch["label"].numpy()))


def test_the_examination_is_of_devices_never_trained_on(trained):
    table = data().table(torch.arange(len(data())))
    device, channel = table.column("device"), table.column("channel")
    found = trained.examine(data())
    assert found.numbers["AUC"] == pytest.approx(auroc(*pairs(trained, device >= 2)), abs=1e-6)
    for code, name in enumerate(table.factor("channel").labels):
        scores = pairs(trained, (device >= 2) & (channel == code))
        assert found.numbers[f"AUC of {name}"] == pytest.approx(auroc(*scores), abs=1e-6)
        assert found.numbers[f"EER of {name}"] == pytest.approx(equal_errors(*scores).rate, abs=1e-6)
    assert found.tables["verification"].columns["packets"] == [66, *[24], *[6] * 7]
    assert found.arrays["ROC"][0] >= 0
    assert found.arrays["ROC"][-1] == 1
    assert "never trained on" in found.notes[0]


def test_where_every_device_is_known_other_packets_are_looked_at(trained):
    rows = in_roles(open_data(WORLD.replace("unknown=2", "unknown=0")), ("x", "label"), {})
    assert "packets that were not trained on" in trained.examine(rows).notes[0]


def test_the_threshold_is_that_of_equal_errors_on_the_rows_set_aside(trained):
    table = data().table(torch.arange(len(data())))
    rows = table.column("split") == 1
    assert float(trained.threshold) == pytest.approx(equal_errors(*pairs(trained, rows)).threshold, abs=1e-6)


def test_statistics_of_real_packets_are_measured_anew():
    method, rows = made(data().fields, statistics="real"), data()
    fit(method, rows)
    train = method.sources(rows)["train"]
    x = method.pictures(train.take(torch.arange(len(train)))["x"])
    seen = method.extractor[0](x).detach()
    norm = method.extractor[1]
    torch.testing.assert_close(norm.running_mean, seen.mean((0, 2, 3)), atol=1e-5, rtol=1e-4)
    assert norm.momentum == 0.1
    assert not method.training


def test_two_sets_of_packets_are_compared(trained):
    rows = data()
    one, few = rows.take(torch.arange(len(rows))), trained.same_device(rows, rows)
    with torch.no_grad():
        z = functional.normalize(trained.encode(one)["device"].double())
    expected = 1 - (z @ z.T).mean(1)
    np.testing.assert_allclose(few.columns["distance"], expected, atol=1e-6)
    assert few.columns["same"] == [d <= float(trained.threshold) for d in few.columns["distance"]]
    assert all(trained.same_device(rows, rows, threshold=2.1).columns["same"])
    assert list(actions(RFFingerprint)) == ["same-device"]
    with pytest.raises(DataError, match=r"b: expected packets \(2, 320\)"):
        trained.same_device(rows, open_data(WORLD.replace("320", "160")))


def test_devices_of_training_are_named_by_cosine_without_margin(trained):
    x = batch()["first"]
    z = trained.encode(x)["device"]
    torch.testing.assert_close(
        trained.predict(x).logits, 10 * functional.cosine_similarity(z[:, None], trained.devices[None], dim=2)
    )


def test_recordings_of_radios_are_learned_audited_and_compared(tmp_path):
    world = open_data(WORLD)
    table = world.table(torch.arange(len(world)))
    channel, split = table.factor("channel").labels, table.factor("split").labels
    for device in range(4):
        rows = np.flatnonzero(table.column("device") == device)
        pairs = world.take(torch.from_numpy(rows))["x"].mT.contiguous()
        (tmp_path / f"tx{device}.sigmf-data").write_bytes(pairs.numpy().astype("<f4").tobytes())
        where = zip(table.column("channel")[rows].astype(int), table.column("split")[rows].astype(int), strict=True)
        notes = [
            {"core:sample_start": 320 * i, "core:sample_count": 320, "lab:channel": channel[c], "lab:split": split[s]}
            for i, (c, s) in enumerate(where)
        ]
        document = {"global": {"core:datatype": "cf32_le", "core:hw": f"radio {device}"}, "annotations": notes}
        (tmp_path / f"tx{device}.sigmf-meta").write_text(json.dumps(document))
    request = Request(
        method="rf-fingerprint",
        data=f"iq:{tmp_path},samples=320",
        role={"label": "hw", "domain": "channel"},
        preset="tiny",
    )
    run = train(request, tmp_path / "run")
    found = json.loads((run / "findings.json").read_text())["numbers"]
    assert {"AUC", "EER", "AUC of static", "AUC of m3"} <= set(found)
    rows = json.loads((run / "audit.json").read_text())["rows"]
    declared = {(r["part"], r["factor"], r["declared"]) for r in rows if r["declared"]}
    assert {("device", "hw", "carries"), ("device", "channel", "free_of"), ("background", "hw", "free_of")} <= declared
    assert {p.name for p in (run / "pictures").iterdir()} >= {"swap-device.png", "swap-background.png"}
    one, other = (f"iq:{tmp_path}/tx{k}.sigmf-meta,samples=320" for k in (2, 3))
    apply(run, ["same-device", "--a", one, "--b", other, "--out", str(tmp_path / "same.csv")])
    lines = (tmp_path / "same.csv").read_text().splitlines()
    assert lines[0] == "packet,distance,same"
    assert len(lines) == 1 + (4 + 7) * 3
    assert lines[1].startswith("tx3@0,")


# ------------------------------------------------------------------------------------------------------------- options


def test_the_published_sizes():
    method = RFFingerprint(RFFingerprint.Config(), Fields(x=Field((2, 1280)), label=Field((), "int64", classes=54)))
    assert [c.out_channels for c in method.extractor if hasattr(c, "out_channels")] == [18, 36, 72, 144, 288, 576, 512]
    assert method.devices.shape == (54, 512)
    assert method.background.bottom == (512, 1, 5)
    assert method.placed.dense.out_features == 2560
    fit_stage = method.stages()[0]
    assert [(u.optim.lr, u.optim.betas) for u in fit_stage.updates] == [(1e-3, (0.9, 0.999)), (1e-3, (0.9, 0.99))]
    assert (fit_stage.budget.steps, fit_stage.feed["first"].batch) == (500, 256)


@pytest.mark.parametrize("augment", ["noise", "filter"])
def test_augmented_packets_are_what_training_sees(augment):
    method = made(data().fields, augment=augment)
    assert method.stages()[0].feed["first"].views is not None
    fit(method, data())
    assert all(p.isfinite().all() for p in method.parameters())


def test_wrong_data_and_options_are_refused_in_one_line():
    classes = Field((), "int64", classes=3)
    for fields, error, message in (
        (Fields(x=Field((320,)), label=classes), DataError, "I before Q"),
        (Fields(x=Field((1, 320)), label=classes), DataError, "I before Q"),
        (Fields(x=Field((2, 321)), label=classes), ConfigError, "divides the samples"),
        (Fields(x=Field((2, 320)), label=Field((), "int64", classes=1)), DataError, "two devices"),
        (Fields(x=Field((2, 8 * 36)), label=classes), ConfigError, "multiple of 8"),
    ):
        with pytest.raises(error, match=message):
            made(fields)
    for option, value, message in (
        ("swap", 1.5, "0 to 1"),
        ("widths", (1, 2), "6 numbers"),
        ("quirks", frozenset({"label_y3"}), "label_y2"),
        ("steps", 0, "above 0"),
        ("augment", "loud", "one of none"),
    ):
        with pytest.raises(ConfigError, match=message):
            made(**{option: value})
