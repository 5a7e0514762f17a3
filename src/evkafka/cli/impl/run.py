"""`evkafka run`: runs an app in this process, which may be one worker of several."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Protocol

from evkafka.app import EVKafkaApp
from evkafka.cli.app_loader import RunnableApp, load_app
from evkafka.cli.exit_codes import USAGE
from evkafka.cli.impl.app_overrides import apply_options_to_app
from evkafka.cli.impl.run_options import RunOptions, WebPort
from evkafka.cli.logging import configure_logging
from evkafka.exceptions import ConfigError
from evkafka.service.process import exit_while_guard_watches, run_to_exit_code
from evkafka_command.startup_signals import end_with_system_exit

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


class Supervisor(Protocol):
    """Whoever has started this process. It receives all reports before the app starts."""

    def report_stop_limit_s(self, limit_s: float) -> None:
        """How long a stop of the app may take."""

    def report_web_port(self, port: WebPort) -> None:
        """Where `evkafka dev` serves the web part."""


def run_app(options: RunOptions, *, supervisor: Supervisor | None = None) -> None:
    """Run the app. Returns after a clean stop.

    Raises:
        ConfigError: the target is not an app, or an option does not fit it.
        SystemExit: with the app's exit code, if that is not 0.
    """
    loop_factory = find_loop_factory(options.loop)
    app = load_app(
        options.target, options.app_dir, factory=options.factory, show_traceback=options.log_level == "debug"
    )
    configure_logging(
        options.log_level, as_json=options.json_log, worker=options.worker if options.workers > 1 else None
    )
    freeze_heap()
    if not isinstance(app, EVKafkaApp):
        _call_run_method_of_non_evkafka_app(app, options)
        return
    app.started_as = options.app_options_for_other_commands
    if options.new_topic_partitions is None:
        apply_options_to_app(app, options)
    else:
        from evkafka.cli.impl.dev_setup import prepare_app_for_dev

        port = prepare_app_for_dev(app, options)
        if supervisor is not None and port is not None:
            supervisor.report_web_port(port)
    if supervisor is not None:
        supervisor.report_stop_limit_s(app.stop_limit_s())
    guard = app.start_process_stop_guard()
    exit_while_guard_watches(
        run_to_exit_code(app.serve, loop_factory=loop_factory, guard=guard, invalid_config_code=USAGE)
    )


def freeze_heap() -> None:
    """Exclude what exists now from garbage collections: modules, models, the app. It lives as long as the process."""
    gc.collect()
    gc.freeze()


def _call_run_method_of_non_evkafka_app(app: RunnableApp, options: RunOptions) -> None:
    """Run an app of another kind, which has `run` and `serve`. The options that change an EVKafkaApp are refused."""
    given = {
        "--reset-dead-letter-limit": options.reset_dead_letter_limit,
        "--only": options.only,
        "--exclude": options.exclude,
        "--bootstrap-servers": options.bootstrap_servers,
        "--port": options.port,
        "--host": options.host,
        "--loop uvloop": options.loop == "uvloop",
    }
    for option, value in given.items():
        if value:
            raise ConfigError(f"{option} needs an EVKafkaApp, and {options.target!r} is not one")
    end_with_system_exit()
    app.run()


def find_loop_factory(name: str) -> LoopFactory | None:
    """The factory of the event loop; None for asyncio's own.

    Raises:
        ConfigError: the name is `uvloop`, and uvloop is not installed.
    """
    if name == "asyncio":
        return None
    try:
        import uvloop
    except ImportError as error:
        if name == "auto":
            return None
        raise ConfigError("--loop uvloop: uvloop is not installed: pip install 'evkafka[uvloop]'") from error
    factory: LoopFactory = uvloop.new_event_loop
    return factory
