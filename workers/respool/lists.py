"""Do-not-call lists as they are now: numbers of the configuration, and files that people change while we run.

A file that cannot be read at the start is a mistake of the configuration. One that cannot be read later may be written
at this moment, or be gone: until it can, nobody is called by the rules that name it. One that is written in its place
is empty first, and half a list then: a number is on it until the file has stood still without it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Final

import structlog

from hub.config import Settings
from hub.errors import ConfigurationError
from hub.respooling.blocked import Blocked, is_number

_log = structlog.get_logger("respool")
_Mark = tuple[int, int, int]
STILL: Final = 5.0
"""Seconds without a change after which what is not in a file any more was taken out of it."""


class BlockedFile:
    """One file, read again whenever it has changed.

    Args:
        path: of it.
        clock: monotonic, in seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = monotonic) -> None:
        self._path, self._clock = path, clock
        self._mark: _Mark | None = None
        self._numbers = Blocked()  # that it has
        self._counting = Blocked()  # those too that it had while it did not stand still
        self._changed_at = 0.0
        self._trouble = ""

    def now(self) -> Blocked | None:
        """Its numbers, and those that it may be about to write again; None where it cannot be read."""
        try:
            self.read()
        except ValueError as error:
            if str(error) != self._trouble:
                _log.error("respool.list_unreadable", path=str(self._path), reason=str(error))
            self._trouble = str(error)
            return None
        self._trouble = ""
        if self._clock() - self._changed_at >= STILL:
            self._counting = self._numbers
        return self._counting

    def read(self) -> None:
        """Reads it, where it has changed. Raises ValueError with why it cannot be read."""
        try:
            found = self._path.stat()
            mark = (found.st_mtime_ns, found.st_size, found.st_ino)
            if mark == self._mark:
                return
            self._mark, self._changed_at = None, self._clock()
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self._mark, self._changed_at = None, self._clock()
            raise ValueError(getattr(error, "strerror", None) or "it is not UTF-8") from None
        self._numbers = Blocked.read(text)
        self._counting |= self._numbers
        self._mark = mark


class Lists:
    """The list of each rule, by the rule's name."""

    def __init__(self, settings: Settings) -> None:
        """Reads every file once. Raises ConfigurationError where one cannot be read."""
        files: dict[str, BlockedFile] = {}
        self._of: dict[str, Callable[[], Blocked | None]] = {}
        for place, rule in enumerate(settings.respool.rules):
            fixed = Blocked.of(entry for entry in rule.lists if is_number(entry))
            named = [files.setdefault(entry, BlockedFile(Path(entry))) for entry in rule.lists if not is_number(entry)]
            for entry in rule.lists:
                if entry in files:
                    _first_read(f"respool.rules.{place}.do_not_call", entry, files[entry])
            self._of[rule.name or str(place + 1)] = _together(fixed, named)

    def now(self, rule: str) -> Blocked | None:
        """Who is not called by a rule; None where that cannot be told."""
        of = self._of.get(rule)
        return Blocked() if of is None else of()

    def unreadable(self) -> Mapping[str, bool]:
        """By rule, whether nobody is called because of its list."""
        return {rule: of() is None for rule, of in self._of.items()}


def _first_read(where: str, entry: str, file: BlockedFile) -> None:
    try:
        file.read()
    except ValueError as error:
        raise ConfigurationError(
            f"{where}: found {entry[:80]!r}, which cannot be read: {error}; expected numbers, or a file of them"
        ) from None


def _together(fixed: Blocked, files: list[BlockedFile]) -> Callable[[], Blocked | None]:
    def now() -> Blocked | None:
        whole = fixed
        for file in files:
            numbers = file.now()
            if numbers is None:
                return None
            whole = whole | numbers if (numbers.exact or numbers.loose) else whole
        return whole

    def alone() -> Blocked | None:
        return files[0].now()

    return alone if len(files) == 1 and not (fixed.exact or fixed.loose) else now
