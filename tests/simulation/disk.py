"""A disk that forgets: what was written and not synced may be gone after a power cut, in part and in any order.

It is a page cache over a platter. A file's ``live`` bytes are what programs read; its ``synced`` bytes are what a power
cut leaves for certain; between the two stands the ordered list of writes that nobody has synced. At a cut each sector
that those writes touched comes out as any one of its versions, or torn between two of them; the file's length likewise.
Names are kept the same way: a file that was created, or deleted, without a sync of its directory may be back, or gone.
"""

from collections import Counter
from random import Random
from typing import Final

SECTOR: Final = 512


class PowerCut(BaseException):
    """The machine stops here, between two operations of its disk. No handler of an error may outlive it."""


class DiskFull(Exception):
    """A write that needs more room than there is."""


class SyncFailed(Exception):
    """A sync that the disk could not do. What it was to make durable is not, and no later sync will try again."""


class File:
    """One file: what programs see, what is safe, and the writes in between.

    Attributes:
        live: the content as programs read it.
        synced: the content that survives for certain.
        pending: writes in their order, ``(offset, bytes)``, or ``(length, None)`` for a truncation.
    """

    __slots__ = ("live", "pending", "synced")

    def __init__(self, content: bytes = b"") -> None:
        self.live = bytearray(content)
        self.synced = bytearray(content)
        self.pending: list[tuple[int, bytes | None]] = []

    def write(self, offset: int, data: bytes) -> None:
        _write(self.live, offset, data)
        self.pending.append((offset, data))

    def truncate(self, length: int) -> None:
        _truncate(self.live, length)
        self.pending.append((length, None))

    def sync(self) -> int:
        """Makes the pending writes durable; returns how many there were."""
        count = len(self.pending)
        for offset, data in self.pending:
            _apply(self.synced, offset, data)
        self.pending.clear()
        return count

    def after_cut(self, random: Random) -> tuple[bytearray, int]:
        """What is left of the file after a power cut, and how many writes did not survive whole."""
        luck = random.random()
        if not self.pending or luck < _ALL_LOST:
            return bytearray(self.synced), len(self.pending)
        if luck < _ALL_KEPT:
            return bytearray(self.live), 0
        if luck < _IN_ORDER:
            return self._in_order(random)
        return self._any_order(random)

    def _in_order(self, random: Random) -> tuple[bytearray, int]:
        """The first writes, and the next one torn."""
        kept = random.randrange(len(self.pending))
        left = bytearray(self.synced)
        for offset, data in self.pending[:kept]:
            _apply(left, offset, data)
        offset, data = self.pending[kept]
        if data:
            _apply(left, offset, data[: random.randrange(len(data))])
        return left, len(self.pending) - kept

    def _any_order(self, random: Random) -> tuple[bytearray, int]:
        """Each sector in one of its versions, one of them torn; the length as it was at some moment."""
        now, versions, lengths = bytearray(self.synced), dict[int, list[bytes]](), [len(self.synced)]
        for offset, data in self.pending:
            end = offset + len(data) if data is not None else max(offset, len(now))
            _apply(now, offset, data)
            for sector in range(offset // SECTOR, (max(end, offset + 1) - 1) // SECTOR + 1):
                place = slice(sector * SECTOR, (sector + 1) * SECTOR)
                versions.setdefault(sector, [bytes(self.synced[place])]).append(bytes(now[place]))
            lengths.append(len(now))
        left = bytearray(self.synced)
        _truncate(left, random.choice(lengths))
        left.extend(bytes(max(0, max(lengths) - len(left))))
        length, lost = random.choice(lengths), 0
        torn = random.choice(list(versions))
        for sector, known in versions.items():
            chosen = random.choice(known)
            if sector == torn:
                cut = random.randrange(SECTOR)
                chosen = chosen[:cut] + random.choice(known).ljust(SECTOR, b"\0")[cut:]
            lost += chosen != known[-1]
            _apply(left, sector * SECTOR, chosen)
        _truncate(left, length)
        return left, max(lost, int(left != self.live))


# How a power cut treats a file: nothing of what was pending, all of it, its beginning, any part of it.
_ALL_LOST, _ALL_KEPT, _IN_ORDER = 0.3, 0.4, 0.65


class Disk:
    """The files of one machine.

    Attributes:
        names: the files as programs see them.
        full: nothing can grow.
        cut_in: operations until the power goes; None for never.
        sync_fails_in: syncs until one of them fails; None for never.
        loses: whether a power cut takes what was not synced. False is the control: a disk kinder than disks are.
        operations: how many operations there have been.
        dark: the power is off.
        generation: grows when all who have files open are gone; what they still write goes nowhere.
        happened: what befell, by name.
    """

    def __init__(self, *, loses: bool = True) -> None:
        self.names: dict[str, File] = {}
        self._durable: dict[str, File] = {}
        self.full = False
        self.cut_in: int | None = None
        self.sync_fails_in: int | None = None
        self.loses = loses
        self.operations = 0
        self.dark = False
        self.generation = 0
        self.happened: Counter[str] = Counter()

    # --- what a file system does -------------------------------------------------------------------------------------

    def open(self, name: str) -> File:
        """The file, made where it is not there."""
        if name not in self.names:
            self._step()
            self.names[name] = File()
        return self.names[name]

    def delete(self, name: str, *, synced: bool) -> None:
        self._step()
        self.names.pop(name, None)
        if synced:
            self.sync_directory()

    def write(self, file: File, offset: int, data: bytes) -> None:
        self._step()
        if self.full and offset + len(data) > len(file.live):
            self.happened["disk full"] += 1
            raise DiskFull
        file.write(offset, data)

    def truncate(self, file: File, length: int) -> None:
        self._step()
        file.truncate(length)

    def sync(self, file: File) -> None:
        self._step()
        if self.sync_fails_in is not None:
            self.sync_fails_in -= 1
            if self.sync_fails_in <= 0:
                self.sync_fails_in = None
                # Linux reports it once, and marks the pages clean: programs go on reading what is on no platter.
                file.pending.clear()
                self.happened["sync failed"] += 1
                raise SyncFailed
        file.sync()

    def sync_directory(self) -> None:
        self._durable = dict(self.names)

    def _step(self) -> None:
        if self.dark:
            raise PowerCut
        self.operations += 1
        if self.cut_in is not None:
            self.cut_in -= 1
            if self.cut_in <= 0:
                self.cut_in = None
                self.dark = True
                raise PowerCut

    # --- what befalls it ---------------------------------------------------------------------------------------------

    def cut(self, random: Random) -> int:
        """The power was cut, and is back; returns how many writes and names did not survive."""
        self.dark, self.cut_in = False, None
        self.generation += 1
        lost = 0
        left: dict[str, File] = {}
        for name in sorted({*self.names, *self._durable}):
            live, durable = self.names.get(name), self._durable.get(name)
            chosen = random.choice([live, durable]) if self.loses else live
            lost += chosen is not live
            if chosen is None:
                continue
            content, gone = chosen.after_cut(random) if self.loses else (chosen.live, 0)
            lost += gone
            left[name] = File(bytes(content))
        self.names, self._durable = left, dict(left)
        return lost

    def killed(self) -> None:
        """The process that had the files open is gone; what it wrote lies in the page cache, synced or not."""
        self.generation += 1

    def image(self) -> dict[str, bytes]:
        """The files as programs see them."""
        return {name: bytes(file.live) for name, file in self.names.items()}

    def load(self, image: dict[str, bytes]) -> None:
        """Files that have always been there."""
        self.names = {name: File(content) for name, content in image.items()}
        self._durable = dict(self.names)


def _write(content: bytearray, offset: int, data: bytes) -> None:
    end = offset + len(data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    content[offset:end] = data


def _truncate(content: bytearray, length: int) -> None:
    del content[length:]


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        _truncate(content, offset)
    else:
        _write(content, offset, data)
