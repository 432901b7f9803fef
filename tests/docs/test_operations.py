"""docs/operations.md against the program: every key, every metric, every event name, the answers of /readyz."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import prometheus_client
import pytest

from hub import metrics
from hub.config import Settings
from tests.docs.reading import ROOT, blocks, code, document, headings, table
from tests.hub import configuration, running, until
from tests.servers.ports import free_port, release_port

PAGE: Final = document("operations.md")
SCHEMA: Final[dict[str, Any]] = Settings.model_json_schema()


# --- configuration -------------------------------------------------------------------------------------------------


def _resolved(part: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = SCHEMA["$defs"][part["$ref"].rpartition("/")[2]]
    return found


def _default(part: dict[str, Any], key: str) -> Any:
    """As the page writes it: JSON, ``required`` or ``none``."""
    if key in part.get("required", []):
        return "required"
    value = part["properties"][key].get("default", {})
    return "none" if value is None else value


def _written(cell: str) -> Any:
    return orjson.loads(code(cell)[0]) if "`" in cell else cell


def test_every_key_stands_in_the_table_with_its_default() -> None:
    told = {code(key)[0]: _written(default) for key, default, _ in table(PAGE, "key", "default")}
    parts = {name: _resolved(part) for name, part in SCHEMA["properties"].items() if "$ref" in part}
    assert told == {f"{name}.{key}": _default(part, key) for name, part in parts.items() for key in part["properties"]}


def test_every_key_of_every_vendors_source_stands_in_the_table_with_its_default() -> None:
    told: dict[tuple[str, str], Any] = {}
    sources = SCHEMA["properties"]["sources"]["patternProperties"]
    [union] = sources.values()
    vendors = {name: _resolved({"$ref": ref}) for name, ref in union["discriminator"]["mapping"].items()}
    for key, vendor, default, _ in table(PAGE, "key of a source"):
        for name in vendors if vendor == "every" else [vendor]:
            told[name, code(key)[0]] = _written(default)
    assert told == {(name, key): _default(part, key) for name, part in vendors.items() for key in part["properties"]}


def test_every_word_of_the_environment_in_the_page_is_a_key() -> None:
    named = set(re.findall(r"`(TRUNKLINE_[A-Z0-9_-]+)", PAGE)) - {"TRUNKLINE_", "TRUNKLINE_CONFIG"}
    named -= {"TRUNKLINE_SECRETS_DIR", "TRUNKLINE_TEST", "TRUNKLINE_FAILPOINTS"}
    assert named
    for name in named:
        first = name.removeprefix("TRUNKLINE_").partition("__")[0].lower()
        assert first in Settings.model_fields


# --- health --------------------------------------------------------------------------------------------------------


def test_every_key_of_a_resolver_stands_in_the_page_of_queries_with_its_default() -> None:
    page = document("queries.md")
    common = {code(key)[0]: _written(default) for key, default, _ in table(page, "key of every resolver")}
    kinds = {"table", "sql", "http", "amqp"}
    told = {(kind, key): default for kind in kinds for key, default in common.items()}
    told |= {(kind, code(key)[0]): _written(default) for key, kind, default, _ in table(page, "key of a resolver")}
    [union] = SCHEMA["properties"]["resolvers"]["patternProperties"].values()
    parts = {kind: _resolved({"$ref": ref}) for kind, ref in union["discriminator"]["mapping"].items()}
    assert told == {(kind, key): _default(part, key) for kind, part in parts.items() for key in part["properties"]}


async def test_the_example_of_a_ready_hub_is_its_answer(tmp_path: Path) -> None:
    [example] = blocks(PAGE, "json ready")
    async with running(configuration(tmp_path)) as hub:

        async def ready() -> dict[str, Any] | None:
            async with hub.session.get(hub.url / "readyz") as answer:
                told: dict[str, Any] = await answer.json()
                return told if (answer.status, told["status"]) == (200, "ok") else None

        assert await until(ready) == orjson.loads(example.text)
        async with hub.session.get(hub.url / "livez") as answer:
            assert answer.status == 200


async def test_the_example_of_an_ingress_without_its_broker_is_its_answer(tmp_path: Path) -> None:
    [example] = blocks(PAGE, "json degraded")
    port = free_port()
    settings = configuration(tmp_path, bus={"url": f"amqp://127.0.0.1:{port}/"})
    async with running(settings, workers=()) as hub, hub.session.get(hub.url / "readyz") as answer:
        told = (await answer.text()).replace(str(port), "5672")
        assert (answer.status, orjson.loads(told)) == (200, orjson.loads(example.text))
    release_port(port)


# --- metrics -------------------------------------------------------------------------------------------------------


def _metrics() -> Iterator[tuple[str, tuple[str, ...]]]:
    for made in vars(metrics).values():
        if isinstance(made, prometheus_client.metrics.MetricWrapperBase):
            [family] = made.describe()
            total = "_total" if isinstance(made, prometheus_client.Counter) else ""
            yield f"{family.name}{total}", tuple(made._labelnames)


def test_every_metric_stands_in_the_table_with_its_labels() -> None:
    told = {code(name)[0]: tuple(code(labels)) for name, labels, _ in table(PAGE, "metric", "labels")}
    assert told == dict(_metrics())


def test_every_metric_in_the_text_exists() -> None:
    names = {name for name, _ in _metrics()}
    assert set(re.findall(r"\btrunkline_[a-z_]+\b", PAGE)) <= names


# --- logs ----------------------------------------------------------------------------------------------------------

LEVELS: Final = {"debug", "info", "warning", "error", "critical", "exception"}


def _logged() -> Iterator[tuple[str, str]]:
    """Every event name in the code, with its level: the first argument of a call of a logger."""
    for path in [*(ROOT / "hub").rglob("*.py"), *(ROOT / "workers").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS):
                continue
            logger = ast.unparse(node.func.value)
            if logger in {"log", "_log"} or logger.startswith("structlog.get_logger"):
                name = node.args[0]
                assert isinstance(name, ast.Constant), f"{path}:{node.lineno}: an event name is a constant"
                yield str(name.value), "error" if node.func.attr == "exception" else node.func.attr
    yield "http.malformed_request", "warning"  # hub/logs.py makes it of aiohttp's


def test_every_event_name_stands_in_the_table_with_its_level() -> None:
    told = {code(name)[0]: level for name, level, _ in table(PAGE, "event", "level")}
    assert told == dict(_logged())


def test_event_names_are_a_noun_and_what_happened_to_it() -> None:
    assert [name for name, _ in _logged() if not re.fullmatch(r"[a-z]+\.[a-z_]+", name)] == []


def test_no_event_is_named_for_two_levels() -> None:
    levels: dict[str, set[str]] = {}
    for name, level in _logged():
        levels.setdefault(name, set()).add(level)
    assert {name: found for name, found in levels.items() if len(found) > 1} == {}


# --- the rest ------------------------------------------------------------------------------------------------------


def test_the_layers_in_the_architecture_are_those_that_a_tool_holds() -> None:
    page = document("architecture.md")
    [block] = blocks(page, "layers")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract["name"].startswith("layers:")]
    assert [re.split(r" {2,}", line)[0] for line in block.text.splitlines()] == layers


@pytest.mark.parametrize("page", ["architecture.md", "operations.md", "changelog.md"])
def test_every_file_that_a_page_names_exists(page: str) -> None:
    named = re.findall(r"`((?:hub|workers|deploy|docs|tests)/[\w./-]+)`", document(page))
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_changelogs_newest_version_is_this_one() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert headings(document("changelog.md"))[1] == version
