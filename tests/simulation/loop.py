"""An event loop without a clock of its own: time is what the next timer says, and a process can end between two steps.

Who runs is told by a context variable, which tasks, timers and the wake-ups of futures inherit: a step of a dead
process is thrown away, so nothing of it runs after its end, no ``finally`` either, as after ``kill -9``.
"""

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final, cast

RUNNING: Final[ContextVar["Process | None"]] = ContextVar("RUNNING", default=None)


class Process:
    """One operating system process: what runs in its name, and whether it still does.

    Attributes:
        name: in traces.
        dead: it has ended.
        fuse: steps until it is killed; None for never.
        on_fuse: what kills it.
    """

    def __init__(self, name: str, loop: "VirtualLoop") -> None:
        self.name = name
        self.dead = False
        self.fuse: int | None = None
        self.on_fuse: Callable[[Process], None] = lambda process: process.end()
        self.tasks: list[asyncio.Task[Any]] = []
        self._loop = loop
        self.context = copy_context()
        self.context.run(RUNNING.set, self)

    def spawn(self, work: Coroutine[Any, Any, Any], name: str = "") -> "asyncio.Task[Any]":
        """Runs it in this process."""
        return self._loop.create_task(work, name=name, context=self.context.copy())

    def soon(self, callback: Callable[..., object], *args: Any, after: float = 0.0) -> "Handle":
        """Calls it in this process."""
        return self._loop.call_later(after, callback, *args, context=self.context)

    def end(self) -> None:
        """Nothing of it runs any more."""
        self.dead = True
        self._loop.mourning = True

    def bury(self, *, killed: bool) -> None:
        """Frees what its tasks hold, when nobody can see them any more.

        Args:
            killed: it died in the middle of something, so that nobody looked at what had just failed.
        """
        for task in self.tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                _close(task.get_coro())
            elif killed:
                task._log_traceback = False
        self.tasks.clear()


class Handle:
    """A step to come: ``asyncio.Handle`` and ``TimerHandle`` as far as anybody looks."""

    __slots__ = ("_cancelled", "args", "at", "callback", "context")

    def __init__(self, at: float, callback: Callable[..., object], args: Any, context: Context) -> None:
        self.at = at
        self.callback = callback
        self.args = args
        self.context = context
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True
        self.callback, self.args = _nothing, ()

    def cancelled(self) -> bool:
        return self._cancelled

    def when(self) -> float:
        return self.at


class VirtualLoop:
    """As much of an event loop as code without sockets and threads needs; its hours pass in milliseconds.

    Attributes:
        steps: how many were run.
        defects: what nobody caught.
        mourning: a process was killed: what it was about to look at nobody looks at any more.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self.defects: list[str] = []
        self.mourning = False
        self._serial = 0
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._closed = False

    # --- what asyncio asks of a loop ---------------------------------------------------------------------------------

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Handle:
        handle = Handle(self.now, callback, args, copy_context() if context is None else context)
        if not self._closed:
            self._ready.append(handle)
        return handle

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Context | None = None) -> Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Handle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Handle:
        self._serial += 1
        handle = Handle(when, callback, args, copy_context() if context is None else context)
        if not self._closed:
            heapq.heappush(self._timers, (when, self._serial, handle))
        return handle

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=cast("Any", self))

    def create_task(self, coro: Any, *, name: object = None, context: Context | None = None) -> "asyncio.Task[Any]":
        # A name of ours, since asyncio's own count over the whole life of the interpreter.
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=cast("Any", self), name=str(name or "task"), context=context)
        process = (copy_context() if context is None else context).get(RUNNING)
        if process is not None:
            process.tasks.append(task)
            if len(process.tasks) > _MANY:
                process.tasks = [task for task in process.tasks if not task.done()]
        return task

    def run_in_executor(self, _executor: object, func: Any, *args: Any) -> "asyncio.Future[Any]":
        """What belongs into a thread happens in a step of its own, in the same process."""
        future = self.create_future()

        def act() -> None:
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001  its awaiter's
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

        self.call_soon(act)
        return future

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._closed

    def is_closed(self) -> bool:
        return self._closed

    def call_exception_handler(self, context: Any) -> None:
        if self.mourning and str(context.get("message")).startswith("Future"):
            return
        self.defects.append(f"{context.get('message')}: {context.get('exception')!r}")

    # --- running -----------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Runs the next step of anybody alive; False where there is none."""
        timers = self._timers
        while True:
            if (not self._ready or (timers and timers[0][0] <= self.now)) and not self._advance():
                return False
            handle = self._ready.popleft()
            if handle._cancelled:
                continue
            process = handle.context.get(RUNNING)
            if process is not None:
                if process.dead:
                    continue
                if process.fuse is not None:
                    process.fuse -= 1
                    if process.fuse < 0:
                        process.fuse = None
                        process.on_fuse(process)
                        continue
            self.steps += 1
            self.now += _STEP
            handle.context.run(handle.callback, *handle.args)
            return True

    def _advance(self) -> bool:
        """Makes ready whose time has come; where nothing else is ready, time leaps to the next timer."""
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if timers and not self._ready:
            self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= self.now:
            self._ready.append(heapq.heappop(timers)[2])
        return bool(self._ready)

    @contextlib.contextmanager
    def running(self) -> Any:
        """What is made inside belongs to this loop."""
        asyncio._set_running_loop(cast("Any", self))
        try:
            yield
        finally:
            asyncio._set_running_loop(None)
            self._closed = True
            self._ready.clear()
            self._timers.clear()


def _close(coroutine: Any) -> None:
    """Ends a coroutine that will never be run again, whatever its ``finally`` blocks want to wait for."""
    for _ in range(_FINALLIES):
        with contextlib.suppress(BaseException):
            coroutine.close()
            return


_STEP: Final = 1e-6  # seconds that a step takes: where work takes no time, whoever waits for less than a float can tell
#                      asks for ever
_MANY: Final = 200
_FINALLIES: Final = 20  # of one inside another, at most


def _nothing(*_: object) -> None:
    pass
