"""FocalScope's archive as a vendor's own records of legs: ``hub.ports.gaps.LegSource``.

A leg's JSON is looked at where its folder's date, or in the old shape the file's own time, may be of the time that is
asked for; what was read once is remembered as long as the file stays what it was.
"""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from hub.errors import Permanent
from hub.events import Event
from hub.ports.gaps import Told
from hub.vendors.focalscope.archive import Entry, entry, monitor
from hub.vendors.focalscope.archived import FIELDS, ArchivedLeg, Home, call_id, read, stand_in

_REMEMBERED: Final = 100_000
_DAY: Final = re.compile(r"(\d{4})-UTC/(\d{2})/(\d{2})")
_LONG: Final = timedelta(days=1)  # a file of the old shape is written when its leg is over

Mark = tuple[int, int]


class FocalScopeRecords:
    """The legs of one source.

    Args:
        name: the source.
        directory: the archive.
        epoch: part of every call's identity.
        country: two letters; national numbers are read with it.
        fields: names of the JSON's keys, over the defaults.
        clock: our time.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        *,
        epoch: str = "",
        country: str = "ES",
        fields: Mapping[str, str] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = name
        self._directory, self._epoch, self._country, self._clock = directory, epoch, country, clock
        self._fields = {**FIELDS, **(fields or {})}
        self._read: dict[Path, tuple[Mark, ArchivedLeg | str]] = {}

    async def told(self, since: datetime, until: datetime) -> tuple[list[Told], list[str]]:
        """The legs that began in a time.

        Raises:
            Permanent: there is no archive in that place.
        """
        legs, unreadable = await asyncio.to_thread(self._legs, since, until)
        return [self._told(leg) for leg in legs], unreadable

    def _legs(self, since: datetime, until: datetime) -> tuple[list[ArchivedLeg], list[str]]:
        found, unreadable = [], []
        for path in self._files(since, until):
            leg = self._leg(path)
            if isinstance(leg, str):
                unreadable.append(leg)
            elif since <= leg.started < until:
                found.append(leg)
        return found, unreadable

    def _files(self, since: datetime, until: datetime) -> Iterator[Path]:
        try:
            root = monitor(self._directory)
        except (ValueError, OSError) as error:
            raise Permanent(f"archive: {error}") from None
        days = {since.date() + timedelta(days=n) for n in range((until.date() - since.date()).days + 1)}
        for folder in sorted(root.glob("*-UTC/*/*")):
            when = _DAY.fullmatch(folder.relative_to(root).as_posix())
            if when and _date(*when.groups()) in days:
                yield from sorted(folder.glob("*.json"))
        for path in sorted(root.glob("*.json")):
            try:
                written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            except FileNotFoundError:  # taken away since it was listed
                continue
            if since <= written < until + _LONG:
                yield path

    def _leg(self, path: Path) -> ArchivedLeg | str:
        """A leg, or what is wrong with its file."""
        audio = path.with_suffix(".wav")
        try:
            stat = path.stat()
        except FileNotFoundError:
            return f"{path.name}: gone while it was read"
        mark = (stat.st_mtime_ns, stat.st_size * 2 + audio.is_file())
        known = self._read.get(path)
        if known is not None and known[0] == mark:
            return known[1]
        leg = self._fresh(entry(self._directory, path.with_suffix("")))
        self._read[path] = (mark, leg)
        while len(self._read) > _REMEMBERED:
            del self._read[next(iter(self._read))]
        return leg

    def _fresh(self, found: Entry) -> ArchivedLeg | str:
        if found.trouble:
            return found.trouble
        try:
            return read(found.guid, found.notes, self._fields, recorded=found.audio is not None)
        except ValueError as error:
            return f"{found.guid}: {error}"

    def _told(self, leg: ArchivedLeg) -> Told:
        return Told(
            call_id=call_id(leg, self.name, self._epoch),
            names=frozenset({leg.guid, leg.said.get("call_id", leg.guid)}),
            at=leg.ended or leg.answered or leg.started,
            promised=leg.promised,
            stand_in=partial(self._stand_in, leg),
        )

    def _stand_in(self, leg: ArchivedLeg, verb: str, call: str) -> Event:
        return stand_in(leg, verb, Home(call, self.name, self._country), self._clock())


def _date(year: str, month: str, day: str) -> date | None:
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None
