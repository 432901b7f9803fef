"""What can still be read of a damaged outbox file, page by page, without SQLite.

SQLite gives up a table where a page above its rows is damaged, and the whole file where the first page is. The rows
are there all the same, and each carries a checksum: whatever looks like one and has the right one is one. So every
page is looked at by itself, the newest version of each that the file or its ``-wal`` has; pages on the list of free
ones are left out where that list can be read, since their rows had been removed.

Source: https://www.sqlite.org/fileformat2.html
"""

from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from struct import error as StructError, unpack, unpack_from  # noqa: N812
from typing import Any, BinaryIO, Final

import orjson

Row = tuple[str, int, Sequence[Any], object]
"""Table, number, its columns of content as bytes, and its checksum, None where it has none."""

_MAGIC: Final = b"SQLite format 3\x00"
_PAGE: Final = 4096
_HEADER: Final = 100
_WAL_HEADER, _FRAME_HEADER = 32, 24
_LEAF: Final = 0x0D
_LONGEST: Final = 64 << 20  # bytes; a length beyond it is damage
_WIDTHS: Final = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)  # of the numbers' serial types
_INTEGERS: Final = range(1, 7)
_TEXT, _BLOB = "t", "b"
_NUMBER, _NOTHING = "n", "-"


def read(file: Path) -> Iterator[Row]:
    """The rows of the outbox and of the quarantine, and those that had been set aside, in no order.

    Raises:
        OSError: the file cannot be read.
    """
    with ExitStack() as stack:
        pages = _Pages(file, stack)
        free = pages.free()
        for number in pages.numbers():
            if number not in free:
                yield from _rows(pages, number)


class _Pages:
    """The newest version of each page of a file and its ``-wal``."""

    def __init__(self, file: Path, stack: ExitStack) -> None:
        self._file: BinaryIO = stack.enter_context(file.open("rb"))
        header = self._file.read(_HEADER)
        self.size, self.usable, self._first_free = _PAGE, _PAGE, 0
        if header[:16] == _MAGIC and len(header) == _HEADER:
            size = unpack_from(">H", header, 16)[0]
            size = 65536 if size == 1 else size
            if size >= 512 and size & (size - 1) == 0:  # noqa: PLR2004  the format's smallest
                self.size, self.usable = size, size - header[20]
            self._first_free = unpack_from(">I", header, 32)[0]
        self._count = file.stat().st_size // self.size
        self._wal: BinaryIO | None = None
        self._newer: dict[int, int] = {}  # page: its place in the -wal
        wal = file.with_name(f"{file.name}-wal")
        if wal.exists():
            self._wal = stack.enter_context(wal.open("rb"))
            self._look(self._wal)

    def numbers(self) -> Iterator[int]:
        """Of all pages, from 1."""
        yield from range(1, self._count + 1)
        yield from (number for number in self._newer if number > self._count)

    def page(self, number: int) -> bytes:
        """Its bytes; fewer, or none, where it is not there."""
        if number in self._newer and self._wal is not None:
            self._wal.seek(self._newer[number])
            return self._wal.read(self.size)
        if not 1 <= number <= self._count:
            return b""
        self._file.seek((number - 1) * self.size)
        return self._file.read(self.size)

    def free(self) -> frozenset[int]:
        """The pages that are free, as far as their list can be read."""
        found: set[int] = set()
        first = self.page(1)
        trunk = unpack_from(">I", first, 32)[0] if first[:16] == _MAGIC else self._first_free
        while trunk and trunk not in found:
            page = self.page(trunk)
            if len(page) < self.size:
                break
            found.add(trunk)
            following, count = unpack_from(">II", page)
            if count > self.size // 4 - 2:
                break
            found.update(unpack_from(f">{count}I", page, 8))
            trunk = following
        return frozenset(found)

    def _look(self, wal: BinaryIO) -> None:
        """Frames with the salt of the header are of now; what comes behind the first other one is of before."""
        header = wal.read(_WAL_HEADER)
        while len(header) == _WAL_HEADER:
            frame = wal.read(_FRAME_HEADER)
            if len(frame) < _FRAME_HEADER or frame[8:16] != header[16:24]:
                return
            self._newer[unpack_from(">I", frame)[0]] = wal.tell()
            wal.seek(self.size, 1)


