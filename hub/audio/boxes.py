"""MP4 and M4A: boxes one after the other, each with its length."""

from typing import BinaryIO, Final

from hub.audio.found import Found, cut

_HEAD: Final = 8
_LONG: Final = 16
_EXTENDED, _TO_THE_END = 1, 0


def boxes(file: BinaryIO, size: int) -> Found:
    """Walks the outer boxes, which must end where the file does."""
    place, names = 0, set[bytes]()
    while place < size:
        file.seek(place)
        head = file.read(_LONG)
        if len(head) < _HEAD:
            return cut(f"cut in the head of the box at {place}")
        length, least = int.from_bytes(head[:4], "big"), _HEAD
        names.add(head[4:8])
        if length == _EXTENDED:
            length, least = int.from_bytes(head[8:16], "big"), _LONG
        if length == _TO_THE_END:
            return Found(None, None) if {b"moov", b"mdat"} <= names else cut("a box without an end, and no index")
        if length < least:
            return cut(f"no box at {place}, where one has to begin")
        place += length
    if place > size:
        return cut(f"{place - size} bytes of {place} are missing")
    return Found(None, whole=True) if {b"moov", b"mdat"} <= names else cut("no audio or no index in it")
