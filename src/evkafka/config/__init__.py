"""Configuration: plain dicts, checked once, when they are given to the app.

`keys.py` documents the keys for users; `settings.py` declares type, range and default of each; `consumer.py`,
`producer.py`, `connection.py` and `error_policy.py` read them and check that they do not contradict each other. All
faults of a configuration are one `ConfigError`, each with the key, the value and what to do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, cast

from evkafka.config.consumer import read_consumer
from evkafka.config.display import masked_fields
from evkafka.config.error_policy import (
    DOC,
    dead_letter_topic_fault,
    dead_letter_topic_name,
    fault_if_consumer_reads_dead_letters,
    read_error_policy,
    retry_topic_name,
    topic_fault,
)
from evkafka.config.keys import (
    BrokerConfig,
    ConsumerConfig,
    DeadLetterLimit,
    ErrorPolicy,
    ProducerConfig,
    TokenProvider,
    TopicConfig,
)
from evkafka.config.masking import Secret
from evkafka.config.producer import read_dead_letter_producer, read_producer
from evkafka.config.section import Faults, Section, require_mapping
from evkafka.config.settings import ConnectionSettings, ConsumerSettings, ErrorPolicySettings, ProducerSettings
from evkafka.exceptions import ConfigError

__all__ = [
    "BrokerConfig",
    "ConsumerConfig",
    "DeadLetterLimit",
    "ErrorPolicy",
    "ProducerConfig",
    "Secret",
    "TokenProvider",
    "TopicConfig",
    "check_consumer_reads_no_own_dead_letters",
    "checked_dead_letter_topic_name",
    "checked_retry_topic_name",
    "consumer_config",
    "consumer_settings",
    "dead_letter_producer_settings",
    "masked_settings",
    "missing_group_id_fault",
    "override_error_policy",
    "producer_config",
    "producer_settings",
]


# ---------------------------------------------------------------------------- reading


def consumer_config(values: Mapping[str, object], /) -> ConsumerConfig:
    """A consumer's configuration from an untyped mapping, from a YAML file for example.

    Raises:
        ConfigError: it is invalid; the error lists all faults.
    """
    read_consumer(values)
    return cast(ConsumerConfig, dict(values))


def producer_config(values: Mapping[str, object], /) -> ProducerConfig:
    """A producer's configuration from an untyped mapping.

    Raises:
        ConfigError: it is invalid; the error lists all faults.
    """
    read_producer(values)
    return cast(ProducerConfig, dict(values))


def consumer_settings(config: ConsumerConfig | Mapping[str, object]) -> ConsumerSettings:
    """Check a consumer's configuration. A `group_id` may be missing; see `missing_group_id_fault`.

    Raises:
        ConfigError: it is invalid; the error lists all faults.
    """
    return read_consumer(config)


def producer_settings(config: ProducerConfig | Mapping[str, object]) -> ProducerSettings:
    """Check a producer's configuration.

    Raises:
        ConfigError: it is invalid; the error lists all faults.
    """
    return read_producer(config)


def override_error_policy(
    base: ErrorPolicySettings, overlay: Mapping[str, Any] | ErrorPolicy | None, *, where: str
) -> ErrorPolicySettings:
    """A consumer's error policy, overridden by an event type's `on_error`.

    Keys are overridden one by one, also in nested dicts; sequences are replaced as a whole.

    Args:
        where: names the event type in an error.

    Raises:
        ConfigError: it is invalid; the error lists all faults.
    """
    if overlay is None:
        return base
    faults = Faults(where)
    section = Section(require_mapping(overlay, faults), faults, doc=DOC, path="on_error.")
    policy = read_error_policy(section, base)
    if section.is_given("dead_letter_producer") and section.are_keys_valid("dead_letter_producer"):
        read_dead_letter_producer(section, policy, ConnectionSettings(), login=False)
    section.refuse_unknown_keys()
    faults.raise_if_any()
    return policy


# ---------------------------------------------------------------------------- checks when an app starts


def missing_group_id_fault(settings: ConsumerSettings) -> str | None:
    """The error text for a missing `group_id`; None if it is given or not needed."""
    if settings.group_id is not None or settings.at_most_once:
        return None
    return (
        f"group_id is missing: a consumer with auto_commit_mode {settings.auto_commit_mode!r} commits its offsets for a"
        ' group; add one, for example "group_id": "my-service"'
    )


def dead_letter_producer_settings(
    settings: ConsumerSettings, policy: ErrorPolicySettings | None = None
) -> ProducerSettings:
    """Settings of a consumer's dead-letter producer: the consumer's connection overridden by `dead_letter_producer`.

    Args:
        policy: an event type's policy; None: the consumer's.

    Raises:
        ConfigError: the connection and the overriding keys contradict each other.
    """
    faults = Faults("the dead-letter producer")
    section = Section({}, faults, doc=DOC, path="on_error.")
    producer = read_dead_letter_producer(section, policy or settings.on_error, settings.connection, login=True)
    faults.raise_if_any()
    return producer


def checked_dead_letter_topic_name(
    policy: ErrorPolicySettings, *, topic: str, group_id: str | None, event_type: str
) -> str:
    """The name of the dead-letter topic of a record.

    Raises:
        ConfigError: the name is illegal in Kafka; the error names `dead_letter_topic`.
    """
    template = policy.dead_letter_topic
    if fault := dead_letter_topic_fault(template, topic=topic, group_id=group_id, event_type=event_type):
        raise ConfigError(f"on_error.dead_letter_topic: {fault}")
    return dead_letter_topic_name(template, topic=topic, group_id=group_id, event_type=event_type)


def check_consumer_reads_no_own_dead_letters(
    settings: ConsumerSettings,
    policies: Iterable[tuple[str | None, ErrorPolicySettings]],
    *,
    retry_topics: Collection[str],
) -> None:
    """Check that no policy sends dead letters to a topic that the same consumer reads.

    Args:
        policies: the policies with their event types; None for the consumer's own policy.
        retry_topics: the consumer's retry topics.

    Raises:
        ConfigError: a policy does; the error names its event type.
    """
    names = [topic.name for topic in settings.topics]
    for event_type, policy in policies:
        fault = fault_if_consumer_reads_dead_letters(
            policy.dead_letter_topic,
            names,
            settings.topic_pattern,
            group_id=settings.group_id,
            event_type=event_type,
            retry_topics=retry_topics,
        )
        if fault is not None:
            whose = f"event type {event_type!r}: " if event_type is not None else ""
            raise ConfigError(f"{whose}on_error.dead_letter_topic: {fault}")


def checked_retry_topic_name(topic: str, *, group_id: str | None, delay_ms: int) -> str:
    """The name of the retry topic in which records of a topic wait for `delay_ms`.

    Raises:
        ConfigError: the name is illegal in Kafka; the error names `retry_topics`.
    """
    name = retry_topic_name(topic, group_id, delay_ms)
    if fault := topic_fault(name):
        raise ConfigError(
            f"on_error.retry_topics: {delay_ms} for topic {topic!r} needs a retry topic, but {fault}; change group_id"
            " so that the topic's name is valid, or remove retry_topics"
        )
    return name


def masked_settings(settings: ConsumerSettings | ProducerSettings) -> dict[str, str]:
    """The effective configuration as key -> text, for a log line or a page; secrets are `***`."""
    return masked_fields(settings)
