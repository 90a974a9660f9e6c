import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unbraid.ops.allotment import Allotment

PUBLISHED = (50, 100, 300, 500, 1000), (10, 25, 327, 100, 50)


def test_the_published_map():
    ends = Allotment.staged(1000, 64, *PUBLISHED).ends
    assert ends[:7] == (2, 4, 6, 10, 18, 26, 35)
    assert ends[7:20] == (*range(60, 336, 25), 362)
    assert ends[20:33] == (*range(370, 451, 8), 462, 463)
    assert ends[-2:] == (493, 512)


@given(st.integers(1, 60), st.integers(1, 40), st.integers(0, 30))
def test_numbers_are_shared_out_among_rising_groups(steps, groups, more):
    groups = min(groups, steps)
    found = Allotment.balanced(steps, groups, groups + more)
    assert found.group[0] == 0
    assert found.group[-1] == groups - 1
    assert (found.group.diff() >= 0).all()
    assert torch.equal(found.until, found.before + found.own)
    assert torch.equal(found.own.sum(0), torch.ones(groups + more))
    assert torch.equal(found.until[-1], torch.ones(groups + more))
    assert sum(found.widths) == groups + more


def test_one_group_sees_everything():
    one = Allotment.balanced(100, 1, 16)
    assert torch.equal(one.until, torch.ones(1, 16))
    assert torch.equal(one.own, torch.ones(1, 16))
    assert not one.before.any()


@pytest.mark.parametrize(
    ("bounds", "widths", "ends"), [((5, 10), (3, 7), (1, 3, 6, 10)), ((2, 10), (3, 7), (3, 5, 7, 10))]
)
def test_a_group_belongs_to_the_stage_of_its_first_step(bounds, widths, ends):
    assert Allotment.staged(10, 4, bounds, widths).ends == ends
