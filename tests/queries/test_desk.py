"""Resolvers in their order, inside the caller's wait: fallbacks, late answers, breakers, caches, what is no answer."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any, Final

import pytest
from pydantic import TypeAdapter

from hub.config import AnyResolver
from hub.errors import Unresolved
from hub.outgoing import Outgoing, Tempo
from hub.questions import Question, Reply
from hub.resolvers import Means
from hub.resolvers.desk import Desk, Resolution
from hub.resolvers.guarded import MOST, PROBE_EVERY, Guarded
from tests.hub import until
from tests.queries.support import Service, service
from tests.servers.ports import free_port, release_port

ASKED: Final = Question(
    "ESTADO PEDIDO",
    "9d2b0d8e-6f0f-5c0a-8a55-0c8a0b6d5a11",
    "line-900",
    {"number": "911888920", "e164": "+34911888920"},
    {"number": "900805089", "e164": "+34900805089"},
    {"NUMPEDIDO": "123456789"},
)
LAST: Final = {"kind": "table", "table": {"*": {"PEDIDO": "0"}}}
_ANY: Final[TypeAdapter[AnyResolver]] = TypeAdapter(AnyResolver)


def configured(**keys: Any) -> AnyResolver:
    return _ANY.validate_python(keys)


@asynccontextmanager
async def desk(resolvers: Mapping[str, Any], *, store_url: str = "") -> AsyncIterator[Desk]:
    """A desk on its own, as a hub would have it."""
    outgoing = Outgoing([ip_network("127.0.0.0/8")], tempo=Tempo(probe_every=0.2))
    await outgoing.start()
    made = Desk({name: configured(**part) for name, part in resolvers.items()}, Means(outgoing, store_url, ()))
    await made.open()
    try:
        yield made
    finally:
        await made.close()
        await outgoing.close()


async def resolve(desk: Desk, name: str = "orders", *, within: float = 2.0, question: Question = ASKED) -> Resolution:
    return await desk.resolve(name, question, asyncio.get_running_loop().time() + within)


def reasons(resolution: Resolution) -> list[tuple[str, str]]:
    return [(name, why.reason) for name, why in resolution.tried]


@pytest.fixture
async def orders() -> AsyncIterator[Service]:
    async with service() as made:
        yield made


# --- a service -------------------------------------------------------------------------------------------------------


async def test_a_service_is_asked_what_the_contract_says_with_its_headers(orders: Service) -> None:
    part = {"kind": "http", "url": orders.url, "headers": {"Authorization": "Bearer secret"}}
    async with desk({"orders": part}) as resolvers:
        assert await resolve(resolvers) == Resolution(Reply({"PEDIDO": "2"}), "orders")
    assert orders.asked == [
        {
            "query": "ESTADO PEDIDO",
            "call_id": ASKED.call_id,
            "source": "line-900",
            "caller": {"number": "911888920", "e164": "+34911888920"},
            "line": {"number": "900805089", "e164": "+34900805089"},
            "variables": {"NUMPEDIDO": "123456789"},
        }
    ]
    assert orders.headers["Authorization"] == "Bearer secret"
    assert orders.headers["Content-Type"] == "application/json"


async def test_a_service_may_say_a_result_and_a_text_of_its_own(orders: Service) -> None:
    orders.says({"result": "7", "text": "Cerrado por inventario"})
    async with desk({"orders": {"kind": "http", "url": orders.url, "fallback": "last"}, "last": LAST}) as resolvers:
        resolution = await resolve(resolvers)
    assert resolution == Resolution(Reply({}, "7", "Cerrado por inventario"), "orders"), "no failure, so no fallback"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"rubbish",
        b"[]",
        b"{}",
        {"variables": []},
        {"variables": {"PEDIDO": 2}},
        {"variables": {"PEDIDO": None}},
        {"variables": {"PEDIDO": ["2"]}},
        {"variables": {"NUM PEDIDO": "2"}},
        {"variables": {"": "2"}},
        {"variables": {"SIXTEENCHARACTER": "2"}},
        {"variables": {"AÑO": "2"}},
        {"variables": {"PEDIDO": "two\nlines"}},
        {"variables": {"PEDIDO": "nul\0"}},
        {"variables": {"PEDIDO": "\x85"}},
        {"variables": {"PEDIDO": "€"}},
        {"variables": {"PEDIDO": "x" * 5000}},
        {"variables": {f"V{n}": "2" for n in range(101)}},
        {"variables": {}, "result": 0},
        {"variables": {}, "result": ""},
        {"variables": {}, "result": "1\n"},
        {"variables": {}, "text": "日本"},
        {"variables": {}, "status": "ok"},
        b'{"variables":{"PEDIDO":"' + b"x" * 300_000 + b'"}}',
    ],
    ids=lambda content: str(content)[:40],
)
async def test_an_answer_that_the_vendor_could_not_read_is_the_resolvers_error(orders: Service, content: Any) -> None:
    orders.says(content)
    async with desk({"orders": {"kind": "http", "url": orders.url, "fallback": "last"}, "last": LAST}) as resolvers:
        resolution = await resolve(resolvers)
    assert (resolution.reply, resolution.resolver) == (Reply({"PEDIDO": "0"}), "last")
    assert reasons(resolution) == [("orders", "invalid")]


@pytest.mark.parametrize("status", [302, 400, 401, 404, 500, 503])
async def test_whatever_is_no_2xx_is_no_answer(orders: Service, status: int) -> None:
    orders.says({"variables": {"PEDIDO": "2"}}, status)
    async with desk({"orders": {"kind": "http", "url": orders.url}}) as resolvers:
        resolution = await resolve(resolvers)
    assert (resolution.reply, reasons(resolution)) == (None, [("orders", "failed")])


async def test_a_service_that_the_egress_guard_refuses_is_not_asked(orders: Service) -> None:
    outgoing = Outgoing()
    await outgoing.start()
    guarded = Desk({"orders": configured(kind="http", url=orders.url)}, Means(outgoing, "", ()))
    await guarded.open()
    assert reasons(await resolve(guarded)) == [("orders", "failed")]
    assert orders.asked == []
    await guarded.close()
    await outgoing.close()


# --- time ------------------------------------------------------------------------------------------------------------


async def test_a_service_that_hangs_leaves_time_for_its_fallback(orders: Service) -> None:
    orders.answer = orders.for_ever
    part = {"kind": "http", "url": orders.url, "wait": 0.4, "fallback": "last"}
    async with desk({"orders": part, "last": LAST}) as resolvers:
        began = time.perf_counter()
        resolution = await resolve(resolvers, within=0.3)
        assert time.perf_counter() - began >= 0.25, "it was given its time"
    assert (resolution.reply, resolution.resolver) == (Reply({"PEDIDO": "0"}), "last")


async def test_two_that_hang_share_the_wait_and_neither_outlasts_it(orders: Service) -> None:
    orders.answer = orders.for_ever
    first = {"kind": "http", "url": orders.url, "fallback": "second"}
    async with desk({"first": first, "second": {"kind": "http", "url": orders.url}}) as resolvers:
        loop = asyncio.get_running_loop()
        until = loop.time() + 0.5
        resolution = await resolvers.resolve("first", ASKED, until)
        assert loop.time() < until + 1.0
    assert resolution.reply is None
    assert [name for name, _ in resolution.tried] == ["first", "second"]
    assert len(orders.asked) == 2, "the second had its share"


async def test_a_late_answer_is_dropped(orders: Service) -> None:
    """It changes nothing that was told, and is no answer to the next question."""
    release = asyncio.Event()

    async def late(_: dict[str, Any]) -> Any:
        await release.wait()
        return await orders.in_order({})

    orders.answer = late
    async with desk({"orders": {"kind": "http", "url": orders.url, "cache": 60}}) as resolvers:
        assert (await resolve(resolvers, within=0.1)).reply is None
        release.set()
        orders.says({"variables": {"PEDIDO": "3"}})
        assert (await resolve(resolvers)).reply == Reply({"PEDIDO": "3"})


# --- the breaker -----------------------------------------------------------------------------------------------------


async def test_a_service_that_is_down_is_soon_not_asked_and_comes_back(orders: Service) -> None:
    orders.says(b"", 500)
    async with desk({"orders": {"kind": "http", "url": orders.url}}) as resolvers:
        seen = [reasons(await resolve(resolvers))[0][1] for _ in range(7)]
        assert seen == ["failed"] * 5 + ["open"] * 2
        assert len(orders.asked) == 5
        orders.says({"variables": {"PEDIDO": "2"}})

        async def back() -> bool:
            return (await resolve(resolvers)).reply is not None

        await until(back)
    assert len(orders.asked) == 6, "one probe was enough"


async def test_nobody_listens_is_a_failure_at_once() -> None:
    port = free_port()
    part = {"kind": "http", "url": f"http://127.0.0.1:{port}/", "fallback": "last"}
    async with desk({"orders": part, "last": LAST}) as resolvers:
        resolution = await resolve(resolvers, within=30)
    release_port(port)
    assert (resolution.resolver, reasons(resolution)) == ("last", [("orders", "failed")])


class Scripted:
    """A resolver of any kind: it does what it is told to."""

    def __init__(self, act: Callable[[], Awaitable[Reply]]) -> None:
        self.act = act
        self.asked = 0

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def resolve(self, question: Question, within: float) -> Reply:
        del question, within
        self.asked += 1
        return await self.act()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def outcome(guarded: Guarded, question: Question = ASKED, within: float = 5.0) -> str:
    try:
        return (await guarded.ask(question, within)).variables.get("PEDIDO", "")
    except Unresolved as unresolved:
        return unresolved.reason


def of_sql(act: Callable[[], Awaitable[Reply]], clock: Clock, **keys: Any) -> tuple[Guarded, Scripted]:
    """One that has no breaker of its own."""
    scripted = Scripted(act)
    return Guarded("orders", configured(kind="sql", statement="SELECT 1", **keys), scripted, clock), scripted


async def test_a_failing_resolver_is_asked_by_one_caller_in_five_seconds() -> None:
    async def fails() -> Reply:
        raise Unresolved("failed", "down")

    async def answers() -> Reply:
        return Reply({"PEDIDO": "2"})

    clock = Clock()
    guarded, scripted = of_sql(fails, clock)
    assert [await outcome(guarded) for _ in range(7)] == ["failed"] * 5 + ["open"] * 2
    clock.now += PROBE_EVERY
    assert [await outcome(guarded) for _ in range(2)] == ["failed", "open"]
    scripted.act = answers
    clock.now += PROBE_EVERY
    assert [await outcome(guarded) for _ in range(2)] == ["2", "2"]
    assert scripted.asked == 8


async def test_one_that_has_no_answer_or_a_bad_one_is_there_and_stays_asked() -> None:
    async def nothing() -> Reply:
        raise Unresolved("none", "no row")

    async def rubbish() -> Reply:
        return Reply({"PEDIDO": "\n"})

    for act, reason in ((nothing, "none"), (rubbish, "invalid")):
        guarded, _ = of_sql(act, Clock())
        assert [await outcome(guarded) for _ in range(30)] == [reason] * 30


async def test_a_defect_is_a_failure_like_another_and_reaches_no_caller() -> None:
    async def breaks() -> Reply:
        raise ZeroDivisionError

    guarded, _ = of_sql(breaks, Clock())
    assert await outcome(guarded) == "failed"


async def test_one_that_ignores_its_end_does_not_keep_the_caller() -> None:
    released = asyncio.Event()

    async def stubborn() -> Reply:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue
        return Reply({"PEDIDO": "2"})

    guarded, _ = of_sql(stubborn, Clock())
    assert await outcome(guarded, within=0.05) == "late"
    released.set()
    await guarded.close()


async def test_no_resolver_has_more_than_its_number_in_hand() -> None:
    gate = asyncio.Event()

    async def waits() -> Reply:
        await gate.wait()
        return Reply({"PEDIDO": "2"})

    guarded, scripted = of_sql(waits, Clock())
    waiting = [asyncio.create_task(outcome(guarded, within=60)) for _ in range(MOST)]

    async def all_of_them() -> bool:
        return scripted.asked == MOST

    await until(all_of_them)
    assert await outcome(guarded) == "full"
    gate.set()
    assert set(await asyncio.gather(*waiting)) == {"2"}
    assert await outcome(guarded) == "2"


# --- the cache -------------------------------------------------------------------------------------------------------


async def test_an_answer_is_kept_for_its_lifetime_and_for_its_question_alone() -> None:
    answers = iter(range(100))

    async def counts() -> Reply:
        return Reply({"PEDIDO": str(next(answers))})

    clock = Clock()
    guarded, _ = of_sql(counts, clock, cache=10)
    same = Question("ESTADO PEDIDO", "another call", "line-900", ASKED.caller, ASKED.line, ASKED.variables)
    others = [
        Question("OTRA", "", "line-900", ASKED.caller, ASKED.line, ASKED.variables),
        Question("ESTADO PEDIDO", "", "line-901", ASKED.caller, ASKED.line, ASKED.variables),
        Question("ESTADO PEDIDO", "", "line-900", {"number": "1"}, ASKED.line, ASKED.variables),
        Question("ESTADO PEDIDO", "", "line-900", ASKED.caller, {"number": "1"}, ASKED.variables),
        Question("ESTADO PEDIDO", "", "line-900", ASKED.caller, ASKED.line, {"NUMPEDIDO": "1"}),
    ]
    assert [await outcome(guarded), await outcome(guarded), await outcome(guarded, same)] == ["0", "0", "0"]
    assert [await outcome(guarded, other) for other in others] == ["1", "2", "3", "4", "5"]
    clock.now += 9.9
    assert await outcome(guarded) == "0"
    clock.now += 0.1
    assert await outcome(guarded) == "6"


async def test_nothing_is_kept_without_a_lifetime_nor_what_is_an_error() -> None:
    answers = iter(range(100))

    async def counts() -> Reply:
        return Reply({"PEDIDO": str(next(answers))})

    async def declines() -> Reply:
        return Reply({"PEDIDO": str(next(answers))}, "2")

    guarded, _ = of_sql(counts, Clock())
    assert [await outcome(guarded), await outcome(guarded)] == ["0", "1"]
    guarded, _ = of_sql(declines, Clock(), cache=60)
    assert [await outcome(guarded), await outcome(guarded)] == ["2", "3"]


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.resolvers.guarded._REMEMBERED", 2)

    async def answers() -> Reply:
        return Reply({"PEDIDO": "2"})

    guarded, scripted = of_sql(answers, Clock(), cache=60)
    for number in ("1", "2", "3", "1"):
        await outcome(guarded, Question("Q", "", "s", variables={"N": number}))
    assert scripted.asked == 4
    await outcome(guarded, Question("Q", "", "s", variables={"N": "3"}))
    assert scripted.asked == 4


# --- the table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "row"),
    [
        ("NUMPEDIDO", "123456789"),
        ("caller", "911888920"),
        ("caller_e164", "+34911888920"),
        ("line", "900805089"),
        ("query", "ESTADO PEDIDO"),
        ("source", "line-900"),
    ],
)
async def test_a_table_is_keyed_by_a_variable_or_by_what_is_known_of_the_call(key: str, row: str) -> None:
    table = {"kind": "table", "key": key, "table": {row: {"PEDIDO": "2"}, "*": {"PEDIDO": "9"}}}
    async with desk({"orders": table}) as resolvers:
        assert (await resolve(resolvers)).reply == Reply({"PEDIDO": "2"})
        hidden = Question("OTRA", "", "another", {"withheld": True})
        assert (await resolve(resolvers, question=hidden)).reply == Reply({"PEDIDO": "9"})
