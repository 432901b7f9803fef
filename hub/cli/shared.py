"""What several commands share."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import typer

from hub import logs
from hub.config import Settings, load
from hub.configured import secrets_in

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class State:
    """What the options before the command say."""

    config: Path | None

    def settings(self) -> Settings:
        """The settings, with logging set up by them. Raises ConfigurationError."""
        settings = load(self.config)
        logs.configure(settings.log.level, settings.log.format, secrets_in(settings))
        return settings


def state(context: typer.Context) -> State:
    """What the program's own options say."""
    return State(context.find_root().params["config"])


def run(work: Coroutine[Any, Any, T], *, fast: bool = False) -> T:
    """Runs a coroutine to its end, over uvloop where the process serves."""
    if fast:
        import uvloop  # noqa: PLC0415  not on every platform, and slow to import for a command that prints a line

        return uvloop.run(work)
    return asyncio.run(work)


def base_url(settings: Settings) -> str:
    """Where the vendors reach the hub: ``http.public_url``, else the listener."""
    http = settings.http
    return (http.public_url or f"http://{http.host}:{http.port}").rstrip("/")


def local_url(settings: Settings) -> str:
    """Where this machine reaches the hub."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.http.host, settings.http.host)  # noqa: S104
    return f"http://{host}:{settings.http.port}"
