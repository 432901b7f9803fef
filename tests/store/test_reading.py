"""Pages and filters, over each store."""

import asyncio
from dataclasses import replace

import orjson
import pytest

from hub.events import identity
from hub.ports import CallFilter, Page
from hub.store.sql import SqlStore
from tests.contract.stores import all_calls, all_events
from tests.store.evidence import (
    CALLER,
    NOON,
    after,
    apart,
    call_id,
    desk_leg,
    ended,
    missed,
    polled,
    started,
    whole_call,
)


async def test_calls_come_newest_first_in_pages_of_the_wanted_size(store: SqlStore) -> None:
    await store.apply([started(number, at=number) for number in range(7)], NOON)
    first = await store.calls(CallFilter(), 3, None)
    second = await store.calls(CallFilter(), 3, first.next)
    third = await store.calls(CallFilter(), 3, second.next)
    assert [len(page.items) for page in (first, second, third)] == [3, 3, 1]
    assert third.next is None
    ids = [orjson.loads(item)["call_id"] for page in (first, second, third) for item in page.items]
    assert ids == [call_id(number) for number in range(6, -1, -1)]


async def test_calls_that_start_at_one_moment_are_all_on_some_page_once(store: SqlStore) -> None:
    await store.apply([started(number) for number in range(23)], NOON)
    ids = [item["call_id"] for item in await all_calls(store, limit=4)]
    assert sorted(ids) == sorted(call_id(number) for number in range(23))


async def test_paging_calls_while_others_come_misses_and_repeats_none_of_the_old(store: SqlStore) -> None:
    await store.apply([started(number, at=number) for number in range(40)], NOON)
    page = await store.calls(CallFilter(), 7, None)
    items, number = [*page.items], 100
    while page.next:
        await store.apply([started(number, at=number), ended(number - 70, at=number)], NOON)
        page = await store.calls(CallFilter(), 7, page.next)
        items, number = items + page.items, number + 1
    ids = [orjson.loads(item)["call_id"] for item in items]
    assert len(ids) == len(set(ids))
    assert set(ids) >= {call_id(number) for number in range(30)}


async def test_paging_events_while_many_write_misses_and_repeats_none(store: SqlStore) -> None:
    writers = [
        asyncio.create_task(store.apply([started(number), apart(number), missed(number)], NOON)) for number in range(60)
    ]
    seen: list[str] = []
    after_seq: str | None = None
    done = False
    while not done:
        done = all(task.done() for task in writers)
        page = await store.events(10, after_seq)
        if page.next is None:
            continue  # the end for now: the next page is this one again, with what has come since
        after_seq = page.next
        seen += [orjson.loads(item)["id"] for item in page.items]
    await asyncio.gather(*writers)
    page = await store.events(1000, after_seq)
    seen += [orjson.loads(item)["id"] for item in page.items]
    assert len(seen) == len(set(seen)) == 180


async def test_events_of_one_call_have_its_whole_story(store: SqlStore) -> None:
    await store.apply([*whole_call(1), *whole_call(2), apart(1)], NOON)
    await store.seal(after(60), limit=1)
    items = await all_events(store, limit=3, call_id=call_id(1))
    assert items == [
        {
            "id": event.id,
            "type": f"trunkline.call.{event.verb}.v1",
            "source": "/infocaller/line-900",
            "time": event.data["received_at"],
            "subject": call_id(1),
            "data": event.data,
        }
        for event in whole_call(1)
    ]


async def test_an_event_of_no_call_has_no_subject(store: SqlStore) -> None:
    await store.apply([apart(1)], NOON)
    (item,) = await all_events(store)
    assert (item["type"], item["subject"]) == ("trunkline.callback.quarantined.v1", None)


FOUND_BY = [
    (CallFilter(), {"answered", "open", "desk", "polled"}),
    (CallFilter(number="911888920"), {"answered"}),
    (CallFilter(number="+34911888920"), {"answered"}),
    (CallFilter(number="34 911 888 920"), {"answered"}),
    (CallFilter(number="911222333"), {"answered"}),  # a leg
    (CallFilter(number="900805089"), {"answered", "open"}),  # the line
    (CallFilter(number="600111222"), {"open"}),
    (CallFilter(number="655443322"), {"polled"}),  # a callee
    (CallFilter(number="91188892"), set()),
    (CallFilter(number=""), set()),
    (CallFilter(number="\0"), set()),
    (CallFilter(number="\ud800"), set()),
    (CallFilter(vendor="infocaller"), {"answered", "open"}),
    (CallFilter(vendor="ucontact"), set()),
    (CallFilter(source="desk"), {"desk"}),
    (CallFilter(state="in_progress"), {"open", "desk"}),
    (CallFilter(state="ended"), {"answered", "polled"}),
    (CallFilter(since=after(100)), {"open", "desk", "polled"}),
    (CallFilter(until=after(100)), {"answered"}),
    (CallFilter(since=after(100), until=after(200)), {"open"}),
    (CallFilter(number="900805089", vendor="infocaller", source="line-900", state="ended"), {"answered"}),
    (CallFilter(number="900805089", since=after(1)), {"open"}),
    (CallFilter(number="900805089", source="desk"), set()),
]


