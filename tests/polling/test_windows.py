"""Which times are asked for."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from hub.polling.windows import SHORTEST, Stream, halves, windows
from tests.polling.house import NOON

STREAM = Stream("poll/focu5", 300, 600)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1))  # noqa: DTZ001  as hypothesis wants them


@given(since=MOMENTS, seconds=st.floats(0, 10**5), longest=st.floats(0.001, 10**4))
def test_windows_cover_a_time_without_gap_and_none_is_longer_than_told(
    since: datetime, seconds: float, longest: float
) -> None:
    until = since + timedelta(seconds=seconds)
    if seconds > 1000 * longest:
        return
    cut = list(windows(since, until, longest))
    if since == until:
        assert cut == []
        return
    assert (cut[0][0], cut[-1][1]) == (since, until)
    assert all(one[1] == other[0] for one, other in pairwise(cut))
    assert all(timedelta() < last - first <= max(SHORTEST, timedelta(seconds=longest)) for first, last in cut)


@given(since=MOMENTS, seconds=st.floats(0, 10**5))
def test_halves_are_shorter_and_together_the_whole_until_it_cannot_be_cut(since: datetime, seconds: float) -> None:
    until = since + timedelta(seconds=seconds)
    cut = halves(since, until)
    if not cut:
        assert until - since <= 2 * SHORTEST
        return
    (first, middle), (again, last) = cut
    assert (first, last) == (since, until)
    assert middle == again
    assert since < middle < until
    assert middle.microsecond == 0


@pytest.mark.parametrize(
    ("watermark", "begins", "due"),
    [
        (None, -600, 0),  # never asked: at once
        (0, -600, 300),
        (-100, -700, 200),
        (-86400, -87000, -86100),  # after a day without the vendor: from where it was
        (50, -600, 350),  # our clock was set back
    ],
)
def test_a_stream_is_asked_from_its_watermark_less_its_overlap(watermark: int | None, begins: int, due: float) -> None:
    mark = None if watermark is None else NOON + timedelta(seconds=watermark)
    assert STREAM.begins(mark, NOON) == NOON + timedelta(seconds=begins)
    assert STREAM.due_in(mark, NOON) == due
