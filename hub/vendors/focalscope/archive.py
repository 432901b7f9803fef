"""FocalScope's archive of recordings on a disk, in both of its shapes.

    monitor/2026-UTC/11/20/<guid>.json, .wav        by the UTC date of the call (``ymdutc``)
    monitor/<guid>.json, .wav                       all in one folder (``plain``, old)

Source: docs/vendors.md, FocalScope. Each call has its JSON; the WAV is there where there is audio. The guid is taken to
be the leg's CallUUID. The JSON may have comments, as the vendor's page prints it.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import orjson

MONITOR: Final = "monitor"
_DATED: Final = re.compile(r"\d{4}-UTC/\d{2}/\d{2}")
_COMMENT: Final = re.compile(r'"(?:[^"\\]|\\.)*"|/\*.*?\*/', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Entry:
    """A call's files.

    Attributes:
        guid: as the files are named, in lower case.
        audio: the WAV; None where the call has none.
        notes: the JSON, read; empty where it is missing or cannot be used.
        trouble: what is wrong with the files, for an operator; empty where nothing is.
    """

    guid: str
    audio: Path | None
    notes: dict[str, Any]
    trouble: str = ""


def monitor(directory: Path) -> Path:
    """The ``monitor`` folder of an archive, which may be named itself. Raises ValueError where there is none."""
    if (directory / MONITOR).is_dir():
        return directory / MONITOR
    if directory.name == MONITOR and directory.is_dir():
        return directory
    raise ValueError(f"{directory}: no folder {MONITOR} in it; expected an archive of FocalScope")


def names(directory: Path) -> list[Path]:
    """Paths without their endings, one a call, in order. Raises ValueError where this is no archive."""
    root = monitor(directory)
    return sorted({path.with_suffix("") for path in root.rglob("*") if path.suffix in (".json", ".wav")})


def entry(directory: Path, name: Path) -> Entry:
    """One call's files, looked at; what is wrong is in it, and never raised."""
    where = name.parent.relative_to(monitor(directory)).as_posix()
    audio, notes = name.with_suffix(".wav"), name.with_suffix(".json")
    try:
        guid = str(UUID(name.name))
    except ValueError:
        return Entry(name.name, None, {}, f"{name}: its name is no guid")
    found = audio if audio.is_file() else None
    if where != "." and not _DATED.fullmatch(where):
        return Entry(guid, found, {}, f"{name}: neither in {MONITOR} itself nor in a folder like 2026-UTC/12/31")
    try:
        return Entry(guid, found, _notes(notes, guid))
    except _OtherCall as error:
        return Entry(guid, None, {}, str(error))
    except ValueError as error:
        return Entry(guid, found, {}, str(error))


class _OtherCall(ValueError):
    pass


def _notes(path: Path, guid: str) -> dict[str, Any]:
    """The JSON. Raises ValueError with what is wrong, naming the file."""
    if not path.is_file():
        raise ValueError(f"{path}: missing beside the audio")
    try:
        read = orjson.loads(without_comments(path.read_text(encoding="utf-8-sig")))
    except (OSError, UnicodeDecodeError, orjson.JSONDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
    if not isinstance(read, dict):
        raise ValueError(f"{path}: no JSON object")  # noqa: TRY004  the file's fault, not the caller's
    said = str(read.get("usId") or guid).strip("{}").lower()
    if said != guid:
        raise _OtherCall(f"{path}: says that it is of {said[:60]}, which is another call")
    return read


def without_comments(text: str) -> str:
    """JSON without ``/* */``; what looks like one inside a text stays."""
    return _COMMENT.sub(lambda found: found[0] if found[0].startswith('"') else " ", text)
