"""How much of each fault: a selection in ``make test``, all of it in ``make faults``."""

import os
from typing import Final

FULL: Final = os.environ.get("FAULTS") == "full"


def at(*, quick: int, full: int) -> int:
    """How often, in this run."""
    return full if FULL else quick
