"""A statement on PostgreSQL and on SQLite: bound by name, read-only, ended when it is late."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from hub.questions import Question, Reply
from tests.hub import until
from tests.queries.test_desk import ASKED, LAST, desk, reasons, resolve

TABLE: Final = "CREATE TABLE orders (number text PRIMARY KEY, state integer, note text)"
ROWS: Final = "INSERT INTO orders VALUES ('123456789', 2, 'it''s :here'), ('5', NULL, NULL)"
FIND: Final = 'SELECT state AS "PEDIDO", note AS "NOTA" FROM orders WHERE number = :NUMPEDIDO'
SLOW: Final = {
    "postgresql": "SELECT '2' AS \"PEDIDO\" FROM (SELECT pg_sleep(600)) AS slow",
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS PEDIDO FROM n",
}


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[str, str]]:
    """A database of each kind with a table of orders: its kind and its URL."""
    if request.param == "sqlite":
        with sqlite3.connect(tmp_path / "orders.db") as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(TABLE)
            connection.execute(ROWS)
        connection.close()
        yield "sqlite", f"sqlite:///{tmp_path}/orders.db"
        return
    url = request.getfixturevalue("postgres_url")
    connection = await asyncpg.connect(url)
    await connection.execute(TABLE)
    await connection.execute(ROWS)
    await connection.close()
    yield "postgresql", url


def sql(url: str, statement: str, **keys: Any) -> dict[str, Any]:
    return {"kind": "sql", "url": url, "statement": statement, **keys}


def asks(**variables: str) -> Question:
    return Question("ESTADO PEDIDO", "", "line-900", variables=variables)


async def test_the_first_rows_columns_are_the_variables_and_null_is_left_out(database: tuple[str, str]) -> None:
    _, url = database
    async with desk({"orders": sql(url, FIND)}) as resolvers:
        assert (await resolve(resolvers)).reply == Reply({"PEDIDO": "2", "NOTA": "it's :here"})
        assert (await resolve(resolvers, question=asks(NUMPEDIDO="5"))).reply == Reply({})
        nothing = await resolve(resolvers, question=asks(NUMPEDIDO="6"))
        assert reasons(nothing) == [("orders", "none")]


async def test_parameters_are_values_whatever_they_say(database: tuple[str, str]) -> None:
    _, url = database
    async with desk({"orders": sql(url, FIND)}) as resolvers:
        for hostile in ("' OR '1'='1", "1; DROP TABLE orders", ":NUMPEDIDO", "$1", "\\", "é"):
            assert reasons(await resolve(resolvers, question=asks(NUMPEDIDO=hostile))) == [("orders", "none")]
        assert reasons(await resolve(resolvers, question=asks())) == [("orders", "none")], (
            "a parameter that is not there"
        )
        assert (await resolve(resolvers)).reply is not None


async def test_what_is_known_of_the_call_is_bound_too_and_a_name_as_often_as_it_stands(
    database: tuple[str, str],
) -> None:
    _, url = database
    statement = (
        'SELECT :caller AS "A", :caller_e164 AS "B", :line AS "C", :query AS "D", :source AS "E", :call_id AS "F", '
        'CAST(:NUMPEDIDO AS integer) + 1 AS "G", :caller AS "H", \'7\' AS "_result", \'so\' AS "_text";'
    )
    async with desk({"orders": sql(url, statement)}) as resolvers:
        reply = (await resolve(resolvers)).reply
    assert reply is not None
    assert (reply.result, reply.text) == ("7", "so")
    assert list(reply.variables.values()) == [
        "911888920",
        "+34911888920",
        "900805089",
        "ESTADO PEDIDO",
        "line-900",
        ASKED.call_id,
        "123456790",
        "911888920",
    ]


WRITES: Final = {
    "postgresql": [
        'WITH gone AS (DELETE FROM orders RETURNING number) SELECT number AS "PEDIDO" FROM gone',
        "SELECT setval('counter', 1)::text AS \"PEDIDO\"",
        "SELECT set_config('transaction_read_only', 'off', true) AS \"PEDIDO\" FROM (SELECT empty()) AS e",
        'SELECT 1 AS "PEDIDO"; DELETE FROM orders',
    ],
    "sqlite": [
        "WITH gone(i) AS (SELECT 1) DELETE FROM orders RETURNING number AS PEDIDO",
        "WITH one(i) AS (SELECT 1) INSERT INTO orders SELECT i, i, i FROM one RETURNING number AS PEDIDO",
        "SELECT 1 AS PEDIDO; DELETE FROM orders",
    ],
}


async def test_nothing_can_be_written(database: tuple[str, str]) -> None:
    kind, url = database
    if kind == "postgresql":
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE SEQUENCE counter")
        await connection.execute(
            "CREATE FUNCTION empty() RETURNS integer LANGUAGE sql AS 'DELETE FROM orders; SELECT 1'"
        )
        await connection.close()
    for statement in WRITES[kind]:
        async with desk({"orders": sql(url, statement)}) as resolvers:
            resolution = await resolve(resolvers)
            assert reasons(resolution) == [("orders", "failed")], statement
    async with desk({"orders": sql(url, FIND)}) as resolvers:
        assert (await resolve(resolvers)).reply is not None, "the order is still there"


async def test_a_late_statement_is_ended_where_it_runs_and_the_next_is_answered(database: tuple[str, str]) -> None:
    kind, url = database
    part = sql(url, SLOW[kind], concurrency=1, fallback="last", wait=60)
    async with desk({"orders": part, "last": LAST}) as resolvers:
        began = time.perf_counter()
        resolution = await resolve(resolvers, within=0.5)
        assert (resolution.resolver, reasons(resolution)) == ("last", [("orders", "late")])
        assert time.perf_counter() - began < 20
        await quiet(kind, url)
    async with desk({"orders": sql(url, FIND, concurrency=1)}) as resolvers:
        assert (await resolve(resolvers)).reply is not None


async def quiet(kind: str, url: str) -> None:
    """Waits until the server runs nothing of ours any more; SQLite's thread ends with its connection."""
    if kind == "sqlite":
        return
    connection = await asyncpg.connect(url)
    running = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'trunkline resolver' AND state = 'active'"

    async def nothing_runs() -> bool:
        return not await connection.fetchval(running)

    await until(nothing_runs)
    await connection.close()


