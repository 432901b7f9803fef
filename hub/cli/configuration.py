"""``trunkline init``, ``trunkline config show`` and ``config schema``."""

import secrets
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from pydantic import BaseModel, SecretStr

from hub.cli.shared import state
from hub.cli.urls import callback_urls
from hub.config import FILE, Settings, load, named_file
from hub.errors import ConfigurationError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The configuration in force, and its schema.")

TEMPLATE = """\
# Trunkline. Every key that is not here has the default that `trunkline config schema` shows.
# Environment variables override this file: TRUNKLINE_HTTP__PORT=9000.

[http]
host = "127.0.0.1"
port = 8080
# public_url = "https://hub.example.com"     # what the vendors call

[bus]
url = "sqlite:///data/bus.db"                # or amqp://user:password@host/vhost

[store]
url = "sqlite:///data/store.db"              # or postgresql://user:password@host/database

[outbox]
path = "data/outbox.db"

[admin]
token = "{admin}"

# One source for each vendor connection. Its name is part of its URL.
[sources.line-900]
vendor = "infocaller"
tokens = ["{infocaller}"]
lines = {{ "123456789" = "3956" }}             # line number = telephone password; these are the vendor's own example
timezone = "Europe/Madrid"
country = "ES"

[sources.desk]
vendor = "focalscope"
tokens = ["{focalscope}"]
country = "ES"
"""


def write(path: Path) -> None:
    """Writes a configuration with fresh tokens, readable by its owner alone. Raises ConfigurationError."""
    tokens = {name: secrets.token_urlsafe(32) for name in ("admin", "infocaller", "focalscope")}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(TEMPLATE.format(**tokens), encoding="utf-8")
    except FileExistsError:
        raise ConfigurationError(f"{path}: exists already; expected no file there (--force overwrites it)") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from None


def init(
    context: typer.Context,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented trunkline.toml with fresh random tokens, and print the URLs to paste."""
    path = named_file(state(context).config) or Path(FILE)
    if force:
        path.unlink(missing_ok=True)
    write(path)
    typer.echo(f"wrote {path}\n")
    for line in callback_urls(load(path)):
        typer.echo(line)


@app.command()
def show(context: typer.Context) -> None:
    """Print the configuration in force, secrets masked."""
    typer.echo(orjson.dumps(_plain(state(context).settings()), option=orjson.OPT_INDENT_2).decode())


@app.command()
def schema() -> None:
    """Print the JSON schema of trunkline.toml."""
    typer.echo(orjson.dumps(Settings.model_json_schema(), option=orjson.OPT_INDENT_2).decode())


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return "…"
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
