"""The configuration: what it takes, what it says of what it does not take, and what it never says."""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from hub import config
from hub.config import Settings, load
from hub.configured import secrets_in
from hub.environment import PREFIX
from hub.errors import ConfigurationError

EVERYTHING = Path(__file__).with_name("everything.toml").read_text()
CANARY = "CANARY"
INFOCALLER = '[sources.line-900]\nvendor = "infocaller"\n'


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of the developer's, no secrets of this machine, an empty working directory."""
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)
    (tmp_path / "secrets").mkdir()
    monkeypatch.setenv("TRUNKLINE_SECRETS_DIR", str(tmp_path / "secrets"))
    monkeypatch.chdir(tmp_path)


def written(text: str, path: Path = Path("trunkline.toml")) -> Path:
    path.write_text(text)
    return path


def complaint(text: str) -> str:
    """What is said of a file with this text."""
    with pytest.raises(ConfigurationError) as caught:
        load(written(text))
    return str(caught.value)


def secret(name: str, text: str) -> None:
    (Path("secrets") / name).write_text(text)


# --- what it takes -------------------------------------------------------------------------------------------------


def test_every_key_of_the_contract_is_accepted() -> None:
    settings = load(written(EVERYTHING))
    assert set(settings.sources) == {"line-900", "desk", "cloud", "focu5"}
    assert settings.bus.urls == (
        "amqp://user:CANARY-bus-1@one/vhost",
        "amqps://user:CANARY-bus-2@two:5671/vhost",
    )
    assert settings.respool.rules[0].delays == ("15m", "2h", "1d")


def test_every_key_there_is_stands_in_that_example() -> None:
    """So that the example above proves what it says, and a new key is not forgotten in it."""
    table = tomllib.loads(EVERYTHING)
    given = {f"{part}.{key}" for part, keys in table.items() for key in keys if isinstance(keys, dict)}
    parts = {name: field.annotation for name, field in Settings.model_fields.items()}
    known = {
        f"{name}.{key}"
        for name, part in parts.items()
        if isinstance(part, type) and issubclass(part, config.Part)
        for key in part.model_fields
    }
    assert known <= given
    vendors = {source["vendor"]: set(source) for source in table["sources"].values()}
    for kind in (config.InfocallerSource, config.FocalScopeSource, config.UContactSource, config.Infocu5Source):
        [vendor] = kind.model_fields["vendor"].annotation.__args__  # type: ignore[union-attr]
        told = set(kind.model_fields) - {"tokens", "allow", "country", "timezone"}
        assert told <= vendors[vendor]
    resolvers = {resolver["kind"]: set(resolver) for resolver in table["resolvers"].values()}
    for one in (config.TableResolver, config.SqlResolver, config.HttpResolver, config.AmqpResolver):
        [resolver_kind] = one.model_fields["kind"].annotation.__args__  # type: ignore[union-attr]
        assert set(one.model_fields) - {"wait", "cache", "fallback"} <= resolvers[resolver_kind]
    destinations = {one["kind"]: set(one) for one in table["destinations"].values()}
    shared = set(config.CrmDestination.model_fields)
    assert set(config.WebhookDestination.model_fields) == destinations["webhook"]
    assert shared <= set().union(*destinations.values())
    for crm in (config.HubSpotDestination, config.SalesforceDestination, config.ZohoDestination):
        [kind] = crm.model_fields["kind"].annotation.__args__  # type: ignore[union-attr]
        assert set(crm.model_fields) - shared <= destinations[kind]
    assert set(config.RespoolRule.model_fields) == set(table["respool"]["rules"][0])


def test_nothing_needs_to_be_configured() -> None:
    settings = load()
    assert settings.bus.urls == ("sqlite:///data/bus.db",)
    assert settings.store.url.get_secret_value() == "sqlite:///data/store.db"


def test_settings_cannot_be_changed_afterwards() -> None:
    settings = load()
    with pytest.raises(ValidationError):
        settings.http = config.Http(port=1)
    with pytest.raises(ValidationError):
        settings.http.port = 1


@pytest.mark.parametrize(
    "url",
    ["sqlite:///data/bus.db", "sqlite:////srv/bus.db", "amqp://h", "amqp://u:p%40%2F@[::1]:5672/%2F", "amqps://u@h/v"],
)
def test_a_bus_may_be_a_file_or_a_broker(url: str) -> None:
    assert load(written(f'[bus]\nurl = "{url}"')).bus.urls == (url,)


# --- where it comes from -------------------------------------------------------------------------------------------


