"""docs/respooling.md: its rules can be configured, its program prints what it says, its tables are the code's."""

import re
import tomllib
from typing import Any, Final, get_args

import orjson
import pytest

from hub.config import DIALERS, RespoolRule, Settings
from hub.respooling.planning import REASONS, State
from hub.respooling.rules import fitting
from tests.docs.reading import blocks, code, document, table
from tests.respooling.support import record
from workers.respool.rules import rules_of

PAGE: Final = document("respooling.md")
SOURCES: Final = {
    "line-900": {"vendor": "infocaller"},
    "cloud": {"vendor": "ucontact", "base_url": "https://instance.ucontactcloud.com"},
    "focu5": {"vendor": "infocu5", "affiliate_id": "A", "affiliate_key": "k"},
}


def _written(cell: str) -> Any:
    return orjson.loads(code(cell)[0]) if "`" in cell else cell


def test_its_rules_can_be_configured_and_do_what_is_said_beside_them() -> None:
    [block] = blocks(PAGE, "toml rules")
    settings = Settings.model_validate({"sources": SOURCES, **tomllib.loads(block.text)})
    one, other = rules = rules_of(settings)
    assert fitting(record(), rules).rule is one
    assert fitting(record(source="focu5", campaign="Renewals"), rules).rule is other
    assert fitting(record(source="focu5"), rules).rule is None


def test_every_key_of_a_rule_stands_in_the_table_with_its_default() -> None:
    told = {code(key)[0]: _written(default) for key, default, _ in table(PAGE, "key of a rule", "default")}
    schema = RespoolRule.model_json_schema()
    known = {}
    for name, part in schema["properties"].items():
        default = part.get("default", {})
        known[name] = "required" if name in schema["required"] else "none" if default is None else default
    assert told == known


def test_its_tables_name_every_state_every_reason_and_every_way_and_no_other() -> None:
    states = {code(row[0])[0] for row in table(PAGE, "state", "means")}
    assert states == set(get_args(State))
    reasons = {code(row[0])[0]: row[1] for row in table(PAGE, "reason", "means")}
    assert reasons == REASONS
    ways: dict[str, set[str]] = {}
    for row in table(PAGE, "vendor", "way"):
        ways.setdefault(row[0].lower(), set()).update(code(row[1]))
    assert ways == {vendor: set(known) for vendor, known in DIALERS.items()}


def test_its_program_prints_what_stands_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    programs = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert programs
    for program, printed in programs:
        exec(compile(program, "docs/respooling.md", "exec"), {})  # noqa: S102  that is the test
        assert capsys.readouterr().out == printed
