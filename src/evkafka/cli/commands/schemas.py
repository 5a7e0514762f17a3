"""`evkafka schemas show`, `register` and `check`: their options."""

from __future__ import annotations

import typer

from evkafka.cli.command import command
from evkafka.cli.options import AppOptions, AsJson


@command("show", epilog="Example: evkafka schemas show shop.main:app")
def show_schemas_command(app: AppOptions, as_json: AsJson = False) -> None:
    """Print the schemas of the events that the app sends, with their subjects. Connects to nothing."""
    from evkafka.cli.impl.schemas import show_sent_schemas

    show_sent_schemas(app, as_json=as_json)


@command("register", epilog="Example: evkafka schemas register shop.main:app")
def register_schemas_command(app: AppOptions, as_json: AsJson = False) -> None:
    """Register the schemas of the events that the app sends.

    Exits with code 1 if the registry refuses one; the others are registered.
    """
    from evkafka.cli.impl.schemas import register_schemas

    raise typer.Exit(register_schemas(app, as_json=as_json))


@command("check", epilog="Example: evkafka schemas check shop.main:app")
def check_schemas_command(app: AppOptions, as_json: AsJson = False) -> None:
    """Compare the schemas of the events that the app sends with the registry, before a deploy. Changes nothing.

    Exits with code 1 if a schema is incompatible with the latest version of its subject.
    """
    from evkafka.cli.impl.schemas import compare_schemas

    raise typer.Exit(compare_schemas(app, as_json=as_json))


app = typer.Typer(
    name="schemas", help="Print, register or check the schemas of the events that an app sends.", no_args_is_help=True
)
show_schemas_command.add_to(app)
register_schemas_command.add_to(app)
check_schemas_command.add_to(app)
