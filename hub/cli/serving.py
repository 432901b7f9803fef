"""``trunkline up``, ``ingress`` and ``worker``: the roles."""

from pathlib import Path
from typing import Annotated

import typer

from hub import heap, prefork
from hub.cli.configuration import write
from hub.cli.shared import base_url, run, state
from hub.cli.urls import callback_urls
from hub.config import FILE, Settings, find, named_file
from hub.parts import ROLES
from hub.wiring import Process


def up(context: typer.Context) -> None:
    """Run the ingress and all workers in one process; write a configuration first where there is none."""
    options = state(context)
    place = named_file(options.config) or Path(FILE)
    if not place.exists():
        write(place)
    settings = options.settings()
    process = Process(settings, ingress=True, workers=list(ROLES))
    run(process.run(listener=prefork.inherited(), ready=lambda: _announce(settings)), fast=True)


def ingress(
    context: typer.Context,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Children of a parent that holds the socket.")] = 1,
) -> None:
    """Run the HTTP door."""
    options = state(context)
    settings = options.settings()
    listener = prefork.inherited()
    if processes > 1 and listener is None:
        listener = prefork.bind(settings.http.host, settings.http.port)
        found = find(options.config)
        command = ["-m", "hub", *(["--config", str(found)] if found else []), "ingress"]
        run(prefork.Parent(listener, command, processes).run())
        return
    run(Process(settings, ingress=True, workers=[]).run(listener=listener, ready=heap.settle), fast=True)


def worker(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help=f"One or more of: {', '.join(ROLES)}.")],
) -> None:
    """Run workers without an HTTP door; health and metrics where [worker] port is set."""
    settings = state(context).settings()
    run(Process(settings, ingress=False, workers=names).run(ready=heap.settle), fast=True)


def _announce(settings: Settings) -> None:
    """What an administrator needs after the first start."""
    heap.settle()
    for line in callback_urls(settings):
        typer.echo(line)
    token = settings.admin.token
    typer.echo(f"read API: {base_url(settings)}/v1/calls")
    if token is None:
        typer.echo("  closed: [admin] token is not set")
    else:
        typer.echo(f"  Authorization: Bearer {token.get_secret_value()}")
