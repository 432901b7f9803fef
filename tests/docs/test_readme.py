"""The README, done: its examples in their order, in an empty directory, and the commands that it and the pages name."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer

from hub.cli.app import app
from hub.events import identity
from tests.cli.command import clean_environment
from tests.cli.served import Served, up
from tests.docs.reading import ROOT, blocks, code, document, headings
from tests.hub import until

README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CALL: Final = identity("infocaller", "line-900", "900805089", "98565656")


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """What ``make run`` leaves behind: a directory with its .venv, and a hub that runs in it."""
    directory = tmp_path_factory.mktemp("newcomer")
    (directory / ".venv").symlink_to(Path(sys.executable).parents[1])
    with up(directory, ".venv/bin/trunkline") as hub:
        yield hub


async def test_the_examples_work_as_they_are_printed_one_after_another(newcomer: Served) -> None:
    examples = [block.text for block in blocks(README, "sh run")]
    assert len(examples) >= 3
    assert '"status":"accepted"' in do(newcomer, examples[0])

    async def kept() -> bool:
        page = await asyncio.to_thread(newcomer.read, "/v1/calls")
        return CALL in {record["call_id"] for record in page["items"]}

    await until(kept)
    shown, read, *_ = [do(newcomer, text) for text in examples[1:]]
    assert CALL in shown
    assert "+34911888920" in shown
    assert f'"call_id":"{CALL}"' in read


def do(newcomer: Served, text: str) -> str:
    """An example, by the shell that its fence names; of it only the port is another."""
    done = subprocess.run(
        ["sh", "-eu", "-c", text.replace(":8080", f":{newcomer.port}")],
        cwd=newcomer.directory,
        env=clean_environment({"TRUNKLINE_HTTP__PORT": str(newcomer.port)}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), text
    return done.stdout


def test_every_example_that_can_be_run_here_is_run() -> None:
    """What a fence does not mark with ``run`` starts a process that stays, or needs servers: other tests run these."""
    shown = {line.partition("  #")[0].strip() for block in blocks(README, "sh") for line in block.text.splitlines()}
    assert shown == {
        "make run",
        "trunkline init",
        "trunkline db upgrade",
        "trunkline ingress --processes 2",
        "trunkline worker persistence",
        "trunkline doctor",
    }


def _commands(node: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in getattr(node, "commands", {}).items():
        yield (*words, name)
        yield from _commands(command, (*words, name))


COMMANDS: Final = set(_commands(typer.main.get_command(app)))
GROUPS: Final = {words[0] for words in COMMANDS if len(words) > 1}
_NAMED: Final = re.compile(r"\btrunkline ((?:--config \S+ )?)([a-z]+)(?: ([a-z]+))?")


def _code(text: str) -> Iterator[str]:
    """What stands in code, line by line: fenced, or between backticks."""
    for block in blocks(text):
        if block.kind.startswith(("sh", "")) and not block.kind.startswith(("json", "python", "toml")):
            yield from block.text.splitlines()
    yield from re.findall(r"`([^`\n]+)`", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    unknown = []
    for line in _code(page.read_text(encoding="utf-8")):
        for _, first, second in _NAMED.findall(line):
            words = (first, second) if first in GROUPS and second else (first,)
            if words not in COMMANDS:
                unknown.append(line)
    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_everything_that_a_page_links_to_is_there(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([\w-]+))?\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        file = page.parent / target if target else page
        assert file.is_file(), target
        if anchor:
            assert anchor in {slug(heading) for heading in headings(file.read_text(encoding="utf-8"))}, anchor


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target
        for page in PAGES
        for line in _code(page.read_text(encoding="utf-8"))
        for target in re.findall(r"^make ([a-z]+)", line)
    }
    assert named
    assert named <= targets


def test_the_changelog_names_every_command_of_this_version() -> None:
    [line] = re.findall(r"^- \*\*Commands\.\*\* (.*?)^- ", document("changelog.md"), re.MULTILINE | re.DOTALL)
    leaves = {words for words in COMMANDS if words[0] not in GROUPS or len(words) > 1}
    assert {tuple(name.split()) for name in code(line)} == leaves


def test_every_file_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"`((?:hub|workers|deploy|docs|tests)/[\w./-]+)`", README))
    assert named
    assert {name for name in named if not (ROOT / name).exists()} == set()
    assert os.access(ROOT / "Makefile", os.R_OK)
