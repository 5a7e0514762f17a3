"""Reads a consumer's configuration, then checks that its keys do not contradict each other."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from evkafka.config.connection import LOGIN, read_connection, warn_once
from evkafka.config.error_policy import (
    DOC,
    dead_letter_topic_fault,
    fault_if_consumer_reads_dead_letters,
    read_error_policy,
    topic_fault,
)
from evkafka.config.masking import text_for_error
from evkafka.config.producer import read_dead_letter_producer
from evkafka.config.section import MISSING, Faults, Section, require_mapping, to_ms
from evkafka.config.setting_types import read_aiokafka_options, read_setting, read_settings_over_defaults
from evkafka.config.settings import (
    CONSUMER_OPTIONS,
    MOST_DECOMPRESSED_BYTES,
    ConnectionSettings,
    ConsumerSettings,
    ErrorPolicySettings,
    TopicSettings,
)
from evkafka.serde.formats.interface import ValueFormat

CONSUMER = ConsumerSettings()
"""The defaults."""

READ_FIRST = ("max_endpoint_exec_time_s", "rebalance_timeout_s", "session_timeout_s")
"""The defaults of other fields depend on these."""

BROKERS_SETTINGS = {
    "session_timeout_ms": "the brokers' setting group.consumer.session.timeout.ms, or the group's own"
    " consumer.session.timeout.ms",
    "heartbeat_interval_ms": "the brokers' setting group.consumer.heartbeat.interval.ms, or the group's own"
    " consumer.heartbeat.interval.ms",
    "partition_assignment_strategy": "the brokers' setting group.consumer.assignors; choose one of them with"
    " group_remote_assignor",
}
"""Keys of the classic protocol -> what decides in the consumer protocol."""

LARGEST_RATIO = 64
"""Default limit for decompression: how many times larger than a partition's fetch a batch may become."""

DECODING = (
    "payloads are decoded by the endpoint's annotation; for Avro, Protobuf or JSON Schema set value_format, for any"
    " other format set message.decoded_value_cb in a middleware"
)


def read_consumer(values: object) -> ConsumerSettings:
    """Check a consumer's configuration.

    Raises:
        ConfigError: it is invalid; the error lists all faults.
    """
    faults = Faults("the consumer's configuration")
    section = Section(require_mapping(values, faults), faults, doc="evkafka.config.ConsumerConfig")
    settings = _read_consumer_keys(section)
    _check_subscription(section, settings)
    _check_group_protocol(section, settings)
    _check_times(section, settings)
    _check_sizes(section, settings)
    _check_settings_in_pre_commit_mode(section, settings)
    _check_transactions(section, settings)
    _check_dead_letters(section, settings)
    section.refuse_unknown_keys()
    faults.raise_if_any()
    return settings


def _read_consumer_keys(section: Section) -> ConsumerSettings:
    limit_s = read_setting(section, CONSUMER, "max_endpoint_exec_time_s")
    base = replace(CONSUMER, rebalance_timeout_s=max(60.0, limit_s + 10.0))
    rebalance_s = read_setting(section, base, "rebalance_timeout_s")
    session_s = read_setting(section, CONSUMER, "session_timeout_s")
    connection = read_connection(section, request_timeout_s=rebalance_s + 5.0)
    _check_unsupported_aiokafka_keys(section)
    options = read_aiokafka_options(
        section, CONSUMER_OPTIONS, {"partition_assignment_strategy": lambda: _read_assignor(section)}
    )
    decompressed = max(options.get("max_partition_fetch_bytes", 0) * LARGEST_RATIO, CONSUMER.max_decompressed_bytes)
    base = replace(
        CONSUMER,
        connection=connection,
        max_endpoint_exec_time_s=limit_s,
        rebalance_timeout_s=rebalance_s,
        session_timeout_s=session_s,
        # If only one of two times is given, the other's default leaves room for it.
        heartbeat_interval_s=min(CONSUMER.heartbeat_interval_s, session_s / 3),
        revoke_drain_timeout_s=min(CONSUMER.revoke_drain_timeout_s, rebalance_s / 2),
        max_decompressed_bytes=min(decompressed, MOST_DECOMPRESSED_BYTES),
        options=options,
    )
    readers: dict[str, Callable[[], Any]] = {
        "topics": lambda: _read_topics(section),
        "topic_pattern": lambda: _read_topic_pattern(section),
        "group_instance_id": lambda: _read_group_instance_id(section),
        "value_format": lambda: _read_consumer_format(section),
        "on_error": lambda: _read_on_error(section, connection),
    }
    return read_settings_over_defaults(section, base, readers, already_read=READ_FIRST)


