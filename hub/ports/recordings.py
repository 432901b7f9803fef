"""The seam between the recordings worker and the store: what is to be fetched, until when, and what came of it.

A recording is a row from the moment that its ``available`` is taken. A process *claims* it for a time, and says within
it what came of it: a claim that is over, or somebody else's by now, changes nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from hub.events import Message
from hub.ports import Failure, Store

WORKER: Final = "recordings"
"""The worker's name, in the ledger and in metrics."""

State = Literal["idle", "waiting", "stored", "failed", "deleting", "deleted"]
"""``idle``: of a source that nothing is configured for; ``deleting``: its audio may be gone already."""


@dataclass(frozen=True, slots=True)
class Announced:
    """An ``available`` event of the queue.

    Attributes:
        message: the event as it came, for the dead letters; None where it did not come over the bus.
        recording_id: a UUID.
        call_id: a UUID.
        leg: the leg's id at the vendor; None where it is of the whole call.
        data: the event's data, which URLs are made of.
        at: when it became known.
        expires_at: when the vendor deletes it, as far as is known.
        alert_at: from when on it is in danger.
        wanted: False where nothing is configured to fetch it with.
        again: an operator wants it once more.
    """

    message: Message | None
    recording_id: str
    call_id: str
    vendor: str
    source: str
    leg: str | None
    data: Mapping[str, Any]
    at: datetime
    expires_at: datetime
    alert_at: datetime
    wanted: bool = True
    again: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """Audio in custody.

    Attributes:
        began_at: before anything of it was published: a deletion since then may have taken it along.
        flags: what is odd about it, in words: ``length``, ``type``, ``same_as:<id>``.
        delete_at: when we delete it; None: never.
        url: where the API serves it, for those who are told.
    """

    key: str
    sha256: str
    bytes: int
    seconds: float | None
    content_type: str
    flags: tuple[str, ...]
    began_at: datetime
    delete_at: datetime | None = None
    url: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording as the store knows it.

    Attributes:
        state: see ``State``.
        claim: who has it in hand; None where nobody has.
        attempt: how many have been made since it was last taken up.
        history: the latest failures, oldest first.
        seen: what an earlier download came to that could not show its own end: ``<sha256>:<bytes>``.
        kept: where it is, of one that is or was stored.
        settled_at: when it was stored, failed or deleted.
        reason: of its failure.
        versions: other audio that came under the same recording later: key, hash, bytes, when.
    """

    recording_id: str
    call_id: str
    vendor: str
    source: str
    leg: str | None
    state: State
    data: Mapping[str, Any]
    at: datetime
    expires_at: datetime
    next_at: datetime | None
    attempt: int
    history: tuple[Failure, ...] = ()
    claim: str | None = None
    seen: str | None = None
    kept: Kept | None = None
    settled_at: datetime | None = None
    reason: str | None = None
    versions: tuple[Mapping[str, Any], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Lost:
    """A recording that was given up and whose events are not among the dead letters yet."""

    recording: Recording
    messages: tuple[Message, ...]


class Recordings(Protocol):
    """Verbs, each one transaction; all raise StoreUnavailable."""

    async def take(self, announced: Sequence[Announced], now: datetime) -> int:
        """Makes rows of events; returns how many are new work.

        One that failed and lies among the dead letters begins anew; one that is stored stays so, unless ``again``.
        """
        ...

    async def wake(self, source: str, now: datetime) -> int:
        """Idle ones of a source become work: something is configured now. Returns how many."""
        ...

    async def claim(self, source: str, now: datetime, limit: int, lease: float, claim: str) -> list[Recording]:
        """Takes what is due, the one first that the vendor deletes first, for ``lease`` seconds."""
        ...

    async def extend(self, recording_id: str, claim: str, now: datetime, lease: float) -> bool:
        """Whether the claim is still ours; if so for so long from now."""
        ...

    async def next_due(self, source: str, now: datetime) -> datetime | None:
        """When the next one of a source can be claimed; None where none waits."""
        ...

    async def keep(self, recording_id: str, claim: str | None, kept: Kept, now: datetime) -> str:
        """Stored: the row, and ``recording.<vendor>.stored``, once.

        Args:
            recording_id: which.
            claim: ours; None for an import, which needs none.
            kept: where it is.
            now: when.

        Returns:
            ``stored``; ``again`` where the same audio was stored before; ``version`` where other audio was: the first
            stands and this one is noted beside it; ``gone`` where its audio may have been deleted meanwhile and has to
            be published again; ``deleted`` where the recording itself was; ``lost`` where the claim was not ours any
            more or there is no such recording.
        """
        ...

    async def postpone(
        self, recording_id: str, claim: str, until: datetime, failure: Failure | None, seen: str | None = None
    ) -> bool:
        """Not now: gives the claim back until then. ``failure`` None: it was not an attempt. Whether it was ours."""
        ...

    async def give_up(self, recording_id: str, claim: str, reason: str, failure: Failure) -> bool:
        """Failed: the row, and ``recording.<vendor>.failed``, once. Whether the claim was ours."""
        ...

    async def lost(self, limit: int) -> list[Lost]:
        """Those that were given up and are not buried yet."""
        ...

    async def buried(self, recording_id: str) -> None:
        """Its events are among the dead letters."""
        ...

    async def endangered(self, now: datetime, limit: int) -> list[Recording]:
        """Those that wait and have come into danger: each told once, also by ``custody.<vendor>.endangered``."""
        ...

    async def outlived(self, now: datetime, limit: int) -> list[tuple[Recording, frozenset[str]]]:
        """Stored ones whose time is over, now ``deleting``; and the keys of their audio that nobody else has it under.

        One that was left ``deleting`` by somebody who was killed is among them after a while.
        """
        ...

    async def deleted(self, recording_id: str, now: datetime) -> bool:
        """Its audio is gone: the row, and ``custody.<vendor>.deleted``. Whether that is news."""
        ...

    async def recording(self, recording_id: str) -> Recording | None:
        """One; None where there is none."""
        ...

    async def of_call(self, call_id: str) -> list[Recording]:
        """Those of a call, in the order of their ids."""
        ...

    async def of_leg(self, source: str, legs: Collection[str]) -> list[Recording]:
        """Those of a source whose leg is one of these."""
        ...

    async def twins(self, sha256: str, call_id: str) -> list[str]:
        """Recordings of other calls that have the very same audio, a few at most."""
        ...


class RecordingStore(Store, Protocol):
    """A store with recordings."""

    @property
    def recordings(self) -> Recordings:
        """What there is to fetch, and what was fetched."""
        ...
