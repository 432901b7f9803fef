"""A configured statement: its parameters by name, and its text as each driver wants it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Text, bindparam, text
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.dialects.sqlite import dialect as sqlite

from hub.errors import Unresolved
from hub.questions import FINE, Reply

_RESULT: Final = "_result"  # no variable may have these names
_TEXT: Final = "_text"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with ``:names``, compiled.

    Attributes:
        names: its parameters, each once, in the order of ``postgresql``'s numbers.
        postgresql: with ``$1``, each cast to text.
        sqlite: with ``:name``.
    """

    names: tuple[str, ...]
    postgresql: str
    sqlite: str


def compiled(statement: str) -> Statement:
    """By SQLAlchemy's rules: ``:name`` is a parameter, ``::`` a cast; a colon that is neither has a backslash."""
    clause = text(statement.strip().rstrip(";"))
    names = list(clause._bindparams)  # noqa: SLF001  there is no public list of them
    clause = clause.bindparams(*(bindparam(name, type_=Text()) for name in names))
    numbered = clause.compile(dialect=asyncpg.dialect())  # type: ignore[no-untyped-call]
    named = clause.compile(dialect=sqlite(paramstyle="named"))
    return Statement(tuple(numbered.positiontup or ()), str(numbered), str(named))


def reply(row: Mapping[str, Any] | None) -> Reply:
    """A row as a reply: each column a variable, but ``_result`` and ``_text``; NULL is left out.

    Raises:
        Unresolved: ``none``: there is no row; ``invalid``: a value is neither text nor number, truth or time.
    """
    if row is None:
        raise Unresolved("none", "the statement gives no row")
    told = {name: _told(name, value) for name, value in row.items() if value is not None}
    return Reply(
        {name: value for name, value in told.items() if name not in {_RESULT, _TEXT}},
        told.get(_RESULT, FINE),
        told.get(_TEXT, ""),
    )


def _told(name: str, value: Any) -> str:
    match value:
        case str():
            return value
        case bool():
            return "1" if value else "0"
        case int() | float() | Decimal() | UUID():
            return str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case _:
            raise Unresolved("invalid", f"the column {name[:40]!r} is of a type that has no text; cast it to one")
