"""Puts contacts back into a dialer's work, by rules, once each, at a time at which one may call.

The queue's handler only takes: a sealed call becomes the first attempt of a chain, or the report of an attempt, and its
delivery is done. What is due is claimed by a loop for each dialer. The hub holds an attempt until the moment at which
it is dialled, and looks at everything once more then: the rule, the do-not-call list, whether the contact was reached
meanwhile, the caps, the window. Only then the dialer hears of it.
"""

from typing import Final

from hub.ports import QueueSpec
from hub.ports.respool import WORKER

NAME: Final = WORKER
QUEUE: Final = QueueSpec("trunkline.respool", ("call.*.sealed",))
