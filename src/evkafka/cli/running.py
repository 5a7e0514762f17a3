"""The commands `run` and `dev`, and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evkafka.cli.options import DEVELOP, RUN, AppDir, EnvFile, Factory, Format, Level, LogFormat, LogLevel, Loop, Target
from evkafka.exceptions import ConfigError

PROCESSES = "Processes"
PARTS = "Parts of the app"
WEB = "The web part"

Only = Annotated[
    list[str] | None,
    typer.Option(
        help="Run this consumer; may be repeated. Default: all.",
        metavar="CONSUMER",
        envvar="EVKAFKA_ONLY",
        show_default=False,
        rich_help_panel=PARTS,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        help="Do not run this consumer; may be repeated.",
        metavar="CONSUMER",
        envvar="EVKAFKA_EXCLUDE",
        show_default=False,
        rich_help_panel=PARTS,
    ),
]
Web = Annotated[
    bool | None,
    typer.Option(
        "--web/--no-web",
        help="Serve contract page, health and metrics. Default: what the app says.",
        envvar="EVKAFKA_WEB",
        show_default=False,
        rich_help_panel=WEB,
    ),
]
Host = Annotated[
    str | None,
    typer.Option(
        help="The address to listen on; 0.0.0.0 for every network. Default: what the app says.",
        envvar="EVKAFKA_HOST",
        show_default=False,
        rich_help_panel=WEB,
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        help="The port; 0 takes a free one. Default: PORT in the environment, else what the app says.",
        envvar="EVKAFKA_PORT",
        min=0,
        max=65535,
        show_default=False,
        rich_help_panel=WEB,
    ),
]
ReloadDir = Annotated[
    list[Path] | None,
    typer.Option(
        help="Watch this directory; may be repeated. Default: --app-dir.",
        metavar="DIR",
        envvar="EVKAFKA_RELOAD_DIR",
        show_default=False,
        rich_help_panel=PROCESSES,
    ),
]
EventLoop = Annotated[
    Loop,
    typer.Option(
        help="The event loop; auto is uvloop where that is installed.",
        envvar="EVKAFKA_LOOP",
        case_sensitive=False,
        rich_help_panel=PROCESSES,
    ),
]


def add_to(app: typer.Typer) -> None:
    app.command(
        "dev",
        short_help="Run an app with a Kafka of its own, its topics, and reload.",
        epilog="Example: evkafka dev shop.main:app",
        rich_help_panel=DEVELOP,
    )(dev_command)
    app.command(
        "run",
        epilog="Example: evkafka run shop.main:app --workers 4 --log-format json",
        rich_help_panel=RUN,
    )(run_command)


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
    from evkafka.cli.environment_file import load_env_file
    from evkafka.cli.run import RunOptions, run_app

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
        from evkafka.cli.reload import run_reloading

        raise typer.Exit(run_reloading(options, reload_dir or ()))
    if workers > 1:
        from evkafka.cli.workers import run_workers

        raise typer.Exit(run_workers(options))
    run_app(options)


def dev_command(
    target: Target,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    env_file: EnvFile = None,
    reload: Annotated[
        bool,
        typer.Option(
            "--reload/--no-reload",
            help="Start anew when a file changes.",
            envvar="EVKAFKA_RELOAD",
            rich_help_panel=PROCESSES,
        ),
    ] = True,
    reload_dir: ReloadDir = None,
    loop: EventLoop = Loop.AUTO,
    only: Only = None,
    exclude: Exclude = None,
    broker_port: Annotated[
        int | None,
        typer.Option(
            help="The broker's port on 127.0.0.1. Default: 9092, or a free one where that is taken.",
            min=0,
            max=65535,
            envvar="EVKAFKA_BROKER_PORT",
            show_default=False,
            rich_help_panel="The broker",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Keep topics and offsets here. Without it they go with the broker.",
            metavar="DIR",
            envvar="EVKAFKA_BROKER_DATA",
            file_okay=False,
            show_default=False,
            rich_help_panel="The broker",
        ),
    ] = None,
    bootstrap_servers: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Start no broker, use this one.",
            show_default=False,
            rich_help_panel="The broker",
        ),
    ] = None,
    partitions: Annotated[
        int,
        typer.Option(help="Of topics that are made.", min=1, envvar="EVKAFKA_PARTITIONS", rich_help_panel="The broker"),
    ] = 3,
    web: Web = None,
    host: Host = None,
    port: Port = None,
    log_level: Level = LogLevel.INFO,
    log_format: Format = LogFormat.CONSOLE,
) -> None:
    """Run an app with everything around it: a real Kafka, its topics, its page, and a reload at each change.

    All of the app's consumers and producers go to that broker, without login; nothing else is touched.
    """
    from evkafka.cli.dev import can_serve, run_dev
    from evkafka.cli.environment_file import load_env_file
    from evkafka.cli.run import RunOptions

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
        web=can_serve() if web is None else web,
        host=host,
        port=port,
        bootstrap_servers=bootstrap_servers,
        dev=partitions,
    )
    code = run_dev(options, reload=reload, directories=reload_dir or (), broker_port=broker_port, data=data)
    raise typer.Exit(code)
