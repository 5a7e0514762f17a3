"""Changes that the options of `evkafka run` and `evkafka dev` make to an app before it starts."""

from __future__ import annotations

import os
from dataclasses import replace

from evkafka.app import EVKafkaApp
from evkafka.cli.impl.run_options import RunOptions
from evkafka.cli.redirect import redirect_app_to_brokers
from evkafka.cli.suggestions import unknown_consumer_text
from evkafka.exceptions import ConfigError
from evkafka.service.plan import DeclaredConsumer


def apply_options_to_app(app: EVKafkaApp, options: RunOptions) -> None:
    """Change the app as the command line asks.

    Raises:
        ConfigError: the app has no such consumer, or none is left to run.
    """
    if options.reset_dead_letter_limit:
        app.reset_dead_letter_limit = True
    _choose_consumers(app, options.only, options.exclude)
    if options.bootstrap_servers is not None:
        redirect_app_to_brokers(app, options.bootstrap_servers, keep_login=options.new_topic_partitions is None)
    _override_web(app, options)
    if options.workers > 1:
        _add_worker_number_to_ids(app, options.worker)


def _choose_consumers(app: EVKafkaApp, only: tuple[str, ...], exclude: tuple[str, ...]) -> None:
    names = tuple(app.consumers)
    for option, given in (("--only", only), ("--exclude", exclude)):
        for name in given:
            if name not in names:
                raise ConfigError(f"{option} {name}: {unknown_consumer_text(name, names)}")
    kept = [name for name in names if (not only or name in only) and name not in exclude]
    if names and not kept:
        raise ConfigError("--only and --exclude leave no consumer of this app to run")
    app.replace_consumers_and_producers(consumers=[app.consumers[name] for name in kept])


def _override_web(app: EVKafkaApp, options: RunOptions) -> None:
    """Only the first worker serves the web part. Without `--port`, the variable PORT counts, which platforms set."""
    if options.web is not None or options.host is not None or options.port is not None:
        app.web = options.web is not False
    if not app.web:
        return
    if options.worker > 1:
        app.web = False
        return
    app.web_host = options.host or app.web_host
    port = options.port if options.port is not None else _port_from_environment()
    app.web_port = app.web_port if port is None else port


def _port_from_environment() -> int | None:
    text = os.environ.get("PORT")
    if not text:
        return None
    if not text.isdecimal() or int(text) > 65535:
        raise ConfigError(f"PORT is {text!r} in the environment: set a number up to 65535, or unset it")
    return int(text)


def _add_worker_number_to_ids(app: EVKafkaApp, worker: int) -> None:
    """Give each worker ids of its own: of two members with the same `group_instance_id`, or two producers with the same
    `transactional_id`, each fences the other off."""

    def numbered(id_: str | None) -> str | None:
        return None if id_ is None else f"{id_}-{worker}"

    def changed(declared: DeclaredConsumer) -> DeclaredConsumer:
        settings = declared.settings
        settings = replace(
            settings,
            group_instance_id=numbered(settings.group_instance_id),
            transactional_id=numbered(settings.transactional_id),
        )
        return replace(declared, settings=settings)

    app.replace_consumers_and_producers(consumers=map(changed, app.consumers.values()))
