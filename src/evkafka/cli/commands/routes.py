"""`evkafka routes`: its options."""

from __future__ import annotations

from pathlib import Path

from evkafka.cli.options import AppDir, AsJson, EnvFile, Factory, Target, Where


def routes_command(
    target: Target,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    env_file: EnvFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what the app does with which event: consumers, topics, event types, endpoints; and what it sends."""
    from evkafka.cli.connection import the_app
    from evkafka.cli.env_file import load_env_file
    from evkafka.cli.impl.routes import show_routes

    load_env_file(env_file)
    show_routes(the_app(target, Where(target, app_dir, factory)), as_json=as_json)
