"""The configuration: one frozen value, complete and checked before anything opens.

Source: docs/operations.md, "Configuration". It comes from one TOML file, overridden by files in a secrets directory,
overridden by environment variables (``TRUNKLINE_BUS__URL``). Unknown keys are errors.
"""

import os
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from hub.configured import (
    KEY_TEMPLATE,
    SCHEMA,
    address,
    checked_key,
    checked_span,
    complaint,
    dial_template,
    disagreement,
    event_pattern,
    fit_for_a_path,
    one_question,
    readable_by_the_vendor,
    signed_template,
    url_template,
    web_address,
    webhook_secret,
    zone,
)
from hub.environment import PREFIX, SecretFiles, Variables, secret_files
from hub.errors import ConfigurationError
from hub.forwarding.mapping import Template as FieldTemplate
from hub.forwarding.wanting import Where
from hub.respooling.delays import span
from hub.respooling.windows import Week
from hub.respooling.words import LEAD_FIELDS, LEAD_NUMBERS, Breadth, DialAs, How

FILE: Final = "trunkline.toml"

Zone = Annotated[str, AfterValidator(zone)]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166 code, two capitals")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
Token = Annotated[SecretStr, Field(min_length=1), AfterValidator(fit_for_a_path)]
Seconds = Annotated[float, Field(ge=0)]
Template = Annotated[str, AfterValidator(url_template)]
DialTemplate = Annotated[str, AfterValidator(dial_template)]
Signed = Annotated[str, AfterValidator(signed_template)]
Days = Annotated[float, Field(gt=0, le=36500)]
Port = Annotated[int, Field(ge=0, le=65535)]
Url = Annotated[str, AfterValidator(web_address)]
QueryName = Annotated[str, AfterValidator(str.strip), Field(min_length=1)]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,15}$")]
VariableValue = Annotated[str, AfterValidator(readable_by_the_vendor)]
UrlPath = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*$", description="without a slash at its end")]
FieldName = Annotated[str, Field(pattern=r"^[A-Za-z$][A-Za-z0-9_$]{0,99}$")]
Pattern = Annotated[str, AfterValidator(event_pattern)]
ArchiveField = Literal[
    "unique_id",
    "request_id",
    "call_id",
    "type",
    "started",
    "answered",
    "ended",
    "caller",
    "did",
    "extension",
    "agent",
    "queue",
]
WebhookSecret = Annotated[SecretStr, AfterValidator(webhook_secret)]


class Part(BaseModel):
    """A table of the file: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Http(Part):
    """The ingress's listener."""

    host: str = "127.0.0.1"
    port: Port = 8080
    public_url: str | None = Field(default=None, description="what the vendors call; the default is the listener")
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(default=(), description="only these may set X-Forwarded-For")
    queries: int = Field(default=2000, gt=0, description="Queries in hand at once; more are answered with an error")


class BusPart(Part):
    """Where events travel: an SQLite file on one machine, or RabbitMQ."""

    url: SecretStr | tuple[SecretStr, ...] = Field(
        default=SecretStr("sqlite:///data/bus.db"),
        description="sqlite:///FILE, amqp://…, amqps://… or a list of them",
        json_schema_extra={"default": "sqlite:///data/bus.db"},
    )

    @field_validator("url", mode="before")
    @classmethod
    def _known_scheme(cls, url: Any) -> Any:
        every = url if isinstance(url, list | tuple) else (url,)
        schemes = {address(one, ("amqp", "amqps", "sqlite")) for one in every}
        if not every or not (schemes <= {"amqp", "amqps"} or (schemes == {"sqlite"} and len(every) == 1)):
            raise ValueError(
                "expected sqlite:///FILE, or amqp://user:password@host/vhost, percent-encoded, or a list of the latter"
            )
        return url

    @property
    def urls(self) -> tuple[str, ...]:
        """Every address, in the clear."""
        every = self.url if isinstance(self.url, tuple) else (self.url,)
        return tuple(one.get_secret_value() for one in every)


