"""What a configured value may look like, and what is said of one that cannot be used. Pure.

Nothing here ever says a secret: not the value of a secret key, not a table or a list that may hold one. Of a secret URL
it says the scheme.
"""

import re
from base64 import b64decode
from collections.abc import Collection, Iterator
from string import Formatter
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import PydanticCustomError

from hub.forwarding.wanting import binding
from hub.questions import printable
from hub.respooling.delays import span

_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:@\[\]]*)(:\d{1,5})?")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+]{0,15}://")
_MAX_PORT: Final = 65535
_COMMENTS: Final = re.compile(r"--[^\n]*|/\*.*?\*/|\s+", re.DOTALL)

DISAGREEMENT: Final = "disagreement"
"""The type of an error between two keys; its message is the whole line."""
_SHORTEST_KEY, _LONGEST_KEY = 24, 64  # bytes

SCHEMA: Final = "the keys in `trunkline config schema`"
_KINDS: Final = {dict: "a table", list: "a list", tuple: "a list", str: "a string", bool: "a boolean"}
_LONGEST: Final = 80
_UNIONS: Final = {
    "sources": ("vendor", "the name of a vendor"),
    "resolvers": ("kind", "the name of a kind"),
    "destinations": ("kind", "the name of a kind"),
}

# Where a table or a list belongs, what was found in its place may be the secret that belongs into it.
_SHAPES: Final = frozenset({"model_type", "model_attributes_type", "dict_type", "tuple_type", "list_type"})
_SAID: Final = {
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
    "tuple_type": "a list",
    "list_type": "a list",
    "string_type": "a string",
}


def zone(name: str) -> str:
    """The name of a time zone. Raises ValueError."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("expected the name of a time zone, for instance Europe/Madrid") from None
    return name


def fit_for_a_path(token: SecretStr) -> SecretStr:
    """A token that stands in a URL's path as it is. Raises ValueError."""
    if not set(token.get_secret_value()) <= _UNRESERVED:
        raise ValueError("expected letters, digits, '-', '_', '.' or '~': it is a segment of a URL's path")
    return token


def checked_span(text: str) -> str:
    """A span of time like ``15m``. Raises ValueError."""
    span(text)
    return text


KEY_TEMPLATE: Final = "{source}/{year}/{month}/{day}/{call_id}/{sha256}{extension}"
_KEY_FIELDS: Final = ("vendor", "source", "year", "month", "day", "call_id", "recording_id", "sha256", "extension")
_KEY_TEXT: Final = re.compile(r"[A-Za-z0-9._/-]*")


def checked_key(template: str) -> str:
    """A template for the keys of recordings that keeps what custody promises. Raises ValueError."""
    fields, literal = _template(template)
    if not set(fields) <= set(_KEY_FIELDS):
        raise ValueError(f"expected only the fields {', '.join(_KEY_FIELDS)}")
    if "sha256" not in fields:
        raise ValueError("expected {sha256} in it: by that nothing is ever overwritten with something else")
    if not _KEY_TEXT.fullmatch(literal) or any(part in {"", ".", ".."} for part in template.split("/")):
        raise ValueError("expected a relative path of letters, digits, '-', '_', '.' and fields in braces")
    return template


def url_template(template: str) -> str:
    """A URL over fields in braces, which are not in the host. Raises ValueError."""
    _template(template)
    scheme, mark, rest = template.partition("://")
    if not mark or scheme not in ("http", "https") or not rest.partition("/")[0] or "{" in rest.partition("/")[0]:
        raise ValueError("expected http:// or https://, a host without a field, and fields in braces")
    return template


DIAL_FIELDS: Final = ("number", "agent", "adapter", "caller_number", "campaign", "source")
VARIABLE_FIELD: Final = "variables."
"""Before the name of a variable, as a field of a template."""

_SIGNED_FIELDS: Final = ("line", "number", "group", "password")


def dial_template(template: str) -> str:
    """A URL that places a call. Raises ValueError."""
    url_template(template)
    fields = _template(template)[0]
    unknown = [name for name in fields if name not in DIAL_FIELDS and not name.startswith(VARIABLE_FIELD)]
    if unknown or "number" not in fields:
        raise ValueError(f"expected {{number}} in it, and otherwise {_listed(DIAL_FIELDS)} or {{variables.NAME}}")
    return template


def signed_template(template: str) -> str:
    """What a signature is made of. Raises ValueError."""
    fields = _template(template)[0]
    if not set(fields) <= set(_SIGNED_FIELDS) or "password" not in fields:
        raise ValueError(f"expected {{password}} in it, and otherwise only {_listed(_SIGNED_FIELDS)}")
    return template


