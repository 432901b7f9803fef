"""How much of a fault row is run: a few instances with every change, all of them with ``FAULTS=full``."""

import os
from typing import Final, TypeVar

T = TypeVar("T")

FULL: Final = os.environ.get("FAULTS") == "full"


def at(*, quick: T, full: T) -> T:
    """The size of a row, by the environment variable ``FAULTS``."""
    return full if FULL else quick
