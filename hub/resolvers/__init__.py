"""Who answers a Query: the kinds of resolvers, and the desk that asks them.

A new kind is one file here, one line in ``KINDS``, and its table in ``hub.config``.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Final

from hub.config import AnyResolver
from hub.questions import Resolver
from hub.resolvers.means import Means

KINDS: Final[Mapping[str, str]] = {
    "table": "hub.resolvers.table:TableResolver",
    "sql": "hub.resolvers.sql:SqlResolver",
    "http": "hub.resolvers.http:HttpResolver",
    "amqp": "hub.resolvers.amqp:AmqpResolver",
}
"""Each kind's class, imported when one is configured: a hub without Queries loads none of their clients."""

__all__ = ["KINDS", "Means", "make"]


def make(name: str, configured: AnyResolver, means: Means) -> Resolver:
    """A resolver as it is configured; opens nothing."""
    module, _, kind = KINDS[configured.kind].partition(":")
    made: Resolver = getattr(import_module(module), kind)(name, configured, means)
    return made
