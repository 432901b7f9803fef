"""``trunkline simulate``: vendor scenarios played against a running hub over real HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hub.cli.shared import local_url, run, state
from hub.config import FocalScopeSource, InfocallerSource, Settings, UContactSource
from hub.errors import ConfigurationError
from hub.simulator.archive import Archivist
from hub.simulator.call import Source
from hub.simulator.driver import Report, bar, play, table
from hub.simulator.mutators import Mutations, mutate
from hub.simulator.scenarios import GROUPS, SCENARIOS, Step, calls, stream

_ACCEPTABLE: Final = frozenset({200, 422})
_Fraction = Annotated[float, typer.Option(min=0.0, max=1.0)]


def targets(settings: Settings) -> list[Source]:
    """The configured sources as the simulated vendors know them; one for each line of an Infocaller source."""
    return list(_targets(settings))


def _targets(settings: Settings) -> Iterator[Source]:
    for name, source in settings.sources.items():
        if not source.tokens:
            continue
        token = source.tokens[0].get_secret_value()
        match source:
            case InfocallerSource():
                for line, password in source.lines.items():
                    secret = password.get_secret_value()
                    yield Source(name, "infocaller", token, line=line, password=secret, country=source.country)
            case FocalScopeSource():
                yield Source(name, "focalscope", token, country=source.country, epoch=source.epoch)
            case UContactSource():
                yield Source(name, "ucontact", token, country=source.country)
            case _:
                continue


def steps(settings: Settings, scenarios: list[str], mutations: Mutations, *, seed: int, count: int) -> Iterator[Step]:
    """The spoiled stream of a simulation. Raises ConfigurationError where a scenario has no source."""
    made = calls(scenarios, seed=seed, count=count, target=targets(settings))
    return mutate(stream(made), mutations, seed=seed)


def simulate(
    context: typer.Context,
    scenarios: Annotated[list[str], typer.Argument(metavar="SCENARIO…", help=f"{', '.join((*GROUPS, *SCENARIOS))}")],
    rate: Annotated[float | None, typer.Option(help="Callbacks a second; as fast as answers come without it.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Calls.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
    url: Annotated[str | None, typer.Option(help="Of the hub; the configured listener without it.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=1000)] = 64,
    duplicate: _Fraction = 0.0,
    reorder: _Fraction = 0.0,
    drop: _Fraction = 0.0,
    delay: _Fraction = 0.0,
    truncate: _Fraction = 0.0,
    archive: Annotated[
        Path | None, typer.Option(help="Where FocalScope's archive of these calls is written, dropped ones too.")
    ] = None,
) -> None:
    """Play vendor scenarios against a hub. Exits 1 where an answer was neither 200 nor 422."""
    settings = state(context).settings()
    if rate is not None and rate <= 0:
        raise ConfigurationError(f"--rate: found {rate}; expected more than 0")
    mutations = Mutations(duplicate=duplicate, reorder=reorder, drop=drop, delay=delay, truncate=truncate)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    total = sum("drop" not in step.marks for step in steps(settings, scenarios, mutations, seed=seed, count=count))
    archivist = Archivist()
    with Progress(*columns, console=console) as progress:
        report = run(
            play(
                archivist.watch(steps(settings, scenarios, mutations, seed=seed, count=count)),
                url or local_url(settings),
                rate=rate,
                concurrency=concurrency,
                on_result=bar(progress, total),
            ),
            fast=True,
        )
    if archive is not None:
        archivist.write(archive)
    Console().print(table(report))
    if not answered(report):
        raise typer.Exit(1)


def answered(report: Report) -> bool:
    """Whether every request got one of the answers that keep it."""
    return not report.errors and set(report.statuses) <= _ACCEPTABLE
