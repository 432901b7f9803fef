"""Chance that can be had again."""

from random import Random


def chance(*parts: object) -> Random:
    """Luck that depends on nothing but the parts; the same in every process and on every machine."""
    return Random("/".join(map(str, parts)))  # noqa: S311  repeatable on purpose, nothing secret
