"""`@action`: what a method can do beyond the verbs, called by `unbraid apply RUN ACTION`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints, overload

from unbraid.core.errors import ConfigError, ContractError, nearest

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__unbraid_action__"


@dataclass(frozen=True)
class Parameter:
    """One option of an action.

    Attributes:
        name: As the function calls it.
        type: The annotation, resolved.
        default: What holds where it is left out; `inspect.Parameter.empty` where it must be given.
        help: From the docstring.
    """

    name: str
    type: Any
    default: Any
    help: str

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is inspect.Parameter.empty


@dataclass(frozen=True)
class Action:
    """A typed method of a method, for the command line and the page.

    Attributes:
        name: With dashes, as on the command line.
        function: The attribute's name.
        summary: First line of the docstring.
        parameters: Its options, in order.
        changes: Whether it changes weights; its result is then kept as a new run.
    """

    name: str
    function: str
    summary: str
    parameters: tuple[Parameter, ...]
    changes: bool


@overload
def action(function: F, /) -> F: ...


@overload
def action(*, changes: bool = False, name: str = "") -> Callable[[F], F]: ...


def action(function: F | None = None, /, *, changes: bool = False, name: str = "") -> Any:
    """Offer a method of a method to users.

    Every parameter must be annotated with int, float, bool, str, Path, a Literal, tuple[str, ...], `Source` (a data
    set, by what `open_data` takes) or `Sound` (a file), any of them or None. The docstring's `Args:` become help. It
    returns `Findings`, `Sound`, `Pictures`, `Table`, a data set, or None.

    Args:
        function: The function, where the decorator is used without options.
        changes: Whether it changes weights.
        name: Its name on the command line; the function's where empty.
    """

    def mark(f: F) -> F:
        setattr(f, _MARK, (changes, name or f.__name__.replace("_", "-")))
        return f

    return mark if function is None else mark(function)


def actions(cls: type) -> Mapping[str, Action]:
    """The actions of a class, by name, inherited ones included.

    >>> class Greeter:
    ...     @action
    ...     def say(self, what: str = "hello") -> None:
    ...         '''Say it.
    ...
    ...         Args:
    ...             what: The word.
    ...         '''
    >>> actions(Greeter)["say"].parameters[0].help
    'The word.'
    """
    found = {}
    for name, function in inspect.getmembers(cls, callable):
        if hasattr(function, _MARK):
            found[getattr(function, _MARK)[1]] = _read(cls, name, function)
    return found


def find_action(cls: type, name: str) -> Action:
    """An action of a class.

    Raises:
        ConfigError: It has none of that name.
    """
    known = actions(cls)
    if name not in known:
        fix = nearest(name, known) if known else "this method has no actions"
        raise ConfigError("the name of an action", got=f"'{name}'", fix=fix)
    return known[name]


def _read(cls: type, name: str, function: Any) -> Action:
    doc = inspect.getdoc(function) or ""
    if not doc:
        raise ContractError("a docstring", got="none", where=f"action {cls.__name__}.{name}")
    hints = get_type_hints(function)
    helps = _arguments(doc)
    parameters = []
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.name not in hints:
            raise ContractError("an annotation", got="none", where=f"{cls.__name__}.{name}({parameter.name})")
        found = Parameter(parameter.name, hints[parameter.name], parameter.default, helps.get(parameter.name, ""))
        parameters.append(found)
    changes, called = getattr(function, _MARK)
    return Action(called, name, doc.splitlines()[0], tuple(parameters), changes)


def _arguments(doc: str) -> dict[str, str]:
    """Name -> text of the section `Args:` of a Google docstring."""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", doc, re.MULTILINE)
    if section is None:
        return {}
    entries = re.split(r"^ {4}(\w+)(?: \([^)]*\))?:", section[1], flags=re.MULTILINE)[1:]
    return {name: " ".join(text.split()) for name, text in zip(entries[::2], entries[1::2], strict=True)}
