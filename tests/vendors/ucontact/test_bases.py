"""Lists from CSV: every value checked before anything is sent, and what was sent told exactly."""

from typing import Any, Final

import pytest
from hypothesis import given, strategies as st

from hub.errors import Doubtful, Permanent, Refused
from hub.simulator.ucontact_books import read_rows
from hub.vendors.ucontact.bases import COLUMNS, Base, list_name, read_base
from hub.vendors.ucontact.uploading import Uploaded, upload
from tests.vendors.ucontact.instance import instance

SAMPLE: Final = """\
AutomationDialerPD<-;999111111;state=NV:variable2=val2;999222222:999333333;9999;
AutomationDialerPD<-;999444444;state=KY:variable2=val2;H=0=999555555:W=0=999666666;9999;
AutomationDialerPD<-;999777777;;;9999;
"""
DIALER: Final = "AutomationDialerPD<-"


def slips(text: str, **more: Any) -> list[tuple[int, str]]:
    return [(slip.line, slip.column) for slip in read_base(text, **more).slips]


def rows(count: int) -> Base:
    return read_base("".join(f"{DIALER};{999000000 + n};;;9999;\n" for n in range(count)), campaign=DIALER)


def test_the_vendors_own_sample_goes_as_it_is() -> None:
    base = read_base(SAMPLE, campaign=DIALER)
    assert base.slips == []
    assert "".join(f"{record}\n" for record in base.records) == SAMPLE
    assert base.lines == [1, 2, 3]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_header_names_the_columns_in_any_order_and_with_either_separator(end: str, mark: str) -> None:
    lines = ["phone,priority,agent,data", "+34600123456,1,1001,a=1:b=2", "", "600123457,,,"]
    base = read_base(mark + end.join(lines) + end, campaign="POWER<-")
    assert base.slips == []
    assert base.records == ["POWER<-;+34600123456;a=1:b=2;;1;1001;", "POWER<-;600123457;;;9999;"]
    assert base.lines == [2, 4]


def test_every_value_that_cannot_be_sent_is_told_by_line_and_column() -> None:
    text = """\
campaign;destination;parAndVals;alternatives;priority;agent
POWER<-;abc;;;9999;
POWER<-;;x;12;0;a b
Demo;600123456;;;high;
Demo<-;600123456;a=1:=2;;10000;
POWER<-;600123456;;;1;1001;;;
"""
    assert slips(text, campaign="POWER<-") == [
        (2, "destination"),
        *((3, name) for name in ("destination", "parAndVals", "alternatives", "priority", "agent")),
        *((4, name) for name in ("campaign", "priority", "campaign")),
        *((5, name) for name in ("parAndVals", "priority", "campaign")),
        (6, "row"),
    ]
    first = str(read_base(text, campaign="POWER<-").slips[0])
    assert first == "line 2, destination: found 3 characters; expected a number: 3 to 32 digits, + before them"


@pytest.mark.parametrize(("priority", "right"), [("1", True), ("0009", True), ("0000", False), ("000091111111", False)])
def test_a_priority_is_read_whole(priority: str, right: bool) -> None:
    found = slips(f"POWER<-;600123456;;;{priority};", campaign="POWER<-")
    assert found == ([] if right else [(1, "priority")])


def test_a_header_with_an_unknown_or_a_repeated_column_is_a_slip() -> None:
    assert slips("destination;colour\n600123456;red\n", campaign="P<-") == [(1, "header")]
    assert slips("destination;phone\n600123456;1\n", campaign="P<-") == [(1, "header"), (2, "destination")]
    assert slips('destination\n"600\n123"\n', campaign="P<-") == [(3, "destination")]


def test_nothing_wrong_may_be_sent_and_the_message_tells_the_first_twenty() -> None:
    with pytest.raises(Permanent, match=r"(?s)25 values cannot be sent, nothing was:\nline 1, destination.*and 5 more"):
        read_base("P<-;x;;;9999;\n" * 25).checked()
    with pytest.raises(Permanent, match="no record"):
        read_base("destination\n\n").checked()


