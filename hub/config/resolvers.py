"""The resolvers: who answers an Infocaller Query."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator

from hub.config.sources import AnySource, InfocallerSource
from hub.config.values import Name, Part, Seconds, Url, VariableName, VariableValue
from hub.configured import address, disagreement, one_question


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


def agreeing_resolvers(
    resolvers: Mapping[str, AnyResolver], sources: Mapping[str, AnySource], *, embedded: bool
) -> None:
    """Every Query has its resolver, every resolver what it is made of, and every fallback comes to an end.

    Args:
        resolvers: by name.
        sources: by name.
        embedded: whether the bus is a file, which no other program consumes from.

    Raises:
        PydanticCustomError: with the key, what was found and what is expected.
    """
    known = ", ".join(resolvers) or "none is configured"
    for name, source in sources.items():
        for query, wanted in source.queries.items() if isinstance(source, InfocallerSource) else ():
            if wanted not in resolvers:
                where = f"sources.{name}.queries.{query}"
                raise disagreement(f"{where}: found {wanted!r}; expected the name of a resolver: {known}")
    for name, resolver in resolvers.items():
        _complete(name, resolver, embedded=embedded)
        seen = [name]
        while (after := resolvers[seen[-1]].fallback) is not None:
            where = f"resolvers.{seen[-1]}.fallback"
            if after not in resolvers:
                raise disagreement(f"{where}: found {after!r}; expected the name of a resolver: {known}")
            if after in seen:
                raise disagreement(
                    f"{where}: found {after!r}, which leads back to itself; expected an end: {' → '.join(seen)}"
                )
            seen.append(after)


def _complete(name: str, resolver: Resolver, *, embedded: bool) -> None:
    match resolver:
        case TableResolver(key=None) if set(resolver.table) != {EVERYTHING_ELSE}:
            raise disagreement(f"resolvers.{name}.key: missing; expected the name of the variable that chooses the row")
        case AmqpResolver(url=None) if embedded:
            raise disagreement(
                f"resolvers.{name}.url: missing; expected amqp://…, since bus.url is an embedded file, "
                "which no other program consumes from"
            )
        case _:
            pass
