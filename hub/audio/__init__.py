"""What a file of audio is, by its content: its format, its length, and whether all of it is there. No vendor is asked.

A header of HTTP says what a server thinks; a login page comes as ``audio/wav`` too. Here the bytes decide. Where the
format says where it ends, a cut is seen wherever it falls; where it does not, ``whole`` is None and somebody else has
to be asked.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from tinytag import TinyTag, TinyTagException

from hub.audio.boxes import boxes
from hub.audio.found import HEAD, Found, NotAudio
from hub.audio.mpeg import mpeg
from hub.audio.ogg import ogg
from hub.audio.riff import riff

__all__ = ["Found", "NotAudio", "Sound", "examine"]


@dataclass(frozen=True, slots=True)
class Sound:
    """A file of audio.

    Attributes:
        format: ``wav``, ``mp3``, ``ogg``…
        content_type: what it is served as.
        extension: with its dot.
        seconds: of audio; None where nobody can tell.
        whole: True: it shows its own end; False: it is cut, or damaged; None: it cannot tell.
        trouble: in what way it is not whole; empty where it may be.
    """

    format: str
    content_type: str
    extension: str
    seconds: float | None
    whole: bool | None
    trouble: str = ""


Walk = Callable[[BinaryIO, int], Found]


@dataclass(frozen=True, slots=True)
class _Format:
    name: str
    content_type: str
    extension: str
    walk: Walk | None = None


_WAV: Final = _Format("wav", "audio/wav", ".wav", riff)
_MP3: Final = _Format("mp3", "audio/mpeg", ".mp3", mpeg)
_MP4: Final = _Format("mp4", "audio/mp4", ".m4a", boxes)
_SIGNATURES: Final = (
    (b"RIFF", 0, _WAV),
    (b"RF64", 0, _WAV),
    (b"OggS", 0, _Format("ogg", "audio/ogg", ".ogg", ogg)),
    (b"ID3", 0, _MP3),
    (b"ftyp", 4, _MP4),
    (b"fLaC", 0, _Format("flac", "audio/flac", ".flac")),
    (b"#!AMR", 0, _Format("amr", "audio/amr", ".amr")),
    (b".snd", 0, _Format("au", "audio/basic", ".au")),
    (b"FORM", 0, _Format("aiff", "audio/aiff", ".aiff")),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", 0, _Format("wma", "audio/x-ms-wma", ".wma")),
)
_SYNC: Final = 0xE0  # the upper bits of the second byte of an MPEG frame
_MARKUP: Final = (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<script", b"<!--")


def examine(path: Path) -> Sound:
    """What the file is. Reads all of some formats, in pieces: call it in a thread.

    Raises:
        NotAudio: empty, a page, JSON, or nothing that is known.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD)
        found = _format(head)
        if found is None:
            raise _stranger(head)
        told = Found(None, None) if found.walk is None else found.walk(file, size)
    if told.seconds is None and told.whole is not False:
        told = replace(told, seconds=_seconds(path))
    return Sound(found.name, found.content_type, found.extension, told.seconds, told.whole, told.trouble)


def _format(head: bytes) -> _Format | None:
    for magic, place, found in _SIGNATURES:
        if head[place : place + len(magic)] == magic:
            return found
    if len(head) > 1 and head[0] == 0xFF and head[1] & _SYNC == _SYNC and head[1] & 0x06:  # noqa: PLR2004  frame sync
        return _MP3
    return None


def _stranger(head: bytes) -> NotAudio:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not head:
        return NotAudio("empty", "0 bytes")
    if text[:16].lower().startswith(_MARKUP):
        return NotAudio("page", "a page, not audio: a login or an error, whatever its status says")
    if text[:1] in (b"{", b"["):
        return NotAudio("json", "JSON, not audio: an error, whatever its status says")
    return NotAudio("unknown", f"no audio that is known: it begins with {head[:8].hex(' ')}")


def _seconds(path: Path) -> float | None:
    """By the library, for the formats that it knows; of a damaged file, whatever it raises, nothing."""
    try:
        duration = TinyTag.get(path, tags=False).duration
    except (TinyTagException, OSError, ValueError, ArithmeticError, LookupError, TypeError, MemoryError):
        return None
    return duration if duration and duration > 0 else None
