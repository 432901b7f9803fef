"""docs/vendors.md: the tests it names exist, and everything that the adapters know stands in it."""

import ast
import asyncio
import os
import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from hub.config import Calls, FocalScopeSource, InfocallerSource, Infocu5Source, Settings, UContactSource
from hub.parts import make_decoder
from hub.vendors.focalscope import callbacks as focalscope
from hub.vendors.infocaller import callbacks as infocaller
from hub.vendors.infocaller.actions import _MEANINGS, NAMES
from hub.vendors.infocaller.unknown import _FIELDS
from hub.vendors.infocaller.variables import EVENT
from hub.vendors.infocu5 import leads, records
from hub.vendors.infocu5.codes import BROKEN, EMPTY, REFUSALS, SUCCESS
from hub.vendors.infocu5.operations import OPERATIONS
from hub.vendors.ucontact import answers, bases, callbacks as ucontact, cti, paths, tasks
from hub.vendors.ucontact.operations import OPERATIONS as UCONTACT
from tests.docs.reading import ROOT, Table, blocks, code, document, headings, table, tables
from tests.vendors.infocu5 import samples

DOC: Final = document("vendors.md")
STANDINGS: Final = ("verified", "documented", "assumed")
_NAMED: Final = re.compile(r"tests/[\w/]+\.py::\w+")


# --- the tests that are named ----------------------------------------------------------------------------------------


@cache
def names_in(path: Path) -> frozenset[str]:
    """The names of a file's tests."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return frozenset(node.name for node in body if isinstance(node, functions) and node.name.startswith("test_"))


def test_every_test_that_is_named_exists() -> None:
    named = set(_NAMED.findall(DOC))
    assert len(named) > 50
    assert named == set(code(" ".join(re.findall(r"`tests/[^`]*`", DOC))))  # none is misspelt beyond recognition
    for name in sorted(named):
        path, _, test = name.partition("::")
        assert (ROOT / path).is_file(), name
        assert test in names_in(ROOT / path), name


def with_standings() -> list[Table]:
    return [found for found in tables(DOC) if "standing" in found.columns and len(found.columns) > 2]


def test_every_fact_has_its_standing_and_a_test() -> None:
    found = with_standings()
    assert len(found) > 10
    for each in found:
        for row in each.rows:
            assert len(row) == len(each.columns), row
            facts = dict(zip(each.columns, row, strict=True))
            assert facts["standing"].startswith(STANDINGS) or "assumed" in facts["standing"], row
            assert _NAMED.search(facts["test"]), row


def test_every_key_that_is_named_can_be_configured() -> None:
    kinds = (InfocallerSource, FocalScopeSource, UContactSource, Infocu5Source)
    sources = {name for kind in kinds for name in kind.model_fields}
    assert set(re.findall(r"`sources\.\*\.(\w+)`", DOC)) <= sources
    assert set(re.findall(r"`calls\.(\w+)`", DOC)) == set(Calls.model_fields)


def test_every_chapter_that_the_code_refers_to_exists() -> None:
    chapters = {name: headings(document(name)) for name in ("vendors.md", "events.md")}
    references = re.compile(r"docs/(vendors|events)\.md\)?(?:, (?:\"([^\"]+)\"|chapter (\d)))?")
    found = 0
    for path in [*(ROOT / "hub").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        if "docs" in path.parts:
            continue
        for name, title, number in references.findall(path.read_text(encoding="utf-8")):
            known = chapters[f"{name}.md"]
            assert not title or title in known, (path, title)
            assert not number or any(heading.startswith(f"{number}. ") for heading in known), (path, number)
            found += bool(title or number)
    assert found > 5


# --- what the adapters know ------------------------------------------------------------------------------------------


def test_every_event_of_both_vendors_is_described() -> None:
    told = {code(row[0])[0]: code(row[1])[0] for row in table(DOC, "event", "our event")}
    assert {name.lower(): key for name, key in told.items()} == {
        name: f"call.infocaller.{verb}" for name, verb in infocaller.VERBS.items()
    }
    rows = table(DOC, "`Event`", "`EventCode`")
    assert {row[1]: code(row[0])[0] for row in rows} == focalscope.CODES
    assert {code(row[0])[0]: code(row[2])[0].rpartition(".")[2] for row in rows} == focalscope.VERBS


def test_every_action_is_described_with_the_names_of_its_info() -> None:
    rows = [row for row in table(DOC, "code", "name") if row[0].isdecimal()]
    assert len(rows) == 17
    assert {int(row[0]): code(row[1])[0] for row in rows} == NAMES
    for number, _, _, info, _ in rows:
        told = [(int(at), name) for at, name in re.findall(r"(\d) `(\w+)`", info)]
        assert told == [(at, name) for at, name, _ in _MEANINGS.get(int(number), ())], number


def test_every_field_of_the_body_is_described() -> None:
    rows = table(DOC, "field", "what we make of it")
    told = {name for row in rows for name in code(row[0])}
    for section, names in _FIELDS.items():
        for name in names - {"Events", "CustVar"}:
            assert f"{section}.{name}" in told
    assert told >= {f"Event.{name}" for name in ("EventType", "EventDate", "EventName", "EventAddInfo1")}
    assert told >= {"Status.Events.Event", "CustVars.CustVar.VarName", "CustVars.CustVar.VarValue"}


def urls_to_paste() -> dict[str, list[str]]:
    """What the document says the command prints, by the command's source."""
    shown = re.findall(r"^```sh\ntrunkline vendor url (\S+)\n```\n\n```text\n(.*?)^```", DOC, re.DOTALL | re.MULTILINE)
    return {source: text.splitlines() for source, text in shown}


