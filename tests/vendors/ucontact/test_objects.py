"""The objects that go to a dialer: what they hold, what is refused, and what must not change."""

import json
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from hub.errors import Permanent
from hub.vendors.ucontact.cti import CHANGEABLE, FIXED, Respool, from_cti
from hub.vendors.ucontact.tasks import MODES, Mode, joined, local, read_variables, schedule, split, task, variables

ZONE: Final = ZoneInfo("America/Montevideo")
AT: Final = datetime(2026, 11, 20, 9, 15, tzinfo=UTC)
WHERE: Final[dict[str, Any]] = {"campaign": "POWER<-", "destination": "0123456789", "zone": ZONE}
SAMPLE: Final = {
    "calldate": None,
    "campaign": "POWER<-",
    "destination": "0123456789",
    "alternatives": "",
    "agent": "",
    "data": "idcustomer=7",
    "source": "source",
    "bulk": False,
    "automatic": True,
}
DIALER: Final[dict[str, Any]] = {
    "campaign": "POWER<-",
    "main number": "099124484",
    "status": "1",
    "data": "state=NV:idcustomer=7",
    "alternatives": "099222222:H=0=099333333",
    "retries": 2,
    "contact": 8821,
    "dialebase": "june",
    "priority": "9999",
    "agentphone": "",
}


def test_the_pages_sample_is_what_the_mode_dialer_sends_with_every_key() -> None:
    assert task("dialer", data={"idcustomer": "7"}, **WHERE) == SAMPLE


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_has_every_key_and_only_a_scheduled_one_a_time(mode: Mode) -> None:
    made = task(mode, agent="9999", at=AT if mode == "scheduled" else None, **WHERE)
    assert set(SAMPLE) <= set(made)
    assert made["calldate"] == ("2026-11-20 06:15:00" if mode == "scheduled" else None)
    with pytest.raises(Permanent, match=mode):
        task(mode, agent="9999", at=None if mode == "scheduled" else AT, **WHERE)


def test_modes_differ_and_are_the_configurations_to_change_but_not_the_contact() -> None:
    every = [task(mode, agent="1", at=AT if mode == "scheduled" else None, **WHERE) for mode in MODES]
    assert len({json.dumps(one, sort_keys=True) for one in every}) == len(MODES)
    changed = task("priority", modes={"priority": {"bulk": True, "destination": "666"}}, **WHERE)
    assert (changed["bulk"], changed["destination"], "automatic" in changed) == (True, "0123456789", False)
    with pytest.raises(Permanent, match="agent"):
        task("click", **WHERE)


def test_a_schedule_names_the_agent_otherwise_and_its_time_is_the_instances() -> None:
    made = schedule(at=AT, agentphone="9999", alternatives=["099124484", "099 121-212"], **WHERE)
    assert made == {
        "calldate": "2026-11-20 06:15:00",
        "campaign": "POWER<-",
        "destination": "0123456789",
        "alternatives": "099124484:099121212",
        "agentphone": "9999",
        "data": "",
    }


def test_a_time_is_told_as_the_instances_clock_shows_it_in_summer_and_in_winter() -> None:
    madrid = ZoneInfo("Europe/Madrid")
    assert local(datetime(2026, 10, 25, 0, 30, tzinfo=UTC), madrid) == "2026-10-25 02:30:00"
    assert local(datetime(2026, 10, 25, 1, 30, tzinfo=UTC), madrid) == "2026-10-25 02:30:00"
    assert local(datetime(2026, 3, 29, 1, 0, tzinfo=UTC), madrid) == "2026-03-29 03:00:00"


@pytest.mark.parametrize("number", ["", "abc", "12;34", "1:2", "+", "099124484\n1", "9" * 33])
def test_what_is_no_number_is_refused_without_being_said(number: str) -> None:
    with pytest.raises(Permanent) as caught:
        task("dialer", **{**WHERE, "destination": number})
    assert len(number) < 3 or number not in str(caught.value)


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=20), max_size=5))
def test_no_value_can_make_a_variable_of_its_own(data: dict[str, str]) -> None:
    text = variables(data)
    read = read_variables(text)
    assert len(read) <= len(data)
    assert variables(read) == variables({name: value.strip() for name, value in read.items()})
    assert not set(text) & set("#'\r\n\0")


