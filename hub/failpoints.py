"""Named places at which a test lets a process fail, exactly there instead of at random.

``TRUNKLINE_FAILPOINTS="worker.after_effect=kill:1/50,relay.after_confirm=kill"`` arms two of them. Only beside
``TRUNKLINE_TEST=1``: a hub that is configured to fail must not start by a slip. Unarmed, a place costs one look at an
empty dictionary.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from hub.errors import ConfigurationError

POINTS: Final = (
    "ingress.after_read",  # a callback is here, nothing is kept of it
    "outbox.before_commit",  # its row is written, in the writer's thread, and not synced
    "outbox.after_commit",  # it is synced and not answered
    "relay.before_publish",  # claimed from the outbox
    "relay.after_confirm",  # on the bus, and still in the outbox
    "worker.after_receive",  # a batch is in hand
    "worker.before_effect",  # decoded; what is raised here is the handler's own error, and planned as one
    "worker.after_effect",  # committed, not settled
    "worker.after_retry_publish",  # the copy is confirmed, the original not acknowledged
    "worker.after_settle",
    "sealer.after_seal",  # sealed and derived, not published
    "derived.after_publish",  # published, and still in the store's outbox
    "rec.after_take",  # a recording is a row, its event not acknowledged
    "rec.after_claim",  # it is ours, nothing is asked
    "rec.after_download",  # all of it is in a temporary file
    "rec.before_publish",  # it is judged, and not in its place
    "rec.after_rename",  # it is in its place, without its manifest
    "rec.before_commit",  # its manifest is there, and the store does not know
    "rec.after_commit",  # stored and told, the temporary file still there
    "poll.before_publish",  # records are here, nothing is on the bus
    "poll.after_publish",  # on the bus, and the watermark stands where it was
    "dial.after_take",  # commands are rows, and not acknowledged
    "dial.after_claim",  # it is ours, and nothing says that it is about to be sent
    "dial.after_intent",  # that is written
    "dial.before_request",  # about to be sent
    "dial.after_response",  # answered, and nothing of it is kept
    "dial.after_outcome",  # the outcome is kept
    "crm.after_take",  # written down what a destination is owed, not acknowledged
    "crm.before_intent",  # looked for and not found there; nobody knows yet that it is to be made
    "crm.after_intent",  # it is known, and not sent
    "crm.before_request",  # about to be sent, whatever it is
    "crm.after_response",  # answered, and nothing of it is kept
    "crm.after_effect",  # the outcome is kept
    "crm.before_bury",  # given up, and not a dead letter yet
    "crm.after_bury",  # a dead letter, and still given up
    "respool.after_take",  # written down what a sealed call comes to, not acknowledged
    "respool.before_intent",  # claimed, and not decided on
    "respool.after_intent",  # decided, and nobody is asked
    "respool.before_request",  # the dialer is about to be asked
    "respool.after_response",  # it answered, and nothing of it is kept
    "respool.after_effect",  # the outcome is kept
)
"""Every place there is."""

_FAILPOINTS, _TEST = "TRUNKLINE_FAILPOINTS", "TRUNKLINE_TEST"
_EXPECTED: Final = "expected POINT=ACTION[:N/M], …; an action is kill, exit, raise, hang or sleep(SECONDS)"


class Provoked(RuntimeError):
    """What ``raise`` raises: an error that nobody expects."""


@dataclass(frozen=True, slots=True)
class _Armed:
    act: Callable[[str], None]
    share: float


_armed: dict[str, _Armed] = {}


def hit(point: str) -> None:
    """Fails here, if a test asked for it."""
    if _armed and (armed := _armed.get(point)) and random.random() < armed.share:  # noqa: S311  no secret
        armed.act(point)


def arm(environment: Mapping[str, str]) -> None:
    """Arms what the environment says. Raises ConfigurationError outside of tests, and where it makes no sense."""
    _armed.clear()
    told = environment.get(_FAILPOINTS, "")
    if not told:
        return
    if environment.get(_TEST) != "1":
        raise ConfigurationError(f"{_FAILPOINTS}: found beside no {_TEST}=1; expected in tests alone")
    _armed.update(_parsed(item.strip()) for item in told.split(","))


def _parsed(item: str) -> tuple[str, _Armed]:
    point, _, what = item.partition("=")
    action, _, share = what.partition(":")
    name, _, seconds = action.partition("(")
    if point not in POINTS or name not in _ACTIONS:
        raise ConfigurationError(f"{_FAILPOINTS}: found {item!r}; {_EXPECTED}")
    try:
        hits, _, of = (share or "1/1").partition("/")
        armed = _Armed(_ACTIONS[name](float(seconds.removesuffix(")") or 0)), int(hits) / int(of))
    except (ValueError, ZeroDivisionError):
        raise ConfigurationError(f"{_FAILPOINTS}: found {item!r}; {_EXPECTED}") from None
    return point, armed


def _kill(_: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()  # it is sent, and may take a moment to arrive


def _exit(_: str) -> None:
    os._exit(1)


def _raise(point: str) -> None:
    raise Provoked(point)


def _hang(_: str) -> None:
    while True:
        signal.pause()


_ACTIONS: Final[Mapping[str, Callable[[float], Callable[[str], None]]]] = {
    "kill": lambda _: _kill,
    "exit": lambda _: _exit,
    "raise": lambda _: _raise,
    "hang": lambda _: _hang,
    "sleep": lambda seconds: lambda _: time.sleep(seconds),  # of the whole loop: that is the fault
}
