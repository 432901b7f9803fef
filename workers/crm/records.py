"""Brings a CRM's record of a call to the call's latest revision: found before it is made, made once, then kept up.

None of the CRMs has an idempotency key for these records. So whoever is about to make one notes it first, under its
claim, and whoever finds such a note looks whether the record is there, for as long as a search may lag behind.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from time import monotonic
from typing import Any, Final, NamedTuple

import orjson
import structlog

from hub.calls import applies
from hub.config import CrmDestination
from hub.errors import NotSent, NotYet, Permanent, RateLimited, Refused
from hub.events import to_event
from hub.forwarding.numbers import spellings
from hub.forwarding.wanting import Where
from hub.ports.forwarding import Done, Outcome
from workers.crm.crm import Crm, Fields
from workers.crm.listening import CrmStore, Listening
from workers.crm.visit import Visit, lease

_UNFOLDED: Final = timedelta(minutes=5)  # an event that the store has not kept by then, it never will
_SOON: Final = 0.5  # seconds until another look for it
_TURN: Final = 1.0  # seconds until another look for a contact that somebody else is making
_NOT_THERE: Final = 404
_log = structlog.get_logger("crm")


class _Contact(NamedTuple):
    """Whom a call is logged with; ``skip`` where it is not to be logged at all."""

    remote_id: str | None
    skip: bool = False


class Records:
    """What a destination that is a CRM does with its work.

    Args:
        crm: its requests and answers.
        settings: as configured.
        listening: knows the link to a call's audio.
        sealed: whether a vendor's calls are wanted when they are sealed; then they are not wanted before.
    """

    def __init__(
        self,
        crm: Crm,
        settings: CrmDestination,
        store: CrmStore,
        *,
        listening: Listening,
        sealed: Callable[[str], bool],
    ) -> None:
        self._crm, self._settings, self._store, self._sealed = crm, settings, store, sealed
        self._listening = listening
        self._where = Where(settings.where)
        self._doubt = timedelta(seconds=2 * settings.timeout + settings.settle)

    async def do(self, visit: Visit, now: datetime) -> Outcome:
        """One visit. Raises NotYet, Lost, StoreUnavailable and what requests raise."""
        record = await self._listening.told(await self._record(visit, now))
        work, meant = visit.work, self._is_meant(record)
        if work.remote_id is None and work.intent_at is None and not meant:
            return Done(work)
        fields = self._crm.fields(record)
        remote_id = work.remote_id or await self._found(visit, now)
        if remote_id is None:
            return await self._made(visit, record, fields, now) if meant else Done(work)
        visit.remote_id = remote_id  # worth keeping whatever follows: nobody has to look for it, or doubts it
        if digest(fields) != work.digest:
            try:
                await visit.ask("update_call", self._crm.update_call(remote_id, fields), self._crm.updated)
            except Refused as error:
                if error.status != _NOT_THERE:
                    raise
                _log.warning("crm.record_removed", destination=work.destination, call_id=work.key, remote_id=remote_id)
        return Done(work, remote_id, digest(fields), record.get("revision"))

    async def _record(self, visit: Visit, now: datetime) -> Mapping[str, Any]:
        """The call's latest record, with every event in it that made it due."""
        folded = [
            want.message.id
            for want in visit.work.wants
            if now - want.taken_at < _UNFOLDED and applies(to_event(want.message))
        ]
        if folded and await self._store.lacks(folded):
            raise NotYet(_SOON, "the store has not kept the event yet")
        record = await self._store.call(visit.work.key)
        if record is None:
            taken = max((want.taken_at for want in visit.work.wants), default=now - _UNFOLDED)
            if now - taken < _UNFOLDED:
                raise NotYet(_SOON, "the store does not know the call yet")
            raise Permanent("there is no record of the call")
        parsed: Mapping[str, Any] = orjson.loads(record)
        return parsed

    def _is_meant(self, record: Mapping[str, Any]) -> bool:
        return self._where(record) and bool(record.get("sealed") or not self._sealed(str(record["vendor"])))

    async def _found(self, visit: Visit, now: datetime) -> str | None:
        """The record there; None once it is sure that there is none."""
        found = await visit.ask("find_call", self._crm.find_call(visit.work.key), self._crm.found_call)
        if found is None and visit.work.intent_at is not None:
            _wait(visit.work.intent_at + self._doubt, now, "it is not known whether the record was made")
        return found

    async def _made(self, visit: Visit, record: Mapping[str, Any], fields: Fields, now: datetime) -> Outcome:
        contact = await self._contact(visit, record, now)
        if contact.skip:
            return Done(visit.work)
        every = {**self._crm.first_fields(record), **fields}
        request = self._crm.create_call(visit.work.key, every, contact.remote_id)
        await visit.intend()
        remote_id = await visit.create(request, self._crm.created)
        return Done(visit.work, remote_id, digest(fields), record.get("revision"))

    # --- contacts ----------------------------------------------------------------------------------------------------

    async def _contact(self, visit: Visit, record: Mapping[str, Any], now: datetime) -> _Contact:
        outer = record.get("callee") if record.get("direction") == "outbound" else record.get("caller")
        numbers = spellings(outer)
        rule = self._settings.unknown_number
        if not numbers:
            return _Contact(None, skip=rule == "skip")
        found = await visit.ask("find_contact", self._crm.find_contact(numbers), self._crm.found_contact)
        if found is not None or rule == "none":
            return _Contact(found)
        if rule == "skip":
            return _Contact(None, skip=True)
        return _Contact(await self._new_contact(visit, numbers[0], now))

    async def _new_contact(self, visit: Visit, number: str, now: datetime) -> str:
        """Made by one of all who would: two calls of one number are one contact."""
        work = visit.work
        claim = f"{work.claim} {work.key}"
        store, name, seconds = self._store.forwarding, work.destination, lease(self._settings.timeout)
        reserved = await store.reserve_contact(name, number, claim, now, seconds, intent=False)
        if reserved.remote_id is not None:
            return reserved.remote_id
        if not reserved.mine:
            raise NotYet(_TURN, "somebody else is making the contact")
        if reserved.intent_at is not None:
            _wait(reserved.intent_at + self._doubt, now, "it is not known whether the contact was made")
        began = monotonic()
        mine = await store.reserve_contact(name, number, claim, now, seconds, intent=True)
        if not mine.mine or monotonic() - began > seconds - 2 * self._settings.timeout - 1:
            raise NotYet(_TURN, "the contact is somebody else's to make by now")
        try:
            made = await visit.ask("create_contact", self._crm.create_contact(number), self._crm.created)
        except (NotSent, Refused, RateLimited):
            await store.contact_made(name, number, claim, None)
            raise
        await store.contact_made(name, number, claim, made)
        return made


def digest(fields: Fields) -> str:
    """Of what we write: the same fields need not be written twice."""
    return sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def _wait(until: datetime, now: datetime, why: str) -> None:
    if now < until:
        raise NotYet((until - now).total_seconds(), why)
