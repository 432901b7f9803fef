"""WAV: the head says how long the file is, and each chunk how long it is. Also RF64, its form beyond 4 GB.

A program that still writes has not filled the head in yet, or has filled in what it had when it began: such a file has
other bytes than its head says, or says none.
"""

import struct
from typing import BinaryIO, Final

from hub.audio.found import Found, cut

_HEADER: Final = 12
_CHUNK: Final = 8
_UNKNOWN: Final = (0, 0xFFFFFFFF)
_FORMAT_BYTES: Final = 16


def riff(file: BinaryIO, size: int) -> Found:
    """Walks the chunks up to the audio, which all but a few that follow it are."""
    file.seek(0)
    head = file.read(_HEADER)
    if len(head) < _HEADER:
        return cut(f"{size} bytes are less than the head of a WAV")
    if head[8:] != b"WAVE":
        return cut("RIFF, but no WAVE")
    stated = int.from_bytes(head[4:8], "little")
    long, place, rate = head[:4] == b"RF64", _HEADER, 0
    long_data = 0
    while place + _CHUNK <= size:
        file.seek(place)
        name, length = struct.unpack("<4sI", file.read(_CHUNK))
        if name == b"ds64" and long:
            stated, long_data = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))
        elif name == b"fmt ":
            described = file.read(_FORMAT_BYTES)
            if len(described) < _FORMAT_BYTES:
                return cut("cut in the description of its audio")
            rate = int.from_bytes(described[8:12], "little")
        elif name == b"data":
            length = long_data if long and length == _UNKNOWN[1] else length
            return _judged(size, stated, place + _CHUNK, length, rate)
        place += _CHUNK + length + length % 2
    return cut("it ends before its audio begins")


def _judged(size: int, stated: int, begin: int, length: int, rate: int) -> Found:
    present = size - begin
    if length in _UNKNOWN or stated in _UNKNOWN:
        return Found(present / rate if rate else None, None)
    missing = max(stated + _CHUNK - size, length - present)
    if missing > 0:
        return cut(f"{missing} bytes of {max(stated + _CHUNK, begin + length)} are missing")
    seconds = length / rate if rate else None
    surplus = size - (stated + _CHUNK)
    # One byte is padding. More were written after the head, so the file may still be growing.
    return Found(seconds, whole=True) if surplus <= 1 else Found(seconds, None)
