"""What only PostgreSQL can do to us: go away, hang, become a standby, and commit in another order than it numbers."""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Iterator

import asyncpg
import orjson
import psutil
import pytest
from sqlalchemy import text

from hub.errors import StoreUnavailable
from hub.store import engine as engines
from hub.store.engine import open_engine
from hub.store.sql import SqlStore
from tests.contract.stores import Place, all_events, drain, record
from tests.servers.postgres import PostgreSQL
from tests.store.evidence import NOON, TIMING, after, apart, call_id, chance, expected, started, whole_call

SOON = 10  # seconds in which a store is itself again


@pytest.fixture
def place(postgres_url: str) -> Place:
    return Place("postgresql", postgres_url)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[SqlStore]:
    async with place.store() as store:
        yield store


@pytest.fixture
async def stranger(store: SqlStore, postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_url)
    yield connection
    connection.terminate()


# --- the order of events ---------------------------------------------------------------------------------------------

KEEP = """
INSERT INTO events (seq, id, routing_key, source, folds, "time", kept_at, data)
VALUES ($1, $2, 'callback.infocaller.quarantined', 'line-900', false, now(), now(), '{}')
"""


async def seen(store: SqlStore) -> list[str]:
    return [item["id"] for item in await all_events(store, limit=1)]


async def test_a_reader_waits_for_the_open_transaction_that_has_a_smaller_number(
    store: SqlStore, stranger: asyncpg.Connection
) -> None:
    transaction = stranger.transaction()
    await transaction.start()
    early = await stranger.fetchval("SELECT events_allot(1)")
    await store.apply([apart(1)], NOON)
    assert await seen(store) == []  # or whoever goes on after it never sees the early one
    await stranger.execute(KEEP, early, "early")
    assert await seen(store) == []
    await transaction.commit()
    assert await seen(store) == ["early", apart(1).id]


async def test_a_reader_does_not_wait_for_what_was_rolled_back_or_cannot_come_before(
    store: SqlStore, stranger: asyncpg.Connection
) -> None:
    transaction = stranger.transaction()
    await transaction.start()
    await stranger.fetchval("SELECT events_allot(1)")
    await transaction.rollback()
    await store.apply([apart(1)], NOON)
    transaction = stranger.transaction()
    await transaction.start()
    await stranger.fetchval("SELECT events_allot(1)")  # open, but later
    assert await seen(store) == [apart(1).id]
    await transaction.rollback()


async def test_nobody_comes_between_a_transactions_number_and_those_of_its_events(
    store: SqlStore, stranger: asyncpg.Connection, postgres_url: str
) -> None:
    """Else of two open transactions the younger could draw the smaller numbers, and a reader would pass over them."""
    other = await asyncpg.connect(postgres_url)
    lock = 8390876182755042913  # of events_allot
    pid = other.get_server_pid()
    async with stranger.transaction(), other.transaction():
        await stranger.execute("SELECT pg_advisory_lock($1)", lock)
        drawing = asyncio.create_task(other.fetchval("SELECT events_allot(1)"))
        async with asyncio.timeout(SOON):
            while not await stranger.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = $1", pid):  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # the server sends no signal
        number = await stranger.fetchval("SELECT pg_current_xact_id()::text::bigint")
        seq = await stranger.fetchval("SELECT nextval('events_seq_seq')")
        await stranger.execute("SELECT pg_advisory_unlock($1)", lock)
        assert await drawing > seq
        assert await other.fetchval("SELECT pg_current_xact_id()::text::bigint") > number
        free = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = $1"
        assert await stranger.fetchval(free, pid) == 0  # although the transaction goes on
    other.terminate()


async def test_numbers_are_only_given_to_a_transaction_that_has_none_of_its_own(
    store: SqlStore, stranger: asyncpg.Connection
) -> None:
    async with stranger.transaction():
        await stranger.fetchval("SELECT pg_current_xact_id()")
        with pytest.raises(asyncpg.RaiseError, match="must be the first"):
            await stranger.fetch("SELECT events_allot(1)")


async def test_events_that_came_with_the_database_from_another_server_are_shown(
    store: SqlStore, stranger: asyncpg.Connection
) -> None:
    await store.apply([apart(1)], NOON)
    await stranger.execute("UPDATE events SET txid = txid + 1000000000")
    await store.apply([apart(2)], NOON)
    assert await seen(store) == [apart(1).id, apart(2).id]


# --- the server goes away --------------------------------------------------------------------------------------------


async def works_again(store: SqlStore) -> None:
    async with asyncio.timeout(SOON):
        while True:
            try:
                return await store.ping()
            except StoreUnavailable:
                await asyncio.sleep(0.05)


