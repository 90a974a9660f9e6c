import pytest

from unbraid.core.errors import ConfigError
from unbraid.core.graph import descendants, graph_of

NAMES = ("angle", "light", "length", "position")
EDGES = (("angle", "length"), ("light", "length"), ("angle", "position"))


@pytest.mark.parametrize(
    "text",
    [
        "angle -> length, light -> length, angle->position",
        "angle -> length\nlight -> length\n\nangle -> position\n",
        "angle,length\nlight,length\nangle,position",
        "cause,effect\nangle,length\nlight,length\nangle,position\n",
    ],
)
def test_the_same_graph_in_many_texts(text):
    assert graph_of(text, NAMES).edges == EDGES


def test_a_table_of_zeros_and_ones():
    table = ",angle,light,length,position\nangle,0,0,1,1\nlight,0,0,1,0\nlength,0,0,0,0\nposition,0,0,0,0"
    assert set(graph_of(table, NAMES).edges) == set(EDGES)
    assert graph_of(table, NAMES).matrix() == [[0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_what_follows_from_what():
    graph = graph_of("a -> b, b -> c, d -> c", ("c", "b", "a", "d"))
    assert graph.ordered().index("a") < graph.ordered().index("b") < graph.ordered().index("c")
    assert descendants(graph, ["a"]) == ("c", "b")
    assert descendants(graph, ["d", "b"]) == ("c",)
    assert graph_of("", NAMES).edges == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("angle -> lenght", "did you mean 'length'"),
        ("angle length", "cause -> effect"),
        ("angle -> length, length -> angle", "without cycles, got one among angle, length"),
        ("angle -> angle", "without cycles"),
    ],
)
def test_what_is_wrong_is_said(text, said):
    with pytest.raises(ConfigError, match=said):
        graph_of(text, NAMES)
