import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.interactions import Interactions, Side, by_user, hold_out, in_core
from unbraid.data.made.intents import Intents
from unbraid.data.readers.interactions import open_interactions

RATINGS = "1::0010::8::40\n1::0002::9::10\n2::0010::7::20\n2::0002::3::30\n1::0002::2::50\n3::0033::8::60\n"
MOVIES = "0002::The Bank (1915)::Comedy|Short\n0010::Fantômas (1913)::Crime|Drama\n0099::Unseen::Drama\n"


def write(folder, **files):
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content, encoding="utf-8")
    return folder


def pairs_of(data):
    """Every pair by the names of its file."""
    batch = data.take(torch.arange(len(data)))
    return {(data.users.ids[u], data.items.ids[i]) for u, i in zip(batch["user"], batch["item"], strict=True)}


def everything(path, **options):
    return pairs_of(open_interactions(path, test=0.0, **options))


# ------------------------------------------------------------------------------------------------------------- files


def test_files_of_movielens(tmp_path):
    data = open_interactions(write(tmp_path, ratings_dat=RATINGS, movies_dat=MOVIES), test=0.0)
    assert pairs_of(data) == {("1", "0010"), ("1", "0002"), ("2", "0010"), ("2", "0002"), ("3", "0033")}
    assert list(data.items.ids) == ["0002", "0010", "0033"]
    assert list(data.items.titles) == ["The Bank (1915)", "Fantômas (1913)", ""]
    genre = data.audited.table(torch.arange(6)).column("genre")
    labels = data.audited.table(torch.arange(6)).factor("genre").labels
    assert [None if np.isnan(g) else labels[int(g)] for g in genre] == [None, None, None, "Comedy", "Crime", None]
    assert data.roles == {"topic": "genre"}


def test_a_pair_counts_once_as_of_its_last_time(tmp_path):
    write(tmp_path, ratings_dat=RATINGS)
    assert ("1", "0002") not in everything(tmp_path, rating=7)
    assert ("1", "0002") in everything(tmp_path, rating=2)


def test_users_of_movielens_1m_and_titles_in_latin_1(tmp_path):
    write(tmp_path, ratings_dat=RATINGS, users_dat="1::F::25::10::48067\n2::M::56::16::70072\n")
    (tmp_path / "movies.dat").write_bytes(MOVIES.encode("latin-1"))
    data = open_interactions(tmp_path)
    assert {"gender", "age", "occupation"} <= set(data.audited.table(torch.arange(1)).names)
    assert "zip" not in data.audited.table(torch.arange(1)).names
    assert data.items.titles[1] == "Fantômas (1913)"


def test_account_numbers_are_passed_over(tmp_path):
    data = open_interactions(write(tmp_path, ratings_dat=RATINGS, users_dat="1::177651718\n2::139564917\n"))
    assert data.audited.table(torch.arange(1)).names == ("kind", "degree")


@pytest.mark.parametrize(
    "head", ["user,item,rating,timestamp", "userId,movieId,rating,timestamp", "user_id,item_id,Rating,time"]
)
def test_tables_under_any_of_the_usual_names(tmp_path, head):
    rows = RATINGS.replace("::", ",")
    write(
        tmp_path, ratings_csv=f"{head}\n{rows}", items_csv="item,title,genres,year\n0002,The Bank,Comedy|Short,1915\n"
    )
    data = open_interactions(tmp_path / "ratings.csv", rating=7, test=0.0)
    assert pairs_of(data) == {("1", "0010"), ("2", "0010"), ("3", "0033")}
    write(tmp_path, users_csv="user,site\n1,a\n2,b\n")
    names = open_interactions(tmp_path).audited.table(torch.arange(1)).names
    assert names == ("kind", "degree", "site", "genre", "year")


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"user": [1, 1, 2], "item": ["a", "b", "a"], "rating": [4.0, 5.0, 3.0], "text": ["x", None, "y"]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "interactions.parquet")
    assert everything(tmp_path, rating=4) == {("1", "a"), ("1", "b")}


