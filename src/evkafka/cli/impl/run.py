"""`evkafka run`: find the app, lay over it what was said, run it. Alone, or as one process of several."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evkafka.app import EVKafkaApp
from evkafka.cli.app_loader import RunnableApp, load_app
from evkafka.cli.logging import log_from
from evkafka.exceptions import ConfigError
from evkafka.service.plan import DeclaredConsumer, DeclaredProducer
from evkafka.service.process import end_process, run_to_exit_code
from evkafka_command import end_with_system_exit

Loops = Callable[[], asyncio.AbstractEventLoop]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What `evkafka run` was told.

    Attributes:
        loop: `auto`, `asyncio` or `uvloop`.
        only, exclude: names of consumers.
        web: True and False where it was said; None for what the app says.
        host, port: where the web part listens, None for what the app says.
        bootstrap_servers: instead of the app's own, for all of its consumers and producers.
        worker, workers: which process of how many; 1 of 1 where there is one.
        dev: make the app's topics before it starts, with so many partitions; None for no.
    """

    target: str
    app_dir: Path = Path()
    factory: bool = False
    log_level: str = "info"
    json_log: bool = False
    loop: str = "auto"
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    web: bool | None = None
    host: str | None = None
    port: int | None = None
    bootstrap_servers: str | None = None
    reset_dead_letter_limit: bool = False
    worker: int = 1
    workers: int = 1
    dev: int | None = None


def run_app(options: RunOptions, *, tell_limit: Callable[[float], object] | None = None) -> None:
    """Returns after a clean stop.

    Args:
        tell_limit: is told how long a stop of the app may take, in seconds, once that is known.

    Raises:
        ConfigError: the target is not an app, or what was said does not fit it.
        SystemExit: with the app's exit code, where that is not 0.
    """
    loops = loop_factory(options.loop)
    app = load_app(
        options.target, options.app_dir, factory=options.factory, show_traceback=options.log_level == "debug"
    )
    log_from(options.log_level, as_json=options.json_log, worker=options.worker if options.workers > 1 else None)
    if not isinstance(app, EVKafkaApp):
        _run_other(app, options)
        return
    adjust(app, options)
    if options.dev is not None:
        from evkafka.cli.impl.dev import prepare

        prepare(app, options)
    if tell_limit is not None:
        tell_limit(app.stop_limit_s())
    guard = app.take_process()
    end_process(run_to_exit_code(app.serve, loop_factory=loops, guard=guard))


def _run_other(app: RunnableApp, options: RunOptions) -> None:
    """Whatever has run() and serve(): what is for an EVKafkaApp cannot be laid over it."""
    said = {
        "--reset-dead-letter-limit": options.reset_dead_letter_limit,
        "--only": options.only,
        "--exclude": options.exclude,
        "--bootstrap-servers": options.bootstrap_servers,
        "--port": options.port,
        "--host": options.host,
        "--loop uvloop": options.loop == "uvloop",
    }
    for option, value in said.items():
        if value:
            raise ConfigError(f"{option} is for an EVKafkaApp, and {options.target!r} is none")
    end_with_system_exit()
    app.run()


def loop_factory(name: str) -> Loops | None:
    """What makes the event loop; None for asyncio's own.

    Raises:
        ConfigError: uvloop was asked for, and is not installed.
    """
    if name == "asyncio":
        return None
    try:
        import uvloop
    except ImportError as error:
        if name == "auto":
            return None
        raise ConfigError("--loop uvloop: it is not installed: pip install 'evkafka[uvloop]'") from error
    made: Loops = uvloop.new_event_loop
    return made


# ---------------------------------------------------------------------------- laid over the app


def adjust(app: EVKafkaApp, options: RunOptions) -> None:
    """Lay over the app what was said on the command line.

    Raises:
        ConfigError: a consumer is named that the app has not, or none is left.
    """
    if options.reset_dead_letter_limit:
        app.reset_dead_letter_limit = True
    _choose_consumers(app, options.only, options.exclude)
    if options.bootstrap_servers is not None:
        redirect(app, options.bootstrap_servers, keep_login=options.dev is None)
    _place_web(app, options)
    if options.workers > 1:
        _name_members(app, options.worker)


def _choose_consumers(app: EVKafkaApp, only: tuple[str, ...], exclude: tuple[str, ...]) -> None:
    names = tuple(app.consumers)
    for option, given in (("--only", only), ("--exclude", exclude)):
        for name in given:
            if name not in names:
                raise ConfigError(f"{option} {name}: {unknown('consumer', name, names)}")
    kept = [name for name in names if (not only or name in only) and name not in exclude]
    if names and not kept:
        raise ConfigError("--only and --exclude leave no consumer of this app to run")
    app.redeclare(consumers=[app.consumers[name] for name in kept])


def unknown(what: str, name: str, names: tuple[str, ...]) -> str:
    """The end of a sentence about a name that is none of these."""
    import difflib

    shown = ", ".join(map(repr, names)) or "none"
    near = difflib.get_close_matches(name, names, n=1)
    return f"this app has no such {what}" + (f": did you mean {near[0]!r}?" if near else f"; its {what}s: {shown}")


_LOGIN = ("security_protocol", "ssl_", "sasl_")


def redirect(app: EVKafkaApp, servers: str, *, keep_login: bool) -> None:
    """Point all consumers and producers to these brokers."""
    from evkafka.config import producer_settings

    places = producer_settings({"bootstrap_servers": servers}).connection.bootstrap_servers

    def kept(key: str) -> bool:
        return keep_login or not key.startswith(_LOGIN)

    def redirected(declared: DeclaredConsumer) -> DeclaredConsumer:
        own = declared.settings.connection
        changed = replace(
            own,
            bootstrap_servers=places,
            options={key: value for key, value in own.options.items() if kept(key)},
            shown={key: value for key, value in own.shown.items() if kept(key)} | {"bootstrap_servers": servers},
        )
        return replace(declared, settings=replace(declared.settings, connection=changed))

    def redirected_producer(declared: DeclaredProducer) -> DeclaredProducer:
        config: Any = {key: value for key, value in declared.config.items() if kept(key)}
        return replace(declared, config=config | {"bootstrap_servers": servers})

    app.redeclare(
        consumers=map(redirected, app.consumers.values()),
        producers=map(redirected_producer, app.producers.values()),
    )


def _place_web(app: EVKafkaApp, options: RunOptions) -> None:
    """One process has the port, the first; without `--port`, `PORT` counts, as platforms set it."""
    if options.web is not None or options.host is not None or options.port is not None:
        app.web = options.web is not False
    if not app.web:
        return
    if options.worker > 1:
        app.web = False
        return
    app.web_host = options.host or app.web_host
    port = options.port if options.port is not None else _port_of_platform()
    app.web_port = app.web_port if port is None else port


def _port_of_platform() -> int | None:
    text = os.environ.get("PORT")
    if not text:
        return None
    if not text.isdecimal() or int(text) > 65535:
        raise ConfigError(f"PORT is {text!r} in the environment: give a number up to 65535, or leave it out")
    return int(text)


def _name_members(app: EVKafkaApp, worker: int) -> None:
    """Two members of one name would fence each other off."""

    def named(declared: DeclaredConsumer) -> DeclaredConsumer:
        instance = declared.settings.group_instance_id
        if instance is None:
            return declared
        return replace(declared, settings=replace(declared.settings, group_instance_id=f"{instance}-{worker}"))

    app.redeclare(consumers=map(named, app.consumers.values()))
