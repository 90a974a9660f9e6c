"""Networks that are not ours: ports, and what holds, listens to and cuts them."""

import pytest
import torch
from torch import nn

from unbraid.core.errors import ConfigError, ContractError
from unbraid.core.fields import Field, Fields
from unbraid.core.given import Frozen, Given, Hooked, Port, Split, check_given, standin_of, stands_in, weights_hash


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2))


class Holder(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.own = nn.Linear(2, 2)
        self.held = Frozen(inner)


def test_a_frozen_network_is_no_part_of_its_owner():
    holder = Holder(net())
    assert set(holder.state_dict()) == {"own.weight", "own.bias"}
    assert set(holder.parameters()) == {*holder.own.parameters()}


def test_a_frozen_network_stays_as_it_is_and_passes_gradients_on():
    inner = net()
    holder = Holder(inner).train()
    before = weights_hash(inner)
    x = torch.rand(5, 3, requires_grad=True)
    holder.held(x).sum().backward()
    assert not inner.training
    assert x.grad.abs().sum() > 0
    assert all(p.grad is None for p in inner.parameters())
    assert weights_hash(inner) == before


def test_a_frozen_network_moves_with_its_owner():
    holder = Holder(net()).double()
    assert holder.held.inner[0].weight.dtype == torch.float64


def test_hooks_read_and_write_and_leave_nothing_behind():
    inner = net().eval()
    x = torch.rand(5, 3)
    plain = inner(x)
    out, seen = Hooked(inner).run(x, read=("0", "1"), write={"0": lambda h: h * 0})
    assert seen["0"].abs().max() == 0
    assert torch.equal(seen["1"], inner[1](torch.zeros(5, 4)))
    assert torch.equal(out, inner[3](seen["1"]))
    assert torch.equal(inner(x), plain)
    assert not any(m._forward_hooks for m in inner.modules())


def test_hooks_are_taken_off_when_the_network_fails():
    inner = net()
    with pytest.raises(RuntimeError):
        Hooked(inner).run(torch.rand(5, 9), read=("0",))
    assert not any(m._forward_hooks for m in inner.modules())


def test_a_name_that_is_not_there_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="name of a module"):
        Hooked(net()).run(torch.rand(5, 3), read=("9",))


class Tuples(nn.Module):
    def forward(self, x):
        return x + 1, "state"


def test_the_first_of_several_outputs_is_meant():
    inner = nn.Sequential(Tuples())
    out, seen = Hooked(inner).run(torch.zeros(2), read=("0",), write={"0": lambda h: h * 3})
    assert out[1] == "state"
    assert torch.equal(out[0], torch.full((2,), 3.0))
    assert torch.equal(seen["0"], out[0])


def test_a_split_network_is_the_network():
    inner = net().eval()
    split, x = Split(inner), torch.rand(5, 3)
    assert split.at == "3"
    assert torch.equal(split.head(split.features(x)), inner(x))
    middle = Split(inner, "1")
    assert torch.equal(middle.features(x), inner[0](x))
    with pytest.raises(ConfigError, match="name of a module"):
        Split(inner, "head")
    with pytest.raises(ConfigError, match="a linear layer"):
        Split(nn.ReLU())


def test_ports_are_filled_or_refused():
    ports = (Port("lens", "a network"), Port("other", "another", optional=True))
    check_given(ports, Given(lens=net()))
    with pytest.raises(ConfigError, match="expected a network, got no network; give one with --given lens"):
        check_given(ports, Given())
    with pytest.raises(ConfigError, match="did you mean 'lens'"):
        check_given(ports, Given(lense=net()))
    with pytest.raises(ConfigError, match="it takes none"):
        check_given((), Given(lens=net()))
    with pytest.raises(ContractError, match="identifier"):
        Port("a lens", "a network")
    with pytest.raises(ConfigError, match="no network"):
        standin_of(ports[0])


class Wide:
    """Stands in where items are long."""

    def fits(self, fields):
        return fields["x"].shape[0] > 3

    def shape(self, fields):
        return nn.Linear(fields["x"].shape[0], 1)

    def make(self, data, seed):
        return self.shape(data.fields)


WIDE = Wide()


def test_a_stand_in_of_an_optional_port_says_what_it_is_for():
    short, long = (Fields(x=Field((n,))) for n in (3, 4))
    where = f"{__name__}:WIDE"
    for port, found in (
        (Port("lens", "a network"), [False, False]),
        (Port("lens", "a network", standin=where), [True, True]),
        (Port("lens", "a network", standin=where, optional=True), [False, True]),
        (Port("lens", "a network", standin="unbraid.standins.vit:UNTRAINED", optional=True), [False, False]),
    ):
        assert [stands_in(port, fields) for fields in (short, long)] == found


def test_an_open_port_may_be_asked_for():
    given = Given(lens=net())
    assert given.get("lens") is given["lens"]
    assert given.get("other") is None
    with pytest.raises(ConfigError, match="a network 'other'"):
        given["other"]


def test_the_hash_sees_every_weight():
    one, two = net(), net()
    assert weights_hash(one) == weights_hash(two)
    with torch.no_grad():
        two[3].bias[1] += 1e-6
    assert weights_hash(one) != weights_hash(two)
