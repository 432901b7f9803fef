"""uContact's functions by name, for ``trunkline vendor call``."""

from typing import Any, Final

from hub.vendors.operations import Operation, table
from hub.vendors.ucontact.client import UContact

_ALL: tuple[Operation[UContact], ...] = ()
OPERATIONS: Final[dict[str, Operation[Any]]] = table(_ALL)
