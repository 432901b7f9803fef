"""Who may begin where many come at one moment: in order, never too many, and told in time."""

import asyncio
from collections.abc import Awaitable

import pytest

from hub.turnstile import Turnstile

LATE = 10.0
"""When the end has to begin, on the clock of these tests."""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def rounds(count: int = 20) -> None:
    """Turns of the event loop: all that can happen has."""
    for _ in range(count):
        await asyncio.sleep(0)


def tasks(*entering: Awaitable[bool]) -> list[asyncio.Future[bool]]:
    return [asyncio.ensure_future(one) for one in entering]


async def test_who_comes_alone_does_not_wait(clock: Clock) -> None:
    turnstile = Turnstile(1, clock)
    clock.now = 2 * LATE  # and whether there is time is then for the resolver to find out
    coming = turnstile.enter(LATE, 0)
    with pytest.raises(StopIteration) as ended:
        coming.__await__().send(None)
    assert ended.value.value is True


async def test_no_more_are_inside_than_there_are_places_and_the_first_to_come_is_the_next(clock: Clock) -> None:
    turnstile = Turnstile(2, clock)
    coming = tasks(*(turnstile.enter(LATE, 0) for _ in range(5)))
    inside: list[list[bool]] = []
    for _ in range(4):
        await rounds()
        inside.append([one.done() for one in coming])
        turnstile.leave()
    assert inside == [[n < 2 + left for n in range(5)] for left in range(4)]
    assert all(one.result() for one in coming if one.done())


async def test_who_comes_later_does_not_overtake(clock: Clock) -> None:
    turnstile = Turnstile(1, clock)
    first, second = tasks(turnstile.enter(LATE, 0), turnstile.enter(LATE, 0))
    await rounds()
    turnstile.leave()
    (third,) = tasks(turnstile.enter(LATE, 0))
    await rounds()
    assert (first.done(), second.done(), third.done()) == (True, True, False)


async def test_who_has_no_time_left_is_told_so_and_takes_no_place(clock: Clock) -> None:
    turnstile = Turnstile(1, clock)
    _, late, soon = tasks(turnstile.enter(LATE, 1), turnstile.enter(LATE, 1), turnstile.enter(2 * LATE, 1))
    await rounds()
    clock.now = LATE - 0.5
    turnstile.leave()
    await rounds()
    assert (late.result(), soon.result()) == (False, True)


async def test_a_crowd_is_told_while_there_is_time_to_tell_all_of_it(clock: Clock) -> None:
    turnstile = Turnstile(1, clock)
    assert await turnstile.enter(LATE, 0)
    crowd = tasks(*(turnstile.enter(LATE, 0) for _ in range(2000)))
    await rounds()
    clock.now = LATE - 0.5  # half a second for 2000: the last of them would be told too late
    turnstile.leave()
    await rounds(100)
    told = [one.result() for one in crowd if one.done()]
    first = told.index(True)
    assert first > 500
    assert told == [False] * first + [True]


async def test_what_begins_waits_for_what_is_being_ended(clock: Clock) -> None:
    turnstile = Turnstile(1000, clock)
    ending = [turnstile.ending() for _ in range(200)]
    for one in ending:
        one.__enter__()
    (coming,) = tasks(turnstile.enter(LATE, 0))
    await rounds()
    assert not coming.done()
    ending[0].__exit__(None, None, None)
    assert await coming


async def test_ends_that_take_longer_are_told_of_earlier(clock: Clock) -> None:
    turnstile = Turnstile(1, clock)
    for _ in range(100):
        ending = [turnstile.ending() for _ in range(100)]
        for one in ending:
            one.__enter__()
        clock.now += 1  # a hundredth of a second for each
        for one in ending:
            one.__exit__(None, None, None)
    clock.now = 0
    assert await turnstile.enter(LATE, 0)
    crowd = tasks(*(turnstile.enter(LATE, 0) for _ in range(3000)))
    await rounds()
    turnstile.leave()
    await rounds(100)
    told = [one.result() for one in crowd if one.done()]
    assert 100 < told.index(True) < 2000


async def test_whoever_gives_up_leaves_his_place_to_the_next(clock: Clock) -> None:
    turnstile = Turnstile(1, clock)
    _, gone, called, last = tasks(*(turnstile.enter(LATE, 0) for _ in range(4)))
    await rounds()
    gone.cancel()
    turnstile.leave()
    await rounds(1)
    called.cancel()  # it may have been let in, and does not know yet
    await rounds()
    assert gone.cancelled()
    assert called.cancelled() or called.result()
    if called.done() and not called.cancelled():
        turnstile.leave()
        await rounds()
    assert last.result()
