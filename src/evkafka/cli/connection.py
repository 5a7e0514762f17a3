"""Which cluster a command means: an app's, a file's, the one at an address, or what the environment says."""

from __future__ import annotations

import json
import logging
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from evkafka.app import EVKafkaApp
from evkafka.cli.app_loader import load_app
from evkafka.cli.impl.run import unknown
from evkafka.cli.options import Where
from evkafka.config import (
    consumer_settings,
    dead_letter_producer_settings,
    dead_letter_topic,
    producer_settings,
)
from evkafka.config.settings import ConnectionSettings, ConsumerSettings, ErrorPolicySettings
from evkafka.dlq import SourceTopics
from evkafka.dlq.targets import source_topics
from evkafka.exceptions import ConfigError
from evkafka.handler import TYPE_HEADER
from evkafka.service.plan import DeclaredConsumer


@dataclass(frozen=True, slots=True)
class FoundCluster:
    """The cluster, and the app where one was named.

    Attributes:
        consumer: the one that was named, or the only one that could be meant.
        type_header: the header that holds the event type.
    """

    connection: ConnectionSettings
    app: EVKafkaApp | None = None
    consumer: DeclaredConsumer | None = None
    type_header: str = TYPE_HEADER


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """A dead-letter topic, and where it is.

    Attributes:
        found: its cluster, and the consumer that writes to it where an app was named.
        sources: the topics of the consumer that writes to it; None while they are not known.
    """

    topic: str
    found: FoundCluster
    sources: SourceTopics | None = None


def find(where: Where, *, topic: str | None = None) -> FoundCluster:
    """
    Args:
        topic: what the command is about; it tells which of an app's clusters is meant.

    Raises:
        ConfigError: nothing says where, or more than one thing, or what was said leads nowhere.
    """
    match _said(where):
        case EVKafkaApp() as app:
            return _of_app(app, where.consumer, topic)
        case ConsumerSettings() as settings:
            return FoundCluster(settings.connection)
        case connection:
            return FoundCluster(connection)


def find_dead_letters(where: Where, topic: str | None) -> DeadLetters:
    """
    Args:
        topic: the dead-letter topic; None for the only one that the app has.

    Raises:
        ConfigError: as `find`; or the topic was left out, and it cannot be known; or no consumer writes to it.
    """
    said = _said(where)
    if isinstance(said, EVKafkaApp):
        return _written_by(said, topic or _only_topic(said, where.consumer), where.consumer)
    if topic is None:
        raise ConfigError("name the dead-letter topic; only with --app it may be left out")
    if isinstance(said, ConsumerSettings):
        sources = source_topics(said) if said.topics or said.topic_pattern else None
        return DeadLetters(topic, FoundCluster(dead_letter_producer_settings(said).connection), sources)
    return DeadLetters(topic, FoundCluster(said))


def _said(where: Where) -> EVKafkaApp | ConsumerSettings | ConnectionSettings:
    """The one way in which every command finds the cluster: what is named on the command line, else the environment."""
    quiet()
    said = [one for one in (where.app, where.config, where.bootstrap_servers) if one is not None]
    if len(said) > 1:
        raise ConfigError("say one of them: --app MODULE:APP, --config FILE or --bootstrap-servers HOST:PORT")
    if where.config is not None:
        return _of_file(where.config)
    if where.bootstrap_servers is not None:
        return _at(where.bootstrap_servers)
    target = where.app or os.environ.get("EVKAFKA_APP")
    return the_app(target, where) if target is not None else _outside()


