"""A list's way to the vendor: checked whole, sent in parts, and told how far it came."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hub.errors import Doubtful, Permanent, TrunklineError
from hub.vendors.ucontact.bases import PART, Base, Part, list_name
from hub.vendors.ucontact.client import UContact


@dataclass(slots=True)
class Uploaded:
    """How far it came.

    Attributes:
        rows: sent and taken.
        of: all of them.
        files: names of the lists that were taken.
        line: of the file that is next; None once all are sent.
        problem: why it ended; None where it did not.
        doubtful: the part that begins at ``line`` may have been taken all the same.
    """

    of: int
    rows: int = 0
    files: list[str] = field(default_factory=list)
    line: int | None = None
    problem: TrunklineError | None = None
    doubtful: bool = False

    def shown(self) -> dict[str, Any]:
        """For JSON."""
        said = {"rows": self.rows, "of": self.of, "files": self.files}
        if self.problem is None:
            return said
        return {**said, "next_line": self.line, "doubtful": self.doubtful, "problem": str(self.problem)}


def planned(base: Base, *, name: str, part: int = PART, from_line: int = 1) -> list[tuple[Part, str]]:
    """The parts that are to be sent, each with the name of its list.

    Args:
        base: what was read.
        name: of the list.
        part: records in one request.
        from_line: the first line of the part to go on with, of the same file with the same ``part``.

    Raises:
        Permanent: a value or a name is not what the vendor takes, or no part begins at ``from_line``.
    """
    parts = list(base.checked().parts(part))
    names = [list_name(name, each.number if len(parts) > 1 else None) for each in parts]
    if from_line > 1 and from_line not in {each.first for each in parts}:
        raise Permanent(f"from line {from_line}: no part of {part} records begins there")
    return [(each, name) for each, name in zip(parts, names, strict=True) if each.last >= from_line]


async def upload(
    client: UContact,
    base: Base,
    *,
    name: str,
    campaign: str,
    username: str,
    timezones: bool = False,
    part: int = PART,
    from_line: int = 1,
    tell: Callable[[Uploaded], None] = lambda _: None,
) -> Uploaded:
    """Sends a list in parts, each a list of its own at the vendor, ``NAME_1.csv`` and so on, until one fails.

    Args:
        client: whom it is sent by.
        base: what was read.
        name: of the list.
        campaign: the dialer.
        username: who uploads it.
        timezones: by the function for time zones.
        part: records in one request.
        from_line: as of :func:`planned`.
        tell: hears of every part before it is sent.

    Raises:
        Permanent: as :func:`planned`; nothing was sent.
    """
    left = planned(base, name=name, part=part, from_line=from_line)
    progress = Uploaded(sum(each.rows for each, _ in left))
    for each, filename in left:
        progress.line = each.first
        tell(progress)
        try:
            await client.upload_base(
                filename, each.content, campaign=campaign, rows=each.rows, username=username, timezones=timezones
            )
        except TrunklineError as problem:
            progress.problem, progress.doubtful = problem, isinstance(problem, Doubtful)
            return progress
        progress.rows += each.rows
        progress.files.append(filename)
    progress.line = None
    tell(progress)
    return progress