def test_pairs_without_ratings_and_times(tmp_path):
    write(tmp_path, ratings_dat="a::x\na::y\nb::x\n")
    assert everything(tmp_path) == {("a", "x"), ("a", "y"), ("b", "x")}
    with pytest.raises(DataError, match=r"expected a column 'rating', which is asked for, got none; leave rating out"):
        open_interactions(tmp_path, rating=3)
    with pytest.raises(DataError, match=r"a column 'time'.*leave split out"):
        open_interactions(tmp_path, split="time")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("1::2::3::4\n1::2\n", r"row 1: expected 4 cells, separated by ::, as in the first line, got 2"),
        ("1::2::3::4::5\n", r"user::item::rating::time, or the first 2 or 3, got 5 cells"),
        ("1,2,3\n", r"got 1 cells"),
        ("1::2::good\n", r"row 0: expected a finite number as rating, got 'good'"),
        ("1::2::nan\n", r"a finite number as rating, got 'nan'"),
        ("1::::3\n", r"row 0: expected an id of each item, got an empty cell"),
        ("\n\n", r"at least one line"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, content, said):
    with pytest.raises(DataError, match=said) as error:
        open_interactions(write(tmp_path, ratings_dat=content))
    assert "\n" not in str(error.value)


def test_other_mistakes(tmp_path):
    with pytest.raises(DataError, match=r"a folder with one of ratings\.dat"):
        open_interactions(tmp_path)
    write(tmp_path, ratings_dat=RATINGS, ratings_csv="who,what\n1,2\n", notes_txt="1")
    with pytest.raises(DataError, match=r"a column 'user', got 'who, what'; call it user or user_id"):
        open_interactions(tmp_path / "ratings.csv")
    with pytest.raises(DataError, match=r"a \.csv, \.parquet or \.dat file, got 'notes\.txt'"):
        open_interactions(tmp_path / "notes.txt")
    with pytest.raises(DataError, match=r"at least one interaction, got none that is left; lower rating or core"):
        open_interactions(tmp_path / "ratings.dat", core=5)
    with pytest.raises(DataError, match=r"a share from 0 to below 1, got 1"):
        open_interactions(tmp_path / "ratings.dat", test=1.0)


def test_the_real_interactions(real_data):
    folder = real_data / "interactions" / "movietweetings-100k"
    if not folder.is_dir():
        pytest.skip("no movietweetings-100k")
    data = open_interactions(folder, rating=7, core=10)
    assert (len(data.users.ids), len(data.items.ids), len(data) + len(data.held)) == (1311, 682, 23_565)
    assert data.hash == open_interactions(folder, rating=7, core=10).hash
    assert data.hash != open_interactions(folder, rating=7, core=10, seed=1).hash


# ------------------------------------------------------------------------------------------------- cores and splits


def test_a_core_leaves_enough_of_everybody_and_takes_out_no_more():
    chance = np.random.default_rng(0)
    keys = np.unique(chance.integers(0, 40 * 30, 420))
    users, items = keys // 30, keys % 30
    left = in_core(users, items, 7)
    assert 0 < left.sum() < len(left)
    for side in (users, items):
        assert np.unique(side[left], return_counts=True)[1].min() >= 7
    slow = set(range(len(users)))
    while True:  # one pair at a time
        few = [i for i in slow if min(sum(s[j] == s[i] for j in slow) for s in (users, items)) < 7]
        if not few:
            break
        slow.remove(few[0])
    assert slow == set(np.flatnonzero(left).tolist())


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.99])
def test_of_each_user_a_share_is_held_out_but_never_all(share):
    users = np.repeat([4, 2, 9, 7], [1, 2, 10, 25])
    held = hold_out(users, share, seed=3)
    for user in (4, 2, 9, 7):
        count = (users == user).sum()
        assert held[users == user].sum() == min(int(share * count + 0.5), count - 1)
    assert (held != hold_out(users, share, seed=4)).any() == (share > 0)


def test_by_time_the_last_are_held_out():
    chance = np.random.default_rng(0)
    users, time = np.repeat([0, 1], 10), chance.permutation(20).astype(float)
    held = hold_out(users, 0.3, time=time)
    for user in (0, 1):
        assert time[held & (users == user)].min() > time[~held & (users == user)].max()


# ------------------------------------------------------------------------------------------------------ the data set


