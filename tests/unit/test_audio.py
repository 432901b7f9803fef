"""What a file of audio is by its content: a cut is seen wherever it falls."""

import struct
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from hypothesis import given, settings, strategies as st

from hub.audio import NotAudio, Sound, examine
from hub.simulator.audio import wav


def look(body: bytes) -> Sound:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "file"
        path.write_bytes(body)
        return examine(path)


def ogg(pages: int, *, ends: bool = True) -> bytes:
    """Pages of one stream."""
    made = b""
    for number in range(pages):
        flags = (2 if number == 0 else 0) | (4 if ends and number == pages - 1 else 0)
        table = bytes([200, 55])
        made += struct.pack("<4sBBqIII", b"OggS", 0, flags, number * 960, 77, number, 0) + bytes([len(table)]) + table
        made += bytes([number % 256]) * sum(table)
    return made


def mp3(frames: int, *, noted: bool = False) -> bytes:
    """MPEG 1 layer III, 128 kbit/s, 44.1 kHz."""
    head = b"\xff\xfb\x90\x00"
    frame = head + bytes(413)
    if not noted:
        return frame * frames
    return head + bytes(32) + b"Info" + struct.pack(">II", 1, frames) + bytes(413 - 44) + frame * frames


def m4a(audio: int) -> bytes:
    """The outer boxes."""
    boxes = ((b"ftyp", b"M4A \0\0\0\0"), (b"moov", bytes(40)), (b"mdat", bytes(audio)))
    return b"".join(struct.pack(">I4s", 8 + len(body), name) + body for name, body in boxes)


def rf64(body: bytes) -> bytes:
    """A WAV whose lengths are 64 bits wide."""
    audio = body[44:]
    sizes = struct.pack("<QQQI", 4 + 8 + 28 + 24 + 8 + len(audio), len(audio), len(audio), 0)
    return (
        b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<I", 28) + sizes + body[12:36] + b"data\xff\xff\xff\xff" + audio
    )


SOUND: Final[dict[str, tuple[bytes, str]]] = {
    "wav": (wav("a", 1.5), "audio/wav"),
    "rf64": (rf64(wav("a", 1.5)), "audio/wav"),
    "ogg": (ogg(5), "audio/ogg"),
    "mp3": (mp3(20, noted=True), "audio/mpeg"),
    "m4a": (m4a(500), "audio/mp4"),
}


@pytest.mark.parametrize("kind", SOUND)
def test_a_whole_file_shows_that_it_is(kind: str) -> None:
    body, content_type = SOUND[kind]
    found = look(body)
    assert (found.content_type, found.whole, found.trouble) == (content_type, True, "")


@pytest.mark.parametrize("kind", SOUND)
@settings(max_examples=150, deadline=None)
@given(share=st.floats(min_value=0, max_value=1, exclude_max=True))
def test_a_cut_anywhere_is_never_taken_for_whole(kind: str, share: float) -> None:
    body, _ = SOUND[kind]
    cut = body[: int(len(body) * share)]
    try:
        found = look(cut)
    except NotAudio:
        return
    assert found.whole is not True


@settings(max_examples=100, deadline=None)
@given(seconds=st.floats(min_value=0.001, max_value=5), more=st.binary(min_size=2, max_size=50))
def test_a_wav_tells_its_length_and_bytes_behind_its_end_are_not_whole(seconds: float, more: bytes) -> None:
    body = wav("a", seconds)
    found = look(body)
    assert found.whole
    assert found.seconds == pytest.approx(seconds, abs=1e-3)
    assert look(body + more).whole is None


@given(noise=st.binary(max_size=2000))
@settings(max_examples=300, deadline=None)
def test_no_file_breaks_it(noise: bytes) -> None:
    for head in (
        b"",
        b"RIFF",
        b"RIFF\x10\0\0\0WAVEfmt ",
        b"OggS\0\2",
        b"ID3",
        b"\xff\xfb\x90\0",
        b"\0\0\0\x10ftyp",
        b"fLaC",
    ):
        try:
            look(head + noise)
        except NotAudio:
            continue


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html></html>", "page"),
        (b"\xef\xbb\xbf \n<HTML>", "page"),
        (b'<?xml version="1.0"?><error/>', "page"),
        (b'{"error": "no"}', "json"),
        (b"[]", "json"),
        (b"no such file", "unknown"),
    ],
)
def test_what_is_no_audio_is_named(body: bytes, kind: str) -> None:
    with pytest.raises(NotAudio) as caught:
        look(body)
    assert caught.value.kind == kind


@pytest.mark.parametrize("made", [lambda: mp3(7), lambda: ogg(3, ends=False)], ids=["mp3", "ogg"])
def test_what_cannot_show_its_end_says_so(made: Callable[[], bytes]) -> None:
    found = look(made())
    assert found.whole is None


def test_a_wav_that_is_still_written_is_not_whole() -> None:
    body = wav("a", 1)
    growing = b"RIFF\0\0\0\0" + body[8:40] + b"\0\0\0\0" + body[44:4000]
    assert look(growing).whole is None
    assert look(b"RIFF\xff\xff\xff\xff" + growing[8:]).whole is None
