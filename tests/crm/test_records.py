"""Every CRM's record of a call: found before it is made, made once, kept at the latest revision."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from hub.calls.recorded import recording_id
from hub.custody.links import Links
from hub.errors import NotDurable, StoreUnavailable
from hub.events import to_event
from hub.ports.forwarding import Tried, Work
from hub.ports.recordings import Announced, Kept
from hub.simulator.crms.double import Double, served
from hub.simulator.crms.mischief import Fault
from hub.store.forwarding_verbs import SqlForwarding
from tests.crm.office import CRMS, ID_FIELD, Mischief, Office, destination, double, office
from tests.hub import until
from tests.store.evidence import CALLER, call_id, ended, recording, started, whole_call

KINDS: Final = tuple(CRMS)
OWNED: Final[dict[str, dict[str, Any]]] = {
    "hubspot": {
        "hs_timestamp": "1795176000000",
        "hs_call_duration": "42000",
        "hs_call_direction": "INBOUND",
        "hs_call_status": "COMPLETED",
        "hs_call_from_number": "+34911888920",
        "hs_call_to_number": "+34900805089",
        "hs_call_source": "INTEGRATIONS_PLATFORM",
    },
    "salesforce": {
        "CallDurationInSeconds": 42,
        "CallType": "Inbound",
        "CallDisposition": "answered",
        "ActivityDate": "2026-11-20",
        "Status": "Completed",
        "TaskSubtype": "Call",
    },
    "zoho": {
        "Call_Type": "Inbound",
        "Call_Start_Time": "2026-11-20T12:00:00+00:00",
        "Call_Duration": "00:42",
        "Subject": "Call from +34911888920",
    },
}
MAKES: Final = {"hubspot": "2026-03/calls", "salesforce": "sobjects/Task", "zoho": "POST /crm/v8/Calls"}
CONTACT: Final[dict[str, tuple[str, str]]] = {
    "hubspot": ("phone", "associated"),
    "salesforce": ("MobilePhone", "WhoId"),
    "zoho": ("Phone", "Who_Id"),
}


async def dead(here: Office, count: int = 1) -> list[str]:
    """The reasons of dead letters, once they are there."""

    async def look() -> list[str] | None:
        try:
            found = [letter.reason for letter in await here.bus.dead("trunkline.crm")]
        except NotDurable:
            return None
        return found if len(found) >= count else None

    return await until(look)


def records(it: Double, kind: str, number: int) -> list[dict[str, Any]]:
    """Every record there of a call of ours."""
    return [fields for fields in it.calls.all.values() if fields.get(ID_FIELD[kind]) == call_id(number)]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_sealed_call_becomes_one_record_with_its_contact_and_grows_with_its_recording(
    kind: str, tmp_path: Path
) -> None:
    async with served(double(kind)) as it:
        field, link = CONTACT[kind]
        contact = it.contacts.add({field: "911888920", "LastName": "Known", "Last_Name": "Known"})
        audio = "https://hub.example.com/{recording.id}"
        table = destination(kind, it, recording_url=audio, mapping={"Our_Audio": "{recording.url?}"})
        async with office(tmp_path, {"crm": table}) as here:
            await here.call(1)
            await here.settled(1)
            [record] = records(it, kind, 1)
            assert OWNED[kind].items() <= record.items()
            assert record[link] == (contact if kind != "zoho" else {"id": contact})
            assert "Our_Audio" not in record
            [name] = it.calls.all
            it.calls.write(name, {"Notes": "a person's"})
            await here.keep(recording(1, verb="stored"))
            await here.settled(2)
            [record] = records(it, kind, 1)
            assert record["Our_Audio"].startswith("https://hub.example.com/")
            assert record["Notes"] == "a person's"
            assert it.calls.writes[name] == 3, "made, edited by a person, updated once"
            tries = await here.store.forwarding.tries(call_id=call_id(1))
            assert [one.step for one in tries] == ["find_call", "find_contact", "create_call", "update_call"]
            assert {one.outcome for one in tries} == {"done"}
            shown = str([(one.request, one.answer) for one in tries])
            assert "911888920" not in shown
            assert "oauthtoken " not in shown.replace("…", "")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_record_that_is_there_already_is_found_and_not_made_again(kind: str, tmp_path: Path) -> None:
    async with served(double(kind)) as it:
        it.calls.add({ID_FIELD[kind]: call_id(1), "Notes": "made by somebody else"})
        async with office(tmp_path, {"crm": destination(kind, it)}) as here:
            await here.call(1)
            await here.settled(1)
            [record] = records(it, kind, 1)
            assert record["Notes"] == "made by somebody else"
            assert len(record) > 3, "brought to our revision"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "fault", ["drop", "failed", "limited", "limited_for", "page", "expired", "busy", "drip", "hang"]
)
async def test_whatever_becomes_of_an_answer_there_is_one_record(kind: str, fault: Fault, tmp_path: Path) -> None:
    async with served(double(kind, lag=0.1)) as it:
        it.mischief.next(fault, at=MAKES[kind])
        async with office(tmp_path, {"crm": destination(kind, it, settle=0.3)}) as here:
            await here.call(1)
            await here.settled(1)
        assert it.mischief.done[fault] == 1
        assert len(records(it, kind, 1)) == len(it.calls.all) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_inside_a_success_is_no_success(kind: str, tmp_path: Path) -> None:
    async with served(double(kind)) as it, office(tmp_path, {"crm": destination(kind, it)}) as here:
        it.mischief.next("inside", at=MAKES[kind])
        await here.call(1)
        if kind == "hubspot":  # it says so by having no id: perhaps it was made, so it is looked for
            await here.settled(1)
            assert len(records(it, kind, 1)) == 1
            return
        [reason] = await dead(here)
        assert reason.startswith("crm: 200 with ")
        assert it.calls.all == {}
        await here.settled(0)
        await here.bus.requeue("trunkline.crm", None, 10)
        await here.settled(1)
        assert len(records(it, kind, 1)) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_an_expired_token_is_renewed_once_for_all_who_find_it_expired(kind: str, tmp_path: Path) -> None:
    async with served(double(kind)) as it, office(tmp_path, {"crm": destination(kind, it)}) as here:
        await here.call(0)
        await here.settled(1)
        assert it.tokens_given == 1
        it.expire()
        await asyncio.gather(*(here.call(number) for number in range(1, 21)))
        await here.settled(21)
        assert it.tokens_given == 2
        assert len(it.calls.all) == 21
        tries = [one for number in range(1, 21) for one in await here.store.forwarding.tries(call_id=call_id(number))]
        assert {one.attempt for one in tries} == {1}, "no attempt was burnt"


async def test_credentials_that_are_not_accepted_burn_no_attempts_and_open_the_breaker(tmp_path: Path) -> None:
    async with served(double("hubspot")) as it:
        table = destination(
            "hubspot", it, **dict.fromkeys(("client_id", "client_secret", "refresh_token", "token_url"))
        )
        async with office(tmp_path, {"crm": {**table, "token": "wrong"}}) as here:
            await here.call(1)

            async def opened() -> bool:
                return bool((await here.standing("crm")).breaker == "open")

            await until(opened)
            standing = await here.standing("crm")
            assert "401" in standing.breaker_reason

            async def tried() -> list[Tried] | None:
                return await here.store.forwarding.tries(call_id=call_id(1)) or None

            assert {(one.outcome, one.attempt) for one in await until(tried)} == {("expired", 1)}


@pytest.mark.parametrize("kind", KINDS)
async def test_two_calls_of_an_unknown_number_make_one_contact_where_contacts_are_made(
    kind: str, tmp_path: Path
) -> None:
    async with (
        served(double(kind, lag=0.1, mischief=Mischief({"drop": 0.2 if kind == "zoho" else 0.0}, seed=1))) as it,
        office(tmp_path, {"crm": destination(kind, it, unknown_number="create", settle=0.2)}, workers=2) as here,
    ):
        await asyncio.gather(*(here.call(number) for number in range(4)))
        await here.settled(4)
        assert len(it.contacts.all) == 1
        [contact] = it.contacts.all
        link = CONTACT[kind][1]
        linked = {str(fields[link]) for fields in it.calls.all.values()}
        assert linked == {contact if kind != "zoho" else str({"id": contact})}


async def test_calls_of_unknown_numbers_are_left_out_where_the_rule_says_so(tmp_path: Path) -> None:
    async with (
        served(double("zoho")) as it,
        office(tmp_path, {"crm": destination("zoho", it, unknown_number="skip")}) as here,
    ):
        await here.call(1)
        await here.call(2, caller={"withheld": True})
        await here.settled(2)
        assert it.calls.all == {}


async def test_five_events_that_wait_are_one_update(tmp_path: Path) -> None:
    async with served(double("hubspot")) as it:
        table = destination("hubspot", it, mapping={"seen": "{revision}"})
        async with office(tmp_path, {"crm": table}) as here:
            it.mischief.next("busy", "busy", at="calls/search")
            await here.call(1)
            await here.keep(*(recording(1, at=60 + n, verb=verb) for n, verb in enumerate(("available", "stored"))))
            await here.settled(2)
            [name] = it.calls.all
            assert it.calls.writes[name] <= 2
            assert it.calls.all[name]["seen"] == (await here.record(1))["revision"] == 6


async def test_a_missed_call_has_a_type_of_its_own_at_zoho_and_a_status_at_hubspot(tmp_path: Path) -> None:
    async with served(double("zoho")) as zoho, served(double("hubspot")) as hubspot:
        tables = {"z": destination("zoho", zoho), "h": destination("hubspot", hubspot)}
        async with office(tmp_path, tables) as here:
            missed = [{"code": 2, "name": "call", "label": "911222444", "duration_seconds": 0}]
            now = started(1)
            await here.keep(now, ended(1, actions=missed))
            await here.settled(1)
            [one], [other] = zoho.calls.all.values(), hubspot.calls.all.values()
            assert one["Call_Type"] == "Missed"
            assert other["hs_call_status"] == "NO_ANSWER"


async def test_the_filter_is_over_the_calls_record(tmp_path: Path) -> None:
    async with served(double("zoho")) as it:
        table = destination("zoho", it, where={"duration_seconds": {"min": 60}, "caller.e164": CALLER["e164"]})
        async with office(tmp_path, {"crm": table}) as here:
            await here.call(1)
            await here.call(2, duration_seconds=90)
            await here.settled(2)
            assert [fields["Call_Duration"] for fields in it.calls.all.values()] == ["01:30"]


async def test_a_mapping_of_a_field_that_the_call_does_not_have_says_so(tmp_path: Path) -> None:
    async with served(double("zoho")) as it:
        table = destination("zoho", it, mapping={"Order": "{variables.PEDIDO}"})
        async with office(tmp_path, {"crm": table}) as here:
            await here.call(1)
            [reason] = await dead(here)
            assert reason == "crm: mapping.Order refers to variables.PEDIDO, which this call does not have"
            assert it.calls.all == {}


async def test_a_record_that_people_removed_is_not_made_again(tmp_path: Path) -> None:
    async with served(double("salesforce")) as it:
        table = destination("salesforce", it, mapping={"Description": "{recording.sha256|'none'}", "Rev": "{revision}"})
        async with office(tmp_path, {"crm": table}) as here:
            await here.call(1)
            await here.settled(1)
            it.calls.all.clear()
            await here.keep(recording(1, verb="stored"))
            await here.settled(2)
            assert it.calls.all == {}


async def test_a_destination_that_hangs_slows_no_other(tmp_path: Path) -> None:
    async with served(double("hubspot")) as well, served(double("zoho")) as ill:
        tables = {"well": destination("hubspot", well), "ill": destination("zoho", ill, concurrency=4)}
        for _ in range(10_000):
            ill.mischief.next("hang", at="Calls/search")
        async with office(tmp_path, tables) as here:
            for first in range(0, 40, 20):
                events = [event for number in range(first, first + 20) for event in whole_call(number)]
                await here.store.apply(events, datetime.now(UTC))
            await here.relay()

            async def all_there() -> bool:
                return len(well.calls.all) == 40

            await until(all_there)
            assert (await here.standing("ill")).waiting == 40
            assert ill.hanging > 0


async def keep_audio(here: Office, number: int, leg: str, settled_at: datetime) -> str:
    """Audio of a leg is stored at a moment, as the recordings worker does it; returns the recording's id."""
    name = recording_id(call_id(number), leg)
    times = (settled_at, settled_at + timedelta(days=1), settled_at)
    await here.store.recordings.take(
        [Announced(None, name, call_id(number), "infocaller", "line-900", leg, {}, *times, wanted=False)], settled_at
    )
    audio = Kept(f"{leg}.wav", leg * 64, 10, 1.5, "audio/wav", (), settled_at)
    assert await here.store.recordings.keep(name, None, audio, settled_at) == "stored"
    claimed = await here.store.claim(datetime.now(UTC), 100, 60)
    await here.store.published([one.seq for one in claimed], settled_at)
    await here.keep(*(to_event(one.message) for one in claimed))
    return name


