"""``trunkline db upgrade``."""

import typer

from hub.cli.shared import run, state
from hub.store.upgrade import upgrade

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The database's schema.")


@app.command("upgrade")
def upgrade_schema(context: typer.Context) -> None:
    """Bring the database's schema up to date; safe to run twice, and from two places at once."""
    applied = run(upgrade(state(context).settings().store.url.get_secret_value()))
    typer.echo(f"applied {', '.join(applied)}" if applied else "the schema is up to date")