async def test_a_store_survives_its_servers_crash_and_its_absence(store: SqlStore, postgres: PostgreSQL) -> None:
    await store.apply(whole_call(1), NOON)
    work = [asyncio.create_task(store.apply(whole_call(number), NOON)) for number in range(2, 40)]
    await asyncio.sleep(0)
    postgres.stop("immediate")
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes if isinstance(outcome, Exception))
    for verb in (store.ping(), store.apply(whole_call(2), NOON), store.call(call_id(1)), store.seal(NOON)):
        with pytest.raises(StoreUnavailable) as refused:
            await verb
        assert "\n" not in str(refused.value)
    postgres.start()
    await works_again(store)
    for number in range(1, 40):
        await store.apply(whole_call(number), NOON)
    assert (await store.counts())["events"] == 39 * 4


async def test_idle_connections_that_a_restart_closed_cost_nobody_an_error(
    store: SqlStore, postgres: PostgreSQL
) -> None:
    await asyncio.gather(*(store.apply(whole_call(number), NOON) for number in range(8)))
    await asyncio.to_thread(postgres.stop)
    await asyncio.to_thread(postgres.start)
    await asyncio.gather(*(store.apply(whole_call(number), NOON) for number in range(8, 16)))


async def test_a_store_starts_without_its_server_and_finds_it_later() -> None:
    with PostgreSQL(durable=False) as server:
        url = server.create_database()
        async with Place("postgresql", url).store():
            pass
        server.stop()
        store = SqlStore(url, expected=expected, timing=TIMING)
        await store.start()
        with pytest.raises(StoreUnavailable):
            await store.apply(whole_call(1), NOON)
        server.start()
        await works_again(store)
        assert (await store.apply(whole_call(1), NOON)).new == 4
        await store.close()


async def test_connections_that_are_cut_in_the_midst_of_work_lose_and_double_nothing(
    store: SqlStore, stranger: asyncpg.Connection
) -> None:
    numbers, refused, cut, luck = itertools.count(), 0, 0, chance(3)

    async def persist() -> None:
        nonlocal refused
        while cut < 20:
            number = next(numbers)
            while True:
                try:
                    await store.apply(whole_call(number), NOON)
                    await store.seal(after(60))
                    break
                except StoreUnavailable:
                    refused += 1

    workers = [asyncio.create_task(persist()) for _ in range(3)]
    others = "pid <> pg_backend_pid() AND datname = current_database() AND state <> 'idle'"
    while cut < 20:
        cut += len(
            await stranger.fetch(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others} LIMIT 1")
        )
        await asyncio.sleep(luck.random() * 0.02)
    await asyncio.gather(*workers)
    calls = next(numbers)
    await store.seal(after(60), limit=calls)
    assert refused > 0
    counts = {name: count for name, count in (await store.counts()).items() if count}
    assert counts == {"events": 4 * calls, "callbacks": 4 * calls, "calls": calls, "sealed": calls, "outbox": calls}
    assert len({event.subject for event in await drain(store, after(60))}) == calls


@pytest.fixture
def hung(postgres: PostgreSQL) -> Iterator[list[int]]:
    """The server's processes, to be stopped by the test and to go on after it."""
    stopped: list[int] = []
    yield stopped
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)


async def test_a_server_that_hangs_is_given_up_and_found_again_when_it_goes_on(
    place: Place, postgres: PostgreSQL, hung: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "COMMAND", 0.5)
    monkeypatch.setattr(engines, "PATIENCE", 0.5)
    async with place.store() as store:
        await store.apply(whole_call(1), NOON)
        hung += [postgres.pid, *(child.pid for child in psutil.Process(postgres.pid).children(recursive=True))]
        for pid in hung:
            os.kill(pid, signal.SIGSTOP)
        async with asyncio.timeout(5):
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    await store.apply(whole_call(2), NOON)
            with pytest.raises(StoreUnavailable):
                await store.ping()
        while hung:
            os.kill(hung.pop(), signal.SIGCONT)
        await works_again(store)
        assert (await store.apply([*whole_call(1), *whole_call(2)], NOON)).refused == {}
        assert (await store.counts())["events"] == 8


async def test_a_primary_that_became_a_standby_is_left_for_the_new_one(
    store: SqlStore, stranger: asyncpg.Connection, postgres_url: str
) -> None:
    await store.apply(whole_call(1), NOON)
    database = postgres_url.rpartition("/")[2]
    await stranger.execute(f'ALTER DATABASE "{database}" SET default_transaction_read_only = on')
    await stranger.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = $1",
        database,
    )
    await asyncio.sleep(0)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await store.apply(whole_call(2), NOON)
    with pytest.raises(StoreUnavailable, match="no writes"):
        await store.ping()
    records = await asyncio.gather(*(record(store, call_id(1)) for _ in range(5)))  # each on a connection of its own
    assert all(found["revision"] == 4 for found in records)
    await stranger.execute("SET transaction_read_only = off")
    await stranger.execute(f'ALTER DATABASE "{database}" SET default_transaction_read_only = off')
    with pytest.raises(StoreUnavailable, match="read-only"):
        await store.apply(whole_call(2), NOON)  # on one of them: with it, all are given up
    await asyncio.gather(*(store.apply(whole_call(number), NOON) for number in range(2, 10)))


