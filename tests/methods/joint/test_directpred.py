import pytest
import torch

from unbraid.core.config import override
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.data.made.tiny import tiny_images
from unbraid.methods.joint.directpred import DirectPred, constrained, direct, gains, simulated
from unbraid.ops.joint_dynamics import Flow
from unbraid.training.fit import fit
from unbraid.training.stepper import Stepper

TINY = override(DirectPred.Config(), DirectPred.presets["tiny"])
IMAGES = Fields(x=Field((1, 16, 16), unit=True))


def made(**changes):
    torch.manual_seed(0)
    return DirectPred(override(TINY, changes), IMAGES)


def views(n=8):
    return {"x": torch.rand(n, 2, 1, 16, 16, generator=torch.Generator().manual_seed(0))}


def covariance(d=6, seed=0):
    z = torch.randn(40, d, generator=torch.Generator().manual_seed(seed)) * torch.linspace(0.2, 2, d)
    return z.mT @ z / 40


# --------------------------------------------------------------------------------------------------- the predictor


def test_the_predictor_shares_the_eigenvectors_and_its_largest_gain_is_one_and_a_little():
    f = covariance()
    w = direct(f, power=0.5, eps=0.1)
    torch.testing.assert_close(f @ w, w @ f, rtol=0, atol=1e-5)
    assert torch.linalg.eigvalsh(w)[-1] == pytest.approx(1.1, abs=1e-5)
    assert torch.linalg.eigvalsh(direct(f, 0.5, 0.1, "paper"))[-1] == pytest.approx(
        float(torch.linalg.eigvalsh(f)[-1]) ** 0.5 + 0.1 * float(torch.linalg.eigvalsh(f)[-1]), rel=1e-5
    )


def test_power_one_needs_no_decomposition():
    f = covariance()
    torch.testing.assert_close(direct(f, 1.0, 0.05, "raw"), f + 0.05 * torch.eye(6))
    torch.testing.assert_close(direct(f, 1.0, 0.0, "raw"), f, rtol=1e-4, atol=1e-5)
    top = torch.linalg.matrix_norm(f, 2)
    torch.testing.assert_close(direct(f, 1.0, 0.3), f / top + 0.3 * torch.eye(6), rtol=1e-4, atol=1e-5)


def test_gains_by_their_formulas():
    s = torch.tensor([4.0, 1.0, -0.5])
    assert gains(s, 0.5, 0.1, "raw").tolist() == pytest.approx([2.1, 1.1, 0.1])
    assert gains(s, 0.5, 0.1, "paper").tolist() == pytest.approx([2.4, 1.4, 0.4])
    assert gains(s, 1 / 3, 0.1, inside=True).tolist() == pytest.approx(
        [1.1 ** (1 / 3), 0.35 ** (1 / 3), 0.1 ** (1 / 3)]
    )
    assert gains(s, 0.5, -0.6).tolist() == pytest.approx([0.4, 1e-4, 1e-4])


def test_a_trained_predictor_is_brought_back():
    w = torch.tensor([[2.0, 1.0], [0.0, 3.0]])
    assert constrained(w, "symmetric").tolist() == [[2.0, 0.5], [0.5, 3.0]]
    assert constrained(w, "diagonal").tolist() == [[2.0, 0.0], [0.0, 3.0]]
    assert torch.linalg.eigvalsh(constrained(w, "unit"))[-1] == pytest.approx(1)


def test_the_solved_predictor_predicts_the_target_best():
    method = made(predictor="solve", eps=1e-6)
    f, mix = torch.randn(300, 8), torch.randn(8, 8)
    at = At()
    method._measure(f, f @ mix.mT, at)
    method.after(at)
    torch.testing.assert_close(method.predictor.weight.detach(), mix, rtol=1e-3, atol=1e-3)


# -------------------------------------------------------------------------------------------------- order of a step