class StorePart(Part):
    """Where call records are kept."""

    url: SecretStr = Field(
        default=SecretStr("sqlite:///data/store.db"),
        description="sqlite:///FILE or postgresql://…",
        json_schema_extra={"default": "sqlite:///data/store.db"},
    )

    @field_validator("url", mode="before")
    @classmethod
    def _known_scheme(cls, url: Any) -> Any:
        if not address(url, ("sqlite", "postgresql", "postgres")):
            raise ValueError("expected sqlite:///FILE, or postgresql://user:password@host/database, percent-encoded")
        return url


class WorkerPart(Part):
    """A worker process's own listener for health and metrics."""

    host: str = "127.0.0.1"
    port: Port | None = None


class Outbox(Part):
    """The ingress's own disk: what the broker cannot take now, and the quarantine."""

    path: Path = Path("data/outbox.db")
    max_bytes: int = Field(default=1 << 30, gt=0)
    accept: Literal["confirm", "outbox"] = Field(default="confirm", description="outbox: never wait for the broker")
    hedge: Seconds = Field(default=0.25, description="how long a confirm may take before the outbox takes the event")
    share: float = Field(default=0.001, ge=0, le=1, description="events that take the outbox all the same")
    quarantine_bytes: int = Field(default=64 << 20, gt=0, description="for each source")
    min_free_bytes: int = Field(default=64 << 20, ge=0, description="of its file system; left free by the outbox")
    relay_rate: float = Field(default=5000, gt=0, description="events a second that are handed over from the outbox")


class Recordings(Part):
    """Where audio is kept, and how it comes there."""

    url: str = Field(default="file://data/recordings", description="file://DIRECTORY or s3://BUCKET/PREFIX")
    options: dict[str, SecretStr] = Field(default_factory=dict, description="of the object store: endpoint, region…")
    key: Annotated[str, AfterValidator(checked_key)] = KEY_TEMPLATE
    incoming: Path | None = Field(default=None, description="where downloads grow; the default is beside the audio")
    max_bytes: int = Field(default=2 << 30, gt=0, description="of one recording")
    min_free_bytes: int = Field(default=256 << 20, ge=0, description="left free where downloads grow")
    concurrency: int = Field(default=4, gt=0, description="downloads at once, of one source")
    rate: float = Field(default=10, gt=0, description="requests a second, to one source")
    timeout: float = Field(default=3600, gt=0, description="seconds for one download")
    alert_before: Seconds = Field(default=21600, description="seconds before the vendor deletes it")
    presign: int = Field(default=0, ge=0, description="seconds a link of the object store's own is good for; 0: none")
    link_key: SecretStr | None = Field(default=None, description="what links for CRMs are signed with")
    link_days: int = Field(default=365, gt=0, description="for how long they are good")

    @field_validator("url")
    @classmethod
    def _known_place(cls, url: str) -> str:
        if not any(url.startswith(scheme) and len(url) > len(scheme) for scheme in ("file://", "s3://")):
            raise ValueError("expected file://DIRECTORY or s3://BUCKET/PREFIX")
        return url


class Admin(Part):
    """The read API, the operator verbs and the console."""

    token: SecretStr | None = None
    host: str | None = None
    port: Port | None = None


class Calls(Part):
    """Seconds until a call is sealed."""

    settle: Seconds = 5
    gap_after: Seconds = 30
    longest: Seconds = 14400


