"""Fetches recordings before their vendors delete them, and keeps them.

The queue's handler only takes: an ``available`` event becomes a row, and its delivery is done. What is due is claimed
by a loop for each source, in the order of the time that is left, as much at once as the source's lane takes; so a
source that hangs holds back itself alone, and an outage leaves rows waiting, not messages. Beside these: what was given
up is buried among the dead letters, what is in danger is told, what has outlived its time is deleted.
"""

from typing import Final

from hub.ports import QueueSpec
from hub.ports.recordings import WORKER

NAME: Final = WORKER
QUEUE: Final = QueueSpec("trunkline.recordings", ("recording.*.available",))
