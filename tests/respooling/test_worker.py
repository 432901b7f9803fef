"""The worker over a simulated INFOCU5: from a sealed call to a lead, and every answer judged."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.config import load
from hub.errors import ConfigurationError
from hub.events import AGAIN, REPLAY, Event, identity, timestamp, to_message
from hub.ports.respool import WORKER
from hub.simulator.infocu5 import Infocu5, serving
from tests.hub import body, fin, running, until
from tests.respooling.house import House, at_work, rule, settings
from tests.respooling.support import CONTACT, MOBILE, number, record, sealed
from workers.respool.lists import STILL, BlockedFile, Lists

QUEUE = "trunkline.respool"


def now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def house(
    tmp_path: Path, *rules: dict[str, Any], vendor: Infocu5 | None = None, **more: Any
) -> AsyncIterator[House]:
    vendor = vendor or Infocu5()
    async with serving(vendor) as url, at_work(settings(tmp_path, url, *rules, **more), vendor) as here:
        yield here


async def test_a_missed_call_becomes_a_lead_in_the_list_of_its_campaign(tmp_path: Path) -> None:
    vendor = Infocu5()
    async with serving(vendor) as url, running(settings(tmp_path, url, rule(data={"leadCompany": "{source}"}))) as hub:
        await hub.infocaller("desvio_fallido", body(), "desvio=911222333")
        await hub.infocaller("fin", fin())

        async def told() -> dict[str, Any] | None:
            events = (await hub.read("/v1/events?limit=100"))["items"]
            return next((one for one in events if one["type"] == "trunkline.respool.accepted.v1"), None)

        event = await until(told)
        [call] = await hub.calls()
        assert vendor.leads == [
            {"dialerID": "DI1111AA", "listID": "111000", "leadPhone": "911888920", "leadCompany": "line-900"}
        ]
        assert event["subject"] == event["data"]["cause"] == call["call_id"]
        assert (event["data"]["contact"], event["data"]["attempt"]) == ("+34911888920", 1)

        async def balanced() -> bool:
            worker = (await hub.read("/v1/ledger"))["workers"][WORKER]
            return (worker["accepted"], worker["settled"], worker["dead"], worker["in_flight"]) == (1, 1, 0, 0)

        await until(balanced)


async def test_a_rule_may_name_the_list_and_the_dialer_and_the_numbers(tmp_path: Path) -> None:
    by = rule(list="DI2222BB/7", numbers_from=["variables.TEL2"], dial_as="e164")
    async with house(tmp_path, by) as here:
        await here.seal(sealed(record(at=now(), variables={"TEL2": "600123456"})))
        await here.respools(identity("test", "a"), lambda found: found and found[0].state == "accepted")
        assert here.vendor.leads == [
            {"dialerID": "DI2222BB", "listID": "7", "leadPhone": CONTACT, "leadPhone2": MOBILE}
        ]
        assert [name for name, _ in here.vendor.asked] == ["addLeads"]


async def test_the_same_call_told_many_times_is_one_lead(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        one = sealed(record(at=now()))
        await here.seal(*[one] * 20)
        await here.respools(identity("test", "a"), lambda found: found and found[0].state == "accepted")
        await here.seal(one, one)
        await here.seal(sealed(_from(1)))
        await here.respools(identity("test", "1"), lambda found: found and found[0].state == "accepted")
        assert [lead["leadPhone"] for lead in here.vendor.leads] == [CONTACT[3:], number(1)[3:]]
        assert [one["verb"] for one in await here.told()] == ["accepted", "accepted"]


@pytest.mark.parametrize("mood", ["900", "500", "html", "cut"])
async def test_an_answer_that_says_nothing_certain_is_never_asked_for_again(tmp_path: Path, mood: Any) -> None:
    vendor = Infocu5(moods=deque([mood]))
    async with house(tmp_path, rule(list="DI2222BB/7"), vendor=vendor, respool={"doubt": 0.2}) as here:
        await here.seal(sealed(record(at=now())))
        [one] = await here.respools(identity("test", "a"), lambda found: found and found[0].state == "unknown")
        assert one.reason

        async def buried() -> bool:
            load = await here.store.workload(WORKER)
            return (await here.bus.depth(QUEUE)).dead == 1 and (load.settled, load.waiting) == (0, 0)

        await until(buried)
        assert vendor.leads == []
        await here.bus.requeue(QUEUE, None, 9)  # which looks like any repetition of the event
        await here.seal(sealed(_from(1)))
        await here.respools(identity("test", "1"), lambda found: found and found[0].state == "accepted")
        assert [lead["leadPhone"] for lead in vendor.leads] == [number(1)[3:]]
        # An operator has looked at the dialer, and says so: only now it is asked again.
        message = to_message(sealed(record(at=now())))
        await here.bus.publish([replace(message, headers={**message.headers, REPLAY: AGAIN})])
        await here.respools(identity("test", "a"), lambda found: found[0].state == "accepted")
        assert len(vendor.leads) == 2


async def test_an_answer_lost_after_the_lead_was_taken_is_settled_by_the_call_that_the_dialer_makes(
    tmp_path: Path,
) -> None:
    vendor = Infocu5(lost=1.0)
    async with house(tmp_path, vendor=vendor) as here:
        await here.seal(sealed(record(at=now())))
        await here.respools(identity("test", "a"), lambda found: found and found[0].state == "unknown")
        call = record("r", now(), to=CONTACT, source="focu5", vendor="infocu5")
        await here.seal(sealed(call))
        found = await here.respools(identity("test", "a"), lambda found: len(found) == 2)
        assert [(one.planned.attempt, one.state) for one in found] == [(1, "accepted"), (2, "waiting")]
        assert found[1].planned.due_at - datetime.fromisoformat(call["ended_at"]) == timedelta(hours=2)
        assert (len(vendor.leads), vendor.lost_answers) == (1, 1)


async def test_what_the_dialer_refuses_is_told_and_lies_among_the_dead_letters(tmp_path: Path) -> None:
    vendor = Infocu5(affiliate_key="another")
    async with house(tmp_path, rule(list="DI2222BB/7"), vendor=vendor) as here:
        await here.seal(sealed(record(at=now())))
        [one] = await here.respools(identity("test", "a"), lambda found: found and found[0].state == "refused")
        assert "code 100" in one.reason

        async def buried() -> bool:
            return (await here.bus.depth(QUEUE)).dead == 1

        await until(buried)
        [event] = await here.told()
        assert (event["verb"], event["reason"], event["attempt"]) == ("refused", "dialer", 1)
        assert "code 100" in event["detail"]


async def test_a_pause_that_the_dialer_asks_for_is_kept_and_nobody_forgotten(tmp_path: Path) -> None:
    vendor = Infocu5(moods=deque(["429"]))
    async with house(tmp_path, rule(list="DI2222BB/7"), vendor=vendor) as here:
        await here.seal(sealed(record(at=now())))
        [one] = await here.respools(identity("test", "a"), lambda found: found and found[0].state == "accepted")
        assert one.tries == 1
        assert len(vendor.leads) == 1


async def test_where_the_dialers_calls_are_not_reported_each_delay_is_an_attempt_all_the_same(tmp_path: Path) -> None:
    by = rule(list="DI2222BB/7", delays=["0s", "1s", "1s"])
    del by["unreported"]  # as it is without a word
    async with house(tmp_path, by) as here:
        await here.seal(sealed(record(at=now())))
        three = await here.respools(
            identity("test", "a"), lambda found: [one.state for one in found] == ["accepted"] * 3 and found
        )
        assert sorted(one.planned.attempt for one in three) == [1, 2, 3]
        assert len(here.vendor.leads) == 3


async def test_a_campaign_that_the_dialer_does_not_have_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path, rule(campaign="Another")) as here:
        await here.seal(sealed(record(at=now())))
        [one] = await here.respools(identity("test", "a"), lambda found: found and found[0].state == "refused")
        assert "expected the name or the id of a campaign" in one.reason
        assert here.vendor.leads == []


# --- who is not called -----------------------------------------------------------------------------------------------


async def test_who_was_spoken_with_before_its_time_is_not_called(tmp_path: Path) -> None:
    async with house(tmp_path, rule(delays=["1s"])) as here:
        told = record(at=now())
        await here.seal(sealed(told))
        await here.respools(told["call_id"])
        at, call = now(), identity("spoken")
        data: dict[str, Any] = {"call_id": call, "vendor": "infocu5", "source": "focu5", "event": "ended"}
        data["origin"] = "poll"
        data |= {"received_at": timestamp(at), "started_at": timestamp(at), "times": {"talk_seconds": 9}}
        data |= {"direction": "outbound", "callee": {"number": CONTACT[3:], "e164": CONTACT}}
        await here.store.apply([Event("spoken", "call", "infocu5", "ended", "focu5", at, data, subject=call)], at)
        [one] = await here.respools(told["call_id"], lambda found: found[0].state == "refused")
        assert one.reason == "reached"
        assert here.vendor.leads == []


async def test_a_list_is_read_again_when_it_changes_and_while_it_cannot_be_read_nobody_is_called(
    tmp_path: Path,
) -> None:
    file = tmp_path / "dnc.txt"
    file.write_text(f"{number(1)}\n")
    async with house(tmp_path, rule(do_not_call=[str(file), number(2)], delays=["0s"])) as here:
        await here.seal(*(sealed(_from(n)) for n in (1, 2)))
        for n in (1, 2):
            [one] = await here.respools(identity("test", str(n)))
            assert (one.state, one.reason) == ("refused", "do_not_call")
        file.write_text(f"{number(1)}\n{number(3)}\n")
        await here.seal(sealed(_from(3)))
        [one] = await here.respools(identity("test", "3"))
        assert (one.state, one.reason) == ("refused", "do_not_call")
        file.unlink()
        await here.seal(sealed(_from(4)))
        [one] = await here.respools(identity("test", "4"), lambda found: found and found[0].reason)
        assert (one.state, one.reason) == ("waiting", "a do-not-call list cannot be read")
        assert here.vendor.leads == []


def test_a_list_that_is_being_written_in_its_place_blocks_all_that_it_had_until_it_stands_still(tmp_path: Path) -> None:
    path, seconds = tmp_path / "dnc.txt", 0.0
    path.write_text(f"{number(1)}\n{number(2)}\n")
    file = BlockedFile(path, clock=lambda: seconds)

    def blocked() -> list[int]:
        found = file.now()
        assert found is not None
        return [n for n in (1, 2, 3) if found.holds(number(n))]

    assert blocked() == [1, 2]
    for content, counting in (("", [1, 2]), (f"{number(1)}\n", [1, 2]), (f"{number(1)}\n{number(3)}\n", [1, 2, 3])):
        path.write_text(content)
        seconds += 0.9 * STILL
        assert blocked() == counting
    path.write_text(f"{number(3)}\nhalf a numb")
    assert file.now() is None, "nobody is called"
    path.write_text(f"{number(3)}\n")
    assert blocked() == [1, 2, 3]
    seconds += STILL
    assert blocked() == [3]


@pytest.mark.parametrize("content", [None, b"nobody\n911888920\nx\n", b"\xff\xfe"])
def test_a_list_that_cannot_be_read_at_the_start_is_a_mistake_of_the_configuration(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "dnc.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"respool\.rules\.0\.do_not_call: found '.*dnc.txt', which cannot"):
        Lists(settings(tmp_path, "http://127.0.0.1:1/", rule(do_not_call=str(file))))


async def test_without_rules_events_are_let_go(tmp_path: Path) -> None:
    async with serving(Infocu5()) as url:
        configured = settings(tmp_path, url, respool={"rules": []})
        async with at_work(configured, Infocu5()) as here:
            await here.seal(sealed(record(at=now())))

            async def empty() -> bool:
                depth = await here.bus.depth(QUEUE)
                return depth.ready + depth.in_flight == 0

            await until(empty)
            assert await here.store.respools.of_call(identity("test", "a")) == []


async def test_what_waits_for_a_dialer_that_is_in_no_rule_any_more_is_refused_and_not_forgotten(tmp_path: Path) -> None:
    async with house(tmp_path, rule(delays=["1h"])) as here:
        await here.seal(sealed(record(at=now())))
        await here.respools(identity("test", "a"))
    async with serving(Infocu5()) as url:
        configured = settings(tmp_path, url, respool={"rules": []})
        at = now() + timedelta(hours=2)
        async with at_work(configured, Infocu5(), clock=lambda: at) as here:
            [one] = await here.respools(identity("test", "a"), lambda found: found[0].state == "refused")
        assert one.reason == "rule_gone"


# --- configuration ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"sources": ["nobody"]}, "respool.rules.0.sources: found 'nobody'; expected the name of a source: "),
        ({"dialer": "line-900"}, "respool.rules.0.dialer: found 'line-900'; expected a source that dials"),
        ({"dialer": "nobody"}, "respool.rules.0.dialer: found 'nobody'; expected a source that dials"),
        ({"how": "task"}, "respool.rules.0.how: found 'task'; expected one that infocu5 has: auto, list"),
        ({"delays": ["soon"]}, "respool.rules.0.delays.0: found 'soon'; expected a number and a unit"),
        ({"delays": []}, "respool.rules.0.delays: found"),
        (
            {"window": {"mon": "9-20"}},
            "respool.rules.0.window: found a table; has '9-20' for mon; expected HH:MM-HH:MM",
        ),
        ({"holidays": ["Christmas"]}, "respool.rules.0.holidays.0: found 'Christmas'"),
        ({"data": {"x": "{nothing}"}}, "respool.rules.0.data: found a table; x: {nothing}: no call has a field"),
        ({"ahead": "15m"}, "respool.rules.0.ahead: found '15m'; expected 0s: infocu5 is told no time by 'auto'"),
        ({"data": {"leadCCNumber": "{caller.number}"}}, "respool.rules.0.data: found 'leadCCNumber'; expected fields"),
        ({"data": {"leadPhone2": "{caller.number}"}}, "respool.rules.0.data: found 'leadPhone2'; expected fields"),
        ({"dispositions": ["lost"]}, "respool.rules.0.dispositions.0: found 'lost'"),
    ],
)
def test_a_rule_that_cannot_be_used_is_told_in_one_line(tmp_path: Path, changed: dict[str, Any], line: str) -> None:
    rules = ", ".join(f"{key} = {_toml(value)}" for key, value in rule(**changed).items())
    file = tmp_path / "trunkline.toml"
    file.write_text(
        '[sources.line-900]\nvendor = "infocaller"\n[sources.focu5]\nvendor = "infocu5"\n'
        f'affiliate_id = "A"\naffiliate_key = "k"\n[respool]\nrules = [{{ {rules} }}]\n'
    )
    with pytest.raises(ConfigurationError) as raised:
        load(file)
    assert str(raised.value).startswith(line)
    assert "\n" not in str(raised.value)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value).replace("'", '"')


def _from(n: int) -> dict[str, Any]:
    """A call of the n-th number's."""
    return record(str(n), now(), caller={"e164": number(n), "number": number(n)[3:]})