class Log(Part):
    """Logs go to stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = Field(default="auto", description="auto: text on a terminal, else json")


class Source(Part):
    """What every source has."""

    tokens: tuple[Token, ...] = Field(default=(), description="secret path segment; two may live during a rotation")
    allow: tuple[IPvAnyNetwork, ...] = Field(default=(), description="CIDRs; empty means any address")
    country: Country = "ES"


Informative = Literal["inicio", "desvio_correcto", "desvio_fallido", "fin"]


class DiallingSource(Source):
    """What a source has whose vendor places calls."""

    dial_within: float = Field(default=60, gt=0, le=3600, description="seconds after which a call is placed no more")


class AskedSource(DiallingSource):
    """How a vendor is asked that is asked for nothing but calls."""

    rate: float = Field(default=5, gt=0, description="requests a second")
    concurrency: int = Field(default=4, gt=0, description="requests at once")
    timeout: float = Field(default=10, gt=0, le=120, description="for an answer")


class InfocallerSource(AskedSource):
    """An Infocaller account: its lines with their telephone passwords."""

    vendor: Literal["infocaller"]
    lines: dict[str, SecretStr] = Field(default_factory=dict, description="line number = telephone password")
    timezone: Zone = "Europe/Madrid"
    events: tuple[Informative, ...] = ("inicio", "desvio_correcto", "desvio_fallido", "fin")
    require_signature: bool = False
    bad_signature: Literal["quarantine", "refuse"] = "quarantine"
    queries: dict[QueryName, str] = Field(default_factory=dict, description="query name = resolver")
    outbound_url: Url = "https://apicall.infoe.es"
    outbound_format: Literal["xml", "json"] = Field(default="xml", description="apiCALLxml or apiCALLjson")
    outbound_group: str | None = Field(default=None, description="the rule group of an order without a campaign")
    outbound_signature: Signed = Field(default="{line}{number}{password}", description="what firma is the MD5 of")
    outbound_wait: int | None = Field(default=None, ge=0, description="EsperaMax; none: the vendor's own")
    outbound_retries: int | None = Field(default=None, ge=0, description="Reintentos; none: the vendor's own")
    agent_variable: VariableName = Field(default="AGENT", description="the variable that names an order's agent")


class RecordedSource(Source):
    """What a source has whose vendor records calls."""

    recording_kept: Days | None = Field(default=None, description="days until the vendor deletes a recording")
    recordings_for: Days | None = Field(default=None, description="days until we delete a recording; none: never")


class FocalScopeSource(RecordedSource, AskedSource):
    """A FocalScope server."""

    vendor: Literal["focalscope"]
    epoch: str = ""
    timezone: Zone = Field(default="UTC", description="by whose clock its people call: what is usual at this hour")
    dial_url: DialTemplate | None = None
    dial_method: Literal["GET", "POST"] = "GET"
    adapter: str = Field(default="trunkline", description="the URL adapter's name at FocalScope: {adapter}")
    recording_url: Template | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    archive: Path | None = Field(default=None, description="its archive of recordings, where it can be read here")
    archive_fields: dict[ArchiveField, str] = Field(
        default_factory=dict, description="ours = key of the archive's JSON"
    )
    archive_seconds: float = Field(default=900, gt=0, description="between two looks for calls that nobody reported")
    archive_overlap: Seconds = Field(default=14400, description="how far before the last look each one begins")


Meaning = Literal["id", "one", "done", "ok", "login", "text", "json"]
TaskMode = Literal["priority", "click", "scheduled", "dialer"]
Outcome = Literal["answered", "no_answer", "busy", "failed"]


class UContactSource(RecordedSource, DiallingSource):
    """A uContact instance."""

    vendor: Literal["ucontact"]
    base_url: str
    user: str | None = Field(default=None, description="of its classic API")
    password: SecretStr | None = Field(default=None, description="as the vendor wants it, already encrypted")
    login: Literal["getUserToken", "UserLogin"] = Field(default="getUserToken", description="what gives the token")
    api_key: SecretStr | None = Field(default=None, description="a fixed key of the classic API, instead of a session")
    api: Literal["classic", "automation"] = Field(default="classic", description="which API takes contacts to call")
    api_token: SecretStr | None = Field(default=None, description="of the automation API, made in the portal")
    paths: dict[str, str] = Field(default_factory=dict, description="a function's own URL or path, by its name")
    names: dict[str, str] = Field(default_factory=dict, description="FUNCTION.PARAMETER = what it is called there")
    answers: dict[str, Meaning] = Field(default_factory=dict, description="what an answer means, by the function")
    task_modes: dict[TaskMode, dict[str, Any]] = Field(
        default_factory=dict, description="what distinguishes the modes of DialerTask"
    )
    extensions: dict[str, str] = Field(default_factory=dict, description="agent = extension, for placing calls")
    caller_number: str | None = Field(default=None, description="that placed calls go out with")
    campaign: str | None = Field(default=None, description="manual outbound campaign of placed calls, with its arrow")
    tech: str = Field(default="SIP", description="of the extensions")
    context: str = Field(default="agentes", description="of the agents")
    dispositions: dict[str, Outcome] = Field(
        default_factory=dict, description="what an agent's disposition says of how the call went"
    )
    recording_urls: tuple[Template, ...] = Field(default=(), description="where a recording may be, tried in order")
    timezone: Zone = Field(default="UTC", description="of the times that are sent to it")
    rate: float = Field(default=10, gt=0, description="requests a second")
    concurrency: int = Field(default=4, gt=0, description="requests at once")
    timeout: float = Field(default=15, gt=0, description="until an answer begins")


class Infocu5Source(Source):
    """An INFOCU5 affiliate: it is polled, it does not call back."""

    vendor: Literal["infocu5"]
    base_url: str = "https://api.infocu5.com/dialer/"
    affiliate_id: str
    affiliate_key: SecretStr
    poll_seconds: float = Field(default=300, gt=0, description="between two polls")
    poll_overlap: Seconds = Field(default=600, description="how far before the last poll each one begins")
    sweep_seconds: float = Field(default=3600, gt=0, description="between two sweeps, which look further back")
    sweep_overlap: Seconds = Field(default=14400, description="how far: the longest call, and the vendor's delay")
    poll_window: float = Field(default=3600, ge=1, description="of calls asked for in one request, at most")
    inbound_number: Literal["from", "to"] = Field(default="from", description="which side callNumberInbound is")
    leads: Literal["xml", "json"] = Field(default="xml", description="how addLeads is posted")
    paths: dict[str, str] = Field(default_factory=dict, description="an operation's own URL or path, by its name")
    rate: float = Field(default=5, gt=0, description="requests a second")
    timeout: float = Field(default=60, gt=0, description="until an answer begins")
    country: Country = "US"


AnySource = Annotated[
    InfocallerSource | FocalScopeSource | UContactSource | Infocu5Source, Field(discriminator="vendor")
]


class Resolver(Part):
    """Who answers an Infocaller Query: what every kind has."""

    wait: float = Field(default=2.0, gt=0, le=60, description="seconds that the vendor waits, fallbacks included")
    fallback: Name | None = Field(default=None, description="another resolver, for what this one has no answer to")
    cache: Seconds = Field(default=0, description="for which an answer to the same question is kept")


EVERYTHING_ELSE: Final = "*"
"""The row of a table for what no other row is for."""


class TableResolver(Resolver):
    """A table in the configuration."""

    kind: Literal["table"]
    key: str | None = Field(default=None, description="the variable, or caller, line…, that chooses the row")
    table: dict[str, dict[VariableName, VariableValue]] = Field(
        min_length=1, description="value of the key = variables; the row * is for everything else"
    )


class SqlResolver(Resolver):
    """A statement on a database."""

    kind: Literal["sql"]
    url: SecretStr | None = Field(default=None, description="sqlite:///FILE or postgresql://…; store.url without it")
    statement: Annotated[str, AfterValidator(one_question)] = Field(description="one SELECT, parameters as :NAME")
    concurrency: int = Field(default=5, gt=0, le=100, description="connections")

    @field_validator("url", mode="before")
    @classmethod
    def _known_scheme(cls, url: Any) -> Any:
        if url is not None and not address(url, ("sqlite", "postgresql", "postgres")):
            raise ValueError("expected sqlite:///FILE, or postgresql://user:password@host/database, percent-encoded")
        return url


class HttpResolver(Resolver):
    """A service of the customer's."""

    kind: Literal["http"]
    url: Url = Field(description="http:// or https://, asked by POST")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="sent along, for instance Authorization")
    concurrency: int = Field(default=100, gt=0, description="requests at once")
    rate: float = Field(default=1000, gt=0, description="requests a second")