def _check_unsupported_aiokafka_keys(section: Section) -> None:
    """Keys of aiokafka that are accepted and not used, and those that are refused."""
    if section.flag("enable_auto_commit", None) is not None:
        warn_once("enable_auto_commit is not used: auto_commit_mode decides when offsets are committed; remove the key")
    section.milliseconds("max_poll_interval_ms", None, least=1)
    section.add_fault_if_key_is_given(
        "key_deserializer", f"a consumer does not have this key; request.key is the key as received, and {DECODING}"
    )
    section.add_fault_if_key_is_given("value_deserializer", f"a consumer has none; {DECODING}")


def _read_topics(section: Section) -> tuple[TopicSettings, ...]:
    given = section.sequence("topics", items="topics")
    if given is None:
        return ()
    topics: list[TopicSettings] = []
    for index, item in enumerate(given):
        match item:
            case str():
                topics.append(TopicSettings(str.__str__(item)))
            case Mapping():
                inner = section.create_nested_section("topics", item, index=index, doc="evkafka.config.TopicConfig")
                topics.append(_read_topic_config(inner))
            case _:
                section.add_fault(
                    "topics", f"{text_for_error(item)} is not a topic; give a name, or a dict with a name"
                )
    _check_topic_names(section, topics)
    return tuple(topics)


def _read_topic_config(section: Section) -> TopicSettings:
    if section.value_or_missing("name") is MISSING:
        section.add_fault("name", "it is missing; give the topic's name")
    topic = TopicSettings(
        name=section.text("name", ""),
        description=section.text("description", None, none=True, empty=True),
        event_type=section.text("event_type", None, none=True),
        value_format=read_value_format(section),
    )
    section.refuse_unknown_keys()
    return topic


def _read_consumer_format(section: Section) -> ValueFormat | None:
    given = read_value_format(section)
    return None if given == "json" else given


def read_value_format(section: Section) -> ValueFormat | Literal["json"] | None:
    """The key of this name."""
    match section.value_or_missing("value_format"):
        case None | "json" as given:
            return given
        case value if value is MISSING:
            return None
        case ValueFormat() as given if not isinstance(given, type):
            return given
        case other:
            section.add_fault(
                "value_format",
                f"{text_for_error(other)} is not a format; give 'json', or Avro(registry), Protobuf(registry) or"
                " JsonSchema(registry) from evkafka.formats",
            )
            return None


def _check_topic_names(section: Section, topics: Sequence[TopicSettings]) -> None:
    seen: set[str] = set()
    for name in (topic.name for topic in topics):
        if name in seen and name:
            section.add_fault("topics", f"{text_for_error(name)} is listed twice; list each topic once")
        elif not name and section.are_keys_valid("topics"):
            section.add_fault("topics", "a topic name is empty; use at least one character")
        elif name and (fault := topic_fault(name)):
            section.add_fault("topics", fault)
        seen.add(name)


def _read_topic_pattern(section: Section) -> re.Pattern[str] | None:
    if isinstance(given := section.value_or_missing("topic_pattern"), re.Pattern) and isinstance(given.pattern, str):
        return given
    text = section.text("topic_pattern", None, none=True)
    if text is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about future changes of Python's syntax
            return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        section.add_fault(
            "topic_pattern", f"{text_for_error(text)} is not a regular expression ({error}); see Python's re module"
        )
        return None


def _read_group_instance_id(section: Section) -> str | None:
    instance = section.text("group_instance_id", None, none=True)
    if instance is not None and topic_fault(instance):
        section.add_fault(
            "group_instance_id",
            f"{text_for_error(instance)} is invalid in Kafka; use 1 to 249 letters a-z and A-Z, digits, '.', '_' and"
            " '-'",
        )
    return instance


def _read_on_error(section: Section, connection: ConnectionSettings) -> ErrorPolicySettings:
    values = section.mapping("on_error")
    if values is None:
        return CONSUMER.on_error
    inner = section.create_nested_section("on_error", values, doc=DOC)
    policy = read_error_policy(inner, CONSUMER.on_error)
    if inner.is_given("dead_letter_producer") and inner.are_keys_valid("dead_letter_producer"):
        read_dead_letter_producer(inner, policy, connection, login=section.are_keys_valid(*LOGIN))
    inner.refuse_unknown_keys()
    return policy


