"""Promises of hub/bus/patterns.py."""

import pytest
from hypothesis import given, strategies as st

from hub.bus.patterns import matches

words = st.sampled_from(["call", "recording", "infocaller", "ended", "", "x"])
keys = st.lists(words, max_size=6).map(".".join)
patterns = st.lists(st.one_of(words, st.sampled_from(["*", "#"])), max_size=6).map(".".join)


def as_defined(pattern: list[str], key: list[str]) -> bool:
    """AMQP's definition, word for word."""
    if not pattern:
        return not key
    first, rest = pattern[0], pattern[1:]
    if first == "#":
        return any(as_defined(rest, key[taken:]) for taken in range(len(key) + 1))
    return bool(key) and first in ("*", key[0]) and as_defined(rest, key[1:])


def split(text: str) -> list[str]:
    return text.split(".") if text else []


@given(patterns, keys)
def test_it_matches_what_amqp_defines(pattern: str, key: str) -> None:
    assert matches(pattern, key) == as_defined(split(pattern), split(key))


@given(keys)
def test_a_hash_matches_everything_and_a_key_matches_itself(key: str) -> None:
    assert matches("#", key)
    assert matches(key, key)


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        ("call.*.sealed", "call.infocaller.sealed", True),
        ("call.*.sealed", "call.sealed", False),
        ("call.#", "call", True),
        ("call.#.sealed", "call.sealed", True),
        ("*", "", False),
        ("recording.*.available", "recording.infocaller.stored", False),
    ],
)
def test_the_bindings_of_the_contract(pattern: str, key: str, expected: bool) -> None:
    assert matches(pattern, key) is expected


def test_many_hashes_do_not_take_exponential_time() -> None:
    assert not matches(".".join(["#", "a"] * 40), ".".join(["a"] * 60 + ["b"]))
