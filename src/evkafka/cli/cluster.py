"""Which cluster a command means: an app's, a file's, the one at an address, or what the environment says."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

from evkafka.app import EVKafkaApp
from evkafka.cli.dlq_given import connection_of_file
from evkafka.cli.options import Where
from evkafka.cli.run import unknown
from evkafka.cli.target import load_app
from evkafka.config import producer_settings
from evkafka.declared import DeclaredConsumer
from evkafka.exceptions import ConfigError
from evkafka.handler import TYPE_HEADER
from evkafka.middleware import type_header
from evkafka.settings import ConnectionSettings


@dataclass(frozen=True, slots=True)
class Found:
    """The cluster, and the app where one was named.

    Attributes:
        consumer: the one that was named, or the only one that could be meant.
        type_header: the header that holds the event type.
    """

    connection: ConnectionSettings
    app: EVKafkaApp | None = None
    consumer: DeclaredConsumer | None = None
    type_header: str = TYPE_HEADER


def find(where: Where, *, topic: str | None = None) -> Found:
    """
    Args:
        topic: what the command is about; it tells which of an app's clusters is meant.

    Raises:
        ConfigError: nothing says where, or more than one thing, or what was said leads nowhere.
    """
    quiet()
    said = [one for one in (where.app, where.config, where.bootstrap_servers) if one is not None]
    if len(said) > 1:
        raise ConfigError("say one of them: --app MODULE:APP, --config FILE or --bootstrap-servers HOST:PORT")
    if where.config is not None:
        return Found(connection_of_file(where.config))
    if where.bootstrap_servers is not None:
        return Found(_at(where.bootstrap_servers))
    target = where.app or os.environ.get("EVKAFKA_APP")
    if target is not None:
        return _of_app(the_app(target, where), where.consumer, topic)
    return Found(_outside())


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


# ---------------------------------------------------------------------------- an app's


def _of_app(app: EVKafkaApp, name: str | None, topic: str | None) -> Found:
    if name is not None:
        if name not in app._consumers:
            raise ConfigError(f"--consumer {name}: {unknown('consumer', name, tuple(app._consumers))}")
        return _found(app, app._consumers[name])
    readers = [one for one in app._consumers.values() if topic is None or reads(one, topic)]
    if len(readers) == 1:
        return _found(app, readers[0])
    places = {one.settings.connection.bootstrap_servers: one for one in readers or app._consumers.values()}
    for producer in () if readers else app._producers.values():
        connection = producer_settings(producer.config).connection
        if topic is None or topic in topics_of(app, producer.name):
            return Found(connection, app)
    if len(places) == 1:
        [declared] = places.values()
        return Found(declared.settings.connection, app, None, header_of(app, declared))
    if not places:
        raise ConfigError("this app has neither consumers nor producers, so it names no cluster")
    names = ", ".join(map(repr, app._consumers))
    raise ConfigError(f"this app's consumers are at several clusters: say with --consumer which one is meant: {names}")


def _found(app: EVKafkaApp, declared: DeclaredConsumer) -> Found:
    return Found(declared.settings.connection, app, declared, header_of(app, declared))


def header_of(app: EVKafkaApp, declared: DeclaredConsumer) -> str:
    return type_header(declared.middleware if declared.middleware is not None else app._middleware)


def reads(declared: DeclaredConsumer, topic: str) -> bool:
    settings = declared.settings
    if settings.topic_pattern is not None:
        return settings.topic_pattern.match(topic) is not None
    return any(topic == one.name for one in settings.topics)


def topics_of(app: EVKafkaApp, producer: str) -> set[str]:
    """Where a producer's events go."""
    declared = app._producers[producer]
    own = declared.config.get("topic")
    return {topic for one in declared.sender.endpoints if (topic := one.topic or own) is not None}