def quiet() -> None:
    """What the client says there, our errors say."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def the_app(target: str, where: Where) -> EVKafkaApp:
    """
    Raises:
        ConfigError: it is none, or another kind of app.
    """
    loaded = load_app(target, where.app_dir, factory=where.factory)
    if not isinstance(loaded, EVKafkaApp):
        raise ConfigError(f"{target!r} is no EVKafkaApp: its consumers are looked into")
    return loaded


def _at(servers: str) -> ConnectionSettings:
    """These brokers, with the login that the environment has, where it has one."""
    return producer_settings({**_from_outside(), "bootstrap_servers": servers}).connection


def _outside() -> ConnectionSettings:
    found = _from_outside()
    if "bootstrap_servers" not in found:
        raise ConfigError(
            "say where Kafka is: --app MODULE:APP, --bootstrap-servers HOST:PORT, --config FILE,"
            " or EVKAFKA_BOOTSTRAP_SERVERS in the environment"
        )
    return producer_settings(found).connection


def _from_outside() -> dict[str, object]:
    try:
        import pydantic_settings  # noqa: F401 - is the extra there?
    except ImportError:
        servers = os.environ.get("EVKAFKA_BOOTSTRAP_SERVERS")
        return {"bootstrap_servers": servers} if servers else {}
    from evkafka.environment import producer_config

    return dict(producer_config())


def _of_file(path: Path) -> ConsumerSettings:
    """A consumer's configuration, under its keys, as TOML, YAML or JSON. Its topics are empty where it names none."""
    try:
        text = path.read_text(encoding="utf-8")
        match path.suffix:
            case ".toml":
                told = tomllib.loads(text)
            case ".yaml" | ".yml":
                import yaml

                told = yaml.safe_load(text)
            case _:
                told = json.loads(text)
    except OSError as error:
        raise ConfigError(f"--config {path}: the file cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"--config {path}: {error}") from error
    if not isinstance(told, Mapping):
        raise ConfigError(f"--config {path}: it must hold a consumer's keys, `bootstrap_servers` and the like")
    if "topics" in told or "topic_pattern" in told:
        return consumer_settings(told)
    return replace(consumer_settings({"topics": ["any"], **told}), topics=())


# ---------------------------------------------------------------------------- an app's


def _of_app(app: EVKafkaApp, name: str | None, topic: str | None) -> FoundCluster:
    if name is not None:
        if name not in app.consumers:
            raise ConfigError(f"--consumer {name}: {unknown('consumer', name, tuple(app.consumers))}")
        return _found(app, app.consumers[name])
    readers = [one for one in app.consumers.values() if topic is None or reads(one, topic)]
    if len(readers) == 1:
        return _found(app, readers[0])
    places = {one.settings.connection.bootstrap_servers: one for one in readers or app.consumers.values()}
    for producer in () if readers else app.producers.values():
        connection = producer_settings(producer.config).connection
        if topic is None or topic in topics_of(app, producer.name):
            return FoundCluster(connection, app)
    if len(places) == 1:
        [declared] = places.values()
        return FoundCluster(declared.settings.connection, app, None, declared.type_header)
    if not places:
        raise ConfigError("this app has neither consumers nor producers, so it names no cluster")
    names = ", ".join(map(repr, app.consumers))
    raise ConfigError(f"this app's consumers are at several clusters: say with --consumer which one is meant: {names}")


def _found(app: EVKafkaApp, declared: DeclaredConsumer) -> FoundCluster:
    return FoundCluster(declared.settings.connection, app, declared, declared.type_header)


def reads(declared: DeclaredConsumer, topic: str) -> bool:
    settings = declared.settings
    if settings.topic_pattern is not None:
        return settings.topic_pattern.match(topic) is not None
    return any(topic == one.name for one in settings.topics)


def topics_of(app: EVKafkaApp, producer: str) -> set[str]:
    """Where a producer's events go."""
    declared = app.producers[producer]
    own = declared.config.get("topic")
    return {topic for one in declared.sender.endpoints if (topic := one.topic or own) is not None}


# ---------------------------------------------------------------------------- the dead letters of an app's consumers


def _only_topic(app: EVKafkaApp, consumer: str | None) -> str:
    found = {
        dead_letter_topic(
            policy, topic=source.name, group_id=declared.settings.group_id, event_type=event_type or "unmatched"
        )
        for declared in app.consumers.values()
        if consumer in (None, declared.name)
        for event_type, policy in declared.policies()
        if policy.then == "dead_letter"
        for source in declared.settings.topics
    }
    if len(found) == 1:
        return found.pop()
    which = f"this app has {', '.join(map(repr, sorted(found)))}" if found else "this app's policies name none"
    raise ConfigError(f"name the dead-letter topic: {which}")


def _written_by(app: EVKafkaApp, topic: str, name: str | None) -> DeadLetters:
    found = {
        declared.name: (declared, policy)
        for declared in app.consumers.values()
        for event_type, policy in declared.policies()
        if _writes_to(declared, policy, event_type or "unmatched", topic)
    }
    if name is not None:
        if name not in app.consumers:
            raise ConfigError(f"--consumer {name}: {unknown('consumer', name, tuple(app.consumers))}")
        found = {name: found.get(name, (app.consumers[name], app.consumers[name].settings.on_error))}
    if not found:
        raise ConfigError(
            f"no consumer of this app writes dead letters to {topic!r}; say which one is meant with --consumer:"
            f" {', '.join(map(repr, app.consumers)) or 'it has none'}"
        )
    if len(found) > 1:
        raise ConfigError(f"{', '.join(map(repr, found))} write to {topic!r}: say which one is meant with --consumer")
    [(declared, policy)] = found.values()
    connection = dead_letter_producer_settings(declared.settings, policy).connection
    there = FoundCluster(connection, app, declared, declared.type_header)
    return DeadLetters(topic, there, source_topics(declared.settings_with_dead_letter_topics()))


def _writes_to(declared: DeclaredConsumer, policy: ErrorPolicySettings, event_type: str, topic: str) -> bool:
    settings = declared.settings

    def name(source: str) -> str:
        return dead_letter_topic(policy, topic=source, group_id=settings.group_id, event_type=event_type)

    if settings.topic_pattern is None:
        return any(name(source.name) == topic for source in settings.topics)
    marker = "evkafka-any-topic"
    before, _, behind = name(marker).partition(marker)
    source = topic.removeprefix(before).removesuffix(behind)
    return name(source) == topic and settings.topic_pattern.match(source) is not None
