"""Prepares a given app for a run: its consumer reads the run's topic, and its attempts are recorded."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from evkafka.app import EVKafkaApp
from evkafka.config import consumer_settings
from evkafka.config.redirect import Redirect
from evkafka.config.settings import ConsumerSettings, TopicSettings
from evkafka.context import App, Context
from evkafka.exceptions import ConfigError
from evkafka.middleware import DEFAULT_STACK, Middleware
from evkafka.outcomes import Outcome, Retry, Unmatched
from evkafka.verify.history import History

if TYPE_CHECKING:
    from evkafka.service.plan import DeclaredConsumer
    from evkafka.verify.worker_task import WorkerTask


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
        self.history.write_entry("begin", *address)
        try:
            await self.app(context)
        except asyncio.CancelledError:
            self.history.write_entry("cut", *address)
            raise
        except Outcome as outcome:
            self.history.write_entry("fail" if isinstance(outcome, Retry) else "end", *address)
            raise
        except BaseException:
            self.history.write_entry("fail", *address)
            raise
        match context.outcome:
            case Unmatched():
                self.history.write_entry("pass", *address)
            case Retry():
                self.history.write_entry("fail", *address)
            case _:
                self.history.write_entry("end", *address)


def instrument_app(app: EVKafkaApp, task: WorkerTask, history: History) -> None:
    """Make one of the app's consumers read the run's topic. The other consumers and the web part are removed.

    Raises:
        ConfigError: the consumer cannot be chosen, or a key of `WorkerTask.config` is invalid.
    """
    name = choose_consumer(app, task.consumer)
    declared = app.consumers[name]
    stack = DEFAULT_STACK if declared.middleware is None else declared.middleware
    redirect = Redirect(task.bootstrap_servers, keep_login=not task.own_broker)
    recorded = replace(
        declared,
        settings=_consumer_settings_for_run(
            declared.settings, choose_app_topic_to_imitate(declared, task.app_topic), task
        ),
        middleware=(Middleware(RecordedAttempts, history), *stack),
    ).redirected(redirect)
    app.replace_consumers_and_producers([recorded], [one.redirected(redirect) for one in app.producers.values()])
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


def choose_app_topic_to_imitate(declared: DeclaredConsumer, topic: str | None) -> TopicSettings | None:
    """The topic of the app whose event type and format the run's topic has. None if the consumer reads several, and
    all have JSON.

    Raises:
        ConfigError: the consumer does not read this topic; or it reads several, a format is declared for some, and none
            was given.
    """
    settings = declared.settings
    names = ", ".join(repr(one.name) for one in settings.topics) or f"those of the pattern {settings.topic_pattern}"
    pattern = settings.topic_pattern
    if topic is not None:
        if pattern is not None and pattern.match(topic):
            return TopicSettings(topic)
        for one in settings.topics:
            if one.name == topic:
                return one
        raise ConfigError(f"consumer {declared.name!r} does not read topic {topic!r}; its topics: {names}")
    if len(settings.topics) == 1:
        return settings.topics[0]
    if declared.formats() is not None:
        raise ConfigError(
            f"consumer {declared.name!r} reads several topics and has a value_format: choose one with --topic, whose"
            f" format and schema the records get; its topics: {names}"
        )
    return None


def _consumer_settings_for_run(
    settings: ConsumerSettings, topic: TopicSettings | None, task: WorkerTask
) -> ConsumerSettings:
    """The app's own settings with topic and group of the run. Keys from the command line replace them."""
    of_run: Any = {
        "topics": [task.topic],
        "group_id": task.group_id,
        "bootstrap_servers": task.bootstrap_servers,
        "auto_offset_reset": "earliest",
    }
    given = consumer_settings({**of_run, **task.config})
    changes = {name: getattr(given, _settings_field_of_config_key(name)) for name in task.config}
    return replace(
        settings,
        topics=(replace(topic, name=task.topic) if topic is not None else TopicSettings(task.topic),),
        topic_pattern=None,
        group_id=task.group_id,
        group_instance_id=None,
        auto_offset_reset="earliest",
        required=True,
        **{_settings_field_of_config_key(name): value for name, value in changes.items()},
    )


def _settings_field_of_config_key(key: str) -> str:
    return f"{key.removesuffix('_ms')}_s" if key.endswith("_ms") else key
