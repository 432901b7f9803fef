"""What every custody promises, on a disk and in a bucket."""

import asyncio
import fcntl
import hashlib
import os
import resource
from pathlib import Path

import psutil
import pytest

from hub.custody import CHUNK, Custody
from hub.custody.disk import DiskCustody
from hub.custody.objects import PART, ObjectCustody
from hub.errors import CustodyUnavailable
from tests.faults.scale import at
from tests.servers.moto import OPTIONS


def file(directory: Path, body: bytes, name: str = "source") -> tuple[Path, str]:
    path = directory / name
    path.write_bytes(body)
    return path, hashlib.sha256(body).hexdigest()


def digest_of(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


async def everything(custody: Custody, key: str, start: int = 0, stop: int = 1 << 40) -> bytes:
    return b"".join([piece async for piece in custody.read(key, start, stop)])


async def test_what_is_published_is_there_byte_for_byte(custody: Custody, tmp_path: Path) -> None:
    await custody.start()
    body = os.urandom(CHUNK * 2 + 17)
    source, digest = file(tmp_path, body)
    key = f"desk/2026/{digest}.wav"
    assert await custody.size(key) is None
    assert await custody.publish(key, source, digest, "audio/wav")
    assert await custody.size(key) == len(body)
    assert await everything(custody, key) == body
    assert await everything(custody, key, 10, CHUNK + 20) == body[10 : CHUNK + 20]
    assert source.exists()


async def test_the_same_audio_is_stored_once_however_many_publish_it(custody: Custody, tmp_path: Path) -> None:
    await custody.start()
    body = os.urandom(1000)
    files = [file(tmp_path, body, f"{number}") for number in range(8)]
    key = f"desk/{files[0][1]}.wav"
    new = await asyncio.gather(*(custody.publish(key, path, digest, "audio/wav") for path, digest in files))
    assert sum(new) >= 1
    assert not await custody.publish(key, *files[0], "audio/wav")
    assert await everything(custody, key) == body


async def test_what_is_there_is_never_replaced(custody: Custody, tmp_path: Path) -> None:
    await custody.start()
    one, digest = file(tmp_path, b"the first")
    await custody.publish("desk/a.wav", one, digest, "audio/wav")
    two, other = file(tmp_path, b"another one", "two")
    with pytest.raises(CustodyUnavailable):
        await custody.publish("desk/a.wav", two, other, "audio/wav")
    assert await everything(custody, "desk/a.wav") == b"the first"


async def test_a_manifest_is_replaced_as_a_whole(custody: Custody) -> None:
    await custody.start()
    await custody.write("desk/a.json", b"a long one")
    await custody.write("desk/a.json", b"short")
    assert await everything(custody, "desk/a.json") == b"short"


async def test_what_is_deleted_is_gone_and_may_be_deleted_again(custody: Custody) -> None:
    await custody.start()
    await custody.write("desk/a.json", b"text")
    await custody.delete("desk/a.json")
    await custody.delete("desk/a.json")
    assert await custody.size("desk/a.json") is None
    with pytest.raises(CustodyUnavailable):
        await everything(custody, "desk/a.json")


async def test_a_check_leaves_nothing_behind(custody: Custody, tmp_path: Path) -> None:
    await custody.start()
    assert "can be written" in await custody.check()
    assert [path for path in (tmp_path / "recordings").rglob("*") if path.is_file()] == []


async def test_a_big_file_takes_little_memory(custody: Custody, tmp_path: Path) -> None:
    await custody.start()
    size = at(quick=64 << 20, full=1 << 31) if isinstance(custody, DiskCustody) else at(quick=24 << 20, full=1 << 28)
    source = tmp_path / "big"
    with source.open("wb") as big:
        big.truncate(size)
    digest = await asyncio.to_thread(digest_of, source)
    process = psutil.Process()
    before = process.memory_info().rss
    assert await custody.publish(f"desk/{digest}.wav", source, digest, "audio/wav")
    read = 0
    async for piece in custody.read(f"desk/{digest}.wav", 0, size):
        read += len(piece)
    assert read == size
    assert process.memory_info().rss - before < 32 << 20, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert PART < 32 << 20


async def test_a_key_that_leads_outside_is_refused(tmp_path: Path) -> None:
    custody = DiskCustody(tmp_path / "recordings")
    source, digest = file(tmp_path, b"x")
    for key in ("../outside.wav", "/etc/outside.wav", "a/../../outside.wav"):
        with pytest.raises(ValueError, match="leads out"):
            await custody.publish(key, source, digest, "audio/wav")


async def test_a_disk_that_is_read_from_another_file_system_gets_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    custody = DiskCustody(tmp_path / "recordings")
    await custody.start()
    source, digest = file(tmp_path, b"audio")
    real = os.link
    monkeypatch.setattr(os, "link", lambda one, two: link() if one == source else real(one, two))
    assert await custody.publish(f"{digest}.wav", source, digest, "audio/wav")
    assert await everything(custody, f"{digest}.wav") == b"audio"
    assert list((tmp_path / "recordings" / ".incoming").iterdir()) == []


async def test_a_file_that_somebody_changed_is_not_taken_for_its_name(tmp_path: Path) -> None:
    custody = DiskCustody(tmp_path / "recordings")
    await custody.start()
    source, digest = file(tmp_path, b"audio")
    await custody.publish(f"{digest}.wav", source, digest, "audio/wav")
    other = tmp_path / "recordings" / f"{digest}.wav"
    other.unlink()
    other.write_bytes(b"audi0")
    with pytest.raises(CustodyUnavailable, match="was changed"):
        await custody.publish(f"{digest}.wav", source, digest, "audio/wav")


async def test_a_bucket_that_is_away_or_closed_to_us_is_unavailable(tmp_path: Path, endpoint: str) -> None:
    source, digest = file(tmp_path, b"audio")
    for custody in (
        ObjectCustody("s3://no-such-bucket/x", {**OPTIONS, "endpoint": endpoint}),
        ObjectCustody("s3://bucket/x", {**OPTIONS, "endpoint": "http://127.0.0.1:9"}),
    ):
        with pytest.raises(CustodyUnavailable):
            await custody.publish(f"{digest}.wav", source, digest, "audio/wav")


async def test_a_presigned_link_needs_no_secret(custody: Custody, tmp_path: Path) -> None:
    from aiohttp import ClientSession  # noqa: PLC0415

    await custody.start()
    source, digest = file(tmp_path, b"audio")
    await custody.publish(f"{digest}.wav", source, digest, "audio/wav")
    url = await custody.presigned(f"{digest}.wav", 60)
    if isinstance(custody, DiskCustody):
        assert url is None
        return
    assert url is not None
    async with ClientSession() as session, session.get(url, headers={"Range": "bytes=0-1"}) as answer:
        assert (answer.status, await answer.read()) == (206, b"au")


async def test_what_a_killed_process_left_half_written_is_swept_and_what_is_being_written_is_not(
    tmp_path: Path,
) -> None:
    staging = tmp_path / "recordings" / ".incoming"
    staging.mkdir(parents=True)
    (staging / "text.left").write_bytes(b"half")
    with (staging / "text.mine").open("wb") as mine:
        fcntl.flock(mine, fcntl.LOCK_EX)
        await DiskCustody(tmp_path / "recordings").start()
        assert [path.name for path in staging.iterdir()] == ["text.mine"]