def test_a_step_in_its_order():
    """The online network moves; then the correlation of this batch, then the predictor, then the target."""
    method = made(rho=0.3, decay=0.9)
    stepper = Stepper(method, method.stages()[0], seed=0, steps=4)
    target = {n: p.clone() for n, p in method.target.twin.named_parameters()}
    batch, correlation = {"x": torch.rand(8, 1, 16, 16), "index": torch.arange(8)}, None
    for step in range(2):
        seen = stepper.viewed(batch, stepper.at(step))["x"]
        with torch.no_grad():
            f = torch.cat([method.projector(method.encoder(x)) for x in seen.unbind(1)])
        now = f.mT @ f / len(f)
        correlation = now if correlation is None else 0.3 * correlation + 0.7 * now
        stepper.step(batch, step)
        torch.testing.assert_close(method.correlation, correlation, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(method.predictor.weight.detach(), direct(method.correlation, 0.5, 0.01))
        for name, p in method._online().named_parameters():
            target[name] = 0.9 * target[name] + 0.1 * p.detach()
            torch.testing.assert_close(method.target.twin.get_parameter(name), target[name], rtol=1e-4, atol=1e-6)


def test_between_two_settings_the_predictor_is_trained():
    method = made(every=2)
    stepper = Stepper(method, method.stages()[0], seed=0, steps=4)
    batch = {"x": torch.rand(8, 1, 16, 16), "index": torch.arange(8)}
    stepper.step(batch, 0)
    set_to = method.predictor.weight.detach().clone()
    torch.testing.assert_close(set_to, method.wanted())
    stepper.step(batch, 1)
    assert not torch.equal(method.predictor.weight, set_to)
    assert (method.predictor.weight - method.wanted()).abs().max() > 1e-3


def test_the_loss_is_twice_the_cosine_each_way_and_the_target_has_no_gradient():
    method, batch = made(start="own"), views()
    method.target.twin.requires_grad_(True)
    loss = method.loss(batch, At())["likeness"].mean()
    again = made(start="own")
    a, b = batch["x"].unbind(1)
    f, t = ([net(x) for x in (a, b)] for net in (again._online(), again.target))
    cosine = torch.nn.functional.cosine_similarity
    expected = -2 * (cosine(again.predictor(f[0]), t[1]) + cosine(again.predictor(f[1]), t[0])).mean()
    torch.testing.assert_close(loss, expected)
    assert torch.autograd.grad(loss, list(method.target.parameters()), allow_unused=True, retain_graph=True) == (
        None,
    ) * len(list(method.target.parameters()))
    assert any(g.abs().max() > 0 for g in torch.autograd.grad(loss, list(method.encoder.parameters())))


def test_the_target_normalises_by_the_batch_and_keeps_its_own_statistics():
    method = made().train()
    before = {n: b.clone() for n, b in method.target.named_buffers() if n.endswith("running_mean")}
    online = {n: b.clone() for n, b in method.encoder.named_buffers()}
    method.loss(views(), At())
    assert all((method.target.get_buffer(n) - b).abs().max() > 0 for n, b in before.items())
    assert any((method.encoder.get_buffer(n) != b).any() for n, b in online.items())
    assert not method.eval().target.twin.training


def test_the_target_starts_as_a_copy_or_as_its_own():
    def alike(method):
        pairs = zip(method._online().parameters(), method.target.twin.parameters(), strict=True)
        return all(torch.equal(a, b) for a, b in pairs)

    assert alike(made())
    assert not alike(made(start="own"))


def test_simsiam_has_no_target_network():
    assert not hasattr(made(**DirectPred.aliases["simsiam"]), "target")


def test_gradients_through_the_target_where_they_are_not_stopped():
    stopped, free = (made(target="online", predictor="none", stopped=s) for s in (True, False))
    slopes = []
    for method in (stopped, free):
        loss = method.loss(views(), At())["likeness"].mean()
        slopes.append(torch.autograd.grad(loss, list(method.projector.parameters())))
    torch.testing.assert_close(slopes[1][-1], 2 * slopes[0][-1], rtol=1e-3, atol=1e-5)


# ----------------------------------------------------------------------------------------------- parts and findings


def test_eigen_directions_are_uncorrelated_and_sorted():
    data = tiny_images(48)
    method = made(steps=6, batch=48, centred=False, rho=0.0)
    fit(method, data, seed=0)
    parts = method.encode(data.take(torch.arange(48)))
    assert [spec.of for spec in method.parts()] == [None, "embedding"]
    z = method.projector(parts["embedding"])
    torch.testing.assert_close(parts["eigen"].norm(dim=1), z.norm(dim=1), rtol=1e-3, atol=1e-4)
    found = method.examine(data)
    spectrum = found.arrays["spectrum of the correlation"]
    assert (spectrum.diff() <= 0).all()
    assert found.numbers["mean alignment of the eigenvectors"] > 0.99
    assert found.numbers["asymmetry of the predictor"] < 1e-4
    assert {"linear probe of kind", "effective rank behind the projector"} <= set(found.numbers)


def test_the_simulation_ends_where_the_theory_says():
    found = simulated(Flow(noise=0.5, decay=0.02), 0.05, 0.0025, 8, 300, 0)
    assert found.numbers["gain at the end"] == pytest.approx(found.numbers["gain where it stays"], abs=1e-3)
    assert found.numbers["misalignment at the end"] < 0.1 * found.numbers["misalignment at the start"]
    collapsed = made().simulate(decay=0.2, time=60.0, size=3)
    assert collapsed.numbers["gain at the end"] < 1e-3
    assert "gain where it stays" not in collapsed.numbers


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"rho": 1.5}, "rho"), ({"decay": -0.1}, "decay"), ({"power": 0.0}, "power"), ({"every": 0}, "every")],
)
def test_options_that_cannot_be_meant(changes, what):
    with pytest.raises(ConfigError, match=f"{what}: expected"):
        override(DirectPred.Config(), changes)