def test_the_environment_stands_over_the_secrets_and_these_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    path = written('[bus]\nurl = "sqlite:///file"\n[http]\nport = 1\nhost = "::1"')
    assert load(path).bus.urls == ("sqlite:///file",)
    secret("TRUNKLINE_BUS__URL", "sqlite:///secret\n")
    assert load(path).bus.urls == ("sqlite:///secret",)
    monkeypatch.setenv("TRUNKLINE_BUS__URL", "sqlite:///environment")
    monkeypatch.setenv("TRUNKLINE_HTTP__PORT", "2")
    settings = load(path)
    assert settings.bus.urls == ("sqlite:///environment",)
    assert (settings.http.port, settings.http.host) == (2, "::1"), "the rest of the table stays"


def test_the_file_is_the_named_one_or_the_variables_or_the_one_here(monkeypatch: pytest.MonkeyPatch) -> None:
    written("[http]\nport = 1")
    assert load().http.port == 1
    monkeypatch.setenv("TRUNKLINE_CONFIG", str(written("[http]\nport = 2", Path("two.toml"))))
    assert load().http.port == 2
    assert load(written("[http]\nport = 3", Path("three.toml"))).http.port == 3


def test_a_file_that_is_named_and_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"^configuration file absent\.toml: not found; expected a TOML file$"):
        load(Path("absent.toml"))
    monkeypatch.setenv("TRUNKLINE_CONFIG", "absent.toml")
    with pytest.raises(ConfigurationError, match=r"absent\.toml"):
        load()


def test_a_list_of_brokers_may_come_from_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKLINE_BUS__URL", '["amqp://one/", "amqp://two/"]')
    assert load().bus.urls == ("amqp://one/", "amqp://two/")


WEBHOOK = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECRETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "TRUNKLINE_BUS__URL": ("amqp://u:s@h/", ("amqp://u:s@h/",)),
    "TRUNKLINE_STORE__URL": ("postgresql://u:s@h/d", ("postgresql://u:s@h/d",)),
    "TRUNKLINE_ADMIN__TOKEN": ("0123", ("0123",)),
    "TRUNKLINE_SOURCES__LINE-900__TOKENS": ('["one", "12"]', ("one", "12")),
    "TRUNKLINE_SOURCES__LINE-900__LINES": ('{"123456789": "3956"}', ("3956",)),
    "TRUNKLINE_SOURCES__LINE-900__LINES__123456789": ("0956", ("0956",)),
    "TRUNKLINE_SOURCES__DESK__HEADERS__AUTHORIZATION": ("Bearer s", ("Bearer s",)),
    "TRUNKLINE_SOURCES__CLOUD__PASSWORD": ("12345", ("12345",)),
    "TRUNKLINE_SOURCES__FOCU5__AFFILIATE_KEY": ("1e400", ("1e400",)),
    "TRUNKLINE_DESTINATIONS__CRM__SECRETS": (f'["{WEBHOOK}"]', (WEBHOOK,)),
    "TRUNKLINE_DESTINATIONS__SALES__TOKEN": ("pat-eu1", ("pat-eu1",)),
    "TRUNKLINE_DESTINATIONS__SERVICE__CLIENT_SECRET": ("cs", ("cs",)),
    "TRUNKLINE_DESTINATIONS__SERVICE__REFRESH_TOKEN": ("rt", ("rt",)),
    "TRUNKLINE_DESTINATIONS__DESK__CLIENT_SECRET": ("zs", ("zs",)),
    "TRUNKLINE_DESTINATIONS__DESK__REFRESH_TOKEN": ("zr", ("zr",)),
}
REQUIRED: dict[str, str] = {
    name: content for name, (content, _) in SECRETS.items() if "DESTINATIONS" in name or name.endswith("AFFILIATE_KEY")
}


@pytest.mark.parametrize("name", SECRETS)
def test_every_secret_may_come_from_a_file_of_the_secrets_directory(name: str) -> None:
    content, expected = SECRETS[name]
    public = [line for line in EVERYTHING.splitlines() if CANARY not in line]
    path = written("\n".join(public))
    for other, needed in REQUIRED.items():
        secret(other, needed)
    secret(name, f"{content}\n")
    assert set(expected) <= set(secrets_in(load(path)))


