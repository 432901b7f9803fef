"""The commands, run as their user runs them."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hub.cli import main
from hub.environment import PREFIX
from tests.logs import untouched_logging


@dataclass(frozen=True)
class Said:
    """What a command said, and the exit code it ended with."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without the developer's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    return kept | {"COLUMNS": "200"} | dict(more or {})


def trunkline(*words: str, at: Path, stdin: bytes = b"", **environment: Any) -> Said:
    """``trunkline WORDS`` in a directory.

    In this process: a start of the interpreter takes seconds, and what it adds is proved once for all commands.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(at),
        patch.dict(os.environ, clean_environment(environment), clear=True),
        patch.object(sys, "argv", ["trunkline", *words]),
        patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        untouched_logging(),
    ):
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Said(status, out.getvalue(), err.getvalue())


@contextmanager
def edited(path: Path, old: str, new: str) -> Iterator[Path]:
    """A copy of a configuration with one thing changed."""
    text = path.read_text()
    assert old in text
    copy = path.with_name("edited.toml")
    copy.write_text(text.replace(old, new))
    yield copy
    copy.unlink()
