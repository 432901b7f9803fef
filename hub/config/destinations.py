"""The destinations: where records and events go."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from hub.config.values import FieldName, Part, Pattern, Seconds, Url, UrlPath, WebhookSecret
from hub.forwarding.mapping import Template as FieldTemplate
from hub.forwarding.wanting import Where


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