def test_batches_of_any_shape_and_the_nodes():
    train, held = torch.tensor([[1, 0], [0, 2], [1, 2], [2, 1]]), torch.tensor([[0, 1]])
    data = Interactions("four", train, held, Side.plain(4), Side.plain(3))
    batch = data.take(torch.tensor([[0, 1], [3, 2]]))
    assert batch["user"].tolist() == [[0, 1], [2, 1]]
    assert batch["item"].tolist() == [[2, 0], [1, 2]]
    assert data.ids(torch.tensor([3])) == ["2 1"]
    nodes = data.audited
    assert nodes.take(torch.tensor([[6]]))["node"].tolist() == [[6]]
    table = nodes.table(torch.arange(7))
    assert [table.factor("degree").labels[int(c)] for c in table.column("degree")] == [
        "1",
        "2-3",
        "1",
        "0",
        "1",
        "1",
        "2-3",
    ]
    assert table.column("kind").tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert nodes.ids(torch.tensor([0, 6])) == ["user 0", "item 2"]


def test_a_factor_of_both_sides_stays_two():
    from unbraid.data.factors import FactorTable

    side = Side(["a", "b"], FactorTable.from_columns({"age": ["old", "new"], "kind": ["x", "y"]}))
    data = Interactions("one", torch.tensor([[0, 1]]), torch.zeros((0, 2), dtype=torch.int64), side, side)
    assert [f.name for f in data.audited.factors] == [
        "kind",
        "degree",
        "user_age",
        "user_kind",
        "item_age",
        "item_kind",
    ]


def test_without_interactions_there_is_nothing_to_learn():
    nothing = torch.zeros((0, 2), dtype=torch.int64)
    with pytest.raises(DataError, match="at least one interaction to learn from"):
        Interactions("none", nothing, nothing, Side.plain(1), Side.plain(1))


def test_users_are_drawn_evenly_and_so_are_their_items():
    train = torch.cat([torch.tensor([[0, 0]]), torch.stack([torch.full((9,), 2), torch.arange(9)], 1)])
    data = Interactions("ten", train, train[:0], Side.plain(3), Side.plain(9))
    drawn = data.take(by_user(data, torch.zeros(20_000), torch.Generator().manual_seed(0)))
    assert (drawn["user"] == 0).double().mean() == pytest.approx(0.5, abs=0.02)
    counts = torch.bincount(drawn["item"][drawn["user"] == 2], minlength=9).double()
    torch.testing.assert_close(counts / counts.sum(), torch.full((9,), 1 / 9).double(), atol=0.02, rtol=0)
    with pytest.raises(DataError, match="interactions of users with items, got Side"):
        by_user(Side.plain(1), torch.zeros(1), torch.Generator())


# ------------------------------------------------------------------------------------------------------ the made world


def test_in_the_made_world_users_take_what_serves_their_intents():
    world = Intents(users=200, items=160, intents=8)
    intent = torch.from_numpy(world.items.table.column("intent")).long()
    batch = world.take(torch.arange(len(world)))
    of_pair, astray = intent[batch["item"]], world.noise
    for user in range(200):
        mine = of_pair[(batch["user"] == user) & ~astray].unique()
        held = intent[world.held[world.held[:, 0] == user, 1]].unique()
        both = torch.cat([mine, held]).unique()
        assert len(both) <= 2
        assert not torch.isin(of_pair[(batch["user"] == user) & astray], both).any()
    assert len(world) == 200 * 11
    assert len(world.held) == 200 * 6
    assert 0.15 < astray.double().mean() < 0.27
    assert torch.equal(batch["factors"][:, 0] > 0, astray)


def test_in_the_made_world_nothing_is_held_out_that_was_taken():
    world = Intents(users=100, items=80, intents=4)
    batch = world.take(torch.arange(len(world)))
    keys = [pairs[:, 0] * 80 + pairs[:, 1] for pairs in (torch.stack([batch["user"], batch["item"]], 1), world.held)]
    assert len(torch.cat(keys).unique()) == len(world) + len(world.held)


def test_popular_items_are_taken_more_often_and_held_out_as_often():
    world = Intents()
    taken, held = (torch.bincount(x, minlength=400).double() for x in (world._pairs[:, 1], world.held[:, 1]))
    assert taken.std() > 1.5 * taken.mean().sqrt()
    assert torch.corrcoef(torch.stack([taken, held]))[0, 1] > 0.7


def test_made_worlds_differ_by_their_seed():
    assert Intents(seed=1).hash == Intents(seed=1).hash != Intents(seed=2).hash


def test_worlds_too_small_are_refused():
    with pytest.raises(
        DataError, match="3 intents or more, and 4 items or more for each, got 5 users, 9 items, 8 intents"
    ):
        Intents(users=5, items=9)
