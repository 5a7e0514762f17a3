"""Finds the cluster that a command connects to: an app's, a file's, one at an address, or the environment's."""

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
from evkafka.cli.dev_broker import find_and_print_dev_broker_address, redirect_app_to_dev_broker, use_dev_registry
from evkafka.cli.env_file import load_env_file
from evkafka.cli.options import AppOptions, ClusterOptions
from evkafka.cli.suggestions import unknown_consumer_text
from evkafka.config import consumer_settings, dead_letter_producer_settings, producer_settings
from evkafka.config.settings import ConnectionSettings, ConsumerSettings, ErrorPolicySettings
from evkafka.dlq import SourceTopics
from evkafka.dlq.targets import source_topics_of
from evkafka.exceptions import ConfigError
from evkafka.handler import TYPE_HEADER
from evkafka.service.plan import DeclaredConsumer, DeclaredProducer


@dataclass(frozen=True, slots=True)
class FoundCluster:
    """A cluster, and the app that named it, if one did.

    Attributes:
        consumer: the consumer that was named, or the only one that reads the topic; None if there are several.
        type_header: the header that has the event type.
    """

    connection: ConnectionSettings
    app: EVKafkaApp | None = None
    consumer: DeclaredConsumer | None = None
    type_header: str = TYPE_HEADER


@dataclass(frozen=True, slots=True)
class FoundDeadLetterTopic:
    """A dead-letter topic and its cluster.

    Attributes:
        cluster: with an app, also the consumer that writes to the topic.
        sources: the topics that this consumer reads; None if they are not known.
    """

    topic: str
    cluster: FoundCluster
    sources: SourceTopics | None = None


def load_env_file_and_app(options: AppOptions) -> EVKafkaApp:
    """Import the app, with the variables of `--env-file` in the environment.

    Raises:
        ConfigError: the file cannot be read, or there is no such app, or it is another kind of app.
    """
    load_env_file(options.env_file)
    silence_client_log()
    use_dev_registry(options.target, options.app_dir)
    return load_evkafka_app(options.target, options.app_dir, factory=options.factory)


def load_evkafka_app(target: str, app_dir: Path, *, factory: bool = False) -> EVKafkaApp:
    """Import the app. Raises as `load_app`; a ConfigError too for another kind of app."""
    app = load_app(target, app_dir, factory=factory)
    if not isinstance(app, EVKafkaApp):
        raise ConfigError(f"{target!r} is not an EVKafkaApp")
    return app


def load_app_redirected_to_dev_broker(options: AppOptions) -> EVKafkaApp:
    """Import the app; while `evkafka dev` runs it, it connects to the broker of that.

    Raises:
        ConfigError: as `load_env_file_and_app`.
    """
    app = load_env_file_and_app(options)
    redirect_app_to_dev_broker(app, options.target, options.app_dir)
    return app


def find_cluster_by_options(options: ClusterOptions, *, topic: str | None = None) -> FoundCluster:
    """Find the cluster that the options name, or else the environment.

    Args:
        topic: the topic that the command is about; it decides between the clusters of an app.

    Raises:
        ConfigError: no cluster is named, or several are, or the named one cannot be found.
    """
    match _load_app_or_connection(options):
        case EVKafkaApp() as app:
            return cluster_of_app(app, options.consumer, topic)
        case ConsumerSettings() as settings:
            return FoundCluster(settings.connection)
        case connection:
            return FoundCluster(connection)


def find_dead_letter_topic_and_cluster(options: ClusterOptions, topic: str | None) -> FoundDeadLetterTopic:
    """Find a dead-letter topic and its cluster.

    Args:
        topic: the dead-letter topic; None for the only one of the app.

    Raises:
        ConfigError: as `find_cluster_by_options`; or the topic is None and the app has several, or no consumer writes
            to it.
    """
    source = _load_app_or_connection(options)
    if isinstance(source, EVKafkaApp):
        return _find_cluster_of_dead_letter_topic(
            source, topic or _only_dead_letter_topic_of_app(source, options.consumer), options.consumer
        )
    if topic is None:
        raise ConfigError(
            "name the dead-letter topic after the command, for example orders.billing.dlq;"
            " it may be left out only with --app MODULE:APP"
        )
    if isinstance(source, ConsumerSettings):
        sources = source_topics_of(source) if source.topics or source.topic_pattern else None
        return FoundDeadLetterTopic(topic, FoundCluster(dead_letter_producer_settings(source).connection), sources)
    return FoundDeadLetterTopic(topic, FoundCluster(source))