class AmqpResolver(Resolver):
    """Whoever consumes a queue on RabbitMQ."""

    kind: Literal["amqp"]
    url: SecretStr | tuple[SecretStr, ...] | None = Field(default=None, description="amqp://…; bus.url without it")

    @field_validator("url", mode="before")
    @classmethod
    def _known_scheme(cls, url: Any) -> Any:
        every = url if isinstance(url, list | tuple) else (url,)
        if url is not None and (not every or not all(address(one, ("amqp", "amqps")) for one in every)):
            raise ValueError("expected amqp://user:password@host/vhost, percent-encoded, or a list of them")
        return url

    @property
    def urls(self) -> tuple[str, ...]:
        """Every address, in the clear; none where the bus's own are to be used."""
        every = self.url if isinstance(self.url, tuple) else () if self.url is None else (self.url,)
        return tuple(one.get_secret_value() for one in every)


AnyResolver = Annotated[TableResolver | SqlResolver | HttpResolver | AmqpResolver, Field(discriminator="kind")]


class Destination(Part):
    """A system that calls are forwarded to: what every kind has."""

    url: Url
    events: tuple[Pattern, ...] = ("call.sealed",)
    where: dict[str, Any] = Field(default_factory=dict, description="filter over the event's fields")
    rate: float = Field(default=50, gt=0, description="requests a second")
    concurrency: int = Field(default=10, gt=0)
    timeout: float = Field(default=15, gt=0)
    keep_days: float = Field(default=30, gt=0, description="for which its requests are kept")

    @field_validator("where")
    @classmethod
    def _readable(cls, table: dict[str, Any]) -> dict[str, Any]:
        Where(table)
        return table


