"""The URL's variables."""

from urllib.parse import quote

import pytest
from hypothesis import given, strategies as st

from hub.errors import Unusable
from hub.vendors.infocaller.variables import read_variables


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a=1&a=1&a=", {"a": "1"}),
        ("a=1&a=2&a=1", {"a": ["1", "2"]}),
        ("a=&b&=&&", {}),
        ("=x", {"": "x"}),
        ("a=[_UUID]&b=%5B_UUID%5D&c=x[_UUID]", {"c": "x[_UUID]"}),
        ("+a+=+b+", {"a": "b"}),
        ("a=%ZZ&b=100%&c=%2", {"a": "%ZZ", "b": "100%", "c": "%2"}),
        ("a=Jos%E9&b=Jos%C3%A9", {"a": "José", "b": "José"}),
        ("a=Jos\udce9&b=José", {"a": "José", "b": "José"}),
        ("a=x%00y", {"a": "xy"}),
        ("a=\ud800", {"a": "?"}),
        ("caller=+34911&desvio=+34911", {"caller": "+34911", "desvio": "34911"}),
        ("caller=%2B34911", {"caller": "+34911"}),
        ("caller=%2034911", {"caller": "+34911"}),
        ("caller=34911+", {"caller": "34911"}),
        ("caller=+X", {"caller": "X"}),
        ("a=b=c", {"a": "b=c"}),
        ("a=1;b=2", {"a": "1;b=2"}),
    ],
)
def test_a_query_string_is_read(query: str, variables: dict[str, object]) -> None:
    assert read_variables(query).all == variables


def test_eve_is_apart_in_lower_case_and_once_for_each_value() -> None:
    variables = read_variables("eve=FIN&eve=fin&eve=&eve=inicio&x=1")
    assert variables.events == ("fin", "inicio")
    assert variables.all == {"x": "1"}


def test_a_variable_with_several_values_has_none() -> None:
    variables = read_variables("desvio=1&desvio=2&id=7")
    assert (variables.get("desvio"), variables.get("id"), variables.get("num")) == ("", "7", "")


def test_a_uuid_is_as_it_was_sent() -> None:
    assert read_variables("uuid=Ab&num=1").identity() == ("", "Ab", "1")


def test_what_was_sent_is_kept_with_its_spelling() -> None:
    sent = read_variables("eve=FIN&caller=+34&x=&y=[_UUID]&z=1&z=1").sent
    assert sent == {"eve": "FIN", "caller": " 34", "x": "", "y": "[_UUID]", "z": ["1", "1"]}


@pytest.mark.parametrize("name", ["id", "uuid", "num"])
def test_an_identifying_variable_with_two_values_is_unusable(name: str) -> None:
    with pytest.raises(Unusable) as refused:
        read_variables(f"{name}=1&{name}=2").identity()
    assert refused.value.reason == "identity"


@given(st.text())
def test_any_query_string_is_read_without_an_error(query: str) -> None:
    for value in read_variables(query).all.values():
        str(value).encode()


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff")))
def test_an_encoded_value_comes_back(value: str) -> None:
    assert read_variables(f"a={quote(value, safe='')}").all.get("a", "") in (value.strip(), "")
