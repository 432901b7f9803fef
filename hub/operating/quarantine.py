"""The quarantine: listed, shown, tried again with today's code and configuration, discarded."""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog

from hub import metrics
from hub.disk import Disk, Kept, Narrow
from hub.errors import NotDurable, Unusable
from hub.events import Event, Message, timestamp, to_message
from hub.ports import Callback, Vendor

MOST: Final = 10_000
"""Requests that one question may act on."""

_TOGETHER: Final = 50  # their bodies, a MiB each at most, are in memory
_log = structlog.get_logger("operator")

Progress = Callable[[int, int], None]
"""Told how many of how many have been looked at."""


class Publisher(Protocol):
    """Where accepted events go: the ingress's own way, or the bus."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Returns once they are durable. Raises NotDurable."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a request.

    Attributes:
        events: the ids of its events; empty where it is still unusable.
        reason: why it stays: the quarantine's words, or ``unknown_source`` or ``not_durable``.
        detail: in a sentence.
    """

    quarantine_id: str
    source: str
    events: tuple[str, ...] = ()
    reason: str = ""
    detail: str = ""

    def shown(self) -> dict[str, Any]:
        """It as an item of an answer."""
        told: dict[str, Any] = {"quarantine_id": self.quarantine_id, "source": self.source}
        if self.reason:
            return {**told, "status": "quarantined", "reason": self.reason, "detail": self.detail}
        return {**told, "status": "accepted", "event_ids": list(self.events)}


@dataclass(slots=True)
class Report:
    """What was done, or on a dry run would be.

    Attributes:
        ids: the requests chosen, oldest first.
        done: how many of them have left the quarantine.
        verdicts: of a retry, one for each.
        missing: ids that were asked for and are not there.
    """

    verb: str
    dry_run: bool
    ids: list[str] = field(default_factory=list)
    done: int = 0
    verdicts: list[Verdict] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def stayed(self) -> list[Verdict]:
        """Those that are still unusable."""
        return [verdict for verdict in self.verdicts if verdict.reason]

    def shown(self) -> dict[str, Any]:
        """It as the answer of ``POST /v1/quarantine/…``."""
        return {
            "action": self.verb,
            "dry_run": self.dry_run,
            "chosen": len(self.ids),
            "done": self.done,
            "ids": self.ids,
            "missing": self.missing,
            **({"items": [verdict.shown() for verdict in self.verdicts]} if self.verb == "retry" else {}),
        }