@pytest.mark.parametrize("kind", KINDS)
async def test_a_record_has_a_link_that_opens_the_audio_that_was_stored_last(kind: str, tmp_path: Path) -> None:
    """Of ids in whatever order; and the same link however often the record is written."""
    tables = {"admin": {"token": "administrator"}, "http": {"public_url": "https://hub.example.com"}}
    field = {"hubspot": "hs_call_recording_url", "zoho": "Voice_Recording__s"}.get(kind, "Description")
    mapping = {"Description": "{recording.url?}"} if kind == "salesforce" else {}
    async with (
        served(double(kind)) as it,
        office(tmp_path, {"crm": destination(kind, it, mapping=mapping)}, tables=tables) as here,
    ):
        links = Links.of(here.settings)
        assert links is not None
        await here.call(1)
        now = datetime.now(UTC).replace(microsecond=0)
        for n, leg in enumerate(("a", "b", "c"), start=1):
            at = now + timedelta(seconds=n)
            name = await keep_audio(here, 1, leg, at)
            await here.settled(1 + n)
            [record] = records(it, kind, 1)
            assert record[field] == links.link(name, at)
            token = record[field].partition("?token=")[2]
            assert links.good(name, token, at), "it opens the audio"
            tries = await here.store.forwarding.tries(call_id=call_id(1))
            assert token not in str(tries), "and is not to be seen where requests are kept"