def silence_client_log() -> None:
    """Drop the log lines of aiokafka: our own errors report the same faults."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def _load_app_or_connection(options: ClusterOptions) -> EVKafkaApp | ConsumerSettings | ConnectionSettings:
    """The one place that decides where every command finds its cluster: the command line, else the environment."""
    load_env_file(options.env_file)
    silence_client_log()
    if sum(one is not None for one in (options.app, options.config, options.bootstrap_servers)) > 1:
        raise ConfigError("give only one of --app MODULE:APP, --config FILE and --bootstrap-servers HOST:PORT")
    if options.config is not None:
        return _read_config_file(options.config)
    if options.bootstrap_servers is not None:
        # The environment may have the login.
        return producer_settings(
            {**_config_from_environment(), "bootstrap_servers": options.bootstrap_servers}
        ).connection
    target = options.app or os.environ.get("EVKAFKA_APP")
    if target is not None:
        return load_app_redirected_to_dev_broker(AppOptions(target, options.app_dir, options.factory))
    config = _config_from_environment()
    if "bootstrap_servers" not in config:
        raise ConfigError(
            "name the cluster: --app MODULE:APP, --bootstrap-servers HOST:PORT, --config FILE,"
            " or EVKAFKA_BOOTSTRAP_SERVERS in the environment"
        )
    connection = producer_settings(config).connection
    if found := find_and_print_dev_broker_address(connection.bootstrap_servers, options.app_dir):
        return producer_settings({"bootstrap_servers": found}).connection
    return connection


def _config_from_environment() -> dict[str, object]:
    try:
        import pydantic_settings  # noqa: F401 - is the extra installed?
    except ImportError:
        servers = os.environ.get("EVKAFKA_BOOTSTRAP_SERVERS")
        return {"bootstrap_servers": servers} if servers else {}
    from evkafka.environment import producer_config

    return dict(producer_config())


def _read_config_file(path: Path) -> ConsumerSettings:
    """Read a consumer's configuration from TOML, YAML or JSON. `topics` is empty if the file names none."""
    try:
        text = path.read_text(encoding="utf-8")
        match path.suffix:
            case ".toml":
                config = tomllib.loads(text)
            case ".yaml" | ".yml":
                import yaml

                config = yaml.safe_load(text)
            case _:
                config = json.loads(text)
    except OSError as error:
        raise ConfigError(f"--config {path}: the file cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"--config {path}: {error}") from error
    if not isinstance(config, Mapping):
        raise ConfigError(f"--config {path}: the file must be a table of a consumer's keys, as `bootstrap_servers`")
    if "topics" in config or "topic_pattern" in config:
        return consumer_settings(config)
    return replace(consumer_settings({"topics": ["any"], **config}), topics=())


# ---------------------------------------------------------------------------- an app's cluster


def cluster_of_app(app: EVKafkaApp, consumer: str | None, topic: str | None) -> FoundCluster:
    """The cluster of the named consumer, or else of the consumers that read the topic, or of a producer that writes it.

    Raises:
        ConfigError: there is no such consumer, or the app has several clusters, or none.
    """
    if consumer is not None:
        return _cluster_of_consumer(app, _require_consumer(app, consumer))
    readers = [one for one in app.consumers.values() if topic is None or consumer_reads_topic(one, topic)]
    if len(readers) == 1:
        return _cluster_of_consumer(app, readers[0])
    clusters = {one.settings.connection.bootstrap_servers: one for one in readers or app.consumers.values()}
    for producer in () if readers else app.producers.values():
        connection = producer_settings(producer.config).connection
        if topic is None or topic in _topics_of_producer(producer):
            return FoundCluster(connection, app)
    if len(clusters) == 1:
        [declared] = clusters.values()
        return replace(_cluster_of_consumer(app, declared), consumer=None)
    if not clusters:
        raise ConfigError("this app has neither consumers nor producers, so its cluster is unknown")
    names = ", ".join(map(repr, app.consumers))
    raise ConfigError(f"this app's consumers use several clusters: choose one with --consumer: {names}")


def _cluster_of_consumer(app: EVKafkaApp, declared: DeclaredConsumer) -> FoundCluster:
    return FoundCluster(declared.settings.connection, app, declared, declared.type_header)


def _require_consumer(app: EVKafkaApp, name: str) -> DeclaredConsumer:
    if name not in app.consumers:
        raise ConfigError(f"--consumer {name}: {unknown_consumer_text(name, tuple(app.consumers))}")
    return app.consumers[name]


def consumer_reads_topic(declared: DeclaredConsumer, topic: str) -> bool:
    settings = declared.settings
    if settings.topic_pattern is not None:
        return settings.topic_pattern.match(topic) is not None
    return any(topic == one.name for one in settings.topics)


def _topics_of_producer(declared: DeclaredProducer) -> set[str]:
    default = declared.config.get("topic")
    return {topic for one in declared.sender.endpoints if (topic := one.topic or default) is not None}


# ---------------------------------------------------------------------------- an app's dead letters


def _only_dead_letter_topic_of_app(app: EVKafkaApp, consumer: str | None) -> str:
    consumers = app.consumers.values() if consumer is None else [_require_consumer(app, consumer)]
    if consumers and all(declared.settings.at_most_once for declared in consumers):
        names = {
            declared.dead_letter_topic_name(declared.settings.on_error, topic.name, None)
            for declared in consumers
            for topic in declared.settings.topics
        }
        raise ConfigError(
            "name the dead-letter topic: with auto_commit_mode 'pre-commit' only an endpoint's `DeadLetter` is written"
            f" to one, {' or '.join(map(repr, sorted(names))) or 'and the source topics come from a pattern'}"
        )
    if not any(declared.policies_with_dead_letters() for declared in consumers):
        whose = "this app" if consumer is None else f"consumer {consumer!r}"
        raise ConfigError(
            f"the error policies of {whose} write no dead letters: add "
            '"on_error": {"max_attempts": 5, "then": "dead_letter"} to the consumer, or name the dead-letter topic'
        )
    found = {written.name for declared in consumers for written in declared.dead_letter_topics()}
    if len(found) == 1:
        return found.pop()
    which = f"this app has {', '.join(map(repr, sorted(found)))}" if found else "its source topics come from a pattern"
    raise ConfigError(f"name the dead-letter topic: {which}")


def _find_cluster_of_dead_letter_topic(app: EVKafkaApp, topic: str, consumer: str | None) -> FoundDeadLetterTopic:
    found = {
        declared.name: (declared, policy)
        for declared in app.consumers.values()
        for event_type, policy in declared.policies()
        if _writes_dead_letters_to(declared, policy, event_type, topic)
    }
    if consumer is not None:
        declared = _require_consumer(app, consumer)
        found = {consumer: found.get(consumer, (declared, declared.settings.on_error))}
    if not found:
        raise ConfigError(
            f"no consumer of this app writes dead letters to {topic!r}; choose one with --consumer:"
            f" {', '.join(map(repr, app.consumers)) or 'it has none'}"
        )
    if len(found) > 1:
        raise ConfigError(f"{', '.join(map(repr, found))} write to {topic!r}: choose one with --consumer")
    [(declared, policy)] = found.values()
    connection = dead_letter_producer_settings(declared.settings, policy).connection
    cluster = replace(_cluster_of_consumer(app, declared), connection=connection)
    return FoundDeadLetterTopic(topic, cluster, source_topics_of(declared.settings_with_dead_letter_topics()))


def _writes_dead_letters_to(
    declared: DeclaredConsumer, policy: ErrorPolicySettings, event_type: str | None, topic: str
) -> bool:
    settings = declared.settings

    def name(source: str) -> str:
        return declared.dead_letter_topic_name(policy, source, event_type)

    if settings.topic_pattern is None:
        return any(name(source.name) == topic for source in settings.topics)
    marker = "evkafka-any-topic"
    before, _, behind = name(marker).partition(marker)
    source = topic.removeprefix(before).removesuffix(behind)
    return name(source) == topic and settings.topic_pattern.match(source) is not None
