"""A backfill: a range once, resumed where it was interrupted, the same events as the poller's."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from hub.errors import Later, NotDurable, Refused
from hub.polling.backfill import TRIES, Progress, backfill, stream
from hub.polling.gathering import Count, Gatherer
from hub.ports import Bus
from hub.ports.gaps import GapStore
from hub.ports.polls import Polled, PollStore
from tests.hub import until
from tests.polling.house import NAME, NOON, PLACES, Desk, event, having, keeping, settings, store_and_bus

HOUR: Final = timedelta(hours=1)
END: Final = NOON + 5 * HOUR
STREAM: Final = stream(NAME, NOON)


@pytest.fixture(params=PLACES)
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[GapStore, Bus]]:
    tables = PLACES[request.param](request, tmp_path)
    async with store_and_bus(settings(tmp_path, "http://127.0.0.1:9/", tables)) as both:
        yield both


async def at_once(_: float) -> None:
    """No pause."""


async def run(store: PollStore, bus: Bus | None, desk: Desk, since: datetime = NOON, **more: Any) -> Progress:
    given = {"window": 3600.0, "pause": at_once, **more}
    return await backfill(Gatherer(desk, store, bus), store.polls, since, END, **given)


async def test_a_range_is_published_once_resumed_where_it_broke_and_anew_after_its_end(
    house: tuple[GapStore, Bus],
) -> None:
    store, bus = house
    calls = [event(n, NOON + n * HOUR / 4) for n in range(20)]
    whole, broken = having(*calls), {"at": NOON + 3 * HOUR}

    async def answer(since: datetime, until_: datetime) -> Polled:
        if broken and since >= broken["at"]:
            raise Later(200, "code 900")
        return await whole.between(since, until_, "backfill")

    desk = Desk(answer)
    async with keeping(store, bus):
        dry = await run(store, None, having(*calls), dry_run=True)
        assert (dry.count, await store.polls.watermark(STREAM)) == (Count(new=20), None)
        first = await run(store, bus, desk)
        assert (first.upto, first.count, first.problem) == (NOON + 3 * HOUR, Count(new=12), "code 900")
        assert len(desk.asked) == 3 + TRIES
        assert {origin for _, _, origin in desk.asked} == {"backfill"}
        assert await store.polls.watermark(STREAM) == NOON + 3 * HOUR
        broken.clear()
        desk.asked.clear()
        second = await run(store, bus, desk)
        assert (second.since, second.upto, second.count) == (NOON + 3 * HOUR, END, Count(new=8))
        assert [since for since, _, _ in desk.asked] == [NOON + 3 * HOUR, NOON + 4 * HOUR]
        assert await store.polls.watermark(STREAM) is None

        async def kept() -> bool:
            return not await store.lacks([call.id for call in calls])

        await until(kept)
        third = await run(store, bus, desk)
        assert third.count == Count(known=20)

    counts = await store.counts()
    assert (counts["calls"], counts["repeats"]) == (20, 0)


async def test_what_cannot_work_ends_it_at_once_and_what_passes_is_tried_again(
    house: tuple[GapStore, Bus],
) -> None:
    store, bus = house
    errors: list[Exception] = [Refused(200, "code 100")]

    async def answer(_: datetime, __: datetime) -> Polled:
        if errors:
            raise errors.pop(0)
        return Polled((event(1),))

    desk = Desk(answer)
    refused = await run(store, bus, desk)
    assert (refused.problem, refused.upto, len(desk.asked)) == ("code 100", NOON, 1)
    errors += [Later(200, "code 900"), NotDurable("the broker is away")]
    passed = await run(store, bus, desk)
    assert (passed.problem, passed.upto) == (None, END)
    assert passed.count == Count(new=1, known=4)  # a vendor that gives what was not asked for: once all the same


async def test_two_ranges_do_not_take_each_others_progress(house: tuple[GapStore, Bus]) -> None:
    store, bus = house
    await store.polls.advance(STREAM, NOON + 4 * HOUR, NOON)
    desk = having()
    other = await run(store, bus, desk, since=NOON + HOUR)
    assert other.since == NOON + HOUR
    told: list[Progress] = []
    mine = await run(store, bus, desk, tell=told.append)
    assert mine.since == NOON + 4 * HOUR
    assert [progress.upto for progress in told] == [NOON + 4 * HOUR, END]
