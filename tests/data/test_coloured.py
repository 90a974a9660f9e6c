import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.catalog import open_data
from unbraid.data.made.coloured import coloured_digits, coloured_mnist
from unbraid.data.made.noisy import noisy_digits
from unbraid.data.origin import held_out_of, origin_of
from unbraid.data.wrapped import Subset, in_roles


def write_mnist(folder, n):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(1, 256, (n, 28, 28), dtype=np.uint8), rng.integers(0, 10, n, dtype=np.uint8)
    for name, array, magic in (("images-idx3", images, 0x803), ("labels-idx1", labels, 0x801)):
        header = np.array([magic, *array.shape], dtype=">i4").tobytes()
        (folder / f"t10k-{name}-ubyte").write_bytes(header + array.tobytes())


def rows(data):
    return data.table(torch.arange(len(data)))


def shares(data):
    table = rows(data)
    label, colour, digit = (table.column(n) for n in ("class", "colour", "digit"))
    return float((label == colour).mean()), float((label == (digit >= 5)).mean())


def test_the_colour_goes_with_the_class_in_training_and_against_it_in_the_test():
    with_label, right = shares(coloured_digits("train", bias=0.9, noise=0.1))
    assert with_label == pytest.approx(0.9, abs=0.04)
    assert right == pytest.approx(0.9, abs=0.04)
    with_label, right = shares(coloured_digits("test", rho=0.2))
    assert with_label == pytest.approx(0.2, abs=0.04)
    assert right == 1.0


def test_the_digit_stands_in_the_channel_of_its_colour():
    data = coloured_digits()
    x = data.take(torch.arange(40))["x"]
    green = torch.from_numpy(rows(data).column("colour")[:40]).bool()
    assert (x[~green][:, 1:] == 0).all()
    assert (x[green][:, [0, 2]] == 0).all()
    assert (x.flatten(1).amax(1) > 0.5).all()


def test_training_and_test_share_no_digit_and_the_seed_says_which():
    test = coloured_digits(seed=4)
    grey = [d.take(torch.arange(len(d)))["x"].sum(1).flatten(1) for d in (test, test.origin)]
    together = torch.cat(grey).unique(dim=0)
    assert len(together) >= 1797 - 2  # scikit-learn's set itself may hold an image twice
    assert coloured_digits(seed=4).hash == test.hash != coloured_digits(seed=5).hash


def test_the_origin_is_found_through_wrappers_and_in_the_same_roles():
    shifted = Subset(in_roles(coloured_digits(), ["label"], {}), torch.arange(9))
    origin = origin_of(shifted, ["domain"])
    assert origin.fields["label"].classes == 2
    assert origin.fields["domain"].classes == 2
    assert len(origin) == 898
    assert origin_of(open_data("digits")) is None


def test_mnist_is_coloured_as_published(tmp_path):
    write_mnist(tmp_path, 9000)
    train, test = (coloured_mnist(split, tmp_path) for split in ("train", "test"))
    assert (len(train), len(test)) == (6000, 3000)
    table = rows(train)
    against = table.column("class") != table.column("colour")
    assert against[:3000].mean() == pytest.approx(0.2, abs=0.03)
    assert against[3000:].mean() == pytest.approx(0.1, abs=0.03)
    assert shares(train)[1] == pytest.approx(0.75, abs=0.03)
    assert shares(test) == (pytest.approx(0.1, abs=0.03), 1.0)
    assert test.fields["x"].shape == (3, 28, 28)


def test_what_is_wrong_is_said_in_one_line(tmp_path):
    with pytest.raises(DataError, match="rho"):
        open_data("coloured-digits:rho=1.5")
    with pytest.raises(DataError, match="UNBRAID_DATA"):
        open_data(f"coloured-mnist:folder={tmp_path}")
    with pytest.raises(DataError, match="rate"):
        open_data("noisy-digits:rate=-1")
    with pytest.raises(DataError, match="split"):
        open_data("digits:split=half")


def test_wrong_labels_lie_among_the_low_digits_and_are_never_right_nor_nine():
    data = noisy_digits(rate=0.6)
    table = rows(data)
    given, digit, wrong = (table.column(n) for n in ("given", "digit", "wrong"))
    assert np.array_equal(wrong == 1, given != digit)
    assert wrong[digit >= 5].sum() == 0
    assert wrong[digit < 5].mean() == pytest.approx(0.6, abs=0.05)
    assert set(given[wrong == 1]) <= set(range(9))
    held = held_out_of(in_roles(data, ["label"], {}))
    assert rows(held).column("wrong").sum() == 0
    assert held.fields["label"].classes == 10


def test_digits_for_training_name_those_for_testing():
    train = open_data("digits:split=train")
    assert len(train) + len(held_out_of(train)) == len(open_data("digits")) == 1797
    assert held_out_of(open_data("digits")) is None


def test_welcome_roles_are_taken_where_a_factor_can_take_them_and_left_out_where_none_can():
    assert {"label", "domain"} <= set(in_roles(coloured_digits(), ["x"], {}, ["label", "domain"]).fields)
    digits = in_roles(open_data("digits"), ["x"], {}, ["label", "domain"]).fields
    assert "label" in digits
    assert "domain" not in digits
    assert "label" not in in_roles(open_data("sprites"), ["x"], {}, ["domain"]).fields