def test_a_simulation_that_cannot_start():
    with pytest.raises(ConfigError, match="--gain"):
        made().simulate(gain=0.0)


VIT = {"backbone": "vit", "width": 8, "patch": 4, "depth": 1, "heads": 2}


@pytest.mark.parametrize("alias", ["byol", "simsiam"])
def test_transformers_learn_by_it_too(alias):
    method = made(**VIT, **DirectPred.aliases[alias])
    stepper = Stepper(method, method.stages()[0], seed=0, steps=4)
    before = method.encoder.vit.blocks[0].qkv.weight.detach().clone()
    stepper.step({"x": torch.rand(8, 1, 16, 16), "index": torch.arange(8)}, 0)
    assert not torch.equal(before, method.encoder.vit.blocks[0].qkv.weight)
    assert method.encode({"x": torch.rand(3, 1, 16, 16)})["embedding"].shape == (3, 8)


def test_the_target_of_byol_stands_still_at_the_end():
    method = made(decay=0.9, **DirectPred.aliases["byol"])
    at = At(step=5, steps=10)
    method.loss(views(), at)
    weight = method.encoder.net.net.stem[0].weight
    with torch.no_grad():
        weight.add_(1)
    start = method.target.twin[0].net.net.stem[0].weight.clone()
    method.after(at)
    torch.testing.assert_close(method.target.twin[0].net.net.stem[0].weight, torch.lerp(start, weight, 0.05))
    at.step = 10
    start = method.target.twin[0].net.net.stem[0].weight.clone()
    method.after(at)
    assert torch.equal(method.target.twin[0].net.net.stem[0].weight, start)


def test_the_projector_of_simsiam_ends_in_a_normalisation_without_scale():
    last = made(**DirectPred.aliases["simsiam"]).projector[-1]
    assert type(last).__name__ == "BatchNorm"
    assert not [*last.parameters()]
