"""``trunkline vendor url``, ``verify`` and ``test``: what the administrator of a vendor's console needs."""

import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest

from tests.cli.command import Said, edited, trunkline
from tests.cli.served import Served
from tests.hub import fin
from tests.servers.ports import free_port, release_port

BASE = "https://hub.example.com"


@pytest.fixture
def token(home: Path) -> str:
    return str(tomllib.loads((home / "trunkline.toml").read_text())["sources"]["line-900"]["tokens"][0])


# --- url -----------------------------------------------------------------------------------------------------------


def url(home: Path, *words: str) -> list[str]:
    said = trunkline("vendor", "url", *words, at=home, TRUNKLINE_HTTP__PUBLIC_URL=f"{BASE}/")
    assert (said.status, said.err) == (0, "")
    return said.lines


def test_a_source_has_a_url_for_each_event_of_its_vendor(home: Path, token: str) -> None:
    lines = url(home, "line-900")
    assert [line.split()[0] for line in lines] == ["INICIO", "DESVIO_CORRECTO", "DESVIO_FALLIDO", "FIN"]
    assert lines[3].split()[1] == (
        f"{BASE}/callbacks/line-900/{token}/fin?caller=[_NumLlamante]&num=[_NumInfocaller]&called=[_NumLlamado]"
        "&id=[_IdLlamada]&uuid=[_UUID]"
    )


def test_one_events_url_stands_alone_so_that_it_can_be_copied(home: Path, token: str) -> None:
    for event in ("fin", "FIN"):
        [line] = url(home, "line-900", "--event", event)
        assert line.startswith(f"{BASE}/callbacks/line-900/{token}/fin?")
        assert url(home, "line-900", "--event", event, "--bare") == [f"{BASE}/callbacks/line-900/{token}/fin"]
    assert url(home, "line-900", "--bare") == [f"{BASE}/callbacks/line-900/{token}"]


def test_a_source_with_queries_has_one_url_more(home: Path) -> None:
    more = (
        'queries = { "ESTADO PEDIDO" = "last" }\n[resolvers.last]\nkind = "table"\ntable = { "*" = { PEDIDO = "0" } }\n'
        '[sources.asking]\nvendor = "infocaller"\ntokens = ["T0KEN"]\nqueries = { "ESTADO PEDIDO" = "last" }\n'
    )
    query = f"{BASE}/queries/asking/T0KEN"
    with edited(home / "trunkline.toml", "[sources.desk]", f"{more}[sources.desk]") as path:
        for words in ((), ("--event", "query"), ("--event", "query", "--bare")):
            said = trunkline(
                *("--config", str(path), "vendor", "url", "asking", *words), at=home, TRUNKLINE_HTTP__PUBLIC_URL=BASE
            )
            assert said.lines[-1].split()[-1] == query


def test_focalscope_has_one_url_with_its_variables(home: Path) -> None:
    [line] = url(home, "desk")
    assert line.startswith(f"{BASE}/callbacks/desk/")
    assert "?CallType={{CallTypeName}}&Event={{DialApiEventName}}&CallID={{CallID}}&" in line


def test_an_event_that_is_not_configured_at_the_vendor_has_no_url(home: Path) -> None:
    with edited(home / "trunkline.toml", "[sources.desk]", 'events = ["fin"]\n[sources.desk]') as path:
        [line] = url(home, "line-900", *[])[3:4]
        said = trunkline("--config", str(path), "vendor", "url", "line-900", at=home)
    assert "/fin?" in line
    assert [line.partition("?")[0].rpartition("/")[2] for line in said.lines] == ["fin"]


def test_a_source_that_does_not_call_back_has_none(home: Path) -> None:
    path = home / "trunkline.toml"
    path.write_text(path.read_text() + '[sources.f]\nvendor = "infocu5"\naffiliate_id = "1"\naffiliate_key = "k"\n')
    for words in (("url", "f"), ("verify", "f", "http://h/"), ("test", "f")):
        said = trunkline("vendor", *words, at=home)
        assert said.status == 2
        assert said.err.startswith("trunkline: sources.f: ")


# --- verify --------------------------------------------------------------------------------------------------------


def verify(home: Path, source: str, callback: str, payload: Any = None, *words: str) -> Said:
    """A callback pasted, its body on standard input."""
    body = b"" if payload is None else urlencode({"apiInfocaller": orjson.dumps(payload).decode()}).encode()
    options = ("--body", "-", "--content-type", "application/x-www-form-urlencoded") if body else ()
    return trunkline("vendor", "verify", source, callback, *options, *words, at=home, stdin=body)


