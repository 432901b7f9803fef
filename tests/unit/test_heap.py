"""What is free goes back to the system."""

import asyncio
import subprocess
import sys

from hub import heap


async def test_it_trims_until_it_is_cancelled() -> None:
    trimming = asyncio.create_task(heap.trim(every=0))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not trimming.done()
    trimming.cancel()
    await asyncio.wait([trimming])
    assert trimming.cancelled()


def test_memory_that_lies_free_below_what_is_in_use_goes_back() -> None:
    program = """
import asyncio, ctypes, psutil
from hub import heap
blocks = [ctypes.create_string_buffer(60_000) for _ in range(2_000)]  # too small for a mapping of their own
kept = blocks.pop()
full = psutil.Process().memory_info().rss
del blocks
async def main():
    try:
        async with asyncio.timeout(30):
            trimming = asyncio.create_task(heap.trim(every=0.01))
            while full - psutil.Process().memory_info().rss < 100_000_000:
                await asyncio.sleep(0.01)
    finally:
        trimming.cancel()
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_what_a_start_has_made_is_not_looked_at_for_cycles_again() -> None:
    program = """
import gc
from hub import heap
before = gc.get_threshold()[0]
cycle = []
cycle.append(cycle)
heap.settle()
assert gc.get_freeze_count() > 1000
assert gc.get_threshold()[0] > before
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
