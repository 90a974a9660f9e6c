import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from unbraid.core.errors import DataError
from unbraid.data.catalog import open_data
from unbraid.data.loader import batches
from unbraid.data.made.discs import Discs


@pytest.fixture
def folder(tmp_path):
    for i in range(12):
        Image.fromarray(np.full((16, 16), i * 20, dtype=np.uint8)).save(tmp_path / f"{i:02}.png")
    return tmp_path


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_order_and_are_those_in_memory(folder, workers):
    slow, fast = open_data(str(folder), size=16, memory=0), open_data(str(folder), size=16)
    assert (slow.slow, fast.slow) == (True, False)
    assert slow.fields == fast.fields
    wanted = [torch.randint(12, (2, 3)) for _ in range(7)]
    state = torch.get_rng_state()
    got = list(batches(slow, wanted, workers=workers))
    assert state.equal(torch.get_rng_state())
    assert len(got) == 7
    for indices, (index, batch), (_, expected) in zip(wanted, got, batches(fast, wanted), strict=True):
        assert index.equal(indices)
        assert batch["x"].equal(expected["x"])


def test_an_endless_order_is_fine(folder):
    slow = open_data(str(folder), size=16, memory=0)
    for data in (slow, Discs()):
        endless = (torch.tensor([i % 12]) for i in itertools.count())
        first = [int(index) for index, _ in itertools.islice(batches(data, endless), 5)]
        assert first == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_keeps_its_one_line(folder, workers):
    data = open_data(str(folder), size=16, memory=0)
    (folder / "05.png").write_bytes((folder / "05.png").read_bytes()[:40])
    with pytest.raises(DataError) as caught:
        list(batches(data, [torch.tensor([4]), torch.tensor([5])], workers=workers))
    assert str(caught.value).startswith(f"{folder / '05.png'}: expected a readable image")
    assert "\n" not in str(caught.value)
    data.take(torch.tensor([0]))


def test_the_hash_of_a_slow_set_tells_its_files(folder):
    before = open_data(str(folder), size=16, memory=0).hash
    assert before == open_data(str(folder), size=16, memory=0).hash
    Image.fromarray(np.zeros((16, 16), dtype=np.uint8)).save(folder / "99.png")
    assert before != open_data(str(folder), size=16, memory=0).hash
