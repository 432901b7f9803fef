"""Commands that are imported when they are called: a cheap one does not pay for what the others need.

The list of commands imports none of them. What it says of each stands in a table, which a test holds to what the
command says of itself.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

_STYLE: Final[dict[str, Any]] = {"add_completion": False, "rich_markup_mode": None}


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A command, or a group of them, in a module that is not imported yet.

    Attributes:
        place: ``module:name`` of the function, or of the ``Typer``.
        help: its first sentence.
    """

    place: str
    help: str

    def command(self, name: str) -> Any:
        """It, imported."""
        module, _, attribute = self.place.partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            return get_group(found)
        alone = typer.Typer(**_STYLE)
        alone.command(name)(found)
        return get_command(alone)


class LazyGroup(TyperGroup):
    """A group whose commands are elsewhere. Typer makes it, so that what it holds is its class's."""

    elsewhere: ClassVar[Mapping[str, Elsewhere]]

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = _Commands(self.elsewhere, self.commands)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Their names, without importing any."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Lists them, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._help(name)) for name in self.commands])

    def _help(self, name: str) -> str:
        there = self.elsewhere.get(name)
        return there.help if there is not None else self.commands[name].get_short_help_str(1000)


class _Commands(MutableMapping[str, Any]):
    """Commands by their names; one is imported when it is asked for."""

    def __init__(self, elsewhere: Mapping[str, Elsewhere], here: Mapping[str, Any]) -> None:
        self._elsewhere = elsewhere
        self._here = dict(here)
        self._names = dict.fromkeys((*here, *elsewhere))

    def __getitem__(self, name: str) -> Any:
        if name not in self._here:
            self._here[name] = self._elsewhere[name].command(name)
        return self._here[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._here[name] = command
        self._names[name] = None

    def __delitem__(self, name: str) -> None:
        del self._names[name]
        self._here.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
