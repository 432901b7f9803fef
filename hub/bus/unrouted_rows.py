"""What no queue was bound to when it came, in the embedded bus: laid where it belongs once there is such a queue."""

import sqlite3
from typing import Final

from hub.bus import rows

_STRAYED: Final = """
    SELECT message, CAST(routing_key AS BLOB), headers, body FROM deliveries JOIN messages ON id = message
    WHERE queue = ? AND state = 'ready' AND message > ? ORDER BY message LIMIT ?"""
_GONE: Final = "DELETE FROM deliveries WHERE queue = ? AND message IN (SELECT value FROM json_each(?))"


def reroute(
    connection: sqlite3.Connection, routes: rows.Routes, after: int, limit: int
) -> tuple[set[int], list[int], int | None]:
    """Lays strays with an id behind ``after`` into the queues that are bound to them now.

    Returns:
        The queues, the messages that went there, and the place to go on from; None where there is no more.
    """
    routes.refresh(connection)
    found = connection.execute(_STRAYED, (rows.UNROUTED_QUEUE, after, limit)).fetchall()
    strays = {message: one for message, *parts in found if (one := rows.message(*parts)) is not None}
    homes = {message: routes.queues(one.routing_key) for message, one in strays.items()}
    homes = {message: queues for message, queues in homes.items() if queues != (rows.UNROUTED_QUEUE,)}
    connection.execute(_GONE, (rows.UNROUTED_QUEUE, str(list(homes))))
    rows.lay(connection, routes, strays, [(message, queue) for message, queues in homes.items() for queue in queues])
    place = found[-1][0] if len(found) == limit else None
    return {queue for queues in homes.values() for queue in queues}, list(homes), place