async def test_calls_are_found_by_everything_they_can_be_narrowed_by(store: SqlStore) -> None:
    stranger = {"number": "600111222", "e164": "+34600111222"}
    events = [*whole_call(1), started(2, at=100, caller=stranger), desk_leg(3, "answered", "leg", 200), polled(4, 300)]
    names = dict(
        zip(dict.fromkeys(event.subject for event in events), ("answered", "open", "desk", "polled"), strict=True)
    )
    await store.apply(events, NOON)
    for narrow, names_found in FOUND_BY:
        assert {names[item["call_id"]] for item in await all_calls(store, narrow, limit=1)} == names_found, narrow


async def test_a_number_finds_its_calls_newest_first_in_pages(store: SqlStore) -> None:
    await store.apply([started(number, at=number) for number in range(9)], NOON)
    ids = [item["call_id"] for item in await all_calls(store, CallFilter(number=CALLER["e164"]), limit=2)]
    assert ids == [call_id(number) for number in range(8, -1, -1)]


async def test_a_call_moves_to_where_later_evidence_says_it_started(store: SqlStore) -> None:
    await store.apply([missed(1, at=50), started(2, at=40)], NOON)  # of the first, only a receipt is known
    assert [item["call_id"] for item in await all_calls(store)] == [call_id(1), call_id(2)]
    await store.apply([started(1, at=30)], NOON)
    for narrow in (CallFilter(), CallFilter(number=CALLER["number"])):
        assert [item["call_id"] for item in await all_calls(store, narrow)] == [call_id(2), call_id(1)]
    assert await all_calls(store, CallFilter(number="911222444", since=after(50))) == []


async def test_a_number_that_nobody_can_have_is_kept_in_the_record_and_not_searched(store: SqlStore) -> None:
    endless = {"number": "9" * 5000}
    assert (await store.apply([started(1, caller=endless)], NOON)).refused == {}
    assert await all_calls(store, CallFilter(number="9" * 5000)) == []


async def test_what_is_no_cursor_of_ours_is_a_value_error(store: SqlStore) -> None:
    await store.apply([started(1)], NOON)
    for cursor in ("", "x", "-1", "1.5", "²", "9" * 30, "a b", "MSAx AA", "\0", "\ud800"):
        with pytest.raises(ValueError, match="not a cursor"):
            await store.calls(CallFilter(), 10, cursor)
        with pytest.raises(ValueError, match="not a cursor"):
            await store.events(10, cursor)


async def test_an_unknown_call_is_none_and_has_no_events(store: SqlStore) -> None:
    await store.apply([started(1), apart(1)], NOON)
    for unknown in ("", "nothing", identity("nobody"), "\0", "\ud800", "' OR 1=1 --"):
        assert await store.call(unknown) is None
        assert await store.events(10, None, unknown) == Page([], None)


async def test_counts_are_of_events_calls_sealed_calls_and_what_waits_to_be_published(store: SqlStore) -> None:
    assert set((await store.counts()).values()) == {0}
    await store.apply([*whole_call(1), *whole_call(2), apart(1), polled(3)], NOON)
    counts = {name: count for name, count in (await store.counts()).items() if count}
    assert counts == {"events": 10, "callbacks": 8, "calls": 3, "sealed": 1, "outbox": 1}


async def test_a_call_is_found_by_its_national_number_although_it_came_with_its_prefix(store: SqlStore) -> None:
    caller = {"number": "+34911888920", "e164": "+34911888920"}
    await store.apply([started(1, caller=caller)], NOON)
    for number in ("911888920", "+34911888920", "34 911 888 920"):
        page = await store.calls(CallFilter(number=number), 10, None)
        assert len(page.items) == 1, number


async def test_a_derived_event_is_in_the_trace_of_what_led_to_it(store: SqlStore) -> None:
    trace = f"00-{'1' * 32}-{'2' * 16}-01"
    await store.apply([replace(polled(3), traceparent=trace)], NOON)
    [claimed] = await store.claim(NOON, 10, 60)
    assert claimed.message.headers["traceparent"] == trace
