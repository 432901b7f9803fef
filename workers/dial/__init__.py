"""The dial worker: places the calls that somebody asked for, each at most once."""

from typing import Final

from hub.ports import QueueSpec
from hub.ports.dialing import WORKER

NAME: Final = WORKER

QUEUE: Final = QueueSpec("trunkline.dial", (), commands=("dial.*",))