class Quarantine:
    """The verbs, over the ingress's disk."""

    def __init__(self, disk: Disk, publisher: Publisher, decoders: Mapping[str, Vendor]) -> None:
        """Composes.

        Args:
            disk: open already; it may belong to an ingress that runs.
            publisher: takes the events of what can be used now.
            decoders: for each source that is configured now.
        """
        self._disk = disk
        self._publisher = publisher
        self._decoders = decoders

    async def page(self, limit: int, after: int, narrow: Narrow) -> tuple[list[Kept], int | None]:
        """The oldest requests behind a place, and ``after`` of the next page, None at the end. Raises NotDurable."""
        found = await self._disk.quarantined(limit + 1, after, narrow)
        return found[:limit], found[limit - 1].seq if len(found) > limit else None

    async def one(self, quarantine_id: str) -> Kept | None:
        """A request; None where it is not there. Raises NotDurable."""
        found = await self._disk.quarantined(1, 0, Narrow(ids=[quarantine_id]))
        return found[0] if found else None

    async def retry(
        self, narrow: Narrow, *, limit: int = MOST, dry_run: bool = False, progress: Progress | None = None
    ) -> Report:
        """Decodes requests again; what gives events leaves once they are durable, the rest stays and says why.

        A crash in between gives the same events again: their ids are made of what they say. Raises NotDurable where the
        disk cannot be asked.
        """
        report = await self._chosen("retry", narrow, limit, dry_run=dry_run)
        for ids in _slices(report.ids):
            kept = await self._disk.quarantined(len(ids), 0, Narrow(ids=ids))
            tries = [self._try(one, dry_run=dry_run) for one in kept]
            verdicts = await asyncio.gather(*tries)
            report.verdicts += verdicts
            if not dry_run:
                report.done += await self._disk.forget([one.quarantine_id for one in verdicts if not one.reason])
            if progress is not None:
                progress(len(report.verdicts), len(report.ids))
        if not dry_run:
            _log.warning("operator.retry", done=report.done, stayed=len(report.stayed))
        return report

    async def discard(
        self, narrow: Narrow, *, limit: int = MOST, dry_run: bool = False, progress: Progress | None = None
    ) -> Report:
        """Removes requests for good. Raises NotDurable where the disk cannot be asked."""
        report = await self._chosen("discard", narrow, limit, dry_run=dry_run)
        if dry_run:
            return report
        for ids in _slices(report.ids):
            report.done += await self._disk.forget(ids)
            if progress is not None:
                progress(report.done, len(report.ids))
        _log.warning("operator.discard", quarantined=report.done)
        return report

    async def _chosen(self, verb: str, narrow: Narrow, limit: int, *, dry_run: bool) -> Report:
        ids = await self._disk.find(narrow, min(limit, MOST))
        there = set(ids)
        missing = [one for one in dict.fromkeys(narrow.ids or ()) if one not in there]
        return Report(verb, dry_run, ids, missing=missing)

    async def _try(self, kept: Kept, *, dry_run: bool) -> Verdict:
        source = kept.request.source
        try:
            events = self._decode(kept)
            if not dry_run:
                await self._publisher.publish([to_message(event) for event in events])
        except Unusable as unusable:
            return Verdict(kept.quarantine_id, source, reason=unusable.reason, detail=unusable.detail[:200])
        except NotDurable as error:
            return Verdict(kept.quarantine_id, source, reason="not_durable", detail=str(error))
        except LookupError:
            return Verdict(
                kept.quarantine_id, source, reason="unknown_source", detail=f"sources.{source} is not configured"
            )
        for what in (what for event in events if not dry_run for what in event.unknown):
            metrics.unknown.labels(source, what).inc()
        return Verdict(kept.quarantine_id, source, tuple(event.id for event in events))

    def _decode(self, kept: Kept) -> list[Event]:
        """The events of a request. Raises Unusable, and LookupError where its source is configured no more."""
        decoder = self._decoders.get(kept.request.source)
        if decoder is None:
            raise LookupError(kept.request.source)
        try:
            return decoder.decode(callback(kept))
        except Unusable:
            raise
        except Exception as error:
            _log.exception("operator.decoder_failed", source=kept.request.source)
            raise Unusable("undecodable", "the decoder failed") from error


def callback(kept: Kept) -> Callback:
    """The request as it came, its token proved then."""
    request = kept.request
    content_types = [value for name, value in request.headers if name.lower() == "content-type"]
    return Callback(
        source=request.source,
        event=request.event,
        query=request.url.partition("?")[2],
        content_type=content_types[0] if content_types else "",
        body=request.body,
        received_at=request.received_at,
    )


def shown(kept: Kept) -> dict[str, Any]:
    """A request as an item of ``GET /v1/quarantine``."""
    request = kept.request
    headers: dict[str, str] = {}
    for name, value in request.headers:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return {
        "quarantine_id": kept.quarantine_id,
        "source": request.source,
        "reason": request.reason,
        "detail": request.detail,
        "received_at": timestamp(request.received_at),
        "method": request.method,
        "url": request.url,
        "headers": headers,
        "body_base64": b64encode(request.body).decode(),
    }


def _slices(ids: Sequence[str]) -> list[Collection[str]]:
    return [ids[at : at + _TOGETHER] for at in range(0, len(ids), _TOGETHER)]
