"""DiST: its loss by formula, its frozen network by gradients and by memory, and networks of other makes."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.given import Given
from unbraid.core.method import At
from unbraid.methods.video.dist import DiSTClassifier, blocks_of, with_partners
from unbraid.nets.vit import ViT
from unbraid.testing import check_method
from unbraid.testing.made import tiny_data
from unbraid.training.build import build, stand_in

TINY = {**DiSTClassifier.presets["tiny"], "mixup": 0.0, "cutmix": 0.0}
DATA = tiny_data(DiSTClassifier)


def make(fields=DATA.fields, given=None, **changes):
    config = override(DiSTClassifier.Config(), {**TINY, **changes})
    return build(DiSTClassifier, config, fields, given=stand_in(DiSTClassifier, DATA, 0) if given is None else given)


def batch(n=4):
    return DATA.take(torch.arange(0, 12_288, 12_288 // n)[:n])


def test_contract():
    assert "sums" in check_method(DiSTClassifier, DATA)


@pytest.mark.parametrize(
    ("branches", "parts"), [("all", 3), ("integration", 2), ("none", 2)], ids=["all", "integration", "none"]
)
def test_every_ablation_learns_and_encodes(branches, parts):
    method = make(branches=branches)
    found = method.encode(batch())
    assert len(found) == parts == len(method.parts())
    assert [tuple(found[p.name].shape[1:]) for p in method.parts()] == [p.shape for p in method.parts()]
    loss = method.loss(batch(), At())["classification"].mean()
    assert any(g is not None for g in torch.autograd.grad(loss, list(method.net.parameters()), allow_unused=True))


def test_the_loss_is_cross_entropy_with_smoothed_labels():
    method, b = make(smoothing=0.1), batch()
    logits = method.predict(b).logits
    right = cross_entropy(logits, b["label"], label_smoothing=0.1, reduction="none")
    torch.testing.assert_close(method.loss(b, At())["classification"], right)


def test_clips_and_labels_are_mixed_alike():
    method = make(mixup=0.8, smoothing=0.0)
    rows = with_partners(DATA, torch.arange(6) * 2000, torch.Generator().manual_seed(0))
    assert torch.equal(rows[:, 0], torch.arange(6) * 2000)
    b, at = DATA.take(rows), At()
    found = method.loss(b, at)["classification"]
    share, pasted = method._shares(At(), 6)
    assert not pasted.any()
    assert share.min() >= 0
    assert share.max() <= 1
    w = share[:, None, None, None, None]
    logits = method.predict({"x": w * b["x"][:, 0] + (1 - w) * b["x"][:, 1]}).logits
    target = share[:, None] * one_hot(b["label"][:, 0], 4) + (1 - share[:, None]) * one_hot(b["label"][:, 1], 4)
    torch.testing.assert_close(found, cross_entropy(logits, target, reduction="none"))


@pytest.mark.parametrize(("mixup", "cutmix", "pasted"), [(0.8, 1.0, 0.5), (0.8, 0.0, 0.0), (0.0, 1.0, 1.0)])
def test_shares_follow_their_beta_distributions(mixup, cutmix, pasted):
    method = make(mixup=mixup, cutmix=cutmix)
    share, cut = method._shares(At(), 4000)
    assert float(cut.double().mean()) == pytest.approx(pasted, abs=0.03)
    for chosen, a in ((share[cut], cutmix), (share[~cut], mixup)):
        if len(chosen):
            beta = torch.distributions.Beta(torch.tensor(a), torch.tensor(a))
            assert float(chosen.mean()) == pytest.approx(0.5, abs=0.03)
            assert float(chosen.var()) == pytest.approx(float(beta.variance), abs=0.01)


def test_no_gradient_reaches_the_image_network():
    method = make()
    inner = list(method.backbone.inner.parameters())
    assert inner
    for weight in inner:
        weight.requires_grad_(True)  # even where somebody asks for one
    loss = method.loss(batch(), At())["classification"].mean()
    assert all(g is None for g in torch.autograd.grad(loss, inner, allow_unused=True))
    assert not any("backbone" in name for name in method.tensors())


def saved_bytes(run):
    sizes = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: sizes.setdefault(t.data_ptr(), t.nbytes) and t, lambda t: t
    ):
        run()
    return sum(sizes.values())


def test_what_is_kept_for_the_way_back_does_not_grow_with_the_image_network():
    def kept(depth, frozen=True):
        torch.manual_seed(0)
        net = ViT(16, 4, 48, depth, 4)
        method = make(given={"backbone": net}, layers=("blocks.0", f"blocks.{depth - 1}"))
        b = batch()
        if frozen:
            return saved_bytes(lambda: method.loss(b, At()))
        net.requires_grad_(True)
        method.tokens = lambda x: type(method).tokens.__wrapped__(method, x)
        return saved_bytes(lambda: method.loss(b, At()))

    assert kept(8) == kept(2)
    assert kept(8, frozen=False) > 2 * kept(8)


class LastFirst(nn.Module):
    """Tokens in front of the batch, as CLIP's own transformer has them."""

    def __init__(self, vit):
        super().__init__()
        self.vit = vit
        self.stack = nn.ModuleList(nn.Sequential(nn.Identity(), nn.Sequential()) for _ in vit.blocks)

    def forward(self, x):
        seen = []
        hooks = [b.register_forward_hook(lambda _m, _i, out: seen.append(out)) for b in self.vit.blocks]
        self.vit(x)
        for hook in hooks:
            hook.remove()
        return [layer(t.transpose(0, 1)) for layer, t in zip(self.stack, seen, strict=True)]