# --- what it refuses -------------------------------------------------------------------------------------------------


async def test_a_text_that_the_server_refuses_refuses_its_event_alone(store: SqlStore) -> None:
    nul = apart(1)
    object.__setattr__(nul, "source", "line\0900")
    applied = await store.apply([*whole_call(1), nul, *whole_call(2)], NOON)
    assert applied.new == 8
    assert list(applied.refused) == [nul.id]
    assert "0x00" in applied.refused[nul.id]


async def test_a_deadlock_is_done_again(store: SqlStore, stranger: asyncpg.Connection) -> None:
    one, two = sorted((call_id(1), call_id(2)))
    await store.apply([started(1), started(2)], NOON)
    transaction = stranger.transaction()
    await transaction.start()
    await stranger.execute("SET LOCAL deadlock_timeout = '1min'")  # so that it is the store that finds it
    await stranger.fetch("SELECT 1 FROM calls WHERE call_id = $1 FOR UPDATE", two)
    work = asyncio.create_task(store.apply([*whole_call(1), *whole_call(2)], NOON))
    async with asyncio.timeout(SOON):
        while not await stranger.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # the server sends no signal
        await stranger.fetch("SELECT 1 FROM calls WHERE call_id = $1 FOR UPDATE", one)
        await transaction.rollback()
        assert (await work).new == 6


async def test_batches_that_share_calls_and_events_in_every_order_never_deadlock(store: SqlStore, place: Place) -> None:
    engine = open_engine(place.url, pooled=False)

    async def deadlocks() -> int:
        async with engine.connect() as connection:
            query = (
                "SELECT pg_stat_force_next_flush(), deadlocks FROM pg_stat_database WHERE datname = current_database()"
            )
            return int((await connection.execute(text(query))).one().deadlocks)

    mixed = [event for number in range(30) for event in (apart(number), *whole_call(number))]
    loose = [apart(number) for number in range(1000, 2000)]
    async with place.store() as other:
        for events, size, times in ((mixed, 60, 40), (loose, 900, 10)):
            batches = [chance(seed).sample(events, size) for seed in range(times)]
            stores = itertools.cycle((store, other))
            await asyncio.gather(*(one.apply(some, NOON) for one, some in zip(stores, batches, strict=False)))
    assert await deadlocks() == 0
    await engine.dispose()


async def test_no_word_of_the_url_is_in_an_error() -> None:
    store = SqlStore("postgresql://me:hush%21@127.0.0.1:1/calls", expected=expected, timing=TIMING)
    with pytest.raises(StoreUnavailable, match="does not answer") as refused:
        await store.ping()
    assert "hush" not in str(refused.value)
    await store.close()


async def test_a_database_without_tables_says_what_to_run(postgres_url: str) -> None:
    store = SqlStore(postgres_url, expected=expected, timing=TIMING)
    for verb in (store.ping(), store.apply([started(1)], NOON)):
        with pytest.raises(StoreUnavailable, match="trunkline db upgrade"):
            await verb
    await store.close()


async def test_close_does_not_wait_for_a_server_that_hangs(
    place: Place, postgres: PostgreSQL, hung: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.store.sql.GRACE", 0.2)
    monkeypatch.setattr("hub.store.transactions.GOODBYE", 0.3)
    async with place.store() as store:
        await store.apply(whole_call(1), NOON)
        hung += [postgres.pid, *(child.pid for child in psutil.Process(postgres.pid).children(recursive=True))]
        for pid in hung:
            os.kill(pid, signal.SIGSTOP)
        waiting = asyncio.create_task(store.call(call_id(1)))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(5):
            await store.close()
        with pytest.raises((StoreUnavailable, asyncio.CancelledError)):
            await waiting


def test_items_keep_the_bytes_of_their_data() -> None:
    assert orjson.dumps({"data": orjson.Fragment('{"b":1.0,"a":2}')}) == b'{"data":{"b":1.0,"a":2}}'


async def test_a_number_that_is_taken_is_trouble_of_the_database_and_no_repetition(
    store: SqlStore, stranger: asyncpg.Connection
) -> None:
    await store.apply(whole_call(1), NOON)
    await stranger.execute("SELECT setval('events_seq_seq', 1, false)")  # as after a partial restore
    with pytest.raises(StoreUnavailable):
        await store.apply(whole_call(2), NOON)
    await stranger.execute("SELECT setval('events_seq_seq', 1000)")
    assert (await store.apply(whole_call(2), NOON)).new == 4


async def test_claims_that_a_clock_set_back_has_made_endless_are_free(store: SqlStore) -> None:
    await store.apply(whole_call(1), NOON)
    await store.seal(after(60))
    assert len(await store.claim(after(3600), 10, 30)) == 1
    assert len(await store.claim(after(60), 10, 30)) == 1
