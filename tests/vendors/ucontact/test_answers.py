"""What a body of 200 means, function by function."""

import pytest
from hypothesis import given, strategies as st

from hub.errors import Doubtful, Refused
from hub.vendors.ucontact.answers import MEANINGS, Meaning, read
from hub.vendors.ucontact.paths import MEANINGS as OF_FUNCTIONS, NAMES, PATHS

DONE: dict[Meaning, list[bytes]] = {
    "id": [b"824da669-2239-46f2-98c7-1a8cafa34701", b' "1612345678.1234"\r\n', b"guid1", b"/recordings/2.mp3"],
    "one": [b"1", b" 1\n"],
    "done": [b"1", b"OK", b"ok", b"824da669-2239"],
    "ok": [b"OK", b"ok\n"],
    "login": [b"0", b"3"],
    "text": [b"", b"0", b"whatever it says", b"<html>"],
    "json": [b"[]", b'{"a": 1}', b"null", b"12"],
}
REFUSED: dict[Meaning, list[bytes]] = {
    "id": [b"0", b' "0"\n'],
    "one": [b"0", b"2", b"error in the campaign"],
    "done": [b"0"],
    "ok": [b"ERROR", b"0"],
    "login": [b"1"],
    "text": [],
    "json": [b"0", b"false"],
}
DOUBTFUL: dict[Meaning, list[bytes]] = {
    "id": [b"", b"<html></html>", b"Error 500 in x", b"ERROR", b"null", b"Unauthorized"],
    "done": [b"", b"<html></html>", b"Error 500 in x", b"ERROR", b"null", b"Unauthorized"],
    "one": [b"", b" ", b"<!DOCTYPE html><p>", b"\n<HTML>"],
    "ok": [b"", b" ", b"<!DOCTYPE html><p>", b"\n<HTML>"],
    "login": [b"", b"<html>", b"2", b"yes"],
    "text": [],
    "json": [b"", b"<html></html>", b"{", b"OK"],
}


@pytest.mark.parametrize("meaning", MEANINGS)
def test_each_meaning_tells_success_from_refusal_and_both_from_what_nobody_can_tell(meaning: Meaning) -> None:
    for body in DONE[meaning]:
        read("X", meaning, body)
    for body in REFUSED[meaning]:
        with pytest.raises(Refused, match="X was answered"):
            read("X", meaning, body)
    for body in DOUBTFUL[meaning]:
        with pytest.raises(Doubtful, match="X was answered"):
            read("X", meaning, body)


def test_a_zero_is_a_failure_everywhere_but_where_an_agent_logs_in() -> None:
    texts = {name for name, meaning in OF_FUNCTIONS.items() if meaning == "text"}
    for name in OF_FUNCTIONS.keys() - texts - {"AgentLogin"}:
        with pytest.raises(Refused):
            read(name, OF_FUNCTIONS[name], b"0")
    assert read("AgentLogin", OF_FUNCTIONS["AgentLogin"], b"0") == "0"


@given(st.binary(max_size=200), st.sampled_from(sorted(MEANINGS)))
def test_whatever_a_stranger_answers_is_a_result_or_one_of_two_errors(body: bytes, meaning: Meaning) -> None:
    said = ""
    try:
        read("X", meaning, body)
    except (Refused, Doubtful) as problem:
        said = str(problem)
    assert "\n" not in said


def test_every_function_has_a_path_and_a_meaning_and_every_name_belongs_to_one() -> None:
    assert OF_FUNCTIONS.keys() == PATHS.keys() - {"getUserToken", "UserLogin"}
    assert {name.partition(".")[0] for name in NAMES} <= PATHS.keys()
    assert not any(path.startswith("/") for path in PATHS.values())
