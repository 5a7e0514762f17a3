"""`evkafka run`: its options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evkafka.cli.command import command
from evkafka.cli.env_file import load_env_file
from evkafka.cli.options import (
    RUN,
    AppOptions,
    LogFormat,
    OutputOptions,
    ProcessOptions,
    cluster_option,
    consumer_option,
    process_option,
)
from evkafka.exceptions import ConfigError

if TYPE_CHECKING:
    from evkafka.cli.impl.run_options import RunOptions

Workers = Annotated[
    int,
    process_option(
        "--workers",
        "-w",
        help="The number of processes, members of one group; a failed one is restarted.",
        metavar="N",
        envvar="EVKAFKA_WORKERS",
        min=1,
        max=256,
    ),
]
Reload = Annotated[
    bool,
    process_option("--reload", "-r", help="Restart when a file changes; for development.", envvar="EVKAFKA_RELOAD"),
]
Servers = Annotated[
    str | None,
    cluster_option(
        metavar="HOST:PORT", help="Use these brokers for all consumers and producers instead of the app's own."
    ),
]
ResetDeadLetterLimit = Annotated[
    bool,
    consumer_option(
        "--reset-dead-letter-limit",
        help="Start again after a dead_letter_limit has stopped the app.",
        envvar="EVKAFKA_RESET_DEAD_LETTER_LIMIT",
    ),
]


@command("run", panel=RUN, epilog="Example: evkafka run shop.main:app --workers 4 --log-format json")
def run_command(
    *,
    app: AppOptions,
    workers: Workers = 1,
    reload: Reload = False,
    process: ProcessOptions,
    bootstrap_servers: Servers = None,
    reset_dead_letter_limit: ResetDeadLetterLimit = False,
    output: OutputOptions,
) -> None:
    """Run an app until Ctrl-C or SIGTERM.

    The first signal lets records in flight finish, and commits; the second one stops at once.
    Exit codes: 0 stopped, 1 failed while running, 2 usage or configuration, 3 could not start.
    """
    if reload and workers > 1:
        raise ConfigError("--reload and --workers cannot be combined: --reload runs one process")
    load_env_file(app.env_file)
    options = create_run_options(
        app,
        process,
        output,
        bootstrap_servers=bootstrap_servers,
        reset_dead_letter_limit=reset_dead_letter_limit,
        workers=workers,
    )
    if reload:
        from evkafka.cli.impl.reload import run_reloading

        raise typer.Exit(run_reloading(options, process.reload_dir or ()))
    if workers > 1:
        from evkafka.cli.impl.workers import run_workers

        raise typer.Exit(run_workers(options))
    from evkafka.cli.impl.run import run_app

    run_app(options)


def create_run_options(app: AppOptions, process: ProcessOptions, output: OutputOptions, **others: Any) -> RunOptions:
    """The options as plain values, which are passed on to worker processes."""
    from evkafka.cli.impl.run_options import RunOptions

    return RunOptions(
        app.target,
        app_dir=app.app_dir,
        factory=app.factory,
        log_level=output.log_level.value,
        json_log=output.log_format is LogFormat.JSON,
        loop=process.loop.value,
        only=tuple(process.only or ()),
        exclude=tuple(process.exclude or ()),
        web=output.web,
        host=output.host,
        port=output.port,
        **others,
    )