def _listed(fields: Collection[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in fields)


def _template(template: str) -> tuple[list[str], str]:
    """The fields and the text of a template. Raises ValueError."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError:
        raise ValueError("expected every brace to be closed") from None
    if any(spec or conversion or name == "" for _, name, spec, conversion in parts):
        raise ValueError("expected nothing but a name in each pair of braces")
    return [name for _, name, _, _ in parts if name is not None], "".join(text for text, _, _, _ in parts)


def web_address(url: str) -> str:
    """An absolute URL for requests, without a slash at its end. Raises ValueError."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or not url.isascii() or any(character <= " " for character in url):
        raise ValueError("expected https://host/path")
    if parts.username or parts.password:
        raise ValueError("has a user or a password; expected them in keys of their own")
    return url if parts.query else url.rstrip("/")


def readable_by_the_vendor(value: str) -> str:
    """The value of a variable: ISO-8859-1's printable characters. Raises ValueError."""
    if not printable(value):
        raise ValueError("expected printable characters of ISO-8859-1")
    return value


def one_question(statement: str) -> str:
    """One SQL statement that reads. Raises ValueError; what it does in the end, the database says."""
    bare = _COMMENTS.sub(" ", statement).strip().rstrip(";").rstrip()
    first = bare.partition(" ")[0].split("(")[0].upper()
    if not re.match(r"(?:SELECT|WITH|VALUES|TABLE)\b", bare, re.IGNORECASE):
        raise ValueError(f"begins with {first[:20]!r}; expected one statement that begins with SELECT or WITH")
    return statement


def disagreement(line: str) -> PydanticCustomError:
    """An error between two keys: the key, what was found, what is expected, in one line."""
    return PydanticCustomError(DISAGREEMENT, "{line}", {"line": line})


def event_pattern(pattern: str) -> str:
    """The type of an event, or a pattern. Raises ValueError."""
    binding(pattern)
    return pattern


def webhook_secret(secret: SecretStr) -> SecretStr:
    """``whsec_`` and base64 of 24 to 64 bytes, as Standard Webhooks has it. Raises ValueError."""
    prefix, _, text = secret.get_secret_value().partition("_")
    try:
        key = b64decode(text + "=" * (-len(text) % 4), validate=True) if prefix == "whsec" else b""
    except ValueError:
        key = b""
    if not _SHORTEST_KEY <= len(key) <= _LONGEST_KEY:
        raise ValueError("expected whsec_ and the base64 of 24 to 64 random bytes")
    return secret


def address(url: Any, schemes: Collection[str]) -> str:
    """The scheme of a server's or a file's URL, one of ``schemes``; the empty string where it is no such URL.

    A password that is not percent-encoded is no such URL either: what follows its ``/`` would be taken for a host, and
    said in a log.
    """
    text = url.get_secret_value() if isinstance(url, SecretStr) else url
    if not isinstance(text, str):
        return ""
    scheme, mark, rest = text.partition("://")
    if not mark or scheme not in schemes:
        return ""
    if scheme == "sqlite":
        return scheme if rest.startswith("/") and rest.strip("/") else ""
    authority, _, path = rest.partition("?")[0].partition("/")
    hosts = [_HOST.fullmatch(host) for host in authority.rpartition("@")[2].split(",")]
    sound = all(host is not None and int((host[2] or ":0")[1:]) <= _MAX_PORT for host in hosts)
    return scheme if sound and "@" not in path and "#" not in rest else ""


def secrets_in(value: Any) -> Iterator[str]:
    """Every secret inside a configured value, in the clear; of a URL its password as well."""
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        yield secret
        userinfo = secret.partition("://")[2].partition("/")[0].rpartition("@")[0]
        yield from (part for part in (userinfo.partition(":")[2], unquote(userinfo.partition(":")[2])) if part)
    elif isinstance(value, BaseModel):
        yield from secrets_in([getattr(value, name) for name in type(value).model_fields])
    elif isinstance(value, dict):
        yield from secrets_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from secrets_in(item)


def complaint(error: ValidationError, secret: Collection[str]) -> str:
    """The first thing wrong, as one line: the key, what was found, what is expected.

    Args:
        error: of the settings.
        secret: names of the keys whose value is never said, nor what is inside them.
    """
    first = error.errors(include_url=False)[0]
    kind, message, found = first["type"], first["msg"].removeprefix("Value error, "), first.get("input")
    steps = [step for step in first["loc"] if isinstance(step, int) or "[" not in step]
    place = _place(steps)
    if kind == DISAGREEMENT:
        return message
    if kind == "extra_forbidden":
        return f"{place}: unknown key; expected one of {SCHEMA}"
    if kind == "missing":
        return f"{place}: missing; expected a value"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        context = first.get("ctx", {})
        what, means = _UNIONS.get(str(steps[0]), ("vendor", "the name of a vendor"))
        if "tag" not in context:
            return f"{place}.{what}: missing; expected {means}"
        return f"{place}.{what}: found {context['tag']!r}; expected one of {context['expected_tags']}"
    if kind in _SAID:
        message = f"expected {_SAID[kind]}"
    hidden = kind in _SHAPES or any(step in secret for step in steps)
    return f"{place}: found {_hidden(found) if hidden else _shown(found)}; {message[0].lower()}{message[1:]}"


def _place(steps: list[int | str]) -> str:
    """``sources.NAME.lines``: pydantic names the branch of the union as a step, TOML does not."""
    branch = 2
    union = steps[:1] and steps[0] in _UNIONS and len(steps) > branch
    return ".".join(str(step) for n, step in enumerate(steps) if not (union and n == branch))


def _shown(found: Any) -> str:
    return repr(found)[:_LONGEST] if isinstance(found, str | int | float | None) else _kind(found)


def _hidden(found: Any) -> str:
    scheme = _SCHEME.match(found) if isinstance(found, str) else None
    return f"{scheme[0]}…" if scheme else _kind(found)


def _kind(found: Any) -> str:
    return _KINDS.get(type(found), "a number" if isinstance(found, int | float) else "something else")