def test_tokens_may_come_before_the_batch():
    torch.manual_seed(0)
    vit = ViT(16, 4, 48, 3, 4)
    names = {"layers": tuple(f"stack.{k}" for k in range(3))}
    torch.manual_seed(1)
    one = make(given={"backbone": vit})
    torch.manual_seed(1)
    other = make(given={"backbone": LastFirst(vit)}, **names)
    for mine, theirs in zip(one.tokens(batch()["x"]), other.tokens(batch()["x"]), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_blocks_are_found_by_themselves():
    assert blocks_of(ViT(16, 4, 16, 3, 4)) == ("blocks.0", "blocks.1", "blocks.2")
    nested = nn.Sequential(
        nn.Linear(2, 2), nn.ModuleDict({"layers": nn.ModuleList(nn.Sequential(nn.ReLU()) for _ in "ab")})
    )
    assert blocks_of(nested) == ("1.layers.0", "1.layers.1")
    with pytest.raises(ConfigError, match="a list of blocks"):
        blocks_of(nn.Linear(2, 2))


class Names(nn.Module):
    """Embeddings of four classes."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.eye(4, 7) + 0.1)

    def forward(self):
        return self.table


def test_classes_by_their_embeddings():
    given = {**stand_in(DiSTClassifier, DATA, 0), "text": Names()}
    method, b = make(given=given, scale=20.0), batch()
    y = method.clips(b["x"]).integrated @ method.net.out
    assert y.shape == (4, 7)
    table = given["text"].table
    cosine = (y / y.norm(dim=1, keepdim=True)) @ (table / table.norm(dim=1, keepdim=True)).T
    torch.testing.assert_close(method.predict(b).logits, 20 * cosine)


def test_averaged_clips_have_no_time():
    method, b = make(averaged=True), batch()
    torch.testing.assert_close(method.predict(b).logits, method.predict({"x": b["x"].flip(1)}).logits)


def test_grey_clips_are_shown_in_three_channels_and_standardised():
    fields = Fields(x=Field((4, 1, 16, 16), unit=True), label=Field((), "int64", classes=2))
    method = make(fields, stand_in(DiSTClassifier, DATA, 0), pixels="clip")
    grey = torch.rand(2, 4, 1, 16, 16)
    seen = []
    method.net.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    method.clips(grey)
    assert seen[0].shape == (2, 4, 3, 16, 16)
    torch.testing.assert_close(seen[0][:, :, 0], (grey[:, :, 0] - 0.48145466) / 0.26862954)


def test_warm_up_is_a_sixth():
    optim = make(steps=60, warmup=1 / 6).stages()[0].updates[0].optim
    assert (optim.schedule.kind, optim.schedule.warmup, optim.schedule.final) == ("cosine", 10, 0.0)


@pytest.mark.parametrize(
    ("make_it", "says"),
    [
        (lambda: make(kernel=4), "an odd number"),
        (lambda: make(width=100), "a multiple of it"),
        (lambda: make(smoothing=1.0), "shares below 1"),
        (lambda: make(alpha=3), "a multiple of 3 frames, got 4"),
        (lambda: make(given={"backbone": ViT(16, 8, 16, 1, 2, channels=1)}), r"takes \(batch, 3, 16, 16\)"),
        (lambda: make(given={"backbone": ViT(16, 4, 16, 1, 2)}, layers=("embed",)), "1 \\+ patches, width"),
        (lambda: make(given=Given()), "an image network whose blocks"),
        (lambda: make(Fields(x=Field((4, 3, 16, 16), unit=True), label=Field((), "int64", classes=1))), "two classes"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(make_it, says):
    with pytest.raises((ConfigError, DataError), match=says):
        make_it()
