"""What single values of the configuration are, and what every table of it is."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from hub.configured import (
    dial_template,
    event_pattern,
    fit_for_a_path,
    readable_by_the_vendor,
    signed_template,
    url_template,
    web_address,
    webhook_secret,
    zone,
)

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
