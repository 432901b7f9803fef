"""Gives back to the system what the allocator holds and nobody uses.

After a burst, an outage for instance, glibc keeps freed memory below whatever was allocated last, for ever; a process
that lives for months would only grow. A trim of a heap of a hundred megabytes takes a quarter of a millisecond.
"""

import asyncio
import ctypes
from typing import Final

_EVERY: Final = 60.0  # seconds


async def trim(every: float = _EVERY) -> None:
    """Trims for ever; returns at once where the C library cannot."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while give_back is not None:
        await asyncio.sleep(every)
        give_back(0)
