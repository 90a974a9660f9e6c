import sys
import types

import pytest
from torch import nn

from unbraid.core.errors import ConfigError
from unbraid.data.digits import digits
from unbraid.data.wrapped import in_roles
from unbraid.methods.robust.tent import Tent
from unbraid.verbs.giving import hand_over


def broken(fields):
    raise ValueError("no such layer")


def plain(fields):
    return nn.Sequential(nn.Flatten(), nn.Linear(256, fields["label"].classes))


@pytest.fixture(scope="module")
def data():
    return in_roles(digits(), ["x", "label"], {})


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nothing", "got 'nothing'; give the folder of a finished run"),
        ("os:nothing", "package.module:function, got module 'os' has no attribute"),
        ("no_such_package:make", "No module named"),
        ("os:getcwd", "takes the fields of the data and returns a module, got TypeError"),
        ("giving_made:broken", "ValueError: no such layer"),
        ("builtins:len", "a function that returns a module, got int"),
    ],
)
def test_a_source_that_gives_no_network_is_one_line(data, source, said, monkeypatch):
    monkeypatch.setitem(sys.modules, "giving_made", types.SimpleNamespace(broken=broken))
    with pytest.raises(ConfigError, match=said):
        hand_over(Tent, {"classifier": source}, data, 0)


def test_a_function_is_called_with_the_fields_and_its_network_is_taken(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "giving_made", types.SimpleNamespace(plain=plain))
    found = hand_over(Tent, {"classifier": "giving_made:plain"}, data, 0)
    assert found.networks["classifier"][1].out_features == 10
    assert found.sources["classifier"]["source"] == "giving_made:plain"
