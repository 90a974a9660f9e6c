import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.catalog import open_data
from unbraid.data.wrapped import in_roles


def everything(data):
    return data.take(torch.arange(len(data)))["x"]


def column(data, name):
    table = data.table(torch.arange(len(data)))
    factor = table.factor(name)
    return [factor.labels[int(v)] if factor.size else v for v in table.column(name)]


def write(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")


def test_a_folder_of_tables_becomes_windows(tmp_path):
    for user in ("ann", "bob"):
        rows = [(t, t + 100 * (user == "bob"), -t, "walk" if t < 7 else "sit") for t in range(12)]
        write(tmp_path / f"{user}_1.csv", "time,x,y,activity", rows)
    data = open_data(f"series:{tmp_path},window=4,step=2,pattern={{user}}_{{take}}")
    assert data.fields["x"].shape == (2, 4)
    assert [w.tolist() for w in everything(data)[:4, 0]] == [
        [0, 1, 2, 3],
        [2, 3, 4, 5],
        [7, 8, 9, 10],
        [100, 101, 102, 103],
    ]
    assert torch.equal(everything(data)[:3, 1], -everything(data)[:3, 0])
    assert column(data, "activity") == ["walk", "walk", "sit"] * 2
    assert column(data, "user") == ["ann"] * 3 + ["bob"] * 3
    assert data.ids(torch.arange(2)) == ["ann_1@0", "ann_1@2"]
    assert data.roles == {"label": "activity", "group": "user"}
    assert in_roles(data, ["x", "label", "group"], {}).fields["group"].classes == 2


def test_one_table_of_several_recordings_in_any_order_of_rows(tmp_path):
    write(tmp_path / "all.csv", "id,time,v", [(i, t, 10 * i + t) for t in range(4) for i in (1, 2)])
    data = open_data(f"series:{tmp_path / 'all.csv'},window=4")
    assert everything(data)[:, 0].tolist() == [[10, 11, 12, 13], [20, 21, 22, 23]]
    assert data.ids(torch.arange(2)) == ["1", "2"]
    again = open_data(f"series:{tmp_path / 'all.csv'},window=2,step=1")
    assert len(again) == 6
    assert again.roles["group"] == "series"


def test_a_table_of_single_values(tmp_path):
    rows = [("a", t, c, t + 10 * (c == "q")) for c in ("p", "q") for t in range(3)]
    write(tmp_path / "long.csv", "id,time,channel,value", rows)
    data = open_data(f"series:{tmp_path / 'long.csv'},window=3")
    assert everything(data).tolist() == [[[0, 1, 2], [10, 11, 12]]]
    only = open_data(f"series:{tmp_path / 'long.csv'},window=3,channels=q")
    assert everything(only).tolist() == [[[10, 11, 12]]]


def test_missing_values_are_one_line_or_seen_to(tmp_path):
    write(tmp_path / "a.csv", "x,y", [(0, 1), ("", 2), (3, 3), (4, "nan"), (5, 5), (6, 6)])
    spec = f"series:{tmp_path / 'a.csv'},window=2,step=2"
    with pytest.raises(DataError, match=r"row 1 .*column 'x': expected a number, got an empty cell"):
        open_data(spec)
    held = everything(open_data(f"{spec},gaps=hold"))
    assert held.tolist() == [[[0, 0], [1, 2]], [[3, 4], [3, 3]], [[5, 6], [5, 6]]]
    dropped = open_data(f"{spec},gaps=drop")
    assert everything(dropped).tolist() == [[[5, 6], [5, 6]]]
    assert dropped.notes == ("2 windows have missing values and were left out.",)


def test_what_is_too_short_is_left_out_and_said(tmp_path):
    for name, steps in (("a", 5), ("b", 3)):
        write(tmp_path / f"{name}.csv", "x", [(t,) for t in range(steps)])
    data = open_data(f"series:{tmp_path},window=4")
    assert len(data) == 1
    assert data.notes == ("1 stretches are shorter than a window and were left out.",)
    with pytest.raises(DataError, match="got 5 at most; ask for fewer, such as window=5"):
        open_data(f"series:{tmp_path}")


def test_channels_lie_where_they_are_fewer_unless_it_is_said(tmp_path):
    x = np.arange(2 * 3 * 5.0).reshape(2, 3, 5)
    np.savez(tmp_path / "first.npz", x=x, activity=np.array(["a", "b"]))
    np.savez(tmp_path / "last.npz", x=x.swapaxes(1, 2))
    one, two = (open_data(f"series:{tmp_path / n}.npz") for n in ("first", "last"))
    assert one.fields["x"].shape == two.fields["x"].shape == (3, 5)
    assert torch.equal(everything(one), everything(two))
    assert column(one, "activity") == ["a", "b"]
    assert open_data(f"series:{tmp_path / 'first.npz'},layout=last").fields["x"].shape == (5, 3)
    windows = open_data(f"series:{tmp_path / 'first.npz'},window=2,step=3,channels=2+0")
    assert everything(windows)[1].tolist() == [[13, 14], [3, 4]]
    assert column(windows, "activity") == ["a", "a", "b", "b"]
    np.save(tmp_path / "square.npy", np.zeros((2, 4, 4)))
    with pytest.raises(DataError, match="layout=first or layout=last"):
        open_data(f"series:{tmp_path / 'square.npy'}")


def inertial(folder, channels=("acc_x", "acc_y")):
    rng = np.random.default_rng(0)
    for split, rows in (("train", 4), ("test", 2)):
        for channel in channels:
            place = folder / split / "Inertial Signals"
            place.mkdir(parents=True, exist_ok=True)
            np.savetxt(place / f"{channel}_{split}.txt", rng.normal(size=(rows, 8)))
        np.savetxt(folder / split / f"y_{split}.txt", np.arange(rows) % 2 + 1, fmt="%d")
        np.savetxt(folder / split / f"subject_{split}.txt", np.arange(rows) // 2 + 3 * (split == "test"), fmt="%d")
    (folder / "activity_labels.txt").write_text("1 WALKING\n2 LAYING\n")


def test_inertial_signals(tmp_path):
    inertial(tmp_path)
    data = open_data(f"series:{tmp_path}")
    assert (len(data), data.fields["x"].shape) == (6, (2, 8))
    assert column(data, "activity") == ["walking", "laying"] * 3
    assert column(data, "subject") == ["3", "3", "0", "0", "1", "1"]
    assert column(data, "split") == ["test"] * 2 + ["train"] * 4
    assert data.roles == {"label": "activity", "group": "subject"}
    wanted = np.loadtxt(tmp_path / "train" / "Inertial Signals" / "acc_y_train.txt")
    torch.testing.assert_close(everything(data)[2:, 1], torch.from_numpy(wanted).float())


def test_factors_of_recordings_come_from_a_file(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "r" / f"{name}.csv", "x", [(t,) for t in range(4)])
    write(tmp_path / "f.csv", "id,user", [("b", "bob"), ("a", "ann")])
    data = open_data(f"series:{tmp_path / 'r'},window=2", factors=tmp_path / "f.csv")
    assert column(data, "user")[0] == "ann"
    assert column(data, "user")[-1] == "bob"
    assert data.roles["group"] == "user"


@pytest.mark.parametrize(
    ("files", "spec", "said"),
    [
        ({}, "", "a folder with .csv"),
        ({"a.csv": "x\n1\n", "b.csv": "y\n1\n"}, ",window=1", "the channels x"),
        ({"a.csv": "time,x\n2,1\n1,1\n"}, ",window=1", "times that do not run backwards"),
        ({"a.csv": "x,note\n1,hello\n2,you\n"}, ",window=1", "a number"),
        ({"a.csv": "x\n1\n2\n"}, ",window=1,channels=z", "the channels z"),
        ({"a.csv": "activity\nwalk\n"}, ",window=1", "a column of numbers"),
        ({"a.csv": "x\n1\n2\n"}, ",window=0", "1 or more"),
        ({"a.csv": "x\n1\n2\n"}, ",gaps=guess", "one of refuse, hold, drop"),
        ({"a.csv": "id,channel,value\n1,x,1\n"}, ",window=1", "a column time"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, files, spec, said):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(DataError, match=said) as error:
        open_data(f"series:{folder}{spec}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", ["labels", "shape", "text", "channels"])
def test_damaged_inertial_signals_are_one_line(tmp_path, damage):
    inertial(tmp_path)
    place = tmp_path / "train" / "Inertial Signals" / "acc_y_train.txt"
    if damage == "labels":
        (tmp_path / "train" / "y_train.txt").write_text("1\n2\n")
    elif damage == "shape":
        np.savetxt(place, np.zeros((4, 7)))
    elif damage == "text":
        place.write_text("1 2\nthree 4\n")
    else:
        place.unlink()
    with pytest.raises(DataError) as error:
        open_data(f"series:{tmp_path}")
    assert "\n" not in str(error.value)
