"""A message that ends whoever handles it: it dies alone, on either bus (faults B20, B21)."""

import asyncio
import sys
from pathlib import Path

import pytest

from hub.bus.suspicion import ALONE, SUSPECT_AFTER
from hub.ports import Ack, Bus, Depth
from tests.contract.buses import WORK, Place, depth_becomes, message, publish, receive
from tests.faults.scale import FULL

MESSAGES, LIVES = 10_000, 30


@pytest.mark.parametrize("prefetch", [20, 1000] if FULL else [1000])
@pytest.mark.timeout(400)
async def test_of_ten_thousand_messages_and_thirty_crashes_only_the_poison_is_dead(
    work: Bus, place: Place, tmp_path: Path, prefetch: int
) -> None:
    good = [message(n=n) for n in range(MESSAGES - 1)]
    poison = message(what="poison")
    everything = [*good[:30], poison, *good[30:]]
    for at in range(0, MESSAGES, 1000):
        await publish(work, *everything[at : at + 1000])
    settled = tmp_path / "settled"
    storm = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contract.storm", place.kind, place.address, WORK),
        *(str(prefetch), str(LIVES), str(settled)),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    said, _ = await asyncio.wait_for(storm.communicate(), 350)
    assert storm.returncode == 0
    assert SUSPECT_AFTER + ALONE - 2 <= int(said) <= LIVES  # some lives were taken by chance, with the poison in hand
    await depth_becomes(work, Depth(0, 0, 1))
    (letter,) = await work.dead(WORK)
    assert (letter.message, letter.reason) == (poison, "delivery_limit")
    assert set(settled.read_text().split()) == {one.id for one in good}


async def test_a_delivery_that_came_back_too_often_is_handed_over_alone(work: Bus, place: Place) -> None:
    sent = [message(n=n) for n in range(4)]
    await publish(work, *sent)
    for _ in range(3):
        await _killed_with(place, len(sent))
    subscription = work.subscribe(WORK, 10)
    names: list[str] = []
    for _ in sent:
        (one,) = await receive(subscription, 1)
        with pytest.raises(TimeoutError):
            await receive(subscription, 1, within=0.3)
        names.append(one.message.id)
        assert one.attempt == 1
        await subscription.settle([(one, Ack())])
    assert sorted(names) == sorted(one.id for one in sent)
    await depth_becomes(work, Depth(0, 0, 0))


async def _killed_with(place: Place, count: int) -> None:
    consumer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contract.consumer", place.kind, place.address, WORK, str(count)),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    assert consumer.stdout is not None
    taken = (await asyncio.wait_for(consumer.stdout.readline(), 20)).split()
    assert len(taken) == count
    consumer.kill()
    await consumer.wait()
