"""Standard Webhooks: signed, with one id over all attempts, stopped by 410, retried for two days."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from hypothesis import given, strategies as st
from standardwebhooks import Webhook as Verifier, WebhookVerificationError

from hub.config import WebhookDestination
from hub.events import AGAIN, ONCE, REPLAY, Event, to_message
from hub.simulator.crms.double import served
from hub.simulator.crms.mischief import Fault, Mischief
from hub.simulator.crms.webhook import WebhookDouble
from tests.crm.office import SECRET, destination, double, office
from tests.hub import until
from tests.store.evidence import call_id
from workers.crm.webhook import Webhook, content

OTHER: Final = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
NOW: Final = datetime(2026, 11, 20, 9, 15, 30, tzinfo=UTC)


def receiver(**more: Any) -> WebhookDouble:
    made = double("webhook", **more)
    assert isinstance(made, WebhookDouble)
    return made


def event(**data: Any) -> Event:
    return Event("msg_p5jXN8AQM9LWM0D4loKWxJek", "call", "infocaller", "sealed", "line-900", NOW, data, subject="c")


def settings(*secrets: str) -> WebhookDestination:
    return WebhookDestination(kind="webhook", url="https://h/", secrets=secrets)  # type: ignore[arg-type]


def test_the_reference_vector_is_our_signature() -> None:
    """Of the specification's libraries: the same key, id, time and payload in each of them."""
    at = datetime.fromtimestamp(1614265330, UTC)
    signed = Verifier(SECRET).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, '{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    webhook = Webhook(settings(SECRET))
    assert webhook._signed("msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}') == [signed]


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8) | st.integers(0, 9) | st.none(), max_size=4))
def test_whoever_has_one_of_two_live_secrets_verifies_a_request(data: dict[str, Any]) -> None:
    message = to_message(event(**data))
    request = Webhook(settings(SECRET, OTHER)).request(message, datetime.now(UTC))
    assert request.body is not None
    assert len(request.headers["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, OTHER):
        told = Verifier(secret).verify(request.body, dict(request.headers))
        assert told == {"type": "call.sealed", "timestamp": "2026-11-20T09:15:30.000Z", "data": data}
    with pytest.raises(WebhookVerificationError):
        Verifier("whsec_" + "A" * 32).verify(request.body, dict(request.headers))


def test_the_body_has_the_events_data_byte_for_byte() -> None:
    assert content(to_message(event(b=1, a=[1.5, None]))) == (
        b'{"type":"call.sealed","timestamp":"2026-11-20T09:15:30.000Z","data":{"b":1,"a":[1.5,null]}}'
    )


@pytest.mark.parametrize("fault", ["drop", "failed", "busy", "hang", "limited"])
async def test_an_event_has_one_id_and_one_body_over_all_its_attempts(fault: Fault, tmp_path: Path) -> None:
    async with served(receiver()) as it:
        it.mischief.next(fault)
        async with office(tmp_path, {"hook": destination("webhook", it)}) as here:
            await here.call(1)
            await here.settled(1)
            tries = await here.store.forwarding.tries(call_id=call_id(1))
        [bodies] = it.got.values()
        assert all(body == bodies[0] for body in bodies)
        assert len(tries) == 2
        assert [one.attempt for one in tries] == [1, 2]
        assert {one.request["headers"].get("webhook-signature") for one in tries} == {"…"}


async def test_an_event_is_sent_once_unless_it_is_wanted_again(tmp_path: Path) -> None:
    message = to_message(event(call_id="c"))
    async with served(receiver()) as it, office(tmp_path, {"hook": destination("webhook", it)}) as here:
        await here.bus.publish([message])
        await here.settled(1)
        assert await here.store.done("crm", [message.id]) == {message.id}, "a replay leaves it out"
        for mark, times in ((ONCE, 1), (AGAIN, 2)):
            await here.bus.send("trunkline.crm", [replace(message, headers={**message.headers, REPLAY: mark})])

            async def taken() -> bool:
                depth = await here.bus.depth("trunkline.crm")
                return depth.ready + depth.in_flight == 0

            await until(taken)
            await here.settled(1)
            assert len(it.got[message.id]) == times


async def test_a_410_disables_until_an_operator_or_another_configuration_enables(tmp_path: Path) -> None:
    async with served(receiver()) as it:
        it.mischief.next("gone")
        async with office(tmp_path, {"hook": destination("webhook", it)}) as here:
            await here.call(1)

            async def disabled() -> bool:
                return (await here.standing("hook")).disabled is not None

            await until(disabled)
            await here.call(2)
            assert it.got == {}
        async with office(tmp_path, {"hook": destination("webhook", it)}) as here:
            assert (await here.standing("hook")).disabled is not None
            await here.store.forwarding.disable("hook", "webhook", None, datetime.now(UTC))
            await here.settled(2)
            assert len(it.got) == 2


async def test_a_breaker_opens_and_closes_with_an_event_each_and_burns_few_attempts(tmp_path: Path) -> None:
    async with (
        served(receiver(mischief=Mischief({"failed": 1.0}))) as it,
        office(tmp_path, {"hook": destination("webhook", it)}) as here,
    ):
        await asyncio.gather(*(here.call(number) for number in range(12)))

        async def opened() -> bool:
            return bool((await here.standing("hook")).breaker == "open")

        await until(opened)
        it.mischief.shares.clear()
        await here.settled(12)
        assert (await here.standing("hook")).breaker == "closed"
        claimed = await here.store.claim(datetime.now(UTC), 100, 60)
        verbs = [one.message.routing_key for one in claimed]
        assert verbs == ["destination.webhook.opened", "destination.webhook.closed"]
        assert orjson.loads(claimed[0].message.body)["reason"].startswith("answered 500")


async def test_a_receiver_that_does_not_let_one_event_in_is_asked_again_soon_and_gets_the_others(
    tmp_path: Path,
) -> None:
    """There are no other credentials to get: a 401 of one request is a failure like another."""
    async with served(receiver()) as it:
        it.mischief.next("expired", "expired")
        async with office(tmp_path, {"hook": destination("webhook", it)}) as here:
            await here.call(1)
            await here.settled(1)
            tries = await here.store.forwarding.tries(call_id=call_id(1))
            assert [(one.outcome, one.attempt) for one in tries] == [("expired", 1), ("expired", 2), ("done", 3)]
            claimed = await here.store.claim(datetime.now(UTC), 100, 60)
            assert claimed == [], "its breaker stayed as it was"


async def test_a_receiver_that_lets_nobody_in_opens_its_breaker(tmp_path: Path) -> None:
    async with (
        served(receiver(mischief=Mischief({"expired": 1.0}))) as it,
        office(tmp_path, {"hook": destination("webhook", it)}) as here,
    ):
        await asyncio.gather(*(here.call(number) for number in range(6)))

        async def opened() -> bool:
            return bool((await here.standing("hook")).breaker == "open")

        await until(opened)
        assert (await here.standing("hook")).breaker_reason.startswith("answered 401")
        it.mischief.shares.clear()
        await here.settled(6)