def parameters(source: str) -> dict[str, str]:
    """Parameter to placeholder, over all of a source's URLs."""
    urls = (line.split()[-1] for line in urls_to_paste()[source])
    return {name: value for url in urls for name, value in parse_qsl(urlsplit(url).query)}


def told_parameters(*first: str) -> dict[str, str]:
    rows = (row for row in table(DOC, *first) if row[0].startswith("`"))
    return {code(row[0])[0]: (code(row[1]) or [""])[0] for row in rows}


def test_every_url_variable_of_infocaller_is_described() -> None:
    assert told_parameters("variable", "placeholder") == {**parameters("line-900"), EVENT: ""}


def test_every_parameter_of_focalscope_is_described() -> None:
    told = told_parameters("parameter", "placeholder")
    assert told == parameters("desk")
    assert {name.lower() for name in told} == focalscope._KNOWN


def test_every_operation_of_infocu5_is_described_with_its_parameters_and_its_standing() -> None:
    rows = table(DOC, "operation", "parameters")
    told = {code(row[0])[0]: (code(row[1]), row[3].partition(":")[0]) for row in rows}
    assert told == {
        name: ([one.name for one in operation.parameters], operation.standing) for name, operation in OPERATIONS.items()
    }


def test_every_code_and_every_field_of_infocu5_is_described() -> None:
    codes = {(row[1].strip("`"), int(row[0])) for row in table(DOC, "response code", "of") if row[0].isdecimal()}
    assert codes == {*EMPTY, *(("all", number) for number in (SUCCESS, BROKEN, *REFUSALS))}
    fields = {name for row in table(DOC, "field of a record") for name in code(row[0])}
    assert fields == records.FIELDS
    told = {name for row in table(DOC, "field of a function") for name in code(row[0])}
    asked = {one.name for operation in OPERATIONS.values() for one in operation.parameters}
    assert asked - {"dialerID", "listID", "leads", "callTimeOffset", "listAutoPopulate"} <= told
    sampled = re.findall(r'"(\w+)":', Path(samples.__file__).read_text(encoding="utf-8"))
    assert {name for name in sampled if name.startswith(("agent", "campaign", "dialer", "response", "list"))} <= told
    assert all(f"`{name}`" in DOC for name in leads.FIELDS)


