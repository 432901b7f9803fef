"""FocalScope's archive as its page describes it, in both shapes, and as it may be broken."""

from pathlib import Path

import pytest

from hub.vendors.focalscope import archive

GUID = "bfa2dbc8-ab8a-34c8-f243-c2aad8c446ff"


def put(folder: Path, name: str = GUID, *, notes: str | None = "{}", audio: bytes | None = b"RIFF") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if notes is not None:
        (folder / f"{name}.json").write_text(notes)
    if audio is not None:
        (folder / f"{name}.wav").write_bytes(audio)


def every(directory: Path) -> list[archive.Entry]:
    return [archive.entry(directory, name) for name in archive.names(directory)]


@pytest.mark.parametrize("folder", ["monitor", "monitor/2017-UTC/12/31"], ids=["plain", "ymdutc"])
def test_both_shapes_are_read(tmp_path: Path, folder: str) -> None:
    put(tmp_path / folder, GUID.upper(), notes=f'{{"nId": 7 /* internal */, "usId": "{GUID}"}}')
    [entry] = every(tmp_path)
    assert (entry.guid, entry.notes["nId"], entry.trouble) == (GUID, 7, "")
    assert entry.audio is not None
    assert every(tmp_path / "monitor") == [entry]


def test_a_call_without_audio_is_no_trouble(tmp_path: Path) -> None:
    put(tmp_path / "monitor", audio=None)
    [entry] = every(tmp_path)
    assert (entry.audio, entry.trouble) == (None, "")


def test_a_comment_inside_a_text_stays() -> None:
    text = '{"a": "/* no */ \\" /* no */", /* yes\n* */ "b": 1}'
    assert archive.without_comments(text) == '{"a": "/* no */ \\" /* no */",   "b": 1}'


@pytest.mark.parametrize(
    ("folder", "name", "notes", "said"),
    [
        ("monitor", "not-a-guid", "{}", "no guid"),
        ("monitor", GUID, None, "missing beside"),
        ("monitor", GUID, "{", "cannot be read"),
        ("monitor", GUID, "[]", "no JSON object"),
        ("monitor", GUID, '{"usId": "923041af-adb5-a8ae-f29c-e60ea5e17448"}', "another call"),
        ("monitor/2017/12", GUID, "{}", "neither in monitor"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(
    tmp_path: Path, folder: str, name: str, notes: str | None, said: str
) -> None:
    put(tmp_path / folder, name, notes=notes)
    [entry] = every(tmp_path)
    assert said in entry.trouble
    assert str(tmp_path) in entry.trouble


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no folder monitor"):
        archive.names(tmp_path)
