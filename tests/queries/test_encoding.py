"""Whatever may be told arrives as it was told, in both formats; by properties."""

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from hub.errors import Unresolved
from hub.questions import Reply, checked, printable
from hub.vendors.infocaller.queries import CONTENT_TYPES, written
from tests.queries.vendor import Told, read

PRINTABLE = "".join(map(chr, [*range(0x20, 0x7F), *range(0xA0, 0x100)]))
NAMES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=15)
VALUES = st.text(PRINTABLE, max_size=60) | st.text("&<>\"';ampltgquotx\\u00e1 ", max_size=60)
REPLIES = st.builds(
    Reply, st.dictionaries(NAMES, VALUES, max_size=8), VALUES.map(lambda text: text[:40] or "0"), VALUES
)


@pytest.mark.parametrize("form", ["xml", "json"])
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(reply=REPLIES)
def test_every_reply_that_is_allowed_is_read_as_it_was_meant(form: str, reply: Reply) -> None:
    content = written(checked(reply), form)  # type: ignore[arg-type]
    told = read(content, CONTENT_TYPES[form], form)  # type: ignore[index]
    assert told == Told(reply.result, reply.text, dict(reply.variables))


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_reply_that_is_not_refused_can_be_read(name: str, value: str) -> None:
    try:
        reply = checked(Reply({name: value}, text=value))
    except Unresolved:
        return
    for form, content_type in CONTENT_TYPES.items():
        assert read(written(reply, form), content_type, form).variables == {name: value}


def test_every_character_is_printable_or_not_as_the_standard_has_it() -> None:
    assert {character for character in map(chr, range(0x3000)) if printable(character)} == set(PRINTABLE)


def test_an_answer_without_variables_has_the_empty_section_of_the_page() -> None:
    assert b"<CustVars> </CustVars>" in written(Reply(), "xml")
    assert b'"CustVars":{"CustVar":[]}' in written(Reply(), "json")
