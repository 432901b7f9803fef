"""``trunkline init``, ``up`` without a file, ``config show`` and ``config schema``."""

import stat
import tomllib
from pathlib import Path

import orjson
import pytest
from jsonschema import Draft202012Validator

from tests.cli.command import edited, trunkline
from tests.cli.served import Served

EVERYTHING = Path(__file__).parents[1] / "unit" / "everything.toml"


def tokens(path: Path) -> list[str]:
    table = tomllib.loads(path.read_text())
    return [table["admin"]["token"], *(token for source in table["sources"].values() for token in source["tokens"])]


def test_init_writes_fresh_random_tokens_that_only_their_owner_can_read(tmp_path: Path) -> None:
    paths = [tmp_path / name / "trunkline.toml" for name in ("one", "two")]
    for path in paths:
        path.parent.mkdir()
        said = trunkline("init", at=path.parent)
        assert (said.status, said.err) == (0, "")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    made = tokens(paths[0]) + tokens(paths[1])
    assert len(set(made)) == len(made) == 6
    assert min(len(token) for token in made) >= 43, "256 bits"


def test_init_prints_the_url_to_paste_into_each_vendors_console(home: Path) -> None:
    said = trunkline("--config", "other/trunkline.toml", "init", at=home)
    _, infocaller, focalscope = tokens(home / "other" / "trunkline.toml")
    for event in ("inicio", "desvio_correcto", "desvio_fallido", "fin"):
        [line] = [line for line in said.lines if f"/{event}?" in line]
        assert f"http://127.0.0.1:8080/callbacks/line-900/{infocaller}/{event}?caller=[_NumLlamante]&num=" in line
        assert ("&desvio=[_NumDesvio]" in line) == event.startswith("desvio")
    assert f"http://127.0.0.1:8080/callbacks/desk/{focalscope}?CallType={{{{CallTypeName}}}}&" in said.out


def test_init_refuses_to_overwrite_a_file_unless_told(home: Path) -> None:
    path = home / "trunkline.toml"
    before = path.read_bytes()
    said = trunkline("init", at=home)
    assert said.status == 2
    assert said.err == ("trunkline: trunkline.toml: exists already; expected no file there (--force overwrites it)\n")
    assert path.read_bytes() == before
    assert trunkline("init", "--force", at=home).status == 0
    assert path.read_bytes() != before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_init_writes_the_file_that_the_environment_names(home: Path) -> None:
    said = trunkline("init", at=home, TRUNKLINE_CONFIG="elsewhere/hub.toml")
    assert (said.status, said.lines[0]) == (0, "wrote elsewhere/hub.toml")
    assert len(tokens(home / "elsewhere" / "hub.toml")) == 3


def test_up_writes_a_configuration_where_there_is_none_and_says_where_everything_is(served: Served) -> None:
    path = served.directory / "trunkline.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    said = served.stdout.read_text()
    for token in tokens(path):
        assert token in said
    assert f"{served.url}/v1/calls" in said
    assert served.read("/v1/calls") is not None


def test_up_logs_no_token(served: Served) -> None:
    said = served.stderr.read_text()
    assert "process.ready" in said
    assert [token for token in tokens(served.directory / "trunkline.toml") if token in said] == []


def test_config_show_says_what_is_in_force_and_no_secret(tmp_path: Path) -> None:
    said = trunkline("--config", str(EVERYTHING), "config", "show", at=tmp_path, TRUNKLINE_HTTP__PORT="9000")
    assert said.status == 0
    assert "CANARY" not in said.out + said.err
    shown = orjson.loads(said.out)
    assert shown["http"]["port"] == 9000
    assert shown["sources"]["line-900"]["lines"] == {"123456789": "…"}
    assert shown["respool"]["rules"][0]["campaign"] == "POWER<-"


def test_the_schema_accepts_what_init_writes_and_every_key(home: Path, tmp_path: Path) -> None:
    schema = orjson.loads(trunkline("config", "schema", at=tmp_path).out)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    for path in (home / "trunkline.toml", EVERYTHING):
        assert list(validator.iter_errors(tomllib.loads(path.read_text()))) == []


@pytest.mark.parametrize(
    "wrong",
    ["x = 1", "[http]\nportt = 1", "[http]\nport = 70000", '[log]\nlevel = "loud"', '[sources.a]\nvendor = "acme"'],
)
def test_the_schema_refuses_what_the_hub_refuses(wrong: str, tmp_path: Path) -> None:
    schema = orjson.loads(trunkline("config", "schema", at=tmp_path).out)
    assert list(Draft202012Validator(schema).iter_errors(tomllib.loads(wrong))) != []
    (tmp_path / "trunkline.toml").write_text(wrong)
    assert trunkline("config", "show", at=tmp_path).status == 2


def test_the_schemas_defaults_are_true(tmp_path: Path) -> None:
    """A default that is masked would be no default."""
    assert "****" not in trunkline("config", "schema", at=tmp_path).out


@pytest.mark.parametrize("command", ["config show", "doctor", "calls", "vendor url desk", "worker persistence"])
def test_a_bad_value_ends_every_command_with_2_and_one_line(home: Path, command: str) -> None:
    with edited(home / "trunkline.toml", "port = 8080", 'port = "CANARY"') as path:
        said = trunkline("--config", str(path), *command.split(), at=home)
    assert (said.status, said.out) == (2, "")
    assert said.err == (
        "trunkline: http.port: found 'CANARY'; input should be a valid integer, unable to parse string as an integer\n"
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    said = trunkline("--config", "absent.toml", "calls", at=tmp_path)
    assert (said.status, said.err) == (
        2,
        "trunkline: configuration file absent.toml: not found; expected a TOML file\n",
    )
