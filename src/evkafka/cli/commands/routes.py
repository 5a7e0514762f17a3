"""`evkafka routes`: its options."""

from __future__ import annotations

from evkafka.cli.command import command
from evkafka.cli.options import INSPECT, AppOptions, AsJson


@command(
    "routes",
    panel=INSPECT,
    short_help="Print which endpoint handles which event.",
    epilog="Example: evkafka routes shop.main:app",
)
def routes_command(app: AppOptions, as_json: AsJson = False) -> None:
    """Print consumers, topics, event types and endpoints of an app, and what it sends. Connects to nothing."""
    from evkafka.cli.connection import load_env_file_and_app
    from evkafka.cli.impl.routes import show_routes

    show_routes(load_env_file_and_app(app), as_json=as_json)
