"""Where a dead-letter topic is: by an app's consumers, a file with a configuration, or plain addresses."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from evkafka.app import EVKafkaApp
from evkafka.cli.target import load_app
from evkafka.config import (
    consumer_settings,
    dead_letter_producer_settings,
    dead_letter_topic,
    error_policy,
    producer_settings,
)
from evkafka.declared import DeclaredConsumer
from evkafka.exceptions import ConfigError
from evkafka.handler import TYPE_HEADER, Handler
from evkafka.middleware import type_header
from evkafka.settings import ConnectionSettings, ErrorPolicySettings


@dataclass(frozen=True, slots=True)
class Given:
    """Where the dead letters are, and the consumer that they come from, where an app was named."""

    topic: str
    connection: ConnectionSettings
    type_header: str = TYPE_HEADER
    app: EVKafkaApp | None = None
    consumer: DeclaredConsumer | None = None


def given(
    topic: str | None,
    *,
    app: str | None,
    app_dir: Path,
    factory: bool,
    config: Path | None,
    bootstrap_servers: str | None,
    consumer: str | None,
) -> Given:
    """
    Raises:
        ConfigError: none of the three was said, or more than one; or what was said leads nowhere; or the topic was
            left out, and it cannot be known.
    """
    said = [one for one in (app, config, bootstrap_servers) if one is not None]
    if not said:
        app = os.environ.get("EVKAFKA_APP")
    if len(said) > 1 or (not said and app is None):
        raise ConfigError("say where the dead letters are: --app MODULE:APP, --config FILE or --bootstrap-servers HOST")
    if app is None and topic is None:
        raise ConfigError("name the dead-letter topic; only with --app it may be left out")
    if bootstrap_servers is not None:
        return Given(str(topic), producer_settings({"bootstrap_servers": bootstrap_servers}).connection)
    if config is not None:
        return Given(str(topic), connection_of_file(config))
    assert app is not None
    loaded = load_app(app, app_dir, factory=factory)
    if not isinstance(loaded, EVKafkaApp):
        raise ConfigError(f"{app!r} is no EVKafkaApp: its consumers are looked into")
    return _of_app(loaded, topic or _only_topic(loaded, consumer), consumer)


def connection_of_file(path: Path) -> ConnectionSettings:
    """A consumer's configuration, under its keys, as TOML, YAML or JSON."""
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
    settings = consumer_settings({"topics": ["any"], **told} if "topic_pattern" not in told else told)
    return dead_letter_producer_settings(settings).connection


# ---------------------------------------------------------------------------- an app's consumers


def _only_topic(app: EVKafkaApp, consumer: str | None) -> str:
    found = {
        dead_letter_topic(policy, topic=source.name, group_id=declared.settings.group_id, event_type=event_type)
        for declared in app._consumers.values()
        if consumer in (None, declared.name)
        for policy, event_type in _policies(declared)
        if policy.then == "dead_letter"
        for source in declared.settings.topics
    }
    if len(found) == 1:
        return found.pop()
    which = f"this app has {', '.join(map(repr, sorted(found)))}" if found else "this app's policies name none"
    raise ConfigError(f"name the dead-letter topic: {which}")


def _of_app(app: EVKafkaApp, topic: str, name: str | None) -> Given:
    found = {
        declared.name: (declared, policy)
        for declared in app._consumers.values()
        for policy, event_type in _policies(declared)
        if _writes_to(declared, policy, event_type, topic)
    }
    if name is not None:
        if name not in app._consumers:
            raise ConfigError(f"--consumer {name}: this app's consumers are {', '.join(map(repr, app._consumers))}")
        found = {name: found.get(name, (app._consumers[name], app._consumers[name].settings.on_error))}
    if not found:
        raise ConfigError(
            f"no consumer of this app writes dead letters to {topic!r}; say which one is meant with --consumer:"
            f" {', '.join(map(repr, app._consumers)) or 'it has none'}"
        )
    if len(found) > 1:
        raise ConfigError(f"{', '.join(map(repr, found))} write to {topic!r}: say which one is meant with --consumer")
    [(declared, policy)] = found.values()
    stack = declared.middleware if declared.middleware is not None else app._middleware
    connection = dead_letter_producer_settings(declared.settings, policy).connection
    return Given(topic, connection, type_header(stack), app, declared)


def _policies(declared: DeclaredConsumer) -> Iterator[tuple[ErrorPolicySettings, str]]:
    base = declared.settings.on_error
    if isinstance(declared.target, Handler):
        for route in declared.target.endpoints:
            policy = error_policy(base, route.on_error, where=f"event type {route.event_type!r}")
            yield policy, route.event_type
    yield base, "unmatched"


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
