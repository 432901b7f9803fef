"""The verbs of recordings over SQL; what each promises stands in ``hub.ports.recordings``.

Whoever settles a recording holds its row locked, and looks at the claim in it: a process whose claim is over changes
nothing. Two recordings may have the same audio under one key; ``_alone_with`` keeps a deletion and a storing of the
same key apart.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, exists, func, insert, or_, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.events import Event, timestamp
from hub.ports import Failure, Workload
from hub.ports.recordings import Announced, Kept, Lost, Recording
from hub.store.recordings_rows import (
    kept_row,
    message_text,
    operational,
    recording_of,
    row_of,
    text_message,
    told,
    version,
    with_failure,
    with_version,
)
from hub.store.recordings_tables import recording_events, recordings
from hub.store.rows import outbox_row
from hub.store.tables import outbox
from hub.store.transactions import Transactions

_REQUEUED: Final = timedelta(hours=1)  # that one which an operator puts back is tried for, at the least
_ABANDONED: Final = timedelta(minutes=5)  # a deletion that takes longer was somebody's who is gone
_TWINS: Final = 5
_FREE: Final = {"claim": None, "claimed_until": None}
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 5))")
_columns = recordings.c


class SqlRecordings:
    """``hub.ports.recordings.Recordings`` over PostgreSQL or SQLite."""

    def __init__(self, transactions: Transactions, dialect: str) -> None:
        self._transactions = transactions
        self._dialect = dialect
        self._insert = postgresql.insert if dialect == "postgresql" else sqlite.insert

    # --- taking ------------------------------------------------------------------------------------------------------

    async def take(self, announced: Sequence[Announced], now: datetime) -> int:
        """Makes rows of events; returns how many are new work."""
        ordered = sorted(announced, key=lambda one: one.recording_id)  # locks are taken in this order

        async def work(connection: AsyncConnection) -> int:
            return sum([await self._take(connection, one, now) for one in ordered])

        return await self._transactions.write(work)

    async def _take(self, connection: AsyncConnection, one: Announced, now: datetime) -> bool:
        made = self._insert(recordings).values(row_of(one, now)).on_conflict_do_nothing()
        fresh = bool((await connection.execute(made)).rowcount)
        if one.message is not None:
            event = {
                "event_id": one.message.id,
                "recording_id": one.recording_id,
                "message": message_text(one.message),
            }
            await connection.execute(self._insert(recording_events).values(event).on_conflict_do_nothing())
        if fresh:
            return one.wanted
        row = await self._locked(connection, one.recording_id)
        dead = row is not None and row.state == "failed" and row.buried
        if row is None or not (dead or (one.again and row.state in {"stored", "failed"}) or row.state == "idle"):
            return False
        if not one.wanted:
            return False
        await self._write(
            connection,
            row,
            state="waiting",
            attempt=0,
            round=row.round + 1,
            next_at=now,
            expires_at=max(row.expires_at, now + _REQUEUED),
            buried=False,
            reason=None,
            **_FREE,
        )
        return True

    async def wake(self, source: str, now: datetime) -> int:
        """Idle ones of a source become work."""
        idle = update(recordings).where(_columns.source == source, _columns.state == "idle")
        due = idle.where(_columns.expires_at > now).values(state="waiting", next_at=now)
        return await self._transactions.write(lambda connection: _count(connection, due))

    # --- claims ------------------------------------------------------------------------------------------------------

    async def claim(self, source: str, now: datetime, limit: int, lease: float, claim: str) -> list[Recording]:
        """Takes what is due, the one first that the vendor deletes first."""
        until = now + timedelta(seconds=lease)
        query = self._free(source, now, lease).where(_columns.next_at <= now)
        query = query.order_by(_columns.expires_at, _columns.recording_id).limit(limit)

        async def work(connection: AsyncConnection) -> list[Recording]:
            found = (await connection.execute(query.with_for_update(skip_locked=True))).all()
            if found:
                mine = _columns.recording_id.in_([row.recording_id for row in found])
                await connection.execute(update(recordings).where(mine).values(claim=claim, claimed_until=until))
            return [replace(recording_of(row), claim=claim) for row in found]

        return await self._transactions.write(work)

    def _free(self, source: str, now: datetime, lease: float) -> Any:
        taken = _columns.claimed_until
        beyond = now + timedelta(seconds=2 * lease)  # further ahead than a lease can be: the clock was set back
        free = or_(taken.is_(None), taken <= now, taken > beyond)
        return select(recordings).where(_columns.source == source, _columns.state == "waiting", free)

    async def extend(self, recording_id: str, claim: str, now: datetime, lease: float) -> bool:
        """Whether the claim is still ours; if so for so long from now."""
        mine = (_columns.recording_id == recording_id) & (_columns.claim == claim) & (_columns.state == "waiting")
        longer = update(recordings).where(mine).values(claimed_until=now + timedelta(seconds=lease))
        return bool(await self._transactions.write(lambda connection: _count(connection, longer)))

    async def next_due(self, source: str, now: datetime) -> datetime | None:
        """When the next one of a source can be claimed."""
        del now
        waiting = select(func.min(func.coalesce(_columns.claimed_until, _columns.next_at)))
        query = waiting.where(_columns.source == source, _columns.state == "waiting")
        return await self._transactions.read(lambda connection: connection.scalar(query))

    # --- what came of it ---------------------------------------------------------------------------------------------

    async def keep(self, recording_id: str, claim: str | None, kept: Kept, now: datetime) -> str:
        """Stored: the row, and its event, once."""

        async def work(connection: AsyncConnection) -> str:
            row = await self._locked(connection, recording_id)
            if row is None or (claim is not None and (row.claim != claim or row.state != "waiting")):
                return "lost"
            if row.state in {"deleting", "deleted"}:
                return "deleted"
            if await self._taken_along(connection, kept):
                return "gone"
            return await self._keep(connection, row, kept, now)

        return await self._transactions.write(work)

    async def _keep(self, connection: AsyncConnection, row: Row[Any], kept: Kept, now: datetime) -> str:
        rests = {"state": "stored", "next_at": None, "alert_at": None, "seen": None, "reason": None, **_FREE}
        if row.sha256 is None:
            await self._write(connection, row, **rests, **kept_row(kept, now))
            said = {"url": kept.url or None, "bytes": kept.bytes, "sha256": kept.sha256}
            more = {"content_type": kept.content_type, "flags": list(kept.flags) or None}
            seconds = None if kept.seconds is None else round(kept.seconds, 3)
            await self._tell(connection, told(row, "stored", now, **said, seconds=seconds, **more))
            return "stored"
        if row.sha256 == kept.sha256:
            await self._write(connection, row, **rests)
            return "again"
        versions, new = with_version(row.versions, version(kept, now))
        await self._write(connection, row, **rests, versions=versions)
        if new:
            said = {"bytes": kept.bytes, "sha256": kept.sha256}
            await self._tell(connection, operational(row, "version", now, kept.sha256, **said))
        return "version"

    async def postpone(
        self, recording_id: str, claim: str, until: datetime, failure: Failure | None, seen: str | None = None
    ) -> bool:
        """Not now: gives the claim back until then."""

        async def work(connection: AsyncConnection) -> bool:
            row = await self._mine(connection, recording_id, claim)
            if row is None:
                return False
            after: dict[str, Any] = {"next_at": until, "seen": seen or row.seen, **_FREE}
            if failure is not None:
                after |= {"attempt": row.attempt + 1, "history": with_failure(row.history, failure)}
            await self._write(connection, row, **after)
            return True

        return await self._transactions.write(work)

    async def give_up(self, recording_id: str, claim: str, reason: str, failure: Failure) -> bool:
        """Failed: the row, and its event, once."""

        async def work(connection: AsyncConnection) -> bool:
            row = await self._mine(connection, recording_id, claim)
            if row is None:
                return False
            rests = {"next_at": None, "alert_at": None, "seen": None, **_FREE}
            after = {"attempt": row.attempt + 1, "history": with_failure(row.history, failure)}
            if row.sha256 is not None:  # asked for once more in vain: what is stored stays so
                await self._write(connection, row, **rests, **after, state="stored")
                return True
            await self._write(
                connection, row, **rests, **after, state="failed", reason=reason, settled_at=failure.at, buried=False
            )
            detail = {"reason": reason, "detail": failure.reason, "attempts": row.attempt + 1}
            await self._tell(connection, told(row, "failed", failure.at, str(row.round), **detail))
            return True

        return await self._transactions.write(work)

    async def lost(self, limit: int) -> list[Lost]:
        """Those that were given up and are not buried yet."""
        query = select(recordings).where(_columns.state == "failed", ~_columns.buried).limit(limit)

        async def work(connection: AsyncConnection) -> list[Lost]:
            rows = (await connection.execute(query)).all()
            return [Lost(recording_of(row), await self._messages(connection, row)) for row in rows]

        return await self._transactions.read(work)

    async def _messages(self, connection: AsyncConnection, row: Row[Any]) -> tuple[Any, ...]:
        query = select(recording_events.c.message).where(recording_events.c.recording_id == row.recording_id)
        found = await connection.scalars(query.order_by(recording_events.c.event_id))
        return tuple(text_message(one) for one in found)

    async def buried(self, recording_id: str) -> None:
        """Its events are among the dead letters."""
        done = update(recordings).where(_columns.recording_id == recording_id, _columns.state == "failed")
        await self._transactions.write(lambda connection: _count(connection, done.values(buried=True)))

    # --- time passes -------------------------------------------------------------------------------------------------

    async def endangered(self, now: datetime, limit: int) -> list[Recording]:
        """Those that wait and have come into danger, each told once."""
        query = select(recordings).where(_columns.alert_at <= now, _columns.state == "waiting")
        query = query.order_by(_columns.expires_at).limit(limit).with_for_update(skip_locked=True)

        async def work(connection: AsyncConnection) -> list[Recording]:
            rows = (await connection.execute(query)).all()
            for row in rows:
                await self._write(connection, row, alert_at=None)
                said = {"expires_at": timestamp(row.expires_at), "attempts": row.attempt}
                await self._tell(connection, operational(row, "endangered", now, str(row.round), **said))
            return [recording_of(row) for row in rows]

        return await self._transactions.write(work)

    async def outlived(self, now: datetime, limit: int) -> list[tuple[Recording, frozenset[str]]]:
        """Stored ones whose time is over, now ``deleting``; and the keys of their audio that nobody else has."""
        left = (_columns.state == "deleting") & (_columns.settled_at <= now - _ABANDONED)
        query = select(recordings).where(_columns.delete_at <= now, or_(_columns.state == "stored", left))
        query = query.order_by(_columns.delete_at).limit(limit).with_for_update(skip_locked=True)

        async def work(connection: AsyncConnection) -> list[tuple[Recording, frozenset[str]]]:
            found = []
            for row in (await connection.execute(query)).all():
                recording = recording_of(row)
                keys = frozenset({row.key, *(str(one["key"]) for one in recording.versions)})
                for key in sorted(keys):
                    await self._alone_with(connection, key)
                others = select(_columns.key).where(
                    _columns.key.in_(keys),
                    _columns.recording_id != row.recording_id,
                    _columns.state.in_(("stored", "waiting", "failed")),
                )
                shared = frozenset(await connection.scalars(others))
                await self._write(connection, row, state="deleting", settled_at=now)
                found.append((recording, keys - shared))
            return found

        return await self._transactions.write(work)

    async def deleted(self, recording_id: str, now: datetime) -> bool:
        """Its audio is gone: the row, and its event."""

        async def work(connection: AsyncConnection) -> bool:
            row = await self._locked(connection, recording_id)
            if row is None or row.state != "deleting":
                return False
            await self._write(connection, row, state="deleted", settled_at=now, delete_at=None)
            await self._tell(connection, operational(row, "deleted", now, sha256=row.sha256, bytes=row.bytes))
            return True

        return await self._transactions.write(work)

    # --- reading -----------------------------------------------------------------------------------------------------

    async def recording(self, recording_id: str) -> Recording | None:
        """One; None where there is none."""
        found = await self._all(_columns.recording_id == recording_id)
        return found[0] if found else None

    async def of_call(self, call_id: str) -> list[Recording]:
        """Those of a call."""
        return await self._all(_columns.call_id == call_id)

    async def of_leg(self, source: str, legs: Collection[str]) -> list[Recording]:
        """Those of a source whose leg is one of these."""
        return await self._all((_columns.source == source) & _columns.leg.in_(list(legs)))

    async def _all(self, which: Any) -> list[Recording]:
        query = select(recordings).where(which).order_by(_columns.recording_id)

        async def work(connection: AsyncConnection) -> list[Recording]:
            return [recording_of(row) for row in await connection.execute(query)]

        return await self._transactions.read(work)

    async def twins(self, sha256: str, call_id: str) -> list[str]:
        """Recordings of other calls that have the very same audio, a few at most."""
        query = select(_columns.recording_id).where(_columns.sha256 == sha256, _columns.call_id != call_id)
        query = query.order_by(_columns.recording_id).limit(_TWINS)

        async def work(connection: AsyncConnection) -> list[str]:
            return list(await connection.scalars(query))

        return await self._transactions.read(work)

    async def workload(self, connection: AsyncConnection) -> Workload:
        """Distinct events that were taken, without those among the dead letters."""
        dead = (_columns.state == "failed") & _columns.buried
        waits = (_columns.state == "waiting") | ((_columns.state == "failed") & ~_columns.buried)
        joined = recording_events.join(recordings, _columns.recording_id == recording_events.c.recording_id)
        query = select(func.count().filter(~waits & ~dead), func.count().filter(waits)).select_from(joined)
        settled, waiting = (await connection.execute(query)).one()
        return Workload(settled, waiting)

    # --- statements --------------------------------------------------------------------------------------------------

    async def _locked(self, connection: AsyncConnection, recording_id: str) -> Row[Any] | None:
        query = select(recordings).where(_columns.recording_id == recording_id).with_for_update()
        return (await connection.execute(query)).one_or_none()

    async def _mine(self, connection: AsyncConnection, recording_id: str, claim: str) -> Row[Any] | None:
        row = await self._locked(connection, recording_id)
        return row if row is not None and row.claim == claim and row.state == "waiting" else None

    async def _write(self, connection: AsyncConnection, row: Row[Any], **values: Any) -> None:
        await connection.execute(update(recordings).where(_columns.recording_id == row.recording_id).values(**values))

    async def _tell(self, connection: AsyncConnection, event: Event) -> None:
        await connection.execute(insert(outbox), outbox_row(event))

    async def _alone_with(self, connection: AsyncConnection, key: str) -> None:
        """From here to the end of the transaction nobody else decides about this key; SQLite has one writer anyway."""
        if self._dialect == "postgresql":
            await connection.execute(_LOCK, {"key": key})

    async def _taken_along(self, connection: AsyncConnection, kept: Kept) -> bool:
        """Whether somebody who had the same audio has deleted it, or is about to, since we found it published."""
        await self._alone_with(connection, kept.key)
        since = (_columns.state == "deleted") & (_columns.settled_at >= kept.began_at)
        goes = exists().where(_columns.key == kept.key, or_(_columns.state == "deleting", since))
        return bool(await connection.scalar(select(goes)))


async def _count(connection: AsyncConnection, statement: Any) -> int:
    return int((await connection.execute(statement)).rowcount)
