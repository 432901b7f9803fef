"""Which slot a message belongs to: a number that the events of one call share. Pure.

Where there are ordered queues it travels as a header, so that the broker can tell their partitions apart without a
plugin. Its name has no ``x-`` in front: a headers exchange does not look at those.
"""

from collections.abc import Mapping
from typing import Any, Final
from zlib import crc32

from hub.events import Message

SLOT: Final = "trunkline-slot"
SLOTS: Final = 8


def slot(message: Message) -> int:
    """The slot of a message's call; what belongs to no call is spread."""
    return crc32((message.headers.get("ce-subject") or message.id).encode()) % SLOTS


def noted_slot(headers: Mapping[str, Any]) -> int:
    """The slot that a message came with; a stranger's has none, and is kept in the first."""
    noted = headers.get(SLOT)
    return int(noted) if isinstance(noted, str) and noted in _NAMES else 0


_NAMES: Final = frozenset(str(number) for number in range(SLOTS))