async def test_a_doubt_lasts_long_enough_also_where_a_token_had_to_be_got_after_the_intent(tmp_path: Path) -> None:
    """Each answer takes nearly the whole of its time, and a search lags as long as is configured for it."""
    async with served(double("salesforce", lag=1.0)) as it:
        it.mischief.next("expired", "drop", at=MAKES["salesforce"])
        it.pause = 0.45
        async with office(tmp_path, {"crm": destination("salesforce", it, settle=1.0)}) as here:
            await here.call(1)
            await dropped(it)
            it.pause = 0.0
            await here.settled(1)
        assert it.tokens_given == 2
        assert len(it.calls.all) == 1


async def test_a_record_that_may_have_been_made_is_kept_up_though_its_call_is_not_wanted_any_more(
    tmp_path: Path,
) -> None:
    async with served(double("hubspot")) as it:
        it.mischief.next("drop", at=MAKES["hubspot"])
        table = destination("hubspot", it, where={"recordings.0": {"present": False}}, mapping={"seen": "{revision}"})
        async with office(tmp_path, {"crm": table}) as here:
            await here.call(1)
            await dropped(it)
            await here.keep(recording(1, verb="stored"))
            await here.settled(2)
            [record] = it.calls.all.values()
            assert record["seen"] == (await here.record(1))["revision"] == 5


