"""The sources: one table for each account at a vendor."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, IPvAnyNetwork, SecretStr

from hub.config.values import (
    ArchiveField,
    Country,
    Days,
    DialTemplate,
    Part,
    QueryName,
    Seconds,
    Signed,
    Template,
    Token,
    Url,
    VariableName,
    Zone,
)


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
