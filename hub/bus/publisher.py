"""Publishing with confirms: when ``deliver`` says durable, the broker has the message in every queue bound to it.

It works on aiormq's channel directly. All that is published in one turn of the event loop leaves in one write, and a
confirm costs a dictionary entry: a tenth of what a ``basic_publish`` for each message costs.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import structlog
from aiormq.abc import AbstractConnection, ChannelFrame
from aiormq.channel import Channel
from aiormq.exceptions import DeliveryError, PublishError

from hub.bus.tasks import ending
from hub.bus.wire import Letter

log = structlog.get_logger("bus")

WINDOW: Final = 1024
WINDOW_BYTES: Final = 16 * 1024 * 1024
_TICK: Final = 0.2  # seconds between looks at what is overdue
_FRAME_SIZE: Final = 128 * 1024
REFUSED: Final = (1.0, 10.0)
"""Seconds after which a channel that was refused something is replaced: twice as long each time, where the next one is
refused as well. To a quorum queue that was full once, whoever published on that channel stays refused until a consumer
makes room; more room by another policy is no news to it. So does whoever published on it first while it had no leader:
its leader's node was killed a moment ago, say."""


class _Call:
    """One ``deliver``: what is still open of it."""

    __slots__ = ("done", "open", "outcomes")

    def __init__(self, size: int, done: "asyncio.Future[None]") -> None:
        self.outcomes: list[str | None] = ["never sent"] * size
        self.open = size
        self.done = done


class _Entry:
    """One message until its confirm. To aiormq it is the future that it resolves."""

    __slots__ = ("call", "index", "letter", "publisher", "sent_at", "size", "tag")

    def __init__(self, publisher: "Publisher", letter: Letter, call: _Call, index: int) -> None:
        self.publisher = publisher
        self.letter = letter
        self.call: _Call | None = call
        self.index = index
        self.tag = 0
        self.size = 0
        self.sent_at = 0.0

    def done(self) -> bool:
        return self.call is None

    def cancelled(self) -> bool:
        return self.call is None

    def set_result(self, _ack: object) -> None:
        self.publisher.settle(self, None)

    def set_exception(self, error: BaseException) -> None:
        self.publisher.settle(self, _describe(error))
        if isinstance(error, PublishError):
            self.publisher.on_returned()
        elif isinstance(error, DeliveryError):
            self.publisher.refused()


