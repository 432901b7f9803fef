"""Documents as data: the fenced blocks and the tables of a Markdown file."""

import re
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
_FENCE: Final = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_RULE: Final = re.compile(r"^\|(?: *-+ *\|)+$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: the words after its fence, and its text."""

    kind: str
    text: str


class Table(NamedTuple):
    """A table under the last heading before it."""

    heading: str
    columns: list[str]
    rows: list[list[str]]


def document(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def blocks(text: str, kind: str | None = None) -> list[Block]:
    found = [Block(match["kind"].strip(), match["text"]) for match in _FENCE.finditer(text)]
    return [block for block in found if kind in (None, block.kind)]


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.*)$", _FENCE.sub("", text), re.MULTILINE)


def tables(text: str) -> list[Table]:
    """Every table; a pipe inside backticks would end a cell, and no cell of ours has one."""
    found: list[Table] = []
    heading = ""
    lines = [*_FENCE.sub("", text).splitlines(), ""]
    for number, line in enumerate(lines):
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif _RULE.match(line):
            found.append(Table(heading, _cells(lines[number - 1]), []))
        elif line.startswith("|") and not _RULE.match(lines[number + 1]):
            found[-1].rows.append(_cells(line))
    return found


def table(text: str, *first: str) -> list[list[str]]:
    """The rows of the one table whose first columns are these."""
    (only,) = (found for found in tables(text) if found.columns[: len(first)] == list(first))
    return only.rows


def code(cell: str) -> list[str]:
    """What stands between backticks in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
