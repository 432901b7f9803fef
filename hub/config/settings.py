"""All of it together."""

from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from hub.config.destinations import AnyDestination
from hub.config.resolvers import AnyResolver, agreeing_resolvers
from hub.config.respooling import Respool, agreeing_rules
from hub.config.sources import AnySource
from hub.config.tables import Admin, BusPart, Calls, Egress, Gaps, Http, Log, Outbox, Recordings, StorePart, WorkerPart
from hub.config.values import Name
from hub.environment import PREFIX, SecretFiles, Variables


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
        agreeing_rules(self.respool, self.sources)
        return self

    @model_validator(mode="after")
    def _resolvable(self) -> Self:
        agreeing_resolvers(self.resolvers, self.sources, embedded=not self.bus.urls[0].startswith("amqp"))
        return self

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
