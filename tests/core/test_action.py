from pathlib import Path
from typing import Literal

import pytest

from unbraid.core.action import action, actions, find_action
from unbraid.core.errors import ConfigError, ContractError
from unbraid.core.outcome import Table


class Base:
    @action
    def read_out(self, where: Path, kind: Literal["a", "b"] = "a", often: int = 2) -> None:
        """Read it out.

        Longer.

        Args:
            where: A file
                of two lines.
            kind: Which.

        Returns:
            Nothing.
        """


class Derived(Base):
    @action(changes=True)
    def forget(self) -> None:
        """Forget it."""

    def hidden(self) -> None:
        """No action."""


def test_actions_are_read_from_signature_and_docstring():
    known = actions(Derived)
    assert list(known) == ["forget", "read-out"]
    assert known["forget"].changes
    read = known["read-out"]
    assert (read.summary, read.changes) == ("Read it out.", False)
    assert [(p.name, p.help, p.required) for p in read.parameters] == [
        ("where", "A file of two lines.", True),
        ("kind", "Which.", False),
        ("often", "", False),
    ]


def test_what_cannot_be_offered_is_refused():
    class Silent:
        @action
        def act(self) -> None:
            pass

    class Bare:
        @action
        def act(self, what) -> None:
            """Act."""

    with pytest.raises(ContractError, match="a docstring"):
        actions(Silent)
    with pytest.raises(ContractError, match="an annotation"):
        actions(Bare)
    with pytest.raises(ConfigError, match="did you mean 'forget'"):
        find_action(Derived, "forgett")
    with pytest.raises(ConfigError, match="no actions"):
        find_action(object, "x")


def test_a_table_has_columns_of_one_length():
    with pytest.raises(ContractError, match="equal length"):
        Table({"a": [1], "b": [1, 2]})
