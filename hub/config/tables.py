"""The tables that an installation has once: its door, its bus, its store, what it keeps and what it tells."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, IPvAnyNetwork, SecretStr, field_validator

from hub.config.values import Part, Port, Seconds
from hub.configured import KEY_TEMPLATE, address, checked_key


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


class Gaps(Part):
    """The calls that nobody reported."""

    grace: Seconds = Field(default=120, description="for which a callback may be late before it counts as lost")
    every: float = Field(default=300, gt=0, description="seconds between two looks at how much each source says")
    weeks: int = Field(default=4, ge=2, le=52, description="that the present hour is compared with")


class Egress(Part):
    """Where outgoing requests may go besides the public internet."""

    allow: tuple[IPvAnyNetwork, ...] = ()
