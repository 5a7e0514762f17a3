"""`evkafka routes`: its options."""

from __future__ import annotations

from evkafka.cli.command import command
from evkafka.cli.options import LOOK, AppOptions, AsJson


@command(
    "routes",
    panel=LOOK,
    short_help="Which event goes to which endpoint.",
    epilog="Example: evkafka routes shop.main:app",
)
def routes_command(app: AppOptions, as_json: AsJson = False) -> None:
    """Show what the app does with which event: consumers, topics, event types, endpoints; and what it sends."""
    from evkafka.cli.connection import open_app
    from evkafka.cli.impl.routes import show_routes

    show_routes(open_app(app), as_json=as_json)
