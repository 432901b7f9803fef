"""From a command on the bus to an order. Pure."""

from datetime import UTC, datetime
from typing import Final

import orjson

from hub.errors import Undecodable
from hub.events import Event, Message

VERB: Final = "command"
_WORDS: Final = 2


def command(message: Message) -> Event:
    """A command, in the shape of what workers handle: ``id`` is its name, ``vendor`` whom it is for.

    Raises:
        Undecodable: it has no name, so that a repetition could not be told from another one; or no body to read.
    """
    words = message.routing_key.split(".")
    if len(words) != _WORDS or words[0] != "dial":
        raise Undecodable(f"the routing key is {message.routing_key[:80]!r}, expected dial.<vendor>")
    if not message.id:
        raise Undecodable("no message_id, which is the idempotency key of a command")
    try:
        data = orjson.loads(message.body)
    except orjson.JSONDecodeError as error:
        raise Undecodable(f"the body is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise Undecodable(f"the body is a JSON {type(data).__name__}, expected an object")
    return Event(message.id, "dial", words[1], VERB, str(data.get("source", ""))[:40], datetime.now(UTC), data)
