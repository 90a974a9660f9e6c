import numpy as np
import pytest
import torch

from unbraid.core.errors import ConfigError, DataError
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.made.discs import Discs
from unbraid.data.wrapped import InRoles, Subset, in_roles


def made(missing=False, roles=None):
    factors = [
        Factor("digit", "categorical", ("a", "b", "c")),
        Factor("site", "ordinal", ("0", "1")),
        Factor("age", "continuous"),
    ]
    values = np.array([[0, 1, 0.5], [2, 0, 1.5], [np.nan if missing else 1, 1, 2.5]])
    data = MemoryDataset("made", torch.rand(3, 2), FactorTable(factors, values))
    data.roles = roles or {}
    return data


def test_a_subset_is_a_data_set_of_its_own():
    data = Discs()
    few = Subset(data, torch.tensor([7, 3, 700]))
    batch = few.take(torch.tensor([[2, 0]]))
    assert torch.equal(batch["x"], data.take(torch.tensor([[700, 7]]))["x"])
    assert batch["index"].tolist() == [[2, 0]]
    assert few.ids(torch.tensor([1])) == data.ids(torch.tensor([3]))
    assert np.array_equal(few.table(torch.arange(3)).values, data.table(few.indices).values)
    assert few.hash not in (data.hash, Subset(data, torch.tensor([3, 7, 700])).hash)


def test_the_only_factor_without_order_is_the_label():
    data = in_roles(made(), ["x", "label"], {})
    assert data.fields["label"].classes == 3
    assert data.take(torch.tensor([[1, 2]]))["label"].tolist() == [[2, 1]]
    assert data.hash != made().hash


def test_a_role_follows_the_user_then_the_data():
    assert in_roles(made(roles={"label": "site"}), ["label"], {}).fields["label"].classes == 2
    assert in_roles(made(roles={"label": "site"}), ["label"], {"label": "digit"}).fields["label"].classes == 3
    assert in_roles(made(), ["x"], {"group": "site"}).take(torch.arange(3))["group"].tolist() == [1, 0, 1]


def test_what_is_not_needed_is_left_as_it_is():
    data = made()
    assert in_roles(data, ["x"], {}) is data
    named = InRoles(data, {"label": "digit"})
    assert in_roles(named, ["label"], {}) is named


@pytest.mark.parametrize(
    ("needs", "asked", "error", "said"),
    [
        (["domain"], {}, DataError, "a factor that is the domain, got the factors digit, site, age; say which with"),
        (["label"], {"label": "digits"}, ConfigError, "did you mean 'digit'"),
        (["label"], {"label": "age"}, DataError, "listed values"),
        ([], {"lable": "digit"}, ConfigError, "did you mean 'label'"),
    ],
)
def test_what_is_wrong_is_said(needs, asked, error, said):
    with pytest.raises(error, match=said):
        in_roles(made(), needs, asked)


def test_a_label_must_be_known_of_every_item():
    with pytest.raises(DataError, match="'digit' missing for some"):
        in_roles(made(missing=True), ["label"], {})


def test_what_may_be_partly_unknown_is_minus_one_there():
    data = made(missing=True)
    known = ~torch.from_numpy(data.table(torch.arange(len(data))).column("digit")).isnan()
    seen = in_roles(data, ["label"], {}, partly=["label"]).take(torch.arange(len(data)))["label"]
    assert torch.equal(seen >= 0, known)
    assert (~known).any()
    assert "label" not in in_roles(data, [], {}, wants=["label"]).fields
    assert "label" in in_roles(data, [], {}, wants=["label"], partly=["label"]).fields