@given(st.lists(st.from_regex(r"\+?[0-9]{3,12}", fullmatch=True), max_size=5))
def test_alternatives_are_what_they_were_after_both_ways(numbers: list[str]) -> None:
    assert list(split(joined(numbers))) == numbers


# --- CTI -------------------------------------------------------------------------------------------------------------


def test_a_cti_object_becomes_the_respool_object_with_nothing_changed() -> None:
    outer = {"Guid": "824da669", "Screen": "FALSE", "Campaign": "POWER<-", "ParAndValues": "", "Dialer": DIALER}
    for cti in (outer, DIALER, {"Guid": "824da669", "dialer": list(DIALER.values())}):
        assert from_cti(cti).shown() == {
            "campaign": "POWER<-",
            "destination": "099124484",
            "status": 1,
            "data": "state=NV:idcustomer=7",
            "alternatives": "099222222:H=0=099333333",
            "retries": 2,
            "contact": "8821",
            "dialerbase": "june",
            "priority": "9999",
            "agentphone": "",
        }


def test_both_spellings_of_the_list_are_understood() -> None:
    both = [
        {**DIALER},
        {**{name: value for name, value in DIALER.items() if name != "dialebase"}, "dialerBase": "june"},
    ]
    assert {from_cti(cti).dialerbase for cti in both} == {"june"}


def test_the_next_alternative_becomes_the_main_number_and_starts_without_retries() -> None:
    first = from_cti(DIALER).promoted()
    assert (first.destination, first.alternatives, first.retries) == ("099222222", ("H=0=099333333", "099124484"), 0)
    second = first.promoted()
    assert (second.destination, second.alternatives) == ("099333333", ("099124484", "099222222"))
    with pytest.raises(Permanent, match="alternative"):
        from_cti({**DIALER, "alternatives": ""}).promoted()


@pytest.mark.parametrize("field", FIXED)
def test_what_the_dialer_needs_unchanged_cannot_be_changed(field: str) -> None:
    with pytest.raises(Permanent, match=f"{field} must stay"):
        from_cti(DIALER).changed(**{field: "x"})


changes = st.fixed_dictionaries(
    {},
    optional={
        "destination": st.from_regex(r"\+?[0-9]{3,12}", fullmatch=True),
        "alternatives": st.lists(st.from_regex(r"[0-9]{3,12}", fullmatch=True), max_size=3).map(tuple),
        "retries": st.integers(0, 9),
        "priority": st.integers(1, 9999).map(str),
        "data": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
        "agentphone": st.from_regex(r"[0-9]{0,4}", fullmatch=True),
    },
)


@given(st.lists(changes, max_size=4), st.integers(0, 3))
def test_whatever_is_changed_the_dialers_own_fields_are_what_they_were(made: list[dict[str, Any]], times: int) -> None:
    contact = from_cti(DIALER)
    for one in made:
        contact = contact.changed(**one)
    for _ in range(times if contact.alternatives else 0):
        contact = contact.promoted()
    shown = contact.shown()
    assert {name: shown[name] for name in FIXED} == {
        "campaign": "POWER<-",
        "status": 1,
        "contact": "8821",
        "dialerbase": "june",
    }


def test_an_unknown_field_and_a_call_that_no_dialer_made_are_refused() -> None:
    with pytest.raises(Permanent, match=CHANGEABLE[0]):
        from_cti(DIALER).changed(colour="red")
    for cti in ({"Guid": "1", "Campaign": "SalienteTest->"}, {"Dialer": "none"}, {**DIALER, "contact": " "}):
        with pytest.raises(Permanent, match="dialer"):
            from_cti(cti)
    with pytest.raises(Permanent, match="retries"):
        from_cti({**DIALER, "retries": "many"})
    with pytest.raises(Permanent, match="retries"):
        Respool("POWER<-", "099124484", "1", "june", retries=1000).shown()