class WebhookDestination(Destination):
    """Whoever understands Standard Webhooks."""

    kind: Literal["webhook"]
    secrets: tuple[WebhookSecret, ...] = Field(
        min_length=1, description="whsec_…; two may live during a rotation, both sign"
    )


class CrmDestination(Destination):
    """A CRM that keeps a record for each call."""

    events: tuple[Pattern, ...] = ("call.sealed", "call.resealed", "recording.stored")
    token: SecretStr | None = Field(default=None, description="an access token that does not expire")
    client_id: str | None = None
    client_secret: SecretStr | None = None
    refresh_token: SecretStr | None = None
    token_url: Url | None = Field(default=None, description="where an access token is got for the refresh token")
    id_field: FieldName
    mapping: dict[FieldName, Any] = Field(default_factory=dict, description="field = template over the call's record")
    recording_url: str | None = Field(default=None, description="template over {recording.id} and the call's fields")
    unknown_number: Literal["none", "create", "skip"] = "none"
    owner: str | None = Field(default=None, description="id of the user there that calls belong to")
    settle: Seconds = Field(default=30, description="until a search there shows what was made a moment ago")

    @field_validator("mapping")
    @classmethod
    def _templates(cls, mapping: dict[str, Any]) -> dict[str, Any]:
        for name, text in mapping.items():
            if not isinstance(text, str | int | float | bool):
                raise ValueError(f"{name}: expected a template, or a number, or true or false")  # noqa: TRY004
            try:
                FieldTemplate(text)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return mapping

    @field_validator("recording_url")
    @classmethod
    def _template(cls, text: str | None) -> str | None:
        if text is not None:
            FieldTemplate(text)
        return text

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        parts = ("client_id", "client_secret", "refresh_token", "token_url")
        given = [name for name in parts if getattr(self, name) is not None]
        if self.token is None and len(given) < len(parts):
            lacking = [name for name in parts if name not in given]
            raise ValueError(
                f"lacks {', '.join(lacking if given else ('token',))}; expected token, or all of {', '.join(parts)}"
            )
        if self.token is not None and given:
            raise ValueError(f"has both token and {given[0]}; expected one of them")
        return self


class HubSpotDestination(CrmDestination):
    """HubSpot: an object ``calls`` for each call."""

    kind: Literal["hubspot"]
    url: Url = "https://api.hubapi.com"
    path: UrlPath = Field(default="/crm/objects/2026-03", description="or /crm/v3/objects, the older form")
    id_field: FieldName = Field(default="trunkline_call_id", description="a property of calls that you made for it")
    association: int = Field(default=194, description="type of a call's association with a contact")


