"""The commands `check`, `routes`, `info` and `new`, and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evkafka.cli.options import DEVELOP, LOOK, RUN, AppDir, AsJson, EnvFile, Factory, Target, Where


def add_to(app: typer.Typer) -> None:
    app.command(
        "new",
        short_help="Make a service to begin with.",
        epilog="Example: evkafka new billing",
        rich_help_panel=DEVELOP,
    )(new_command)
    app.command(
        "check",
        short_help="Would this app run here? With fixes.",
        epilog="Example: evkafka check shop.main:app --strict --json",
        rich_help_panel=RUN,
    )(check_command)
    app.command(
        "routes",
        short_help="Which event goes to which endpoint.",
        epilog="Example: evkafka routes shop.main:app",
        rich_help_panel=LOOK,
    )(routes_command)
    app.command("info", short_help="Versions, for reports of faults.", rich_help_panel=LOOK)(info_command)


def check_command(
    target: Target,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    env_file: EnvFile = None,
    broker: Annotated[
        bool,
        typer.Option("--broker/--no-broker", help="Connect too: topics, partitions, rights."),
    ] = True,
    strict: Annotated[
        bool, typer.Option("--strict", help="A warning counts like an error.", envvar="EVKAFKA_STRICT")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say whether this app would run here, and what keeps it from it. No record is read, none is written.

    Looks at imports, wiring, configuration, times, codecs, brokers, topics and rights. Ends with 1 where something
    keeps the app from running: for CI, and for an init container.
    """
    from evkafka.cli.check import check
    from evkafka.cli.environment_file import load_env_file

    load_env_file(env_file)
    raise typer.Exit(check(Where(target, app_dir, factory), broker=broker, strict=strict, as_json=as_json))


def routes_command(
    target: Target,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    env_file: EnvFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what the app does with which event: consumers, topics, event types, endpoints; and what it sends."""
    from evkafka.cli.cluster import the_app
    from evkafka.cli.environment_file import load_env_file
    from evkafka.cli.routes import show_routes

    load_env_file(env_file)
    show_routes(the_app(target, Where(target, app_dir, factory)), as_json=as_json)


def info_command(as_json: AsJson = False) -> None:
    """Show versions and what is installed; for reports of faults. Tells nothing of apps or logins."""
    from evkafka.cli.info import show_info

    show_info(as_json=as_json)


def new_command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the service; its directory is made here.", show_default=False)
    ],
    directory: Annotated[
        Path | None,
        typer.Option(
            "--in", metavar="DIR", help="Make it there. Default: a directory of that name.", show_default=False
        ),
    ] = None,
) -> None:
    """Make a service: app, settings, tests that pass, Dockerfile, Kubernetes manifests, CI."""
    from evkafka.cli.new import make_service

    make_service(name, directory)
