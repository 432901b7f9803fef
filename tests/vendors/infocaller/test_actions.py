"""An action in the canonical form."""

from typing import Any

import pytest

from hub.vendors.infocaller.actions import NAMES, action, canonical

ALL = {f"EventAddInfo{number}": text for number, text in enumerate(("a", "b", "37", "0,05", "e"), start=1)}
INFO = ["a", "b", "37", "0,05", "e"]


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("2", {"duration_seconds": 37, "amount": "0.050000"}),
        ("4", {"input": "a"}),
        ("6", {"option": "a"}),
        ("7", {"amount": "0.050000"}),
        ("12", {"amount": "0.050000"}),
        ("17", {"result": "a"}),
        ("1", {}),
        ("16", {}),
    ],
)
def test_a_codes_info_stands_under_a_name_of_its_own(code: str, meaning: dict[str, Any]) -> None:
    expected = {"code": int(code), "name": NAMES[int(code)], "label": "L", "at": "T", "info": INFO} | meaning
    assert action({"EventType": code, "EventName": "L", **ALL}, "T") == expected


def test_the_names_are_the_contracts() -> None:
    assert NAMES == {
        1: "message", 2: "call", 3: "answering_machine", 4: "keypad_input", 5: "voice_input", 6: "menu", 7: "end",
        8: "goto", 11: "email", 12: "sms", 13: "script", 14: "start", 15: "transfer", 16: "queue", 17: "query",
        18: "condition", 21: "resume",
    }  # fmt: skip


@pytest.mark.parametrize("code", ["9", "10", "19", "20", "0", "999999999"])
def test_a_code_that_is_not_listed_is_unknown(code: str) -> None:
    assert action({"EventType": code}, None) == {"code": int(code), "name": "unknown", "info": [""] * 5}


@pytest.mark.parametrize("code", ["x", "-1", "²", "1" * 30, "2.0"])
def test_a_code_that_is_no_number_is_kept_as_text(code: str) -> None:
    assert action({"EventType": code}, None) == {"code": code, "name": "unknown", "info": [""] * 5}


def test_what_did_not_come_is_absent() -> None:
    assert action({}, None) == {"name": "unknown", "info": [""] * 5}
    assert action({"EventType": "2", "EventAddInfo3": "long", "EventAddInfo4": "dear"}, None) == {
        "code": 2,
        "name": "call",
        "info": ["", "", "long", "dear", ""],
    }


def test_only_amounts_are_respelled_for_the_identity() -> None:
    event = {"EventType": "12", "EventAddInfo3": "1", "EventAddInfo4": "1,5"}
    assert canonical(event) == {**event, "EventAddInfo4": "1.500000"}
    assert event["EventAddInfo4"] == "1,5"
    for same in ({"EventType": "4", "EventAddInfo4": "1,5"}, {"EventType": "2", "EventAddInfo4": "dear"}, {}, "text"):
        assert canonical(same) == same
