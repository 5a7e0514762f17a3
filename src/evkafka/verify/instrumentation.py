"""Prepares a given app for a run: its consumer reads the run's topic, and its attempts are recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from evkafka.app import EVKafkaApp
from evkafka.config import consumer_settings
from evkafka.config.settings import ConnectionSettings, ConsumerSettings, TopicSettings
from evkafka.context import App, Context
from evkafka.exceptions import ConfigError
from evkafka.middleware import JsonTypedDecoderMiddleware, Middleware
from evkafka.outcomes import Outcome, Retry, Unmatched
from evkafka.verify.history import History

if TYPE_CHECKING:
    from evkafka.verify.worker_task import WorkerTask

_LOGIN = ("security_protocol", "ssl_", "sasl_")


class RecordedAttempts:
    """Outermost middleware: records each attempt and its end in the history."""

    def __init__(self, app: App, history: History) -> None:
        self.app = app
        self.history = history

    async def __call__(self, context: Context) -> None:
        record = context.record
        address = (
            record.partition,
            record.offset,
            None if record.key is None else record.key.decode("utf-8", "replace"),
        )
        self.history.note("begin", *address)
        try:
            await self.app(context)
        except asyncio.CancelledError:
            self.history.note("cut", *address)
            raise
        except Outcome as outcome:
            self.history.note("fail" if isinstance(outcome, Retry) else "end", *address)
            raise
        except BaseException:
            self.history.note("fail", *address)
            raise
        match context.outcome:
            case Unmatched():
                self.history.note("pass", *address)
            case Retry():
                self.history.note("fail", *address)
            case _:
                self.history.note("end", *address)


def instrument(app: EVKafkaApp, task: WorkerTask, history: History) -> None:
    """Make one of the app's consumers read the run's topic. The other consumers and the web part are removed.

    Raises:
        ConfigError: the consumer cannot be chosen, or a key of `WorkerTask.config` is invalid.
    """
    name = choose_consumer(app, task.consumer)
    declared = app.consumers[name]
    stack = declared.middleware
    if stack is None:
        stack = (Middleware(JsonTypedDecoderMiddleware),)
    recorded = replace(
        declared,
        settings=_settings(declared.settings, task),
        middleware=(Middleware(RecordedAttempts, history), *stack),
    )
    app.redeclare(
        [recorded], [replace(one, config=_producer_config(one.config, task)) for one in app.producers.values()]
    )
    app.web = app.expose_asyncapi = False


def choose_consumer(app: EVKafkaApp, consumer: str | None) -> str:
    """The name of the consumer to verify.

    Raises:
        ConfigError: there is none of that name, or there are several and no name was given.
    """
    names = list(app.consumers)
    if consumer is None and len(names) == 1:
        return names[0]
    if consumer in names:
        return str(consumer)
    shown = ", ".join(map(repr, names)) or "none"
    if consumer is None:
        raise ConfigError(f"the app's consumers are {shown}: choose one with --consumer")
    raise ConfigError(f"the app has no consumer {consumer!r}; its consumers: {shown}")


def _settings(settings: ConsumerSettings, task: WorkerTask) -> ConsumerSettings:
    """The app's own settings with topic, group and brokers of the run. Keys from the command line replace them."""
    of_run: Any = {
        "topics": [task.topic],
        "group_id": task.group_id,
        "bootstrap_servers": task.bootstrap_servers,
        "auto_offset_reset": "earliest",
    }
    given = consumer_settings({**of_run, **task.config})
    changes = {name: getattr(given, _field(name)) for name in task.config}
    return replace(
        settings,
        connection=_connection(settings.connection, given.connection, task),
        topics=(TopicSettings(task.topic, event_type=_only_type(settings)),),
        topic_pattern=None,
        group_id=task.group_id,
        group_instance_id=None,
        auto_offset_reset="earliest",
        required=True,
        **{_field(name): value for name, value in changes.items()},
    )


def _field(key: str) -> str:
    return f"{key.removesuffix('_ms')}_s" if key.endswith("_ms") else key


def _only_type(settings: ConsumerSettings) -> str | None:
    """The event type of records without one, if the consumer reads only one topic."""
    return settings.topics[0].event_type if len(settings.topics) == 1 else None


def _connection(own: ConnectionSettings, run: ConnectionSettings, task: WorkerTask) -> ConnectionSettings:
    options = {key: value for key, value in own.options.items() if not (task.own_broker and key.startswith(_LOGIN))}
    return replace(own, bootstrap_servers=run.bootstrap_servers, options=options)


def _producer_config(config: Mapping[str, Any], task: WorkerTask) -> Any:
    others = {key: value for key, value in config.items() if not (task.own_broker and key.startswith(_LOGIN))}
    return {**others, "bootstrap_servers": task.bootstrap_servers}
