"""`evkafka run`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evkafka.cli.options import (
    PARTS,
    PROCESSES,
    AppDir,
    EnvFile,
    EventLoop,
    Exclude,
    Factory,
    Format,
    Host,
    Level,
    LogFormat,
    LogLevel,
    Loop,
    Only,
    Port,
    ReloadDir,
    Target,
    Web,
)
from evkafka.exceptions import ConfigError


def run_command(
    target: Target,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    env_file: EnvFile = None,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            "-w",
            help="So many processes, members of one group; a failed one is started again.",
            envvar="EVKAFKA_WORKERS",
            min=1,
            max=256,
            rich_help_panel=PROCESSES,
        ),
    ] = 1,
    reload: Annotated[
        bool,
        typer.Option(
            "--reload",
            "-r",
            help="Start anew when a file changes; for development.",
            envvar="EVKAFKA_RELOAD",
            rich_help_panel=PROCESSES,
        ),
    ] = False,
    reload_dir: ReloadDir = None,
    loop: EventLoop = Loop.AUTO,
    only: Only = None,
    exclude: Exclude = None,
    bootstrap_servers: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="These brokers instead of the app's own, for all of its consumers and producers.",
            show_default=False,
            rich_help_panel=PARTS,
        ),
    ] = None,
    reset_dead_letter_limit: Annotated[
        bool,
        typer.Option(
            "--reset-dead-letter-limit",
            help="Go on where a dead_letter_limit has stopped the app.",
            envvar="EVKAFKA_RESET_DEAD_LETTER_LIMIT",
            rich_help_panel=PARTS,
        ),
    ] = False,
    web: Web = None,
    host: Host = None,
    port: Port = None,
    log_level: Level = LogLevel.INFO,
    log_format: Format = LogFormat.CONSOLE,
) -> None:
    """Run an app until Ctrl-C or SIGTERM.

    What is in flight is ended and committed first; a second signal ends it at once.
    Exit codes: 0 stopped, 1 failed while running, 2 usage or configuration, 3 could not start.
    """
    from evkafka.cli.env_file import load_env_file
    from evkafka.cli.impl.run import RunOptions, run_app

    if reload and workers > 1:
        raise ConfigError("--reload watches one process: leave --workers out, or --reload")
    load_env_file(env_file)
    options = RunOptions(
        target,
        app_dir=app_dir,
        factory=factory,
        log_level=log_level.value,
        json_log=log_format is LogFormat.JSON,
        loop=loop.value,
        only=tuple(only or ()),
        exclude=tuple(exclude or ()),
        web=web,
        host=host,
        port=port,
        bootstrap_servers=bootstrap_servers,
        reset_dead_letter_limit=reset_dead_letter_limit,
        workers=workers,
    )
    if reload:
        from evkafka.cli.impl.reload import run_reloading

        raise typer.Exit(run_reloading(options, reload_dir or ()))
    if workers > 1:
        from evkafka.cli.impl.workers import run_workers

        raise typer.Exit(run_workers(options))
    run_app(options)