def test_with_time_zones_every_record_says_its_state() -> None:
    assert slips(SAMPLE, timezones=True) == [(3, "parAndVals")]
    assert slips(SAMPLE.replace("999777777;;", "999777777;state=ny;"), timezones=True) == [(3, "parAndVals")]
    assert slips(SAMPLE.replace("999777777;;", "999777777;state=NY;"), timezones=True) == []
    assert slips("P<-;600123456;zone=NY;;;\n", timezones=True, state="zone") == []


@pytest.mark.parametrize("name", ["", "Respool", "june list", "a" * 51, "june.csv.csv", "ñ", "../x"])
def test_a_name_that_the_vendor_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(Permanent, match="name"):
        list_name(name)


def test_parts_have_names_of_their_own() -> None:
    assert (list_name("june.csv"), list_name("june", 2)) == ("june.csv", "june_2.csv")
    parts = list(rows(5).parts(2))
    assert [(part.number, part.first, part.last, part.rows) for part in parts] == [
        (1, 1, 2, 2),
        (2, 3, 4, 2),
        (3, 5, 5, 1),
    ]


cells = st.text(st.characters(codec="utf-8", exclude_characters=';,"\r\n'), max_size=12)


@given(st.lists(st.lists(cells, min_size=1, max_size=8), max_size=6))
def test_whatever_a_file_holds_it_is_sent_as_the_vendor_reads_it_or_not_at_all(table: list[list[str]]) -> None:
    text = "".join(";".join(row) + "\n" for row in [[*COLUMNS], *table])
    base = read_base(text, campaign="POWER<-")
    if not base.slips and base.records:
        [part] = base.parts(1000)
        read = read_rows("june.csv", part.content, "POWER<-", str(part.rows))
        assert read is not None
        assert len(read) == part.rows


# --- sent ------------------------------------------------------------------------------------------------------------


async def test_a_list_goes_whole_in_one_request_and_a_longer_one_in_parts_that_are_told() -> None:
    told: list[int] = []
    async with instance() as (vendor, client):
        wanted: dict[str, Any] = {"campaign": DIALER, "username": "ana"}
        done = await upload(client, read_base(SAMPLE), name="june", **wanted)
        assert done.shown() == {"rows": 3, "of": 3, "files": ["june.csv"]}
        assert [row[1] for row in vendor.books.uploads["june.csv"]] == ["999111111", "999444444", "999777777"]
        done = await upload(client, rows(5), name="july", part=2, tell=lambda now: told.append(now.rows), **wanted)
        assert done.files == ["july_1.csv", "july_2.csv", "july_3.csv"]
        assert told == [0, 2, 4, 5]
        assert await client.upload_base("tz.csv", SAMPLE, rows=3, timezones=True, **wanted) == "1"


async def test_an_upload_ends_at_the_first_failure_and_says_where_and_whether_it_is_in_doubt() -> None:
    async with instance() as (vendor, client):

        async def again(*moods: Any) -> Uploaded:
            vendor.moods.extend(moods)
            return await upload(client, rows(5), name="june", campaign=DIALER, username="ana", part=2)

        refused = await again(None, "zero")
        assert isinstance(refused.problem, Refused)
        assert (refused.rows, refused.line, refused.doubtful) == (2, 3, False)
        doubtful = await again(None, None, "drop")
        assert isinstance(doubtful.problem, Doubtful)
        assert doubtful.shown()["next_line"] == 5
        assert doubtful.shown()["doubtful"] is True
        assert vendor.books.uploads.keys() >= {"june_3.csv"}


async def test_a_file_with_a_slip_is_not_begun() -> None:
    async with instance() as (vendor, client):
        base = read_base("P<-;600123456;;;;\n" * 5 + "P<-;;;;;\n")
        with pytest.raises(Permanent, match="line 6, destination"):
            await upload(client, base, name="june", campaign="P<-", username="ana", part=2)
        assert vendor.asked == []