async def test_a_vendors_calls_wait_for_their_seal_where_that_vendors_seals_are_wanted(tmp_path: Path) -> None:
    async with served(double("hubspot")) as it:
        table = destination("hubspot", it, events=["call.infocaller.sealed", "recording.infocaller.stored"])
        async with office(tmp_path, {"crm": table}) as here:
            await here.keep(started(1), recording(1, verb="stored"))
            await here.settled(1)
            assert it.calls.all == {}
            await here.call(1)
            await here.settled(2)
            assert len(it.calls.all) == 1


async def dropped(it: Double) -> None:
    """Until an answer was."""

    async def look() -> bool:
        return bool(it.mischief.done["drop"])

    await until(look)


class Claims:
    """The claims of a store's forwarding, counted."""

    def __init__(self, here: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        claim_work = here.store.forwarding.claim_work

        async def counted(*arguments: Any) -> list[Work]:
            self.count += 1
            return await claim_work(*arguments)

        monkeypatch.setattr(here.store.forwarding, "claim_work", counted)


async def test_a_destination_that_hangs_or_is_disabled_is_not_looked_at_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look is a transaction, for which everybody else waits where the store is one file."""
    async with served(double("hubspot")) as it, office(tmp_path, {"crm": destination("hubspot", it)}) as here:
        claims = Claims(here, monkeypatch)
        it.mischief.next("hang", "hang", at="calls/search")
        await here.call(1)
        await here.settled(1)
        assert it.hanging == 2, "it hung for a second"
        assert claims.count < 15
        await here.store.forwarding.disable("crm", "hubspot", "410", datetime.now(UTC))
        before = claims.count
        await here.call(2)

        async def looked() -> bool:
            return claims.count > before + 1

        began = asyncio.get_running_loop().time()
        await until(looked)
        assert asyncio.get_running_loop().time() - began > 0.5


async def test_a_destination_is_met_though_the_store_was_away_when_its_worker_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meet, asked = SqlForwarding.meet, []

    async def away_at_first(self: SqlForwarding, *arguments: Any) -> None:
        asked.append(arguments)
        if len(asked) < 3:
            raise StoreUnavailable("away")
        await meet(self, *arguments)

    monkeypatch.setattr(SqlForwarding, "meet", away_at_first)
    monkeypatch.setattr("workers.crm.destination._AFTER_FAILURE", 0.01)
    async with served(double("hubspot")) as it, office(tmp_path, {"crm": destination("hubspot", it)}) as here:
        await here.call(1)
        await here.settled(1)
        assert (await here.standing("crm")).done == 1
        assert len(asked) == 3


async def test_requests_to_a_destination_that_is_configured_no_more_are_forgotten_too(tmp_path: Path) -> None:
    async with served(double("hubspot")) as it:
        async with office(tmp_path, {"old": destination("hubspot", it)}) as here:
            await here.call(1)
            await here.settled(1)
        async with office(tmp_path, {"new": destination("hubspot", it)}) as here:
            [forwarder] = here.workers
            for days, left in ((29, True), (31, False)):
                forwarder._clock = lambda days=days: datetime.now(UTC) + timedelta(days=days)  # type: ignore[misc]
                await forwarder._forget()
                tries = await here.store.forwarding.tries(call_id=call_id(1))
                assert any(one.destination == "old" for one in tries) is left
