"""``trunkline vendor url``, ``verify`` and ``test``: what an administrator of a vendor needs."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ClassVar, Final
from urllib.parse import urlsplit

import orjson
import typer

from hub.cli.lazy import Elsewhere, LazyGroup
from hub.cli.shared import base_url, state
from hub.cli.urls import path, source_named, urls
from hub.errors import ConfigurationError, Unusable
from hub.parts import make_decoder
from hub.ports import Callback


class _Commands(LazyGroup):
    elsewhere: ClassVar = {
        "test": Elsewhere("hub.cli.sampling:send", "Send one signed sample over real HTTP and print the answer."),
        "call": Elsewhere(
            "hub.cli.calling:call", "Call an operation of a vendor's client by its name, and print the answer as JSON."
        ),
        "upload": Elsewhere(
            "hub.cli.uploading:upload", "Upload a list of numbers to a dialer, once every value of it is checked."
        ),
    }


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Set a vendor up: its URLs, its callbacks checked, a sample sent.",
)

_SEGMENTS: Final = 3  # callbacks, source, token; the event follows
_Source = Annotated[str, typer.Argument(metavar="SOURCE", help="A source's name in the configuration.")]


@app.command()
def url(
    context: typer.Context,
    source: _Source,
    event: Annotated[str | None, typer.Option(help="Only this event's URL.")] = None,
    bare: Annotated[bool, typer.Option("--bare", help="Without the vendor's variables.")] = False,
) -> None:
    """Print the URLs to paste into the vendor's console."""
    settings = state(context).settings()
    found = urls(settings, source)
    if not found:
        raise ConfigurationError(
            f"sources.{source}: there is nothing to paste; expected tokens, and a vendor that calls back"
        )
    wanted = {field: text for field, text in found.items() if event is None or field.lower() == event.lower()}
    if not wanted:
        raise ConfigurationError(f"--event: found {event!r}; expected one of {', '.join(found).lower()}")
    if bare:
        verb = None if event is None else event.lower()
        typer.echo(base_url(settings) + path(source, source_named(settings, source), verb))
        return
    for field, text in wanted.items():
        typer.echo(text if event is not None or len(wanted) == 1 else f"{field:<16} {text}")


@app.command()
def verify(
    context: typer.Context,
    source: _Source,
    callback: Annotated[str, typer.Argument(metavar="URL", help="The URL that the vendor called, with its query.")],
    body: Annotated[
        Path | None, typer.Option(help="File with the body, byte for byte; - reads standard input.")
    ] = None,
    content_type: Annotated[str, typer.Option(help="The request's Content-Type.")] = "",
) -> None:
    """Check a pasted callback, part by part, and say which part is wrong. Nothing is sent."""
    settings = state(context).settings()
    configured = source_named(settings, source)
    decoder = make_decoder(source, configured)
    if decoder is None:
        raise ConfigurationError(
            f"sources.{source}: its vendor does not call back; expected infocaller, focalscope or ucontact"
        )
    parts = urlsplit(callback)
    below = urlsplit(base_url(settings)).path  # what a proxy takes away
    segments = parts.path.removeprefix(below).strip("/").split("/")
    good = _check_path(segments, source, [token.get_secret_value() for token in configured.tokens])
    content = _content(body)
    event = segments[_SEGMENTS] if len(segments) > _SEGMENTS else None
    request = Callback(source, event, parts.query, content_type, content, datetime.now(UTC))
    try:
        events = decoder.decode(request)
    except Unusable as unusable:
        typer.echo(f"bad   {unusable.reason:<12} {unusable.detail}")
        raise typer.Exit(1) from None
    for made in events:
        typer.echo(f"ok    event        {made.routing_key}")
        typer.echo(f"ok    call         {made.subject or 'none'}")
        typer.echo(orjson.dumps(made.data, option=orjson.OPT_INDENT_2).decode())
    if not good:
        raise typer.Exit(1)


def _content(body: Path | None) -> bytes:
    if body is None:
        return b""
    if str(body) == "-":
        return sys.stdin.buffer.read()
    try:
        return body.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"--body: found {str(body)!r}; expected a file: {error.strerror}") from None


def _check_path(segments: list[str], source: str, tokens: list[str]) -> bool:
    if segments[0] != "callbacks" or len(segments) < _SEGMENTS:
        typer.echo("bad   path         expected /callbacks/SOURCE/TOKEN, and for Infocaller /EVENT")
        return False
    if segments[1] != source:
        typer.echo(f"bad   source       the URL names {segments[1]!r}, expected {source!r}")
        return False
    if segments[2] not in tokens:
        typer.echo("bad   token        it is none of the source's tokens")
        return False
    typer.echo("ok    token")
    return True
