"""``trunkline dial``: has a call placed, and waits a moment for what comes of it."""

import asyncio
from time import monotonic
from typing import Annotated, Final

import typer

from hub.cli.operating import complain, settings_of
from hub.cli.shared import run
from hub.clients import make_dialing
from hub.config import Settings
from hub.dialing.orders import Order, order_of
from hub.errors import ConfigurationError, KeyReused, Unacceptable
from hub.parts import opened
from hub.ports.dialing import Dial

_WAIT: Final = 5.0
_LOOK: Final = 0.1


def dial(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A source that can place calls.")],
    destination: Annotated[str, typer.Argument(metavar="DESTINATION", help="The number to call.")],
    agent: Annotated[str | None, typer.Option(help="Who is to talk, by the vendor's own name or extension.")] = None,
    caller: Annotated[str | None, typer.Option(help="The number that is shown to the called party.")] = None,
    campaign: Annotated[str | None, typer.Option(help="By the vendor's own name.")] = None,
    var: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A variable; may be repeated.")] = None,
    key: Annotated[str | None, typer.Option(help="Of idempotency: the same key within a day is the same call.")] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for what comes of it.")] = _WAIT,
) -> None:
    """Have a running hub place a call. Exits 0 where the vendor has taken it on, 1 where it has not or nobody knows."""
    settings = settings_of(context)
    asked = {"agent": agent, "caller_number": caller, "campaign": campaign, "variables": _variables(var or [])}
    try:
        order = order_of({"source": source, "destination": destination, **asked})
        placed = run(_dial(settings, order, key, wait))
    except Unacceptable as error:
        raise ConfigurationError(str(error)) from None
    except KeyReused as error:
        complain(str(error))
        raise typer.Exit(1) from None
    for line in told(placed):
        typer.echo(line)
    if placed.state == "requested":
        complain(f"not sent within {wait:g} s; is a worker running? It is given up at {placed.give_up_at:%H:%M:%S} UTC")
    if placed.state != "accepted":
        raise typer.Exit(1)


async def _dial(settings: Settings, order: Order, key: str | None, wait: float) -> Dial:
    async with opened(settings) as store:
        found = await make_dialing(settings, store.dials).take(order, key)
        until = monotonic() + wait
        while found.state == "requested" and monotonic() < until:
            await asyncio.sleep(_LOOK)
            found = await store.dials.dial(found.dial_id) or found
        return found


def told(found: Dial) -> list[str]:
    """A dial for a person, a line for each thing that is known of it."""
    shown = found.shown()
    lines = [f"{found.dial_id} {found.state}"]
    lines += [f"  {name:<11} {shown[name]}" for name in ("request_id", "call_id", "reason") if name in shown]
    return lines


def _variables(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in given:
        name, mark, value = one.partition("=")
        if not mark or not name:
            raise ConfigurationError(f"--var: found {one[:40]!r}; expected NAME=VALUE")
        found[name] = value
    return found
