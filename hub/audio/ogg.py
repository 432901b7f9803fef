"""Ogg: pages one after the other; the last one of a stream says so."""

from typing import BinaryIO, Final

from hub.audio.found import Found, cut

_HEAD: Final = 27
_BEGIN, _END = 0x02, 0x04


def ogg(file: BinaryIO, size: int) -> Found:
    """Walks every page; each stream that began must have ended."""
    place, streams = 0, set[bytes]()
    ended = False
    while place < size:
        file.seek(place)
        head = file.read(_HEAD)
        if len(head) < _HEAD:
            return cut(f"cut in the head of the page at {place}")
        if head[:4] != b"OggS":
            return cut(f"no page at {place}, where one has to begin")
        table = file.read(head[26])
        end = place + _HEAD + head[26] + sum(table)
        if len(table) < head[26] or end > size:
            return cut(f"cut in the page at {place}")
        serial = head[14:18]
        if head[5] & _BEGIN:
            streams.add(serial)
        if head[5] & _END:
            streams.discard(serial)
            ended = True
        place = end
    return Found(None, True if ended and not streams else None)
