"""Trajectories as data: windows, padding, and the files they come from."""

import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.core.fields import Fields
from unbraid.data.catalog import kinds, open_data
from unbraid.data.environment import Episodes
from unbraid.data.trajectories import Trajectories, past_of

LENGTHS = (3, 1, 5)


def made(past=2, future=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    n = sum(LENGTHS)
    offsets = torch.tensor([0, *np.cumsum(LENGTHS)])
    done = torch.zeros(n).bool()
    done[offsets[1:] - 1] = True
    state, action, reward = (torch.randn(n, *s, generator=g) for s in ((4,), (2,), ()))
    return Trajectories("made", Episodes(state, action, reward, done, offsets, {}), past, future)


def test_every_window_is_cut_from_its_own_episode():
    data = made()
    batch, episodes = data.take(torch.arange(len(data))), data.episodes
    for i in range(len(data)):
        e = int(episodes.episode[i])
        first, end = int(episodes.offsets[e]), int(episodes.offsets[e + 1])
        for k, step in enumerate(range(i - 1, i + 4)):
            inside = first <= step < end
            assert bool(batch["valid"][i, k]) == inside
            for name, column in (("state", episodes.state), ("action", episodes.action), ("reward", episodes.reward)):
                expected = column[step] if inside else torch.zeros_like(column[0])
                assert torch.equal(batch[name][i, k], expected)
            togo = episodes.reward[step:end].sum() if inside else torch.tensor(0.0)
            torch.testing.assert_close(batch["togo"][i, k], togo)
            assert int(batch["time"][i, k]) == (step - first if inside else 0)
            assert bool(batch["done"][i, k]) == (inside and step == end - 1)
        assert int(batch["length"][i]) == min(i - first + 1, 2)


def test_indices_of_any_shape_come_back_in_front():
    data = made()
    batch = data.take(torch.tensor([[0, 1, 2], [3, 4, 8]]))
    for name, field in data.fields.items():
        assert batch[name].shape == (2, 3, *field.shape), name
    assert torch.equal(batch["state"][1, 2], data.take(torch.tensor([8]))["state"][0])


def test_the_present_is_where_the_fields_say():
    data = made(past=4)
    assert past_of(data.fields) == 4
    now = data.take(torch.arange(len(data)))
    assert torch.equal(now["state"][:, 3], data.episodes.state)
    assert now["valid"][:, 3].all()
    with pytest.raises(DataError, match="where the present is"):
        past_of(Fields(**{**data.fields, "length": data.fields["done"]}))


def test_factors_are_told_from_the_steps():
    data = open_data("gamble-chain:length=2,episodes=7")
    table = data.table(torch.arange(14))
    assert table.names == ("action", "state", "reward", "return_to_go", "luck")
    assert table.column("state").tolist() == [0, 1] * 7
    np.testing.assert_allclose(table.column("return_to_go")[1::2], table.column("reward")[1::2])
    assert data.ids(torch.tensor([0, 3])) == ["0:0", "1:1"]


def write(folder, kind):
    state = np.arange(24, dtype=np.float64).reshape(8, 3)
    action, reward = np.array([0, 1, 1, 0, 1, 0, 0, 1]), np.arange(8.0)
    ends = np.isin(np.arange(8), (2, 7))
    plain = {"observations": state, "actions": action, "rewards": reward}
    marks = {
        "terminals": {"terminals": ends},
        "timeouts": {"terminals": np.arange(8) == 2, "timeouts": np.arange(8) == 7},
        "offsets": {"offsets": np.array([0, 3, 8])},
        "starts": {"offsets": np.array([0, 3])},
        "episode": {"episode": np.array([7, 7, 7, 9, 9, 9, 9, 9])},
    }
    if kind in marks:
        np.savez(folder / "a.npz", **plain, **marks[kind])
    elif kind == "padded":
        valid = np.arange(5) < np.array([[3], [5]])
        padded = {name: np.zeros((2, 5, *column.shape[1:]), column.dtype) for name, column in plain.items()}
        for name, column in plain.items():
            padded[name][valid] = column
        np.savez(folder / "a.npz", **padded, valid=valid)
    else:
        rows = [
            ",".join(map(str, ("one" if i < 3 else "two", *state[i], action[i], reward[i], int(ends[i]))))
            for i in range(8)
        ]
        text = "\n".join(["episode,state_0,state_1,state_2,action,reward,done", *rows])
        (folder / "a.csv").write_text(text + "\n")
        if kind == "parquet":
            pandas = pytest.importorskip("pandas")
            pandas.read_csv(folder / "a.csv").to_parquet(folder / "a.parquet")
    return folder / {"csv": "a.csv", "parquet": "a.parquet"}.get(kind, "a.npz")


@pytest.mark.parametrize("kind", ["terminals", "timeouts", "offsets", "starts", "episode", "padded", "csv", "parquet"])
def test_every_layout_gives_the_same_trajectories(kind, tmp_path):
    data = open_data(f"trajectories:{write(tmp_path, kind)},past=2,future=1")
    assert data.episodes.offsets.tolist() == [0, 3, 8]
    assert torch.equal(data.episodes.state, torch.arange(24.0).reshape(8, 3))
    assert data.episodes.action.tolist() == [0, 1, 1, 0, 1, 0, 0, 1]
    assert data.episodes.returns.tolist() == [3, 25]
    assert data.fields["action"].classes == 2
    assert data.fields["state"].classes is None
    done = {"terminals": [2, 7], "timeouts": [2], "csv": [2, 7], "parquet": [2, 7]}.get(kind, [])
    assert data.episodes.done.nonzero()[:, 0].tolist() == done


def test_factors_of_a_table_are_kept(tmp_path):
    (tmp_path / "a.csv").write_text("episode,state,action,reward,factor:site\n1,0,0,1,x\n1,2,1,0,y\n")
    data = open_data(f"trajectories:{tmp_path / 'a.csv'}")
    assert [f.name for f in data.factors] == ["action", "state", "reward", "return_to_go", "site"]
    assert data.fields["state"].classes == 3


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"actions": np.zeros(3), "rewards": np.zeros(3)}, "an array 'observations'"),
        ({"observations": np.zeros(3), "actions": np.zeros(3), "rewards": np.zeros(3)}, "where episodes end"),
        ({"observations": np.zeros((3, 2)), "actions": np.zeros(2), "rewards": np.zeros(3)}, "of as many steps"),
        ({"observations": np.full((2, 2), np.nan), "actions": np.zeros(2), "rewards": np.zeros(2)}, "finite numbers"),
        ({"observations": np.zeros((2, 2)), "actions": np.array(["a", "b"]), "rewards": np.zeros(2)}, "real numbers"),
        ({"observations": np.zeros(2), "actions": np.zeros(2), "rewards": np.zeros(2), "offsets": [0, 2, 1]}, "rising"),
        ({"observations": np.zeros(2), "actions": np.zeros(2), "rewards": np.zeros(2), "episode": [1]}, "one a step"),
    ],
)
def test_what_is_no_trajectory_is_refused_in_one_line(arrays, said, tmp_path):
    marks = {} if {"offsets", "episode"} & set(arrays) or said == "where episodes end" else {"terminals": np.ones(2)}
    np.savez(tmp_path / "a.npz", **arrays, **marks)
    with pytest.raises(DataError, match=said) as caught:
        open_data(f"trajectories:{tmp_path / 'a.npz'}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "state,action,reward\n0,1,2\n", "a column 'episode'"),
        ("a.csv", "episode,action,reward\n0,1,2\n", "a column 'state'"),
        ("a.txt", "episode\n", "a file .npz, .csv or .parquet"),
    ],
)
def test_tables_that_are_no_trajectories_are_refused(name, content, said, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=said):
        open_data(f"trajectories:{tmp_path / name}")


def test_the_kind_is_listed_with_its_options():
    [listed] = [kind for kind in kinds() if kind.name == "trajectories"]
    assert set(listed.options) == {"past", "future"}