async def test_a_place_that_a_late_statement_held_is_free_again(database: tuple[str, str]) -> None:
    """Of one connection: what hangs does not take it for ever."""
    kind, url = database
    switch = {
        "postgresql": "SELECT '2' AS \"PEDIDO\" FROM (SELECT CASE WHEN :SLOW = '1' THEN pg_sleep(600) END) AS slow",
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE :SLOW = '1') "
        "SELECT '2' AS PEDIDO, max(i) AS I FROM n",
    }[kind]
    async with desk({"orders": sql(url, switch, concurrency=1, wait=60)}) as resolvers:
        assert reasons(await resolve(resolvers, within=0.3, question=asks(SLOW="1"))) == [("orders", "late")]
        resolution = await resolve(resolvers, within=30, question=asks(SLOW="0"))
        assert resolution.reply is not None
        assert resolution.reply.variables["PEDIDO"] == "2"


async def test_more_questions_than_connections_wait_their_turn(database: tuple[str, str]) -> None:
    _, url = database
    async with desk({"orders": sql(url, FIND, concurrency=2, wait=60)}) as resolvers:
        told = await asyncio.gather(*(resolve(resolvers, within=60) for _ in range(50)))
    assert {one.reply is not None for one in told} == {True}


async def test_our_own_store_is_asked_where_no_url_is_given(database: tuple[str, str]) -> None:
    _, url = database
    async with desk({"orders": {"kind": "sql", "statement": FIND}}, store_url=url) as resolvers:
        assert (await resolve(resolvers)).reply is not None


@pytest.mark.parametrize(
    "url", [lambda path: f"sqlite:///{path}/none.db", lambda _: "postgresql://nobody@127.0.0.1:1/nothing"]
)
async def test_a_database_that_is_not_there_is_a_failure_and_is_not_made(
    tmp_path: Path, url: Callable[[Path], str]
) -> None:
    async with desk({"orders": sql(url(tmp_path), FIND, fallback="last"), "last": LAST}) as resolvers:
        resolution = await resolve(resolvers, within=30)
    assert (resolution.resolver, reasons(resolution)) == ("last", [("orders", "failed")])
    assert not (tmp_path / "none.db").exists()


async def test_a_value_without_a_text_is_the_resolvers_error(database: tuple[str, str]) -> None:
    kind, url = database
    statement = "SELECT CAST('x' AS bytea) AS \"PEDIDO\"" if kind == "postgresql" else "SELECT x'00' AS PEDIDO"
    async with desk({"orders": sql(url, statement)}) as resolvers:
        assert reasons(await resolve(resolvers)) == [("orders", "invalid")]
