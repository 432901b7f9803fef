"""``/v1/recordings``: who may listen, to which bytes, and what is said where there is nothing to hear."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from yarl import URL

from hub.custody.links import Links
from hub.events import identity
from hub.ports.recordings import Announced, Kept
from hub.simulator.audio import wav
from tests.hub import ADMIN, Hub, configuration, running

BODY = wav("a", 0.5)
CALL = identity("focalscope", "desk", "", "513")
RECORDING = identity("recording", CALL, "a")
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


async def keep(hub: Hub, directory: Path, *, delete_at: datetime | None = None) -> None:
    """A stored recording."""
    store = hub.process.store.recordings
    soon = NOW + timedelta(days=1)
    await store.take([Announced(None, RECORDING, CALL, "focalscope", "desk", "a", {}, NOW, soon, soon)], NOW)
    file = directory / "recordings" / "desk" / "a.wav"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(BODY)
    kept = Kept("desk/a.wav", "ab" * 32, len(BODY), 0.5, "audio/wav", (), NOW, delete_at)
    assert await store.keep(RECORDING, None, kept, NOW) == "stored"


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    settings = configuration(
        tmp_path, recordings={"url": f"file://{tmp_path}/recordings"}, http={"public_url": "https://hub.example.com"}
    )
    async with running(settings, workers=()) as hub:
        yield hub


async def ask(
    hub: Hub, path: str = f"/v1/recordings/{RECORDING}/audio", *, token: str | None = ADMIN, **headers: str
) -> ClientResponse:
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    method = headers.pop("method", "GET")
    return await hub.session.request(method, hub.url.join(URL(path)), headers=headers, allow_redirects=False)


async def test_a_recording_is_told_with_its_hash_and_a_link(hub: Hub, tmp_path: Path) -> None:
    await keep(hub, tmp_path)
    told: dict[str, Any] = await hub.read(f"/v1/recordings/{RECORDING}")
    assert (told["state"], told["sha256"], told["bytes"], told["seconds"]) == ("stored", "ab" * 32, len(BODY), 0.5)
    assert told["link"].startswith(f"https://hub.example.com/v1/recordings/{RECORDING}/audio?token=")
    assert (await ask(hub, f"/v1/recordings/{CALL}")).status == 404
    assert (await ask(hub, f"/v1/recordings/{RECORDING}", token=None)).status == 401


async def test_the_whole_audio_comes_with_its_type_its_length_and_its_hash(hub: Hub, tmp_path: Path) -> None:
    await keep(hub, tmp_path)
    answer = await ask(hub)
    assert (answer.status, await answer.read()) == (200, BODY)
    assert answer.content_type == "audio/wav"
    assert (answer.headers["ETag"], answer.headers["Accept-Ranges"]) == (f'"{"ab" * 32}"', "bytes")
    head = await ask(hub, method="HEAD")
    assert (head.status, head.headers["Content-Length"], await head.read()) == (200, str(len(BODY)), b"")
    assert (await ask(hub, **{"If-None-Match": f'"{"ab" * 32}"'})).status == 304


@pytest.mark.parametrize(
    ("wanted", "status", "start", "stop"),
    [
        ("bytes=0-", 206, 0, None),
        ("bytes=0-9", 206, 0, 10),
        ("bytes=100-199", 206, 100, 200),
        ("bytes=-10", 206, -10, None),
        ("bytes=100-999999", 206, 100, None),
        ("bytes=0-1,5-6", 200, 0, None),
        ("pages=1-2", 200, 0, None),
    ],
)
async def test_a_range_comes_as_a_range(
    hub: Hub, tmp_path: Path, *, wanted: str, status: int, start: int, stop: int | None
) -> None:
    await keep(hub, tmp_path)
    answer = await ask(hub, Range=wanted)
    expected = BODY[start:stop]
    assert (answer.status, await answer.read()) == (status, expected)
    if status == 206:
        first = start % len(BODY)
        assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(expected) - 1}/{len(BODY)}"


async def test_a_range_outside_is_416_and_one_of_other_content_is_the_whole(hub: Hub, tmp_path: Path) -> None:
    await keep(hub, tmp_path)
    outside = await ask(hub, Range=f"bytes={len(BODY)}-")
    assert (outside.status, outside.headers["Content-Range"]) == (416, f"bytes */{len(BODY)}")
    assert (await ask(hub, Range="bytes=5-9", **{"If-Range": '"other"'})).status == 200
    assert (await ask(hub, Range="bytes=5-9", **{"If-Range": f'"{"ab" * 32}"'})).status == 206


async def test_a_signed_link_opens_its_own_recording_for_its_time_and_nothing_else(hub: Hub, tmp_path: Path) -> None:
    await keep(hub, tmp_path)
    links = Links.of(hub.process.settings)
    assert links is not None
    good = links.token(RECORDING, datetime.now(UTC) + timedelta(minutes=1))
    path = f"/v1/recordings/{RECORDING}/audio?token="
    answer = await ask(hub, path + good, token=None, Range="bytes=0-9")
    assert (answer.status, await answer.read()) == (206, BODY[:10])
    late = links.token(RECORDING, datetime.now(UTC) - timedelta(seconds=2))
    other = links.token(CALL, datetime.now(UTC) + timedelta(minutes=1))
    longer = good.replace(good[:3], "999", 1)
    for bad in (late, other, longer, good[:-1], "", "x", "99999999999999.x", "é.é"):
        assert (await ask(hub, path + bad, token=None)).status == 401, bad
        assert (await ask(hub, path + bad)).status == 401, bad  # a link that is none is not saved by the header
    assert (await ask(hub, f"/v1/recordings/{RECORDING}?token={good}", token=None)).status == 401
    assert (await ask(hub, token=None)).status == 401
    assert (await ask(hub, token="wrong")).status == 401


async def test_a_link_is_the_same_each_time_it_is_made(hub: Hub) -> None:
    links = Links.of(hub.process.settings)
    assert links is not None
    assert links.link(RECORDING, NOW) == links.link(RECORDING, NOW)
    assert links.good(RECORDING, links.link(RECORDING, NOW).partition("token=")[2], NOW + timedelta(days=364))
    assert not links.good(RECORDING, links.link(RECORDING, NOW).partition("token=")[2], NOW + timedelta(days=366))


async def test_where_the_operators_have_a_listener_of_their_own_links_are_good_at_the_public_one(
    tmp_path: Path,
) -> None:
    from tests.servers.ports import free_port, release_port  # noqa: PLC0415

    port = free_port()
    tables: dict[str, dict[str, Any]] = {
        "recordings": {"url": f"file://{tmp_path}/recordings"},
        "admin": {"port": port},
    }
    async with running(configuration(tmp_path, **tables), workers=()) as hub:
        await keep(hub, tmp_path)
        links = Links.of(hub.process.settings)
        assert links is not None
        token = links.token(RECORDING, datetime.now(UTC) + timedelta(minutes=1))
        assert (await ask(hub, f"/v1/recordings/{RECORDING}/audio?token={token}", token=None)).status == 200
        assert (await ask(hub)).status == 401
    release_port(port)


async def test_what_was_deleted_is_410_and_what_is_not_there_yet_404(hub: Hub, tmp_path: Path) -> None:
    await keep(hub, tmp_path, delete_at=NOW)
    store = hub.process.store.recordings
    await store.outlived(NOW, 1)
    assert (await ask(hub)).status == 410
    await store.deleted(RECORDING, NOW)
    assert (await ask(hub)).status == 410
    assert (await hub.read(f"/v1/recordings/{RECORDING}"))["state"] == "deleted"
    other = identity("recording", CALL, "b")
    await store.take([Announced(None, other, CALL, "focalscope", "desk", "b", {}, NOW, NOW, NOW)], NOW)
    assert (await ask(hub, f"/v1/recordings/{other}/audio")).status == 404
    assert (await ask(hub, "/v1/recordings/nonsense/audio")).status == 404


async def test_audio_that_cannot_be_read_is_503_and_never_a_short_200(hub: Hub, tmp_path: Path) -> None:
    await keep(hub, tmp_path)
    (tmp_path / "recordings" / "desk" / "a.wav").unlink()
    assert (await ask(hub)).status == 503