def test_no_function_goes_by_the_agents_browser() -> None:
    assert not [name for name in UCONTACT if "phone" in name.lower() and name != "HangupPhone"]
    assert not [path for path in paths.PATHS.values() if "proxy" in path.lower()]


def test_every_function_of_ucontact_is_described_with_its_parameters_its_path_and_its_standing() -> None:
    rows = table(DOC, "function", "parameters", "path")
    told = {code(row[0])[0]: (code(row[1]), code(row[2]), code(row[3]), row[5].partition(":")[0]) for row in rows}
    assert told == {
        name: (
            [one.name for one in operation.parameters],
            [paths.PATHS[name]] if name in paths.PATHS else [],
            [paths.MEANINGS[name]] if name in paths.MEANINGS else [],
            operation.standing,
        )
        for name, operation in UCONTACT.items()
    }
    assert {code(row[0])[0] for row in table(DOC, "meaning of an answer")} == set(answers.MEANINGS)
    assert {code(row[0])[0] for row in table(DOC, "mode of DialerTask")} == set(tasks.MODES)


def test_every_webhook_object_and_column_of_ucontact_is_described() -> None:
    told = {code(row[0])[0]: code(row[1]) for row in table(DOC, "webhook", "our event")}
    assert told.keys() == ucontact.EVENTS.keys()
    for name, (noun, verb) in ucontact.EVENTS.items():
        verbs = ucontact.FLAGS[name][1:] if name in ucontact.FLAGS else (verb,)
        assert told[name] == [f"{noun}.ucontact.{one}" for one in verbs]
    fields = {name.lower() for row in table(DOC, "field of a webhook") for name in code(row[0])}
    every: frozenset[str] = frozenset().union(*ucontact.FIELDS.values())
    assert every - {"agentfullname"} <= fields
    keys = {name for row in table(DOC, "key of `call`") for name in code(row[0])}
    assert keys == tasks.FIXED | set(tasks.MODES["dialer"])
    respool = {name for row in table(DOC, "field", "may be changed") for name in code(row[0])}
    assert respool == {*cti.FIXED, *cti.CHANGEABLE, "respool"}
    columns = [code(row[0])[0] for row in table(DOC, "column", "what it may be") if code(row[0])]
    assert tuple(columns[: len(bases.COLUMNS)]) == bases.COLUMNS


def test_a_vendor_that_does_not_call_back_takes_no_callbacks() -> None:
    source = {"vendor": "infocu5", "affiliate_id": "a", "affiliate_key": "b"}
    settings = Settings(sources={"new": source})  # type: ignore[dict-item]  # pydantic makes the source
    assert make_decoder("new", settings.sources["new"]) is None


# --- the commands ----------------------------------------------------------------------------------------------------


async def trunkline(directory: Path, *arguments: str) -> str:
    """What the command prints; a process of its own, like an administrator's, with the document's configuration."""
    (configuration,) = blocks(DOC, "toml")
    (directory / "trunkline.toml").write_text(configuration.text, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hub", *arguments),
        cwd=directory,
        env={**{name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 60)
    return printed.decode()


async def test_the_urls_to_paste_are_what_the_command_prints(tmp_path: Path) -> None:
    shown = urls_to_paste()
    assert shown.keys() == {"line-900", "desk"}
    for source, lines in shown.items():
        assert (await trunkline(tmp_path, "vendor", "url", source)).splitlines() == lines


def verified() -> Iterator[tuple[str, str]]:
    """Each command that verifies a callback, and what the document says it prints."""
    yield from re.findall(r"^```sh verify\n(.*?)\n```\n\n```text\n(.*?)^```", DOC, re.DOTALL | re.MULTILINE)


async def test_verify_answers_as_the_document_shows(tmp_path: Path) -> None:
    shown = list(verified())
    assert len(shown) == 2
    for command, lines in shown:
        assert await trunkline(tmp_path, *shlex.split(command)[1:]) == lines
