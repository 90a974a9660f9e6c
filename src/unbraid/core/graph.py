"""Causal graphs of named variables, from text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unbraid.core.errors import ConfigError, nearest


@dataclass(frozen=True)
class Graph:
    """A directed graph without cycles.

    Attributes:
        names: The variables, in the order of the parts.
        edges: (cause, effect).

    >>> graph = graph_of("angle -> length, light -> length", ("angle", "light", "length"))
    >>> graph.parents("length"), graph.children("angle"), graph.ordered()
    (('angle', 'light'), ('length',), ('angle', 'light', 'length'))
    """

    names: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]

    def parents(self, name: str) -> tuple[str, ...]:
        """The causes of a variable."""
        return tuple(a for a, b in self.edges if b == name)

    def children(self, name: str) -> tuple[str, ...]:
        """The effects of a variable."""
        return tuple(b for a, b in self.edges if a == name)

    def ordered(self) -> tuple[str, ...]:
        """The variables, causes before effects.

        Raises:
            ConfigError: There is a cycle.
        """
        done: list[str] = []
        while left := [n for n in self.names if n not in done]:
            ready = [n for n in left if all(p in done for p in self.parents(n))]
            if not ready:
                raise ConfigError("a graph without cycles", got=f"one among {', '.join(left)}", where="graph")
            done += ready
        return tuple(done)

    def matrix(self) -> list[list[float]]:
        """A[i][j] is 1 where variable i causes variable j."""
        return [[float((a, b) in self.edges) for b in self.names] for a in self.names]


def graph_of(text: str, names: Sequence[str]) -> Graph:
    r"""A graph from edges, or from a CSV table.

    - `angle -> length, light -> length`: edges, separated by commas or lines.
    - Lines `cause,effect`, under such a heading or none.
    - A square table of 0 and 1, a row for each cause and a column for each effect, the names as its heading.

    Args:
        text: The graph; empty for no edges.
        names: The variables that there are.

    Raises:
        ConfigError: A name is unknown, an edge is no edge, or there is a cycle.

    >>> graph_of("a,b\n0,1\n0,0", ("a", "b")).edges
    (('a', 'b'),)
    """
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    table = _table(lines)
    pairs = table if table is not None else [_edge(t) for line in lines for t in _edges_in(line)]
    for name in (n for pair in pairs for n in pair):
        if name not in names:
            raise ConfigError("the name of a variable", got=f"'{name}'", fix=nearest(name, names), where="graph")
    graph = Graph(tuple(names), tuple(dict.fromkeys(pairs)))
    graph.ordered()
    return graph


def _edges_in(line: str) -> list[str]:
    return [t.strip() for t in line.split(",") if t.strip()] if "->" in line else [line]


def _edge(text: str) -> tuple[str, str]:
    ends = [end.strip() for end in re.split(r"->|[,;\t]", text)]
    if len(ends) != 2 or not all(ends):
        raise ConfigError("cause -> effect", got=f"'{text[:60]}'", where="graph")
    return ends[0], ends[1]


def _table(lines: Sequence[str]) -> list[tuple[str, str]] | None:
    """The edges of a table of 0 and 1 or of a list under a heading; None where it is neither."""
    cells = [[cell.strip() for cell in re.split(r"[,;\t]", line)] for line in lines]
    if cells and cells[0] in (["cause", "effect"], ["parent", "child"], ["source", "target"]):
        return [_edge(",".join(row)) for row in cells[1:]]
    if len(cells) < 2 or any("->" in line for line in lines):
        return None
    names = [cell for cell in cells[0] if cell]
    rows = [row[-len(names) :] for row in cells[1:]]
    if len(rows) != len(names) or any(len(row) != len(names) or {*row} - {"0", "1"} for row in rows):
        return None
    return [(names[i], names[j]) for i, row in enumerate(rows) for j, cell in enumerate(row) if cell == "1"]


def descendants(graph: Graph, names: Mapping[str, object] | Sequence[str]) -> tuple[str, ...]:
    """The variables that follow from any of some, these left out."""
    found: set[str] = set()
    for name in graph.ordered():
        if any(p in names or p in found for p in graph.parents(name)):
            found.add(name)
    return tuple(n for n in graph.names if n in found and n not in names)
