"""A given app, put into a run: its consumer reads the run's topic, with a journal around its handler."""

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
    from evkafka.verify.worker_task import Task

_LOGIN = ("security_protocol", "ssl_", "sasl_")


class RecordedAttempts:
    """Outermost middleware: notes each attempt, and how it ended."""

    def __init__(self, app: App, journal: History) -> None:
        self.app = app
        self.journal = journal

    async def __call__(self, context: Context) -> None:
        record = context.record
        at = (record.partition, record.offset, None if record.key is None else record.key.decode("utf-8", "replace"))
        self.journal.note("begin", *at)
        try:
            await self.app(context)
        except asyncio.CancelledError:
            self.journal.note("cut", *at)
            raise
        except Outcome as outcome:
            self.journal.note("fail" if isinstance(outcome, Retry) else "end", *at)
            raise
        except BaseException:
            self.journal.note("fail", *at)
            raise
        match context.outcome:
            case Unmatched():
                self.journal.note("pass", *at)
            case Retry():
                self.journal.note("fail", *at)
            case _:
                self.journal.note("end", *at)


def instrument(app: EVKafkaApp, task: Task, journal: History) -> None:
    """Point one of the app's consumers at the run's topic; the others, and the web part, are left out.

    Raises:
        ConfigError: which consumer is meant cannot be told, or a key of `Task.config` cannot work.
    """
    name = chosen(app, task.consumer)
    declared = app.consumers[name]
    stack = declared.middleware
    if stack is None:
        stack = (Middleware(JsonTypedDecoderMiddleware),)
    recorded = replace(
        declared,
        settings=_settings(declared.settings, task),
        middleware=(Middleware(RecordedAttempts, journal), *stack),
    )
    app.redeclare([recorded], [replace(one, config=_produced(one.config, task)) for one in app.producers.values()])
    app.web = app.expose_asyncapi = False


def chosen(app: EVKafkaApp, consumer: str | None) -> str:
    """The name of the consumer that is meant.

    Raises:
        ConfigError: there is none of that name, or several and no name was said.
    """
    names = list(app.consumers)
    if consumer is None and len(names) == 1:
        return names[0]
    if consumer in names:
        return str(consumer)
    shown = ", ".join(map(repr, names)) or "none"
    if consumer is None:
        raise ConfigError(f"the app's consumers are {shown}: say with --consumer which one is to be verified")
    raise ConfigError(f"the app has no consumer {consumer!r}; its consumers: {shown}")


def _settings(settings: ConsumerSettings, task: Task) -> ConsumerSettings:
    """The app's own, at the run's place, from the topic's beginning; what was said on the command line is laid over."""
    place: Any = {
        "topics": [task.topic],
        "group_id": task.group_id,
        "bootstrap_servers": task.bootstrap_servers,
        "auto_offset_reset": "earliest",
    }
    said = consumer_settings({**place, **task.config})
    changes = {name: getattr(said, _field(name)) for name in task.config}
    return replace(
        settings,
        connection=_connection(settings.connection, said.connection, task),
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
    """The type of a topic's records that carry none, where the consumer reads one topic only."""
    return settings.topics[0].event_type if len(settings.topics) == 1 else None


def _connection(own: ConnectionSettings, run: ConnectionSettings, task: Task) -> ConnectionSettings:
    options = {key: value for key, value in own.options.items() if not (task.own_broker and key.startswith(_LOGIN))}
    return replace(own, bootstrap_servers=run.bootstrap_servers, options=options)


def _produced(config: Mapping[str, Any], task: Task) -> Any:
    kept = {key: value for key, value in config.items() if not (task.own_broker and key.startswith(_LOGIN))}
    return {**kept, "bootstrap_servers": task.bootstrap_servers}