class SalesforceDestination(CrmDestination):
    """Salesforce: a ``Task`` for each call."""

    kind: Literal["salesforce"]
    path: UrlPath = "/services/data/v62.0"
    id_field: FieldName = "CallObject"
    contact: FieldName = Field(default="Contact", description="the object that numbers are looked for in, or Lead")


class ZohoDestination(CrmDestination):
    """Zoho CRM: an entry of the module ``Calls`` for each call."""

    kind: Literal["zoho"]
    path: UrlPath = "/crm/v8"
    id_field: FieldName = Field(default="Trunkline_Call_Id", description="a field of Calls that you made for it")
    contact: FieldName = Field(default="Contacts", description="the module that numbers are looked for in, or Leads")


AnyDestination = Annotated[
    WebhookDestination | HubSpotDestination | SalesforceDestination | ZohoDestination, Field(discriminator="kind")
]


Disposition = Literal["answered", "no_answer", "busy", "failed", "unknown"]
Span = Annotated[str, AfterValidator(checked_span)]


class RespoolRule(Part):
    """Which calls go back into which dialer, when, and how often."""

    name: Name | None = Field(default=None, description="by which the store knows it; else its place, from 1")
    sources: tuple[str, ...] = Field(min_length=1, description="whose calls")
    dispositions: tuple[Disposition, ...] = Field(min_length=1, description="which outcomes")
    campaigns: tuple[str, ...] = Field(default=(), description="only calls of these; empty: of any")
    dialer: str = Field(description="a source that dials: of ucontact or infocu5")
    campaign: str = Field(min_length=1, description="the dialer's own, by its whole name")
    list: str | None = Field(default=None, description="of infocu5: LIST or DIALER/LIST; of ucontact: a base's name")
    how: How = Field(default="auto", description="by which of the dialer's ways")
    delays: tuple[Span, ...] = Field(min_length=1, description="one for each dial attempt: 15m, 2h, 1d")
    alternatives: Literal["next", "same"] = Field(default="next", description="the contact's next number, or the same")
    numbers_from: tuple[str, ...] = Field(default=(), description="fields of the record with more numbers")
    daily_cap: int = Field(default=3, ge=0, description="dials of a contact in a day, over all rules")
    total_cap: int | None = Field(default=None, ge=1, description="dials of a contact in all")
    window: dict[str, str] = Field(default_factory=dict, description="days = hours; empty: at any time")
    holidays: tuple[date, ...] = Field(default=(), description="dates, where the number is")
    zones: Breadth = Field(default="number", description="country: every zone of the number's country")
    do_not_call: tuple[str, ...] | str = Field(default=(), description="numbers, or files of them")
    within: Span = Field(default="7d", description="how long after it was due an attempt is still made")
    ahead: Span = Field(default="0s", description="how long before its time it is handed to the dialer")
    unreported: Literal["wait", "go_on"] = Field(default="go_on", description="while the dialer's call is not reported")
    dial_as: DialAs = Field(default="national", description="how numbers are written for the dialer")
    priority: int | None = Field(default=None, ge=1, description="the dialer's own")
    agent: str | None = Field(default=None, description="extension of a certain agent")
    data: dict[str, Any] = Field(default_factory=dict, description="variable = template over the call's record")

    @field_validator("window")
    @classmethod
    def _readable(cls, table: dict[str, str]) -> dict[str, str]:
        Week.of(table)
        return table

    @field_validator("data")
    @classmethod
    def _templates(cls, table: dict[str, Any]) -> dict[str, Any]:
        for name, text in table.items():
            try:
                FieldTemplate(text)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return table

    @property
    def lists(self) -> tuple[str, ...]:
        """Every entry of ``do_not_call``: numbers and names of files."""
        return (self.do_not_call,) if isinstance(self.do_not_call, str) else self.do_not_call


class Respool(Part):
    """The rules of respooling, in their order."""

    rules: tuple[RespoolRule, ...] = ()
    doubt: Seconds = Field(default=3600, description="until an attempt of unknown outcome is shown to people")