def _read_assignor(section: Section) -> tuple[Any] | None:
    key = "partition_assignment_strategy"
    value = section.value_or_missing(key)
    given: list[Any] | None = [value] if isinstance(value, type) else section.sequence(key, items="one assignor class")
    if given is None:
        return None
    if len(given) != 1:
        section.add_fault(
            key,
            f"it names {len(given)} strategies, but the client supports only one; give exactly one",
        )
        return None
    [assignor] = given
    if not (callable(getattr(assignor, "assign", None)) and isinstance(getattr(assignor, "name", None), str)):
        section.add_fault(
            key, f"{text_for_error(assignor)} is not an assignor; give a class from aiokafka.coordinator.assignors"
        )
        return None
    if assignor.name == "sticky":
        warn_once(
            "partition_assignment_strategy: the client's sticky assignor is broken for a consumer that rejoins its"
            " group; use its round-robin (the default) or range assignor"
        )
    return (assignor,)


# ------------------------------------------------------------------ contradictions between keys


def _check_subscription(section: Section, settings: ConsumerSettings) -> None:
    if section.is_given("topics") and section.is_given("topic_pattern"):
        section.add_fault("topic_pattern", "it cannot be combined with topics; give one of the two")
    elif not section.are_keys_valid("topics", "topic_pattern"):
        return
    elif section.is_given("topics") and not settings.topics:
        section.add_fault("topics", "the list is empty; list at least one topic")
    elif not section.is_given("topics", "topic_pattern"):
        section.add_fault("topics", "it is missing; list the topics to read, or give a topic_pattern")


def _check_group_protocol(section: Section, settings: ConsumerSettings) -> None:
    """Keys that the group's protocol does not have."""
    match settings.group_protocol:
        case "consumer":
            for key, instead in BROKERS_SETTINGS.items():
                if section.is_given(key):
                    section.add_fault(
                        key, f"with group_protocol 'consumer' it has no effect: it is {instead}; remove it"
                    )
            if settings.group_id is None and settings.at_most_once and section.are_keys_valid("group_id"):
                section.add_fault("group_protocol", "'consumer' needs a group_id; add one, or remove group_protocol")
        case "classic" if settings.group_remote_assignor is not None and section.are_keys_valid("group_protocol"):
            section.add_fault(
                "group_remote_assignor",
                "it has no effect with group_protocol 'classic'; set group_protocol to 'consumer' or 'auto', or remove"
                " it",
            )


def _check_times(section: Section, settings: ConsumerSettings) -> None:
    """Check times that contradict each other on any cluster."""
    heartbeat_ms, session_ms = to_ms(settings.heartbeat_interval_s), to_ms(settings.session_timeout_s)
    rebalance_ms, drain_ms = to_ms(settings.rebalance_timeout_s), to_ms(settings.revoke_drain_timeout_s)
    request_ms = to_ms(settings.connection.request_timeout_s)
    if section.are_keys_valid("heartbeat_interval_ms", "session_timeout_ms") and heartbeat_ms * 10 >= session_ms * 9:
        section.add_fault(
            "heartbeat_interval_ms",
            f"{heartbeat_ms} is not below nine tenths of session_timeout_ms {session_ms}, so the session might expire"
            f" between two heartbeats; use at most a third of it, {max(session_ms // 3, 1)}",
        )
    if section.are_keys_valid("rebalance_timeout_ms", "revoke_drain_timeout_ms", "max_endpoint_exec_time_ms") and (
        rebalance_ms <= drain_ms
    ):
        section.add_fault(
            "revoke_drain_timeout_ms" if section.is_given("revoke_drain_timeout_ms") else "rebalance_timeout_ms",
            f"revoke_drain_timeout_ms {drain_ms} is not below rebalance_timeout_ms {rebalance_ms}, so a draining"
            " consumer would be removed from its group; use a shorter drain or a longer rebalance timeout",
        )
    wait_ms = settings.options.get("fetch_max_wait_ms", 500)
    if section.are_keys_valid("fetch_max_wait_ms", "request_timeout_ms") and wait_ms >= request_ms:
        section.add_fault(
            "fetch_max_wait_ms" if section.is_given("fetch_max_wait_ms") else "request_timeout_ms",
            f"fetch_max_wait_ms {wait_ms} is not below request_timeout_ms {request_ms}, so an idle fetch would always"
            " time out; use a shorter wait or a longer timeout",
        )