# --- what is wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[httpp]\nport = 1", "httpp: unknown key"),
        ("[http]\nportt = 1", "http.portt: unknown key"),
        (f"{INFOCALLER}affiliate_key = 'x'", "sources.line-900.affiliate_key: unknown key"),
        ("[[respool.rules]]\nwhen = 1", "respool.rules.0.sources: missing"),
        ('_env_prefix = "X"', "_env_prefix: unknown key"),
    ],
)
def test_an_unknown_key_of_the_file_is_an_error(text: str, expected: str) -> None:
    assert complaint(text).startswith(expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("TRUNKLINE_BUSS__URL", "TRUNKLINE_BUSS__URL: unknown key"), ("TRUNKLINE_BUS__URLL", "bus.urll: unknown key")],
)
@pytest.mark.parametrize("place", ["environment", "secrets"])
def test_an_unknown_key_of_the_environment_or_the_secrets_is_an_error(
    name: str, expected: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "environment":
        monkeypatch.setenv(name, "x")
    else:
        secret(name, "x")
    assert expected in complaint("")


HOOK = '[destinations.x]\nkind = "webhook"\nurl = "https://h"\n'
HUBSPOT = '[destinations.x]\nkind = "hubspot"\n'
BAD: dict[str, tuple[str, str]] = {
    "no TOML": ("x = CANARY", "trunkline.toml: not TOML: Invalid value (at line 1, column 5)"),
    "a port": ("[http]\nport = 70000", "http.port: found 70000; input should be less than or equal to 65535"),
    "a number": (
        '[http]\nport = "x"',
        "http.port: found 'x'; input should be a valid integer, unable to parse string as an integer",
    ),
    "a network": (
        '[http]\ntrusted_proxies = ["x"]',
        "http.trusted_proxies.0: found 'x'; value is not a valid IPv4 or IPv6 network",
    ),
    "a scheme": (
        '[bus]\nurl = "kafka://u:CANARY@h"',
        (
            "bus.url: found kafka://…; expected sqlite:///FILE, or amqp://user:password@host/vhost, percent-encoded,"
            " or a list of the latter"
        ),
    ),
    "a store's scheme": (
        '[store]\nurl = "mysql://u:CANARY@h/d"',
        (
            "store.url: found mysql://…; expected sqlite:///FILE, or postgresql://user:password@host/database,"
            " percent-encoded"
        ),
    ),
    "a zone": (
        f'{INFOCALLER}timezone = "Mars"',
        "sources.line-900.timezone: found 'Mars'; expected the name of a time zone, for instance Europe/Madrid",
    ),
    "a country": (
        f'{INFOCALLER}country = "Spain"',
        "sources.line-900.country: found 'Spain'; string should match pattern '^[A-Z]{2}$'",
    ),
    "a name": (
        '[sources.Desk]\nvendor = "focalscope"',
        "sources.Desk: found 'Desk'; string should match pattern '^[a-z0-9-]{1,40}$'",
    ),
    "a vendor": (
        '[sources.x]\nvendor = "acme"\ntokens = ["CANARY"]',
        "sources.x.vendor: found 'acme'; expected one of 'infocaller', 'focalscope', 'ucontact', 'infocu5'",
    ),
    "no vendor": (
        '[sources.x]\ntokens = ["CANARY"]',
        "sources.x.vendor: missing; expected the name of a vendor",
    ),
    "a token": (
        f'{INFOCALLER}tokens = ["CANARY with/slash"]',
        (
            "sources.line-900.tokens.0: found a string; expected letters, digits, '-', '_', '.' or '~':"
            " it is a segment of a URL's path"
        ),
    ),
    "no list": (f'{INFOCALLER}tokens = "CANARY"', "sources.line-900.tokens: found a string; expected a list"),
    "no table": ('admin = "CANARY"', "admin: found a string; expected a table"),
    "a password's kind": (
        f"{INFOCALLER}lines = {{ '123456789' = 3956 }}",
        "sources.line-900.lines.123456789: found a number; expected a string",
    ),
    "a choice": (
        '[log]\nlevel = "loud"',
        "log.level: found 'loud'; input should be 'debug', 'info', 'warning' or 'error'",
    ),
    "a resolver's kind": (
        '[resolvers.x]\nkind = "magic"',
        "resolvers.x.kind: found 'magic'; expected one of 'table', 'sql', 'http', 'amqp'",
    ),
    "no kind of a resolver": (
        '[resolvers.x]\nurl = "CANARY"',
        "resolvers.x.kind: missing; expected the name of a kind",
    ),
    "a service without its url": ('[resolvers.x]\nkind = "http"', "resolvers.x.url: missing; expected a value"),
    "a service's url": (
        '[resolvers.x]\nkind = "http"\nurl = "ftp://host/"',
        "resolvers.x.url: found ftp://…; expected https://host/path",
    ),
    "a service's password in its url": (
        '[resolvers.x]\nkind = "http"\nurl = "https://u:CANARY@host/"',
        "resolvers.x.url: found https://…; has a user or a password; expected them in keys of their own",
    ),
    "no statement": ('[resolvers.x]\nkind = "sql"', "resolvers.x.statement: missing; expected a value"),
    "a statement that writes": (
        '[resolvers.x]\nkind = "sql"\nstatement = "/* why */ delete from orders"',
        (
            "resolvers.x.statement: found '/* why */ delete from orders'; begins with 'DELETE';"
            " expected one statement that begins with SELECT or WITH"
        ),
    ),
    "another database's url": (
        '[resolvers.x]\nkind = "sql"\nstatement = "SELECT 1"\nurl = "mysql://u:CANARY@h/d"',
        (
            "resolvers.x.url: found mysql://…; expected sqlite:///FILE, or postgresql://user:password@host/database,"
            " percent-encoded"
        ),
    ),
    "no table of a resolver": ('[resolvers.x]\nkind = "table"', "resolvers.x.table: missing; expected a value"),
    "a table without its key": (
        '[resolvers.x]\nkind = "table"\ntable = { "1" = { A = "2" } }',
        "resolvers.x.key: missing; expected the name of the variable that chooses the row",
    ),
    "the name of a variable": (
        '[resolvers.x]\nkind = "table"\ntable = { "*" = { "NUM PEDIDO" = "2" } }',
        ("resolvers.x.table.*.NUM PEDIDO: found 'NUM PEDIDO'; string should match pattern '^[A-Za-z0-9]{1,15}$'"),
    ),
    "the value of a variable": (
        '[resolvers.x]\nkind = "table"\ntable = { "*" = { PEDIDO = "2 €" } }',
        "resolvers.x.table.*.PEDIDO: found '2 €'; expected printable characters of ISO-8859-1",
    ),
    "a queue where no broker is": (
        '[resolvers.x]\nkind = "amqp"',
        (
            "resolvers.x.url: missing; expected amqp://…, since bus.url is an embedded file,"
            " which no other program consumes from"
        ),
    ),
    "a query's resolver": (
        f'{INFOCALLER}queries = {{ "ESTADO PEDIDO" = "orders" }}',
        ("sources.line-900.queries.ESTADO PEDIDO: found 'orders'; expected the name of a resolver: none is configured"),
    ),
    "a fallback that is not there": (
        '[resolvers.x]\nkind = "table"\ntable = { "*" = {} }\nfallback = "y"',
        "resolvers.x.fallback: found 'y'; expected the name of a resolver: x",
    ),
    "fallbacks in a circle": (
        "".join(
            f'[resolvers.{one}]\nkind = "table"\ntable = {{ "*" = {{}} }}\nfallback = "{other}"\n'
            for one, other in ("xy", "yz", "zy")
        ),
        "resolvers.z.fallback: found 'y', which leads back to itself; expected an end: x → y → z",
    ),
    "a kind of destination": (
        '[destinations.x]\nkind = "sugar"',
        "destinations.x.kind: found 'sugar'; expected one of 'webhook', 'hubspot', 'salesforce', 'zoho'",
    ),
    "no kind": ('[destinations.x]\nurl = "https://h"', "destinations.x.kind: missing; expected the name of a kind"),
    "a webhook without a secret": (f"{HOOK}", "destinations.x.secrets: missing; expected a value"),
    "a webhook's secret": (
        f'{HOOK}secrets = ["CANARY"]',
        "destinations.x.secrets.0: found a string; expected whsec_ and the base64 of 24 to 64 random bytes",
    ),
    "a webhook's address": (
        '[destinations.x]\nkind = "webhook"\nurl = "ftp://h"',
        "destinations.x.url: found ftp://…; expected https://host/path",
    ),
    "an event": (
        f'{HOOK}secrets = ["{WEBHOOK}"]\nevents = ["sealed"]',
        (
            "destinations.x.events.0: found 'sealed'; expected the type of an event, for instance call.sealed, or a"
            " pattern: call.*, call.infocaller.sealed, #"
        ),
    ),
    "a filter": (
        f'{HOOK}secrets = ["{WEBHOOK}"]\nwhere = {{ duration_seconds = {{ min = "ten" }} }}',
        "destinations.x.where: found a table; duration_seconds.min: found 'ten'; expected a number or a time",
    ),
    "a mapping of a field that no call has": (
        f'{HUBSPOT}token = "CANARY"\nmapping = {{ hs_call_body = "{{callr.e164}}" }}',
        "destinations.x.mapping: found a table; hs_call_body: {callr.e164}: no call has a field callr; expected ",
    ),
    "a CRM without credentials": (
        HUBSPOT,
        (
            "destinations.x: found a table; lacks token; expected token, or all of client_id, client_secret,"
            " refresh_token, token_url"
        ),
    ),
    "a CRM with half of its credentials": (
        f'{HUBSPOT}client_secret = "CANARY"\nclient_id = "1"',
        (
            "destinations.x: found a table; lacks refresh_token, token_url; expected token, or all of client_id,"
            " client_secret, refresh_token, token_url"
        ),
    ),
    "a missing value": (
        '[sources.x]\nvendor = "infocu5"\naffiliate_id = "1"',
        "sources.x.affiliate_key: missing; expected a value",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_value_gives_one_line_of_key_found_and_expected(what: str) -> None:
    text, expected = BAD[what]
    assert complaint(text).startswith(expected) if expected.endswith(" ") else complaint(text) == expected


@pytest.mark.parametrize(
    "url",
    [
        *("", "amqp:", "amqp://u:CANARY/x@h/", "amqp://u:CANARY#x@h/", "amqp://h:99999/", "amqp://h:port/"),
        *("sqlite://", "sqlite:///", "sqlite:data.db", "amqp://u:12/CANARY@h/"),
    ],
)
def test_a_url_that_cannot_be_read_is_refused_before_anything_opens(url: str) -> None:
    told = complaint(f'[bus]\nurl = "{url}"')
    assert told.startswith("bus.url: found ")
    assert CANARY not in told


@pytest.mark.parametrize(
    "urls", [[], ["amqp://h", "sqlite:///x"], ["sqlite:///x", "sqlite:///y"], [5], ["amqp://h", ""]]
)
def test_a_list_of_urls_is_a_list_of_brokers(urls: list[Any]) -> None:
    assert complaint(f"[bus]\nurl = {orjson.dumps(urls).decode()}").startswith("bus.url: found a list; expected ")


def test_a_variable_that_is_no_json_is_named_and_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKLINE_HTTP__TRUSTED_PROXIES", "10.0.0.0/8")
    assert complaint("") == "http.trusted_proxies: found no JSON; expected a list or a table as JSON"
    monkeypatch.setenv("TRUNKLINE_SOURCES", CANARY)
    monkeypatch.delenv("TRUNKLINE_HTTP__TRUSTED_PROXIES")
    assert complaint("") == "sources: found no JSON; expected a list or a table as JSON"


def test_a_secret_file_that_is_no_text_is_named() -> None:
    (Path("secrets") / "TRUNKLINE_ADMIN__TOKEN").write_bytes(b"\xff\xfe")
    assert complaint("") == f"{Path.cwd()}/secrets/TRUNKLINE_ADMIN__TOKEN: not UTF-8; expected a secret as text"


def test_a_secrets_directory_that_is_named_and_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKLINE_SECRETS_DIR", "absent")
    assert complaint("") == "TRUNKLINE_SECRETS_DIR: found 'absent'; expected a directory"


# --- what is never said --------------------------------------------------------------------------------------------


def _spoiled(value: Any) -> Iterator[tuple[str, Any]]:
    """The value with each canary in turn replaced by values of a wrong kind that still hold it."""
    if isinstance(value, str) and CANARY in value:
        yield from ((value, wrong) for wrong in ({value: value}, [[value]], f" {value}/@#", ""))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from ((where, {**value, name: spoiled}) for where, spoiled in _spoiled(item))
    elif isinstance(value, list):
        for n, item in enumerate(value):
            yield from ((where, [*value[:n], spoiled, *value[n + 1 :]]) for where, spoiled in _spoiled(item))


def test_no_complaint_says_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled = list(_spoiled(tomllib.loads(EVERYTHING)))
    assert len({where for where, _ in spoiled}) == EVERYTHING.count(CANARY)
    said = [_said(table, monkeypatch) for _, table in spoiled]
    assert [line for line in said if CANARY in line or "\n" in line] == []
    assert len(set(said)) > EVERYTHING.count(CANARY)


def _said(table: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(tomllib, "loads", lambda _: table)
    try:
        load(written(""))
    except ConfigurationError as error:
        return str(error)
    return "nothing: a header may be empty"


def test_settings_do_not_print_their_secrets() -> None:
    settings = load(written(EVERYTHING))
    assert CANARY not in repr(settings)
    assert CANARY not in str(settings.model_dump())
    assert CANARY not in settings.model_dump_json()
    assert {secret for secret in secrets_in(settings) if CANARY not in secret} == set()