DIALERS: Final[Mapping[str, tuple[How, ...]]] = {
    "ucontact": ("auto", "task", "respool", "schedule", "list", "fresh"),
    "infocu5": ("auto", "list"),
}
"""Vendors whose sources can respool, and by which ways."""

TIMED: Final[Mapping[str, tuple[How, ...]]] = {"ucontact": ("auto", "task", "schedule", "fresh")}
"""Those of these ways that take a time at which to dial. By any other the dialer dials when it is asked."""


class Gaps(Part):
    """The calls that nobody reported."""

    grace: Seconds = Field(default=120, description="for which a callback may be late before it counts as lost")
    every: float = Field(default=300, gt=0, description="seconds between two looks at how much each source says")
    weeks: int = Field(default=4, ge=2, le=52, description="that the present hour is compared with")


class Egress(Part):
    """Where outgoing requests may go besides the public internet."""

    allow: tuple[IPvAnyNetwork, ...] = ()


class Settings(BaseSettings):
    """Everything that can be configured."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        title="trunkline.toml",
        env_ignore_empty=True,
    )

    http: Http = Http()
    bus: BusPart = Field(default_factory=BusPart)
    store: StorePart = Field(default_factory=StorePart)
    worker: WorkerPart = WorkerPart()
    outbox: Outbox = Outbox()
    recordings: Recordings = Recordings()
    admin: Admin = Admin()
    calls: Calls = Calls()
    log: Log = Log()
    sources: dict[Name, AnySource] = Field(default_factory=dict)
    resolvers: dict[Name, AnyResolver] = Field(default_factory=dict)
    destinations: dict[Name, AnyDestination] = Field(default_factory=dict)
    respool: Respool = Respool()
    gaps: Gaps = Gaps()
    egress: Egress = Egress()

    @model_validator(mode="after")
    def _respoolable(self) -> Self:
        """Every rule speaks of sources that there are, and of one that dials."""
        known = ", ".join(self.sources) or "none is configured"
        dialers = ", ".join(name for name, one in self.sources.items() if one.vendor in DIALERS) or "none is configured"
        names: set[str] = set()
        for place, rule in enumerate(self.respool.rules):
            where = f"respool.rules.{place}"
            for source in rule.sources:
                if source not in self.sources:
                    raise disagreement(f"{where}.sources: found {source!r}; expected the name of a source: {known}")
            dialer = self.sources.get(rule.dialer)
            if dialer is None or dialer.vendor not in DIALERS:
                raise disagreement(
                    f"{where}.dialer: found {rule.dialer!r}; expected a source that dials, "
                    f"of {' or '.join(DIALERS)}: {dialers}"
                )
            ways = DIALERS[dialer.vendor]
            if rule.how not in ways:
                raise disagreement(
                    f"{where}.how: found {rule.how!r}; expected one that {dialer.vendor} has: {', '.join(ways)}"
                )
            for field in rule.data if dialer.vendor == "infocu5" else ():
                if field not in LEAD_FIELDS or field in LEAD_NUMBERS:
                    expected = ", ".join(name for name in LEAD_FIELDS if name not in LEAD_NUMBERS)
                    raise disagreement(f"{where}.data: found {field[:40]!r}; expected fields of a lead: {expected}")
            timed = TIMED.get(dialer.vendor, ())
            if span(rule.ahead) and rule.how not in timed:
                raise disagreement(
                    f"{where}.ahead: found {rule.ahead!r}; expected 0s: {dialer.vendor} is told no time by "
                    f"{rule.how!r}, and would dial at once; by these it is: {', '.join(timed) or 'none'}"
                )
            name = rule.name or str(place + 1)
            if name in names:
                raise disagreement(f"{where}.name: found {name!r} twice; expected a name for each rule")
            names.add(name)
        return self

    @model_validator(mode="after")
    def _resolvable(self) -> Self:
        """Every Query has its resolver, every resolver what it is made of, and every fallback comes to an end."""
        known = ", ".join(self.resolvers) or "none is configured"
        for name, source in self.sources.items():
            for query, wanted in source.queries.items() if isinstance(source, InfocallerSource) else ():
                if wanted not in self.resolvers:
                    where = f"sources.{name}.queries.{query}"
                    raise disagreement(f"{where}: found {wanted!r}; expected the name of a resolver: {known}")
        for name, resolver in self.resolvers.items():
            self._complete(name, resolver)
            seen = [name]
            while (after := self.resolvers[seen[-1]].fallback) is not None:
                where = f"resolvers.{seen[-1]}.fallback"
                if after not in self.resolvers:
                    raise disagreement(f"{where}: found {after!r}; expected the name of a resolver: {known}")
                if after in seen:
                    raise disagreement(
                        f"{where}: found {after!r}, which leads back to itself; expected an end: {' → '.join(seen)}"
                    )
                seen.append(after)
        return self

    def _complete(self, name: str, resolver: Resolver) -> None:
        match resolver:
            case TableResolver(key=None) if set(resolver.table) != {EVERYTHING_ELSE}:
                raise disagreement(
                    f"resolvers.{name}.key: missing; expected the name of the variable that chooses the row"
                )
            case AmqpResolver(url=None) if not self.bus.urls[0].startswith("amqp"):
                raise disagreement(
                    f"resolvers.{name}.url: missing; expected amqp://…, since bus.url is an embedded file, "
                    "which no other program consumes from"
                )
            case _:
                pass

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over the secrets directory over the file; the file's table comes in as the init values."""
        del env_settings, dotenv_settings, file_secret_settings
        return (Variables(settings_cls), SecretFiles(settings_cls), init_settings)