def _check_sizes(section: Section, settings: ConsumerSettings) -> None:
    fetch, unpacked = settings.options.get("max_partition_fetch_bytes", 2**20), settings.max_decompressed_bytes
    if section.are_keys_valid("max_partition_fetch_bytes", "max_decompressed_bytes") and unpacked < fetch:
        section.add_fault(
            "max_decompressed_bytes",
            f"{unpacked} is below max_partition_fetch_bytes {fetch}, so a batch that fills a fetch could never be"
            f" decompressed; use at least {fetch}, or remove it",
        )


def _check_settings_in_pre_commit_mode(section: Section, settings: ConsumerSettings) -> None:
    """At most once: the offset of a record is committed before it runs, so a failure can have no consequence."""
    if not settings.at_most_once:
        return
    if section.is_given("on_error"):
        section.add_fault(
            "on_error",
            "a pre-commit consumer commits a record before handling it, so it cannot retry; remove on_error, or set"
            " auto_commit_mode to 'post-commit'",
        )
    if settings.unmatched != "skip":
        section.add_fault(
            "unmatched",
            f"{settings.unmatched!r} has no effect in a pre-commit consumer, which has already committed the record;"
            " remove it, or set auto_commit_mode to 'post-commit'",
        )
    if section.is_given("commit_metadata_max_bytes"):
        section.add_fault(
            "commit_metadata_max_bytes",
            "it has no effect in a pre-commit consumer, whose commits have no metadata; remove it, or set"
            " auto_commit_mode to 'post-commit'",
        )


def _check_transactions(section: Section, settings: ConsumerSettings) -> None:
    """Exactly once: offsets are committed in transactions."""
    if not section.are_keys_valid("auto_commit_mode"):
        return
    if settings.transaction_settings is None:
        for key in ("transaction_interval_ms", "transaction_timeout_ms", "transactional_id"):
            if section.is_given(key):
                section.add_fault(
                    key,
                    f"it has no effect with auto_commit_mode {settings.auto_commit_mode!r}; set auto_commit_mode to"
                    " 'exactly-once', or remove it",
                )
        return
    if section.is_given("auto_commit_interval_ms"):
        section.add_fault(
            "auto_commit_interval_ms",
            "it has no effect with auto_commit_mode 'exactly-once'; set transaction_interval_ms instead",
        )
    if settings.isolation_level == "read_uncommitted":
        section.add_fault(
            "isolation_level",
            "'read_uncommitted' reads records of aborted transactions, so nothing could be handled exactly once; remove"
            " it, or set auto_commit_mode to 'post-commit'",
        )
    interval_ms, timeout_ms = to_ms(settings.transaction_interval_s), to_ms(settings.transaction_timeout_s)
    if section.are_keys_valid("transaction_interval_ms", "transaction_timeout_ms") and interval_ms >= timeout_ms:
        section.add_fault(
            "transaction_interval_ms",
            f"{interval_ms} is not below transaction_timeout_ms {timeout_ms}, so what one transaction writes could take"
            " longer than its time; use less, for example 100",
        )


def _check_dead_letters(section: Section, settings: ConsumerSettings) -> None:
    """If dead letters are configured, their topic must have a legal name, and the consumer must not read it.

    A policy without dead letters is not checked: the default name may be illegal for the `group_id` of an existing
    service, which would not start any more.
    """
    policy = settings.on_error
    given = section.value_or_missing("on_error")
    named = isinstance(given, Mapping) and "dead_letter_topic" in given
    if not (named or policy.then == "dead_letter" or settings.unmatched == "dead_letter"):
        return
    if not section.are_keys_valid("topics", "group_id", "on_error"):
        return
    template, group_id = policy.dead_letter_topic, settings.group_id
    names = [topic.name for topic in settings.topics]
    faults = (dead_letter_topic_fault(template, topic=name, group_id=group_id, event_type=None) for name in names)
    fault = next(filter(None, faults), None) or fault_if_consumer_reads_dead_letters(
        template, names, settings.topic_pattern, group_id=group_id, event_type=None
    )
    if fault is not None:
        section.add_fault("on_error.dead_letter_topic", fault)