class Publisher:
    """What is to be published, on whichever channel there is.

    Attributes:
        trouble: why nothing can be published now; empty while a channel is attached.
        on_returned: called when a message went to no queue at all.
    """

    def __init__(self, *, confirm_timeout: float, patience: float, on_returned: Callable[[], None]) -> None:
        """Without a channel yet.

        Args:
            confirm_timeout: seconds after which a message without a confirm means that the channel is no good.
            patience: seconds that ``deliver`` waits for a channel.
            on_returned: the attribute.
        """
        self.trouble = "not connected"
        self._confirm_timeout = confirm_timeout
        self._patience = patience
        self.on_returned = on_returned
        self._attached = asyncio.Event()
        self._work = asyncio.Event()
        self._channel: Channel | None = None
        self._queue: deque[_Entry] = deque()
        self._flying: dict[_Entry, None] = {}  # in the order they were sent
        self._bytes = 0
        self._refused_at: float | None = None
        self._served_since = 0.0
        self._refused_for = REFUSED[0]
        self._ids: dict[str, deque[_Entry]] = {}  # of what is queued or sent, with those that wait for its outcome

    async def deliver(self, letters: Sequence[Letter]) -> list[str | None]:
        """Publishes; returns for each letter None where it is durable, else why that is not known.

        Cancelling it takes nothing back: what was sent may arrive.
        """
        if not self._attached.is_set() and not await self._becomes_attached():
            return [self.trouble] * len(letters)
        call = _Call(len(letters), asyncio.get_running_loop().create_future())
        for index, letter in enumerate(letters):
            self._enqueue(_Entry(self, letter, call, index))
        if call.open:
            await call.done
        return call.outcomes

    async def attached(self) -> None:
        """Waits until there is a channel."""
        await self._attached.wait()

    async def serve(self, connection: AbstractConnection, channel: Channel) -> tuple[str, bool]:
        """Publishes on a fresh channel until it is no good any more.

        Returns:
            Why, and whether its connection is as good as ever.

        Raises:
            CancelledError: as ever; what was not confirmed by then is reported as not durable.
        """
        self._channel = channel
        self._refused_at = None
        self._served_since = asyncio.get_running_loop().time()
        self.trouble = ""
        self._attached.set()
        writing = asyncio.create_task(self._write(channel), name="bus publishing")
        closing = channel.closing
        try:
            while True:
                done, _ = await asyncio.wait((writing, closing), timeout=_TICK, return_when=asyncio.FIRST_COMPLETED)
                if done:
                    self.trouble = ending(closing, "the channel was closed")
                    return self.trouble, True
                self.trouble = self._diagnose(connection)
                if self.trouble:
                    return self.trouble, False
                if self._is_refused_for_good() and not self._flying:
                    self._refused_for = min(2 * self._refused_for, REFUSED[1])
                    self.trouble = "a queue refused messages: it may have room by now, and not for this channel"
                    return self.trouble, True
        finally:
            closing.cancel()
            writing.cancel()
            await asyncio.wait([writing])
            self._detach()

    def settle(self, entry: _Entry, problem: str | None) -> None:
        """The outcome of a message; whatever waited for it because it has the same id is next."""
        call, entry.call = entry.call, None
        if call is None:
            return
        if entry in self._flying:
            del self._flying[entry]
            self._bytes -= entry.size
            if self._channel is not None:
                self._channel.message_id_delivery_tag.pop(entry.letter.id, None)
        followers = self._ids.pop(entry.letter.id, None)
        if followers:
            following = followers.popleft()
            self._ids[following.letter.id] = followers
            self._queue.append(following)
        if self._queue:
            self._work.set()
        call.outcomes[entry.index] = problem
        call.open -= 1
        if call.open == 0 and not call.done.done():
            call.done.set_result(None)

    def refused(self) -> None:
        """A queue did not take a message."""
        if self._refused_at is None:
            self._refused_at = asyncio.get_running_loop().time()
            if self._refused_at - self._served_since > REFUSED[1]:
                self._refused_for = REFUSED[0]

    async def _becomes_attached(self) -> bool:
        try:
            async with asyncio.timeout(self._patience):
                await self._attached.wait()
        except TimeoutError:
            return False
        return True

    def _enqueue(self, entry: _Entry) -> None:
        # Two messages of one id in flight on one channel: a return could not be told from the other's (aiormq finds the
        # message by its id), and a lost message would be reported as durable. So the second waits for the first.
        followers = self._ids.get(entry.letter.id)
        if followers is not None:
            followers.append(entry)
            return
        self._ids[entry.letter.id] = deque()
        self._queue.append(entry)
        self._work.set()

    async def _write(self, channel: Channel) -> None:
        while True:
            await self._work.wait()
            payload = self._next_payload(channel)
            if payload:
                await channel.write_queue.put(ChannelFrame(payload, should_close=False))
            if not self._queue or self._is_full():
                self._work.clear()

    def _is_full(self) -> bool:
        return len(self._flying) >= WINDOW or self._bytes >= WINDOW_BYTES or self._is_refused_for_good()

    def _is_refused_for_good(self) -> bool:
        return self._refused_at is not None and asyncio.get_running_loop().time() - self._refused_at > self._refused_for

    def _next_payload(self, channel: Channel) -> bytes:
        now = asyncio.get_running_loop().time()
        confirmations = cast("dict[int, Any]", channel.confirmations)
        frames: list[bytes] = []
        while self._queue and not self._is_full():
            entry = self._queue.popleft()
            try:
                frame = entry.letter.marshal(channel.number, _frame_size(channel))
            except (ValueError, TypeError) as error:  # a name too long for AMQP, say
                self.settle(entry, f"it cannot be written as AMQP: {error}")
                continue
            channel.delivery_tag += 1
            entry.tag, entry.size, entry.sent_at = channel.delivery_tag, len(frame), now
            confirmations[entry.tag] = entry
            channel.message_id_delivery_tag[entry.letter.id] = entry.tag
            self._flying[entry] = None
            self._bytes += entry.size
            frames.append(frame)
        return b"".join(frames)

    def _diagnose(self, connection: AbstractConnection) -> str:
        oldest = next(iter(self._flying), None)
        if oldest is None:
            return ""
        if is_blocked(connection):
            return "the broker blocks publishers: its memory or its disk is short"
        if asyncio.get_running_loop().time() - oldest.sent_at > self._confirm_timeout:
            return f"no confirm within {self._confirm_timeout:g} s"
        return ""

    def _detach(self) -> None:
        self._channel = None
        self.trouble = self.trouble or "the channel was closed"
        self._attached.clear()
        self._work.clear()
        followers = [entry for waiting in self._ids.values() for entry in waiting]
        self._ids.clear()
        entries = [*self._flying, *self._queue, *followers]
        self._queue.clear()
        for entry in entries:
            self.settle(entry, self.trouble)
        self._flying.clear()
        self._bytes = 0


def _frame_size(channel: Channel) -> int:
    size = channel.max_content_size  # less than nothing where the broker sets no limit
    return size if size > 0 else _FRAME_SIZE


def is_blocked(connection: AbstractConnection) -> bool:
    """Whether the broker has told this connection to stop publishing.

    aiormq lets one wait for the end of it and does not say whether it is so; a wait that would suspend says it.
    """
    waiting = connection.ready()
    try:
        waiting.send(None)
    except StopIteration:
        return False
    finally:
        waiting.close()
    return True


def _describe(error: BaseException) -> str:
    match error:
        case PublishError():
            return "the broker returned it: no queue is bound to it"
        case DeliveryError():
            return "the broker refused it: a queue that it goes to is full or not available"
        case _:
            return f"{type(error).__name__}: {error}"
