"""What a process asked of the kernel, by strace: in which order, and what a test makes the kernel answer."""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.hub import until
from tests.process.site import Site

STRACE: Final = "/usr/bin/strace"
_LINE: Final = re.compile(rb"^(?P<thread>\d+) +(?:<\.\.\. (?P<resumed>\w+) resumed>|(?P<name>\w+)\()(?P<rest>.*)$")
_RESULT: Final = re.compile(rb"= (-?\d+|\?)")


@dataclass(slots=True)
class Call:
    """A system call.

    Attributes:
        began: the place of its beginning among all beginnings and ends.
        ended: likewise; None where it did not end.
        said: its arguments, files by their paths.
        result: what the kernel answered; None where it did not.
    """

    name: str
    began: int
    said: bytes
    ended: int | None = None
    result: int | None = None


def traced(
    calls: Sequence[str], log: Path, command: Sequence[str], inject: Sequence[str] = (), paths: Sequence[str] = ()
) -> list[str]:
    """The command of a traced ``command``.

    Args:
        calls: the system calls to trace.
        log: where to.
        command: what runs.
        inject: each is what strace's ``--inject`` takes.
        paths: only calls on these files; without any, on all.
    """
    return [
        *(STRACE, "-f", "--seccomp-bpf", "-y", "-s", "40000", "-o", str(log), "-e", f"trace={','.join(calls)}"),
        *(f"--inject={one}" for one in inject),
        *(word for path in paths for word in ("-P", path)),
        *command,
    ]


async def served(here: Site) -> None:
    """Waits until a traced hub is ready: it starts slowly on a busy machine."""

    async def look() -> bool:
        return (await here.get("/readyz"))[0] == 200

    await until(look, within=120)


def python(*words: str) -> list[str]:
    """``trunkline WORDS``."""
    return [sys.executable, "-m", "hub", *words]


def read(log: Path) -> Iterator[Call]:
    """The calls, in the order of their ends; one that never ended comes last."""
    open_calls: dict[bytes, Call] = {}
    with log.open("rb") as lines:
        for place, line in enumerate(lines):
            match = _LINE.match(line)
            if match is None:
                continue
            if match["resumed"]:
                call = open_calls.pop(match["thread"], None)
                if call is not None:
                    yield _ended(call, place, match["rest"])
                continue
            call = Call(match["name"].decode(), place, match["rest"])
            if match["rest"].rstrip().endswith(b"<unfinished ...>"):
                open_calls[match["thread"]] = call
            else:
                yield _ended(call, place, match["rest"])
    yield from open_calls.values()


def _ended(call: Call, place: int, rest: bytes) -> Call:
    results = _RESULT.findall(rest)
    call.ended = place
    call.result = int(results[-1]) if results and results[-1] != b"?" else None
    return call
