"""Local times become UTC, and autumn's repeated hour is told apart wherever something tells."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from hub.events import timestamp
from hub.vendors.infocaller.times import during, nearest, readings, span, stamp

MADRID = ZoneInfo("Europe/Madrid")
LONG_AFTER = datetime(2027, 6, 1, tzinfo=UTC)

_moments = st.integers(978_307_200_000, 4_000_000_000_000).map(lambda ms: datetime.fromtimestamp(ms / 1000, UTC))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def read(text: str, zone: ZoneInfo = MADRID) -> list[str]:
    return [timestamp(moment) for moment in readings(text, zone)]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2022-01-01T10:00:00", "2022-01-01T09:00:00.000Z"),
        ("2022-07-01T10:00:00", "2022-07-01T08:00:00.000Z"),
        ("2022-01-01T10: 00: 00", "2022-01-01T09:00:00.000Z"),
        ("2022-01-01 10:00:00", "2022-01-01T09:00:00.000Z"),
        ("2022-01-01 T 10 : 00 : 00", "2022-01-01T09:00:00.000Z"),
        ("2022 - 01 - 01T10:00:00", "2022-01-01T09:00:00.000Z"),
        ("2022-01-01T10:00:00.5", "2022-01-01T09:00:00.500Z"),
        ("2022-01-01T10:00:00,1234567", "2022-01-01T09:00:00.123Z"),
        ("2022-01-01T10:00:00.123456789", "2022-01-01T09:00:00.123Z"),
        ("2026-03-29T01:59:59", "2026-03-29T00:59:59.000Z"),
        ("2026-03-29T02:30:00", "2026-03-29T01:30:00.000Z"),  # does not exist: the offset before the change
        ("2026-03-29T03:00:00", "2026-03-29T01:00:00.000Z"),
        ("2024-02-29T23:59:59", "2024-02-29T22:59:59.000Z"),
    ],
)
def test_a_local_time_is_one_moment(text: str, moment: str) -> None:
    assert read(text) == [moment]


@pytest.mark.parametrize(
    "text",
    [
        "", "0000-00-00", "0000-00-00T00:00:00", "0001-01-01T00:00:00", "1899-12-30T00:00:00", "1970-01-01T00:00:00",
        "2022-13-01T10:00:00", "2023-02-29T10:00:00", "2022-01-01T24:00:00", "2022-01-01T10:60:00", "2022-01-01",
        "2022-W01-1T10:00:00", "20220101T100000", "2022-01-01T10:00", "2022-01-01X10:00:00", "01/01/2022 10:00:00",
        "٢٠٢٢-01-01T10:00:00", "9999-12-31T23:59:59", "now", "2022-01-01T10:00:00" + " " * 500, "-" * 40,
    ],
)  # fmt: skip
def test_what_is_no_time_is_absent(text: str) -> None:
    assert read(text) == []


def test_the_repeated_hour_has_two_readings_the_earlier_first() -> None:
    assert read("2026-10-25T02:30:00") == ["2026-10-25T00:30:00.000Z", "2026-10-25T01:30:00.000Z"]
    assert read("2026-10-25T03:00:00") == ["2026-10-25T02:00:00.000Z"]
    assert read("2026-10-25T01:59:59") == ["2026-10-24T23:59:59.000Z"]


def test_another_zone_has_another_hour() -> None:
    assert read("2026-10-25T01:30:00", ZoneInfo("Atlantic/Canary")) == [
        "2026-10-25T00:30:00.000Z",
        "2026-10-25T01:30:00.000Z",
    ]
    assert read("2026-10-25T02:30:00", ZoneInfo("America/Bogota")) == ["2026-10-25T07:30:00.000Z"]
    # Lord Howe's clock goes back by half an hour only.
    assert read("2026-04-05T01:45:00", ZoneInfo("Australia/Lord_Howe")) == [
        "2026-04-04T14:45:00.000Z",
        "2026-04-04T15:15:00.000Z",
    ]


@pytest.mark.parametrize(
    ("start", "end", "seconds", "received", "expected"),
    [
        # One pair of folds lasts as long as the call did: it stands, whenever the callback comes.
        ("01:59:30", "02:00:30", 60, None, ("23:59:30", "00:00:30")),
        ("01:59:30", "02:00:30", 3660, None, ("23:59:30", "01:00:30")),
        ("02:59:30", "03:00:30", 60, None, ("01:59:30", "02:00:30")),
        ("02:59:30", "03:00:30", 3660, None, ("00:59:30", "02:00:30")),
        ("02:50:00", "02:10:00", 1200, None, ("00:50:00", "01:10:00")),
        ("02:10:00", "02:50:00", 6000, None, ("00:10:00", "01:50:00")),
        # Two pairs do: the one that ended nearest to the receipt, within two hours.
        ("02:10:00", "02:20:00", 600, "00:20:01", ("00:10:00", "00:20:00")),
        ("02:10:00", "02:20:00", 600, "01:20:01", ("01:10:00", "01:20:00")),
        ("02:05:00", "02:55:00", 3000, "00:55:01", ("00:05:00", "00:55:00")),
        ("02:10:00", "02:20:00", 600, "03:20:00", ("01:10:00", "01:20:00")),
        # Too late to tell: the earlier hour.
        ("02:10:00", "02:20:00", 600, "03:20:01", ("00:10:00", "00:20:00")),
        ("02:10:00", "02:20:00", 600, None, ("00:10:00", "00:20:00")),
        # No length, or one that fits no pair: the receipt, and an end is never before its start.
        ("01:59:30", "02:00:30", None, "01:00:31", ("23:59:30", "01:00:30")),
        ("01:59:30", "02:00:30", 61, "00:00:31", ("23:59:30", "00:00:30")),
        ("02:50:00", "02:10:00", None, None, ("00:50:00", "01:10:00")),
        ("02:10:00", "02:20:00", None, "01:20:01", ("01:10:00", "01:20:00")),
        # One of the two is not known.
        ("02:10:00", "", None, "01:10:01", ("01:10:00", None)),
        ("02:10:00", "", 60, None, ("00:10:00", None)),
        ("", "02:10:00", 60, "01:10:01", (None, "01:10:00")),
        ("", "", 60, None, (None, None)),
    ],
)
def test_the_folds_of_a_call_agree_with_its_length_then_with_its_receipt(
    start: str, end: str, seconds: int | None, received: str | None, expected: tuple[str | None, str | None]
) -> None:
    def day(clock: str) -> str:
        return f"2026-10-25T{clock}" if clock else ""

    received_at = utc(day(received)) if received else LONG_AFTER
    found = span(readings(day(start), MADRID), readings(day(end), MADRID), seconds, received_at)
    assert tuple(moment and moment.strftime("%H:%M:%S") for moment in found) == expected


@pytest.mark.parametrize(
    ("clock", "start", "end", "received", "expected"),
    [
        ("02:05:00", "2026-10-25T00:00:00", "2026-10-25T00:10:00", None, "00:05:00"),
        ("02:05:00", "2026-10-25T01:00:00", "2026-10-25T01:10:00", None, "01:05:00"),
        ("02:05:00", "2026-10-25T00:00:00", "2026-10-25T01:10:00", "2026-10-25T01:10:01", "01:05:00"),
        ("02:05:00", "2026-10-25T00:00:00", "2026-10-25T01:10:00", None, "00:05:00"),
        ("02:05:00", "2026-10-25T01:00:00", None, None, "01:05:00"),
        ("02:05:00", None, None, "2026-10-25T01:05:01", "01:05:00"),
        ("02:05:00", "2026-10-25T05:00:00", "2026-10-25T05:10:00", None, "00:05:00"),
        ("04:05:00", "2026-10-25T00:00:00", "2026-10-25T00:10:00", None, "03:05:00"),
    ],
)
def test_an_action_is_within_its_call_where_one_reading_is(
    clock: str, start: str | None, end: str | None, received: str | None, expected: str
) -> None:
    call = ((start and utc(start)) or None, (end and utc(end)) or None)
    moment = during(readings(f"2026-10-25T{clock}", MADRID), call, utc(received) if received else LONG_AFTER)
    assert moment is not None
    assert moment.strftime("%H:%M:%S") == expected


def test_nothing_is_near_to_nothing() -> None:
    assert nearest((), LONG_AFTER) is None
    assert during((), (None, None), LONG_AFTER) is None


@given(_moments, st.integers(0, 20000))
def test_a_call_is_placed_where_it_was_by_its_length_and_a_prompt_receipt(start: datetime, seconds: int) -> None:
    began = start.replace(microsecond=0)
    ended = began + timedelta(seconds=seconds)
    local = [moment.astimezone(MADRID).strftime("%Y-%m-%dT%H:%M:%S") for moment in (began, ended)]
    found = span(readings(local[0], MADRID), readings(local[1], MADRID), seconds, ended + timedelta(seconds=2))
    assert found == (began, ended)


@given(_moments)
def test_a_stamp_is_the_events_timestamp(moment: datetime) -> None:
    assert stamp(moment) == timestamp(moment)


@given(st.text(max_size=60))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert len(readings(text, MADRID)) <= 2
