"""MP3: frames one after the other, nothing that says where they end, but for an encoder's note in the first."""

from typing import BinaryIO, Final

from hub.audio.found import Found, cut

_KBITS: Final = {
    (3, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES: Final = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_TAG: Final = 10
_OLD_TAG: Final = 128
_RESERVED: Final = 3
_TAGS: Final = (b"TAG", b"APE")


def mpeg(file: BinaryIO, size: int) -> Found:
    """Walks every frame; the audio's length is theirs."""
    place = _after_tag(file)
    if place > size:
        return cut(f"{place - size} bytes of the tag before its audio are missing")
    frames, seconds, noted = 0, 0.0, None
    while place < size:
        file.seek(place)
        head = file.read(4)
        if head[:3] in _TAGS:
            return _tagged(head, size - place, frames, seconds, noted)
        frame = _frame(head)
        if frame is None:
            return cut(f"no frame at {place}, where one has to begin")
        length, duration = frame
        if place + length > size:
            return cut(f"{place + length - size} bytes of its last frame are missing")
        if not frames:
            noted = _noted(file.read(min(length, 200)))
        frames, seconds, place = frames + 1, seconds + duration, place + length
    return _counted(frames, seconds, noted)


def _tagged(head: bytes, left: int, frames: int, seconds: float, noted: int | None) -> Found:
    """A tag after the audio."""
    if head[:3] == b"APE":
        return Found(seconds, None)
    return cut("cut in the tag after its audio") if left < _OLD_TAG else _counted(frames, seconds, noted)


def _counted(frames: int, seconds: float, noted: int | None) -> Found:
    if not frames:
        return cut("no audio in it")
    if noted is None:
        return Found(seconds, None)
    if frames - 1 < noted:
        return cut(f"{noted - frames + 1} of {noted} frames are missing")
    return Found(seconds, whole=True)


def _after_tag(file: BinaryIO) -> int:
    file.seek(0)
    head = file.read(_TAG)
    if head[:3] != b"ID3" or len(head) < _TAG:
        return 0
    length = 0
    for byte in head[6:10]:
        length = length << 7 | byte & 0x7F
    return _TAG + length + (_TAG if head[5] & 0x10 else 0)


def _frame(head: bytes) -> tuple[int, float] | None:
    """Its length in bytes and in seconds."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:  # noqa: PLR2004  the frame's head and its sync
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bits, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    table = _KBITS.get((3 if version == 3 else 2, layer if version == 3 else min(layer, 2)))  # noqa: PLR2004  MPEG 1
    if version not in _RATES or table is None or not 0 < bits < len(table) or rate == _RESERVED:
        return None
    hertz, kbits = _RATES[version][rate], table[bits]
    if layer == 1:
        return (12 * kbits * 1000 // hertz + padding) * 4, 384 / hertz
    samples = 576 if layer == 3 and version != 3 else 1152  # noqa: PLR2004  layer III of MPEG 2
    return samples // 8 * kbits * 1000 // hertz + padding, samples / hertz


def _noted(frame: bytes) -> int | None:
    """The number of frames that follow, where the first one is an encoder's note of them."""
    for mark in (b"Xing", b"Info"):
        place = frame.find(mark)
        if place >= 0 and len(frame) >= place + 12 and frame[place + 7] & 1:
            return int.from_bytes(frame[place + 8 : place + 12], "big")
    return None
