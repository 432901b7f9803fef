"""Many rows in one statement, and the few other things that PostgreSQL and SQLite say differently."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, FromClause, Table, bindparam, column, func, literal_column, select, text, true
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from hub.store.failures import bad_data
from hub.store.tables import events, microseconds

Rows = Sequence[Mapping[str, Any]]
Insert = postgresql.Insert | sqlite.Insert

_ALLOT: Final = text("SELECT events_allot(:count)")
_OLDEST: Final = "(SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint)"
_NEXT: Final = "(SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint)"


@dataclass(frozen=True)
class Batch:
    """Rows as a table of the statement: ``unnest`` of one array a column, or ``json_each`` of one JSON text.

    A statement over it is the same text for one row and for a thousand: parsed, planned and compiled once, and without
    the limit that statements have on parameters.
    """

    rows: FromClause
    columns: Mapping[str, TypeEngine[Any]]
    dialect: str

    def bind(self, rows: Rows) -> dict[str, Any]:
        """The parameters that stand for these rows."""
        if self.dialect == "postgresql":
            return {f"batch_{name}": [row[name] for row in rows] for name in self.columns}
        cells = [[_plain(row[name]) for name in self.columns] for row in rows]
        try:
            return {"batch": orjson.dumps(cells).decode()}
        except TypeError as error:  # half of a surrogate pair, an integer of more than 64 bits
            raise bad_data(error) from error


def batch(dialect: str, table: Table, *names: str) -> Batch:
    """A batch with these columns of a table."""
    columns = {name: table.c[name].type for name in names}
    if dialect == "postgresql":
        arrays = [bindparam(f"batch_{name}", type_=ARRAY(kind)) for name, kind in columns.items()]
        named = [column(name, kind) for name, kind in columns.items()]
        return Batch(func.unnest(*arrays).table_valued(*named).render_derived(name="batch"), columns, dialect)
    each = func.json_each(bindparam("batch")).table_valued(column("value"), name="each")
    cells = [
        func.json_extract(each.c.value, literal_column(f"'$[{place}]'"), type_=kind).label(name)
        for place, (name, kind) in enumerate(columns.items())
    ]
    return Batch(select(*cells).select_from(each).subquery("batch"), columns, dialect)


def insert_new(dialect: str, table: Table, source: Batch, *key: str) -> Insert:
    """Inserts the batch in its order, without the rows whose ``key`` is there.

    The key is named: a row that is in the way of another one, a drawn number that is taken say, is an error and not a
    repetition.
    """
    insert = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    # SQLite needs a WHERE here, or takes ON CONFLICT for a join's ON.
    rows = select(*source.rows.c).where(text("1 = 1") if dialect == "sqlite" else true())
    return insert.from_select(list(source.columns), rows).on_conflict_do_nothing(index_elements=key)


async def allot(connection: AsyncConnection, count: int) -> Sequence[int | None]:
    """Numbers for events, ascending; must be the first statement of its transaction. ``reading`` says why.

    Nulls on SQLite, which numbers rows by itself, in the order of the commits since it has one writer.
    """
    if connection.dialect.name == "sqlite":
        return [None] * count
    return (await connection.scalars(_ALLOT, {"count": count})).all()


def settled(dialect: str) -> ColumnElement[bool]:
    """Whether no event with a smaller number can come any more: ``reading`` says why."""
    if dialect == "sqlite":
        return true()
    txid = events.c.txid
    return (txid < literal_column(_OLDEST)) | (txid >= literal_column(_NEXT))


def _plain(value: Any) -> Any:
    return microseconds(value) if isinstance(value, datetime) else value