def test_a_right_callback_is_read_aloud_and_nothing_is_sent(home: Path, token: str) -> None:
    said = verify(home, "line-900", f"{BASE}/callbacks/line-900/{token}/fin", fin())
    assert (said.status, said.err) == (0, "")
    assert said.lines[0] == "ok    token"
    assert said.lines[1] == "ok    event        call.infocaller.ended"
    assert said.lines[2].startswith("ok    call         ")
    assert orjson.loads("".join(said.lines[3:]))["duration_seconds"] == 42
    assert sorted(path.name for path in home.iterdir()) == ["trunkline.toml"]


def test_a_callback_with_url_variables_alone_is_right_too(home: Path, token: str) -> None:
    said = verify(home, "line-900", f"/callbacks/line-900/{token}/fin?num=900805089&id=98565656")
    assert (said.status, said.lines[1]) == (0, "ok    event        call.infocaller.ended")


def test_a_url_below_a_path_of_the_proxys_is_right_as_it_is_printed(home: Path) -> None:
    public: dict[str, Any] = {"TRUNKLINE_HTTP__PUBLIC_URL": "https://example.com/hub/"}
    url = trunkline("vendor", "url", "line-900", "--event", "fin", "--bare", at=home, **public).out.strip()
    assert url.startswith("https://example.com/hub/callbacks/line-900/")
    said = trunkline("vendor", "verify", "line-900", f"{url}?num=1&id=2", at=home, **public)
    assert (said.status, said.lines[:2]) == (0, ["ok    token", "ok    event        call.infocaller.ended"])


def test_a_body_may_come_from_a_file(home: Path, token: str) -> None:
    (home / "body").write_bytes(orjson.dumps(fin()))
    door = f"{BASE}/callbacks/line-900/{token}/fin"
    said = verify(home, "line-900", door, None, "--body", "body", "--content-type", "application/json")
    assert said.status == 0
    said = verify(home, "line-900", door, None, "--body", "absent")
    assert said.status == 2
    assert said.err == "trunkline: --body: found 'absent'; expected a file: No such file or directory\n"


WRONG: dict[str, tuple[str, Any, str]] = {
    "path": ("/webhooks/line-900/TOKEN/fin", fin(), "bad   path         expected /callbacks/SOURCE/TOKEN"),
    "source": ("/callbacks/desk/TOKEN/fin", fin(), "bad   source       the URL names 'desk', expected 'line-900'"),
    "token": ("/callbacks/line-900/other/fin", fin(), "bad   token        it is none of the source's tokens"),
    "event": ("/callbacks/line-900/TOKEN/colgado", fin(), "bad   event        the event 'colgado' is none of "),
    "no event": ("/callbacks/line-900/TOKEN", fin(), "bad   event        "),
    "body": ("/callbacks/line-900/TOKEN/fin", {"apicall": 1}, "bad   undecodable  "),
    "signature": ("/callbacks/line-900/TOKEN/fin", fin("1") | fin("2", line="123456780"), "bad   signature    "),
    "line": ("/callbacks/line-900/TOKEN/fin", fin("3", line="999999999"), "bad   signature    "),
    "call": ("/callbacks/line-900/TOKEN/fin", None, "bad   identity     "),
}


@pytest.mark.parametrize("part", WRONG)
def test_the_wrong_part_is_named(part: str, home: Path, token: str) -> None:
    path, payload, expected = WRONG[part]
    said = verify(home, "line-900", BASE + path.replace("TOKEN", token), payload)
    assert said.status == 1
    assert next(line for line in said.lines if line.startswith("bad")).startswith(expected)
    assert "Traceback" not in said.out + said.err


def test_no_password_and_no_token_is_said_of_a_wrong_callback(home: Path, token: str) -> None:
    said = verify(home, "line-900", f"{BASE}/callbacks/line-900/{token[:-1]}/fin", fin("1", line="1"))
    assert token not in said.out + said.err
    assert "3956" not in said.out + said.err


# --- test ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["line-900", "desk"])
def test_a_sample_is_accepted_by_a_running_hub_and_is_the_same_event_again(served: Served, source: str) -> None:
    first, again = (served.trunkline("vendor", "test", source) for _ in range(2))
    assert (first.status, first.err) == (0, "")
    status, _, answer = first.out.partition(" ")
    assert status == "200"
    assert orjson.loads(answer)["status"] == "accepted"
    assert again == first


def test_a_sample_that_the_hub_refuses_ends_with_1(served: Served, home: Path) -> None:
    said = trunkline("vendor", "test", "line-900", "--url", served.url, at=home)  # with this directory's tokens
    assert said.status == 1
    assert said.out.startswith("401 ")


def test_a_hub_that_is_not_there_ends_with_1(home: Path) -> None:
    port = free_port()
    said = trunkline("vendor", "test", "line-900", at=home, TRUNKLINE_HTTP__PORT=str(port))
    release_port(port)
    assert (said.status, said.out, said.err) == (1, "", "no answer: ClientConnectorError\n")
