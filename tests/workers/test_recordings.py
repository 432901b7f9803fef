"""The recordings worker against a vendor that misbehaves in every way."""

import asyncio
import fcntl
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web

from hub import retry
from hub.errors import Expired, NoTurn, RateLimited, Refused, StoreUnavailable
from hub.ports.recordings import Recording
from hub.simulator.audio import AudioServer, wav
from hub.store.recordings_verbs import SqlRecordings
from hub.vendors.ucontact.session import Session
from tests.hub import until
from tests.workers.recording_house import available, house, manifest_of, named, sha
from workers.recordings import QUEUE, download, fetching, service, troubles
from workers.recordings.scratch import Scratch
from workers.recordings.sources import Candidates
from workers.recordings.taking import announced

LASTING: Final = timedelta(days=3)


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The schedule of a second: what counts is what is done, and how often."""
    monkeypatch.setattr(troubles, "SCHEDULE", (0.1, 0.2, 0.3))
    monkeypatch.setattr(troubles, "_CUSTODY", (0.1, 0.2))
    monkeypatch.setattr(retry, "_FIRST", 0.1)
    monkeypatch.setattr(retry, "_FACTOR", 1.2)
    monkeypatch.setattr(fetching, "_SETTLE", 0.05)
    monkeypatch.setattr(service, "_BURIAL", 0.05)
    monkeypatch.setattr(service, "_DANGER", 0.05)
    monkeypatch.setattr(service, "_SWEEP", 0.05)


async def test_a_recording_is_stored_with_its_hash_its_length_and_its_manifest(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        await here.publish("a")
        stored = (await here.settled("a"))["a"]
        truth = here.vendor.truth("a")
        assert await here.audio(stored) == truth
        assert stored.kept is not None
        assert (stored.kept.sha256, stored.kept.bytes, stored.kept.seconds) == (sha(truth), len(truth), 1.0)
        told = manifest_of(here, stored)
        assert (told["sha256"], told["call_id"], told["leg"]) == (sha(truth), stored.call_id, "a")
        assert told["place"].endswith("/recordings/a.wav")
        assert await here.told() == {"recording.focalscope.stored": 1}
        assert here.left_over() == []


RECOVERS: Final = (
    *("late", "accepted", "empty", "cut", "cut-chunked", "cut-without-a-length", "page-first", "broken"),
    *("limited", "limited-silently", "drip", "grows", "expired", "moves", "resets"),
)


@pytest.mark.parametrize("manner", RECOVERS)
async def test_what_passes_is_waited_out(tmp_path: Path, manner: str) -> None:
    async with house(tmp_path) as here:
        here.vendor.manners["a"] = manner
        await here.publish("a")
        stored = (await here.settled("a"))["a"]
        assert stored.state == "stored", stored
        assert await here.audio(stored) == here.vendor.truth("a")
        assert await here.told() == {"recording.focalscope.stored": 1}
        assert here.left_over() == []


async def test_after_a_cut_only_the_rest_is_asked_for(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        here.vendor.manners["a"] = "cut"
        here.vendor.seconds["a"] = 60.0
        await here.publish("a")
        stored = (await here.settled("a"))["a"]
        assert (stored.attempt, here.vendor.asked["a"]) == (0, 2)
        assert manifest_of(here, stored)["resumed"] == 1


@pytest.mark.parametrize(
    ("manner", "flag"), [("wrong-type", "type"), ("wrong-call", "same_as")], ids=["wrong type", "wrong call"]
)
async def test_what_is_odd_is_stored_and_flagged(tmp_path: Path, manner: str, flag: str) -> None:
    async with house(tmp_path) as here:
        await here.publish("somebody-elses")
        await here.settled("somebody-elses")
        here.vendor.manners["a"] = manner
        await here.publish("a")
        stored = (await here.settled("a"))["a"]
        assert stored.kept is not None
        assert [one.partition(":")[0] for one in stored.kept.flags] == [flag]


GIVEN_UP: Final = {
    "gone": "gone",
    "huge": "too_large",
    "endless": "too_large",
    "to-a-private-address": "forbidden",
    "to-another-scheme": "forbidden",
}


@pytest.mark.parametrize("manner", GIVEN_UP)
async def test_what_will_never_work_is_given_up_at_once_and_lies_among_the_dead_letters(
    tmp_path: Path, manner: str
) -> None:
    async with house(tmp_path, recordings={"max_bytes": 1 << 20}) as here:
        here.vendor.manners["a"] = manner
        await here.publish("a")
        failed = (await here.settled("a"))["a"]
        assert (failed.reason, failed.attempt) == (GIVEN_UP[manner], 1)
        assert await here.told() == {"recording.focalscope.failed": 1}

        async def dead() -> bool:
            return (await here.bus.depth(QUEUE.name)).dead == 1

        await until(dead)
        [letter] = await here.bus.dead(QUEUE.name)
        assert letter.id == available("a").id
        assert letter.reason.startswith(f"{GIVEN_UP[manner]}: ")
        assert here.left_over() == []


@pytest.mark.parametrize(("manner", "word"), [("missing", "missing"), ("page", "auth"), ("json", "not_audio")])
async def test_what_does_not_come_is_given_up_when_the_vendor_has_deleted_it(
    tmp_path: Path, manner: str, word: str
) -> None:
    async with house(tmp_path, desk={"recording_kept": 1.0}) as here:
        here.vendor.manners["a"] = manner
        await here.publish("a", at=datetime.now(UTC) - timedelta(days=1) + timedelta(seconds=61.5))
        failed = (await here.settled("a"))["a"]
        assert failed.reason == word
        assert failed.attempt > 2
        assert await here.told() == {"recording.focalscope.failed": 1, "custody.focalscope.endangered": 1}


async def test_put_back_from_the_dead_letters_it_begins_anew(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        here.vendor.manners["a"] = "gone"
        await here.publish("a")
        await here.settled("a")

        async def back() -> bool:
            return await here.bus.requeue(QUEUE.name, None, 9) == 1

        del here.vendor.manners["a"]
        await until(back)

        async def stored() -> bool:
            found = await here.of("a")
            return found is not None and found.state == "stored"

        await until(stored)
        assert (await here.told())["recording.focalscope.stored"] == 1


async def test_a_full_place_keeps_recordings_waiting_and_costs_no_attempt(tmp_path: Path) -> None:
    async with house(tmp_path, recordings={"min_free_bytes": 1 << 60}) as here:
        await here.publish("a")

        async def tried() -> bool:
            return here.vendor.asked["a"] > 2

        await until(tried)
        found = await here.of("a")
        assert found is not None
        assert (found.state, found.attempt) == ("waiting", 0)
        here.worker._scratch._min_free = 0
        assert (await here.settled("a"))["a"].state == "stored"


async def test_a_place_that_went_away_is_waited_for(tmp_path: Path) -> None:
    async with house(tmp_path, recordings={"incoming": str(tmp_path / "incoming")}) as here:
        await here.publish("a")
        await here.settled("a")
        shutil.rmtree(tmp_path / "recordings")
        (tmp_path / "recordings").write_text("no directory")
        await here.publish("b")

        async def tried() -> bool:
            return here.vendor.asked["b"] > 1

        await until(tried)
        (tmp_path / "recordings").unlink()
        assert (await here.settled("b"))["b"].state == "stored"


async def test_the_same_recording_announced_again_is_stored_once(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        await here.publish("a", "a", "a")
        await here.settled("a")
        await here.publish("a")

        async def quiet() -> bool:
            depth = await here.bus.depth(QUEUE.name)
            return depth.ready + depth.in_flight == 0

        await until(quiet)
        assert (here.vendor.asked["a"], await here.told()) == (1, {"recording.focalscope.stored": 1})


async def test_other_audio_under_the_same_name_is_kept_beside_the_first(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        await here.publish("a")
        first = (await here.settled("a"))["a"]
        truth = here.vendor.truth("a")
        here.vendor.seconds["a"] = 2.0
        await here.store.recordings.take(
            [announced(available("a", again=True), here.settings, datetime.now(UTC))], datetime.now(UTC)
        )

        async def noted() -> bool:
            found = await here.of("a")
            return found is not None and len(found.versions) == 1

        await until(noted)
        assert await here.audio(first) == truth
        assert await here.told() == {"recording.focalscope.stored": 1, "custody.focalscope.version": 1}


async def test_audio_of_another_length_than_the_call_is_flagged_and_kept(tmp_path: Path) -> None:
    async with house(tmp_path, at_work=False) as here:
        from tests.contract.test_store_recordings import hangup  # noqa: PLC0415
        from tests.store.evidence import after, desk_leg  # noqa: PLC0415

        await here.store.apply([desk_leg(513, "answered", "a", 0), hangup(513, "a", 9)], after(9))
        call = hangup(513, "a", 9).data["call_id"]
        running = asyncio.create_task(here.worker.run())
        await here.publish("a", call=call)

        async def stored() -> object:
            found = await here.store.recordings.of_call(call)
            return [one.kept.flags for one in found if one.kept is not None] == [("length",)]

        await until(stored)
        here.worker.stop()
        await running


async def test_what_the_vendor_deletes_soon_is_told_in_time(tmp_path: Path) -> None:
    async with house(tmp_path, desk={"recording_kept": 1.0}) as here:
        here.vendor.manners["a"] = "missing"
        await here.publish("a", at=datetime.now(UTC) - timedelta(hours=20))

        async def told() -> object:
            return (await here.told())["custody.focalscope.endangered"] == 1

        await until(told)


async def test_what_has_outlived_its_time_is_deleted_and_says_so(tmp_path: Path) -> None:
    async with house(tmp_path, desk={"recordings_for": 0.5 / 86400}) as here:
        await here.publish("a")

        async def deleted() -> bool:
            found = await here.of("a")
            return found is not None and found.state == "deleted"

        await until(deleted)
        found = await here.of("a")
        assert found is not None
        assert found.kept is not None
        assert await here.custody.size(found.kept.key) is None
        assert manifest_of(here, found)["deleted_at"]
        assert (await here.told())["custody.focalscope.deleted"] == 1


async def test_without_a_url_a_recording_waits_for_one_to_be_configured(tmp_path: Path) -> None:
    async with house(tmp_path, desk={"recording_url": None}) as here:
        await here.publish("a")

        async def idle() -> bool:
            found = await here.of("a")
            return found is not None and found.state == "idle"

        await until(idle)
    async with house(tmp_path) as here:
        assert (await here.settled("a"))["a"].state == "stored"


async def test_a_template_that_refers_to_what_is_not_there_is_told(tmp_path: Path) -> None:
    async with house(tmp_path, desk={"recording_url": "http://127.0.0.1:1/{vendor_data.Nothing}"}) as here:
        await here.publish("a")
        failed = (await here.settled("a"))["a"]
        assert failed.reason == "no_url"
        assert "{vendor_data.Nothing}" in failed.history[-1].reason


async def test_a_source_that_hangs_holds_back_nobody_else(tmp_path: Path) -> None:
    vendor = AudioServer()
    async with house(tmp_path, vendor=vendor, recordings={"concurrency": 2}) as here:
        for number in range(2):
            vendor.manners[f"drip-{number}"] = "drip"
        await here.publish("drip-0", "drip-1", "a", "b")
        done = await here.settled("drip-0", "drip-1", "a", "b")
        assert {one.state for one in done.values()} == {"stored"}


async def test_what_a_killed_process_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    left = tmp_path / "recordings" / ".incoming" / "work.1.dead"
    left.mkdir(parents=True)
    (left / "lock").touch()
    (left / "half").write_bytes(b"RIFF")
    async with house(tmp_path) as here:
        await here.publish("a")
        await here.settled("a")
        assert not left.exists()
        assert named("a")


class Wilful(AudioServer):
    """Answers as it is told to, in order; then as it should."""

    def __init__(self, *answers: Any) -> None:
        super().__init__()
        self.answers = list(answers)
        self.at: list[float] = []

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.at.append(asyncio.get_running_loop().time())
        if self.answers:
            return self.answers.pop(0)  # type: ignore[no-any-return]
        return await super()._serve(request)


@pytest.mark.parametrize("status", [404, 202, 503])
async def test_what_is_not_ready_is_not_asked_for_before_the_vendor_said(tmp_path: Path, status: int) -> None:
    vendor = Wilful(web.Response(status=status, headers={"Retry-After": "2"}))
    async with house(tmp_path, vendor=vendor) as here:
        await here.publish("a")
        assert (await here.settled("a"))["a"].state == "stored"
        first, second = vendor.at
        assert 1.9 < second - first < 6


NOW: Final = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


def waiting(left: timedelta = timedelta(days=1)) -> Recording:
    return Recording("r", "c", "focalscope", "desk", "l", "waiting", {}, NOW - LASTING, NOW + left, NOW, 0)


@pytest.mark.parametrize("spread", [0.0, 0.5, 0.999])
def test_a_429_without_a_word_on_when_is_not_asked_again_at_once_and_costs_no_attempt(spread: float) -> None:
    for error in (RateLimited(NOW, "429"), NoTurn("too many ask it")):
        planned = troubles.plan(error, waiting(), NOW, spread)
        assert isinstance(planned, troubles.Again)
        assert NOW + timedelta(seconds=retry.delay(1, spread=0)) <= planned.at <= NOW + timedelta(seconds=5)
        assert not planned.counts
        assert troubles.plan(error, waiting(-timedelta(1)), NOW, spread) == troubles.Over("unreachable")


async def test_a_download_that_comes_byte_by_byte_over_many_connections_has_one_time_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection brings a little and breaks: there is always some progress."""

    class Crumbs(AudioServer):
        async def _serve(self, request: web.Request) -> web.StreamResponse:
            self.asked["a"] += 1
            body = wav("a", 60.0)
            wanted = request.headers.get("Range", "bytes=0-")
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            head = {"ETag": '"x"', "Content-Length": str(len(body) - start)}
            if start:
                head["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            answer = web.StreamResponse(status=206 if start else 200, headers=head)
            await answer.prepare(request)
            await answer.write(body[start : start + 1])
            assert request.transport is not None
            await asyncio.sleep(0.1)  # of a connection that breaks at once the reader would see nothing
            request.transport.close()
            return answer

    monkeypatch.setattr(download, "_AFTER_CUT", 0.01)
    vendor = Crumbs()
    async with house(tmp_path, vendor=vendor, recordings={"timeout": 3.0, "concurrency": 1}) as here:
        await here.publish("a")

        async def tried() -> Recording | None:
            found = await here.of("a")
            return found if found is not None and found.attempt else None

        failed = await until(tried)
        assert failed.state == "waiting"
        assert vendor.asked["a"] > 1


class Doorless(Session):
    """A session whose vendor answers every login with an error of its own."""

    def __init__(self) -> None:
        """Asks nobody."""

    async def authorization(self) -> Any:
        raise Refused(404, "answered 404: maintenance")


async def test_a_login_that_is_refused_is_no_verdict_on_a_recording() -> None:
    """While the vendor's house is closed nothing can be said of what is in it."""
    source = Candidates(["https://instance.example/{guid}"], Doorless())
    with pytest.raises(Expired) as caught:
        await anext(source.requests(waiting()))
    assert isinstance(troubles.plan(caught.value, waiting(), NOW, 0.5), troubles.Again)


async def test_what_waited_for_a_place_is_fetched_though_the_store_was_away_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path, at_work=False, desk={"recording_url": None}) as here:
        one = announced(available("a"), here.settings, datetime.now(UTC))
        await here.store.recordings.take([one], datetime.now(UTC))
    wake, asked = SqlRecordings.wake, []

    async def away_at_first(self: SqlRecordings, *arguments: Any) -> int:
        asked.append(arguments)
        if len(asked) == 1:
            raise StoreUnavailable("away")
        return await wake(self, *arguments)

    monkeypatch.setattr(SqlRecordings, "wake", away_at_first)
    async with house(tmp_path) as here:
        assert (await here.settled("a"))["a"].state == "stored"


def test_a_folder_that_is_swept_before_its_owner_has_locked_it_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes that start at the same time: one takes the other's new folder for a dead one's."""
    lock, others = fcntl.flock, list[Scratch]()

    def interrupted(file: Any, how: int) -> None:
        if not others:
            others.append(Scratch(tmp_path, 0))
            others[0].open()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", interrupted)
    mine = Scratch(tmp_path, 0)
    mine.open()
    for one in (mine, *others):
        with one.file("a") as path:
            path.write_bytes(b"RIFF")
        one.close()
    assert list(tmp_path.iterdir()) == []
