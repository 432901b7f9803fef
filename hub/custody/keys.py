"""What audio is called in its place. Pure.

Nothing that a vendor says is in a key: names of its files are data, kept in the manifest.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Named:
    """What a key is made of.

    Attributes:
        at: when the recording became known.
        sha256: of the content, hexadecimal.
        extension: with its dot, by the content.
    """

    vendor: str
    source: str
    call_id: str
    recording_id: str
    at: datetime
    sha256: str
    extension: str


def key(template: str, named: Named) -> str:
    """The key of a recording's audio. Raises ValueError where an id is none of ours."""
    day = named.at.astimezone(UTC)
    return template.format(
        vendor=_word(named.vendor),
        source=_word(named.source),
        year=f"{day.year:04d}",
        month=f"{day.month:02d}",
        day=f"{day.day:02d}",
        call_id=UUID(named.call_id),
        recording_id=UUID(named.recording_id),
        sha256=named.sha256,
        extension=named.extension,
    )


def manifest_key(audio: str, recording_id: str) -> str:
    """Of the manifest beside the audio: one for each recording, since two may have the same audio."""
    folder, _, name = audio.rpartition("/")
    stem = name.partition(".")[0]
    return f"{folder}/{stem}.{recording_id}.json" if folder else f"{stem}.{recording_id}.json"


def _word(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,60}", text):
        raise ValueError(f"{text[:40]!r} is no name of a vendor or a source")
    return text