def _rows(pages: _Pages, number: int) -> Iterator[Row]:
    page = pages.page(number)
    start = _HEADER if number == 1 else 0
    if len(page) < pages.size or page[start] != _LEAF:
        return
    (count,) = unpack_from(">H", page, start + 3)
    for cell in range(count):
        try:
            (at,) = unpack_from(">H", page, start + 8 + 2 * cell)
            rowid, record = _record(pages, page, at)
            row = _row(rowid, record)
        except (IndexError, ValueError, TypeError, AttributeError, StructError):
            continue  # no cell, or one that leads nowhere
        if row is not None:
            yield row


def _record(pages: _Pages, page: bytes, at: int) -> tuple[int, bytes]:
    """The number and the bytes of a cell's row, those on its overflow pages too."""
    size, at = _varint(page, at)
    rowid, at = _varint(page, at)
    if size > _LONGEST:
        raise ValueError("longer than anything that was ever kept")
    usable = pages.usable
    local = size
    if size > usable - 35:
        least = (usable - 12) * 32 // 255 - 23
        local = least + (size - least) % (usable - 4)
        local = local if local <= usable - 35 else least
    parts = [page[at : at + local]]
    left = size - local
    following = unpack_from(">I", page, at + local)[0] if left else 0
    while left > 0:
        more = pages.page(following)
        parts.append(more[4 : 4 + min(left, usable - 4)])
        left -= usable - 4
        following = unpack_from(">I", more)[0]
    return rowid - (1 << 64) if rowid >> 63 else rowid, b"".join(parts)


def _varint(page: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(8):
        byte = page[at + place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004  the format's last bit
            return value, at + place + 1
    return value << 8 | page[at + 8], at + 9


def _row(rowid: int, record: bytes) -> Row | None:
    """The row in a record; None where it is of no table of these."""
    end, at = _varint(record, 0)
    kinds = ""
    values: list[Any] = []
    place = end
    while at < end:
        serial, at = _varint(record, at)
        kind, value, size = _value(serial, record, place)
        kinds += kind
        values.append(value)
        place += size
    if place > len(record):
        raise IndexError("the record is shorter than it says")
    for shape, make in _SHAPES.items():
        if len(kinds) >= len(shape) and all(kind in fitting for kind, fitting in zip(kinds, shape, strict=False)):
            return make(rowid, values)
    return None


def _value(serial: int, record: bytes, at: int) -> tuple[str, Any, int]:
    if serial >= 12:  # noqa: PLR2004  the format's first text
        size = (serial - 12) // 2
        return _TEXT if serial % 2 else _BLOB, record[at : at + size], size
    if serial == 0:
        return _NOTHING, None, 0
    size = _WIDTHS[serial]
    if serial in _INTEGERS:
        return _NUMBER, int.from_bytes(record[at : at + size], "big", signed=True), size
    return _NUMBER, unpack(">d", record[at : at + 8])[0] if size else serial - 8, size


def _outbox(rowid: int, values: Sequence[Any]) -> Row:
    return "outbox", rowid, values[1:4], values[5] if len(values) > 5 else None  # noqa: PLR2004  an earlier version's


def _quarantine(rowid: int, values: Sequence[Any]) -> Row:
    return "quarantine", rowid, values[1:12], values[12] if len(values) > 12 else None  # noqa: PLR2004  likewise


def _set_aside(_: int, values: Sequence[Any]) -> Row:
    columns = orjson.loads(values[5])
    *parts, crc = (b64decode(one["base64"]) if isinstance(one, dict) else one for one in columns.values())
    return values[1].decode(), values[2], parts, crc


_SHAPES: Final[dict[tuple[str, ...], Callable[[int, Sequence[Any]], Row]]] = {
    (_NOTHING, *[_TEXT] * 8, _TEXT + _NOTHING, _BLOB, _BLOB): _quarantine,
    (_NOTHING, _TEXT, _NUMBER, _TEXT, _TEXT, _BLOB): _set_aside,
    (_NOTHING, _TEXT, _BLOB, _BLOB, _NUMBER): _outbox,
}
"""Of a row, the kinds that each of its columns may be of; the first is the number, which is not in the record."""
