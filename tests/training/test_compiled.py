"""Networks through `torch.compile`: names, bits, second derivatives, and a machine without a compiler."""

import pytest
import torch
from stubs import Stub, TwoUpdates, card
from torch import nn

from unbraid.cli import run as cli
from unbraid.core.errors import ContractError, RunError
from unbraid.core.method import Optim, Update
from unbraid.testing.made import tiny_vectors
from unbraid.training import compiled as module
from unbraid.training.build import build
from unbraid.training.fit import fit
from unbraid.training.runs import Run
from unbraid.verbs import resume

# torch warns of itself while it compiles
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
DATA = tiny_vectors()


class Counted:
    """A compiler that compiles nothing and counts what it is given."""

    def __init__(self):
        self.graphs = []

    def __call__(self, graph, inputs):
        self.graphs.append([tuple(i.shape) for i in inputs if i.ndim == 2])
        return graph.forward


@pytest.fixture
def counted(monkeypatch):
    torch._dynamo.reset()
    backend = Counted()
    monkeypatch.setattr(module, "BACKEND", backend)
    return backend


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(module, "BACKEND", "aot_eager")


def test_every_network_is_compiled_and_afterwards_none_is(counted):
    method = build(TwoUpdates, TwoUpdates.Config(), DATA.fields)
    names = list(method.tensors())
    with module.compiled(method):
        assert list(method.tensors()) == names
        for network in (method.encoder, method.decoder, method.critic):
            before = len(counted.graphs)
            network(torch.zeros(3, network[0].in_features if network is method.critic else network.in_features))
            assert len(counted.graphs) == before + 1
    method.encoder(torch.zeros(5, 12))
    assert len(counted.graphs) == 3


def test_no_code_depends_on_what_was_compiled_before(counted):
    """Beyond eight torch would give up, and after a second shape it would make code for any."""
    many = nn.Module()
    many.eager, many.list = (), nn.ModuleList([nn.Linear(width, 2) for width in range(1, 13)])
    with module.compiled(many):
        for batch in (4, 5):
            for network in many.list:
                network(torch.zeros(batch, network.in_features))
    assert len(counted.graphs) == 24
    assert all(
        (4, n) in shapes or (5, n) in shapes for n, shapes in zip([*range(1, 13)] * 2, counted.graphs, strict=True)
    )


class Penalised(Stub):
    """A critic whose slope is held near 1."""

    card = card("penalised")

    def __init__(self, config, fields):
        super().__init__(config, fields)
        self.critic = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    def stages(self):
        return [self.stage("fit", Update("critic", self.loss, lambda: [self.critic], Optim()))]

    def loss(self, batch, at):
        code = self.encoder(batch["x"]).detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.critic(code).sum(), code, create_graph=True)
        return {"penalty": (slope.norm(dim=1) - 1).square()}


class Excepted(Penalised):
    card = card("excepted")
    eager = ("critic",)


def test_second_derivatives_need_a_network_that_is_left_alone(quick):
    with pytest.raises(ContractError, match=r"Method\.eager"):
        fit(build(Penalised, Penalised.Config(), DATA.fields), DATA, compile=True)
    one, other = (build(Excepted, Excepted.Config(), DATA.fields) for _ in range(2))
    fit(one, DATA)
    fit(other, DATA, compile=True)
    assert all(torch.equal(t, other.tensors()[n]) for n, t in one.tensors().items())


def test_stop_and_resume_in_the_same_bits(tmp_path):
    """With the real compiler, dropout and a second update."""
    whole = build(TwoUpdates, TwoUpdates.Config(), DATA.fields)
    fit(whole, DATA, compile=True)

    class DiesError(BaseException):
        pass

    class Mortal(TwoUpdates):
        card = TwoUpdates.card

        def judge(self, batch, at):
            if at.step == 5:
                raise DiesError
            return super().judge(batch, at)

    run = Run.create(tmp_path / "run", {})
    with pytest.raises(DiesError):
        fit(build(Mortal, Mortal.Config(), DATA.fields), DATA, run=run, every=2, compile=True)
    torch._dynamo.reset()
    again = build(TwoUpdates, TwoUpdates.Config(), DATA.fields)
    fit(again, DATA, run=run, every=2, compile=True)
    assert all(torch.equal(t, again.tensors()[n]) for n, t in whole.tensors().items())


def test_resume_holds_to_it(tmp_path, quick):
    words = "train ae --data discs --preset tiny --steps 4 --set network=mlp --no-audit --compile --out"
    assert cli([*words.split(), str(tmp_path / "run")]) == 0
    facts = Run(tmp_path / "run").facts
    assert facts["request"]["compile"] is True
    assert facts["command"].endswith("--compile")
    with pytest.raises(RunError, match="compile True as recorded"):
        resume(tmp_path / "run", {"compile": False})
    assert cli([*words.replace(" --compile", "").split(), str(tmp_path / "plain")]) == 0
    with pytest.raises(RunError, match="compile False as recorded"):
        resume(tmp_path / "plain", {"compile": True})


def test_a_machine_without_a_compiler(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    torch._dynamo.reset()
    import torch._inductor.config as config

    with config.patch({"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True}):
        code = cli(
            ["train", "ae", "--data", "discs", "--preset", "tiny", "--set", "network=mlp", "--compile", "--out", "run"]
        )
    said = capfd.readouterr().err
    assert code == 2, said
    assert "--compile: expected networks that torch can compile" in said
    assert "leave out --compile" in said
    assert not (tmp_path / "run").exists()
