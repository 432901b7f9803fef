"""``trunkline vendor test``: one signed sample, sent over real HTTP."""

from typing import Annotated, Final

import typer

from hub.cli.shared import local_url, run, state
from hub.cli.simulating import targets
from hub.cli.urls import source_named
from hub.config import Settings
from hub.errors import ConfigurationError
from hub.simulator.driver import Result, play
from hub.simulator.scenarios import calls, stream

_SAMPLES: Final = {
    "infocaller": "inbound-answered",
    "focalscope": "click-to-dial-answered",
    "ucontact": "interaction-finished",
}
_OK: Final = 200


def send(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A source's name in the configuration.")],
    to: Annotated[str | None, typer.Option("--url", help="Of the hub; the configured listener without it.")] = None,
) -> None:
    """Send one signed sample over real HTTP and print the answer. Repeating it changes nothing: it is the same call."""
    settings = state(context).settings()
    result = run(_send(settings, source, to or local_url(settings)))
    if result.status is None:
        typer.echo(f"no answer: {result.error}", err=True)
        raise typer.Exit(1)
    typer.echo(f"{result.status} {result.body.decode('utf-8', 'replace')}")
    if result.status != _OK:
        raise typer.Exit(1)


async def _send(settings: Settings, name: str, hub: str) -> Result:
    vendor = source_named(settings, name).vendor
    mine = [target for target in targets(settings) if target.name == name]
    if vendor not in _SAMPLES or not mine:
        raise ConfigurationError(f"sources.{name}: no sample can be made; expected a token, and for Infocaller a line")
    [call] = calls([_SAMPLES[vendor]], seed=0, count=1, target=mine)
    last = list(stream([call]))[-1:]
    results: list[Result] = []
    await play(last, hub, on_result=results.append)
    return results[0]