def named_file(option: Path | None = None) -> Path | None:
    """The file that ``--config`` names, else ``TRUNKLINE_CONFIG``, whether or not it is there; None without either."""
    variable = os.environ.get(f"{PREFIX}CONFIG")
    return option or (Path(variable) if variable else None)


def find(named: Path | None = None) -> Path | None:
    """The configuration file: named, else ``TRUNKLINE_CONFIG``, else in the working directory; None without one.

    Raises:
        ConfigurationError: a file was named and is not there.
    """
    told = named_file(named)
    if told is not None:
        if not told.is_file():
            raise ConfigurationError(f"configuration file {told}: not found; expected a TOML file")
        return told
    here = Path(FILE)
    return here if here.is_file() else None


def load(named: Path | None = None) -> Settings:
    """The settings, complete and checked.

    Raises:
        ConfigurationError: with one line: the key, what was found, what is expected.
    """
    path = find(named)
    table: dict[str, Any] = {}
    if path is not None:
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path}: not TOML: {error}") from None
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    _known_names(table)
    try:
        return Settings(**table)
    except ValidationError as error:
        raise ConfigurationError(complaint(error, _secret_keys())) from None
    except SettingsError as error:
        table_name, key = str(error).split('"')[1], str(error.__cause__)
        place = key if key == table_name else f"{table_name}.{key}"
        raise ConfigurationError(f"{place}: found no JSON; expected a list or a table as JSON") from None


def _known_names(table: dict[str, Any]) -> None:
    """A misspelt variable or file would be ignored in silence; a misspelt key is an error, so these are too."""
    for name in table:
        if name not in Settings.model_fields:  # pydantic-settings takes `_env_prefix` and its like for its own
            raise ConfigurationError(f"{name}: unknown key; expected one of {SCHEMA}")
    tables = set(Settings.model_fields)
    variables = {
        name: tables | {"config", "secrets_dir", "test", "failpoints"}
        for name in os.environ
        if name.upper().startswith(PREFIX)
    }
    files = dict.fromkeys((path.name for path in secret_files()), tables)
    for where, names in (("environment", variables), ("secrets directory", files)):
        for name, known in names.items():
            if name[len(PREFIX) :].lower().partition("__")[0] not in known:
                raise ConfigurationError(f"{where}: {name}: unknown key; expected {PREFIX}TABLE__KEY")


def _secret_keys() -> frozenset[str]:
    """The names of every key that is a secret or holds some."""
    every = [Part]
    for part in every:
        every += part.__subclasses__()
    fields = ((name, field) for part in every for name, field in part.model_fields.items())
    return frozenset(name for name, field in fields if "SecretStr" in str(field.annotation))
