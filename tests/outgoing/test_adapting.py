"""How a limit finds what the other side bears: the pure level, in simulated time, against simulated neighbours."""

import heapq
from itertools import count
from random import Random

import pytest

from hub.outgoing.adapting import Level, Pace


class Neighbour:
    """Serves so many at once, each for about 100 ms; one too many is refused after 5 ms."""

    def __init__(self, capacity: int, seed: int) -> None:
        self.capacity = capacity
        self.busy = 0
        self.random = Random(seed)  # noqa: S311  not for secrets


def run(neighbour: Neighbour, level: Level, start: float, seconds: float) -> tuple[int, int, float]:
    """Asks as much as the level allows; returns served, refused, and the mean of the level over the last half."""
    now, served, refused, in_flight = start, 0, 0, 0
    events: list[tuple[float, int, float, bool]] = []
    order, samples = count(), []
    while now < start + seconds:
        while in_flight < max(1, int(level.value + 0.5)):
            taken = neighbour.busy < neighbour.capacity
            neighbour.busy += taken
            lasts = neighbour.random.uniform(0.08, 0.12) if taken else 0.005
            heapq.heappush(events, (now + lasts, next(order), now, taken))
            in_flight += 1
        now, _, sent_at, taken = heapq.heappop(events)
        at_limit = in_flight >= int(level.value + 0.5)
        in_flight -= 1
        if taken:
            neighbour.busy -= 1
            served += 1
            if at_limit:
                level.grow(now)
        else:
            refused += 1
            level.cut(now, sent_at, max(1, in_flight), 0.05)
        if now > start + seconds / 2:
            samples.append(int(level.value + 0.5))
    neighbour.busy -= sum(taken for *_, taken in events)
    return served, refused, sum(samples) / len(samples)


@pytest.mark.parametrize("capacity", [10, 20, 60])
@pytest.mark.parametrize("seed", [1, 2])
def test_it_settles_within_a_tenth_of_a_capacity_that_halves_with_less_than_one_error_in_a_hundred(
    capacity: int, seed: int
) -> None:
    neighbour = Neighbour(capacity, seed)
    level = Level(capacity, 1.0, calm=10, steps=300)
    served, refused, settled = run(neighbour, level, 1000.0, 60)
    assert (refused, settled) == (0, capacity)
    neighbour.capacity = capacity // 2
    served, refused, settled = run(neighbour, level, 1060.0, 120)
    assert refused / (served + refused) < 0.01
    assert settled == pytest.approx(capacity / 2, rel=0.1)


def test_it_finds_a_capacity_that_grows_again_within_two_minutes() -> None:
    neighbour = Neighbour(10, 4)
    level = Level(40, 1.0, calm=10, steps=300)
    run(neighbour, level, 1000.0, 60)
    assert level.value < 12
    neighbour.capacity = 40
    _, refused, _ = run(neighbour, level, 1060.0, 120)
    assert (level.value, refused) == (40, 0)


def test_one_surprise_cuts_to_half_at_most_and_what_was_sent_before_it_no_further() -> None:
    level = Level(100, 1.0, calm=10, steps=300)
    for _ in range(60):
        level.cut(1001.0, 1000.0, 1, 0.05)
    assert 45 < level.value <= 50
    level.cut(1002.0, 1001.5, 1, 0.05)
    assert 22 < level.value <= 25


def test_it_grows_neither_by_time_alone_nor_by_successes_alone() -> None:
    level = Level(100, 1.0, calm=10, steps=300)
    level.cut(1000.0, 999.0, 60, 0.05)
    cut = level.value
    level.grow(1060.0)
    assert level.value < cut + 1
    other = Level(100, 1.0, calm=10, steps=300)
    other.cut(1000.0, 999.0, 60, 0.05)
    for _ in range(3000):
        other.grow(1000.1)
    assert other.value < cut + 1


def test_it_never_leaves_its_bounds() -> None:
    level = Level(8, 2.0, calm=1, steps=1)
    for at in range(50):
        level.cut(1000.0 + at, 999.9 + at, 0, 0.5)
    assert level.value == 2
    for at in range(1000):
        level.grow(2000.0 + at)
    assert level.value == 8


def test_another_ceiling_is_taken_at_once_where_the_old_one_was_reached() -> None:
    level = Level(10, 1.0, calm=10, steps=300)
    level.limit(20, 1.0)
    assert level.value == 20
    level.cut(1000.0, 999.0, 12, 0.05)
    level.limit(30, 1.0)
    assert level.value < 13
    level.limit(5, 1.0)
    assert level.value == 5


def test_a_pace_is_told_by_what_came_lately() -> None:
    pace = Pace()
    for tick in range(1000):
        pace.note(tick / 50, 1.0)
    assert pace.rate(20.0) == pytest.approx(50, rel=0.05)
    assert pace.rate(30.0) < 1
