"""What a consumer's configuration must be: each key read, then what contradicts what."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from evkafka.config.connection import LOGIN, read_connection, say_once
from evkafka.config.error_policy import DOC, name_fault, read_by_itself, read_error_policy, reads_itself, topic_fault
from evkafka.config.masking import in_error
from evkafka.config.producer import read_dead_letter_producer
from evkafka.config.section import MISSING, Faults, Section, as_mapping
from evkafka.config.settings import ConnectionSettings, ConsumerSettings, ErrorPolicySettings, TopicSettings

CONSUMER = ConsumerSettings()
"""Defaults stand in the settings."""

MOST_CONCURRENT = 10_000
MOST_BYTES = 2**63 - 1
MOST_UNPACKED = 2_000_000_000  # a batch cannot be larger, its length being a number of 32 bits with a sign

LARGEST_RATIO = 64
"""How many times larger than a fetch of its partition a batch may become when it is unpacked, unless said otherwise."""

DECODING = (
    "payloads are decoded by the endpoint's annotation; for a format of your own, let a middleware set"
    " message.decoded_value_cb"
)


def read_consumer(values: object) -> ConsumerSettings:
    """Check a consumer's configuration.

    Raises:
        ConfigError: with every fault in it.
    """
    faults = Faults("the consumer's configuration")
    section = Section(as_mapping(values, faults), faults, doc="evkafka.config.ConsumerConfig")
    settings = _consumer(section)
    _check_subscription(section, settings)
    _check_times(section, settings)
    _check_sizes(section, settings)
    _check_pre_commit(section, settings)
    _check_dead_letters(section, settings)
    section.end()
    faults.raise_if_any()
    return settings


def _consumer(section: Section) -> ConsumerSettings:
    limit_s = section.seconds("max_endpoint_exec_time_ms", CONSUMER.max_endpoint_exec_time_s, least_ms=1)
    rebalance_s = section.seconds("rebalance_timeout_ms", max(60.0, limit_s + 10.0), least_ms=1, none=True)
    # Where only one of two times is given, the other's default makes room for it.
    session_s = section.seconds("session_timeout_ms", CONSUMER.session_timeout_s, least_ms=1)
    heartbeat_s = min(CONSUMER.heartbeat_interval_s, session_s / 3)
    drain_s = min(CONSUMER.revoke_drain_timeout_s, rebalance_s / 2)
    connection = read_connection(section, request_timeout_s=rebalance_s + 5.0)
    _not_used(section)
    options = _fetching(section)
    unpacked = max(options.get("max_partition_fetch_bytes", 0) * LARGEST_RATIO, CONSUMER.max_decompressed_bytes)
    unpacked = min(unpacked, MOST_UNPACKED)
    return ConsumerSettings(
        connection=connection,
        topics=_topics(section),
        topic_pattern=_pattern(section),
        group_id=section.text("group_id", None, none=True),
        group_instance_id=_instance_id(section),
        auto_commit_mode=section.choice("auto_commit_mode", CONSUMER.auto_commit_mode, ("pre-commit", "post-commit")),
        auto_commit_interval_s=section.seconds("auto_commit_interval_ms", CONSUMER.auto_commit_interval_s),
        auto_offset_reset=section.choice(
            "auto_offset_reset", CONSUMER.auto_offset_reset, ("latest", "earliest", "none")
        ),
        max_endpoint_exec_time_s=limit_s,
        consumer_timeout_s=section.seconds("consumer_timeout_ms", CONSUMER.consumer_timeout_s, least_ms=1),
        concurrency=section.integer("concurrency", CONSUMER.concurrency, least=1, most=MOST_CONCURRENT),
        ordering=section.choice("ordering", CONSUMER.ordering, ("partition", "key", "unordered")),
        max_pending_records=section.integer("max_pending_records", CONSUMER.max_pending_records, least=1),
        max_pending_bytes=section.integer("max_pending_bytes", CONSUMER.max_pending_bytes, least=1, most=MOST_BYTES),
        max_decompressed_bytes=section.integer("max_decompressed_bytes", unpacked, least=1, most=MOST_UNPACKED),
        max_poll_records=section.integer("max_poll_records", CONSUMER.max_poll_records, least=1, none=True),
        drain_timeout_s=section.seconds("drain_timeout_ms", CONSUMER.drain_timeout_s),
        revoke_drain_timeout_s=section.seconds("revoke_drain_timeout_ms", drain_s),
        session_timeout_s=session_s,
        heartbeat_interval_s=section.seconds("heartbeat_interval_ms", heartbeat_s, least_ms=1),
        rebalance_timeout_s=rebalance_s,
        start_timeout_s=section.seconds("start_timeout_ms", CONSUMER.start_timeout_s, least_ms=1),
        allow_auto_create_topics=section.flag("allow_auto_create_topics", CONSUMER.allow_auto_create_topics),
        required=section.flag("required", CONSUMER.required),
        isolation_level=section.choice(
            "isolation_level", CONSUMER.isolation_level, ("read_committed", "read_uncommitted")
        ),
        unmatched=section.choice("unmatched", CONSUMER.unmatched, ("skip", "dead_letter", "stop")),
        on_error=_on_error(section, connection),
        options=options,
    )


def _not_used(section: Section) -> None:
    """Keys of aiokafka that we take for the sake of those who have them, and those that we cannot take."""
    if section.flag("enable_auto_commit", None) is not None:
        say_once("enable_auto_commit is not used: auto_commit_mode says when offsets are committed; leave the key out")
    section.milliseconds("max_poll_interval_ms", None, least=1)
    section.refuse("key_deserializer", f"a consumer has none; request.key is the key as it came, and {DECODING}")
    section.refuse("value_deserializer", f"a consumer has none; {DECODING}")


def _topics(section: Section) -> tuple[TopicSettings, ...]:
    given = section.sequence("topics", items="topics")
    if given is None:
        return ()
    topics: list[TopicSettings] = []
    for index, item in enumerate(given):
        match item:
            case str():
                topics.append(TopicSettings(str.__str__(item)))
            case Mapping():
                inner = section.section("topics", item, index=index, doc="evkafka.config.TopicConfig")
                topics.append(_topic(inner))
            case _:
                section.fault("topics", f"{in_error(item)} is no topic; give a name, or a dict with a name")
    _check_names(section, topics)
    return tuple(topics)


def _topic(section: Section) -> TopicSettings:
    if section.take("name") is MISSING:
        section.fault("name", "it is missing; give the topic's name")
    topic = TopicSettings(
        name=section.text("name", ""),
        description=section.text("description", None, none=True, empty=True),
        event_type=section.text("event_type", None, none=True),
    )
    section.end()
    return topic


def _check_names(section: Section, topics: Sequence[TopicSettings]) -> None:
    seen: set[str] = set()
    for name in (topic.name for topic in topics):
        if name in seen and name:
            section.fault("topics", f"{in_error(name)} is there twice; name each topic once")
        elif not name and section.sound("topics"):
            section.fault("topics", "a name is empty; name each topic, and give at least one character")
        elif name and (fault := topic_fault(name)):
            section.fault("topics", fault)
        seen.add(name)


def _pattern(section: Section) -> re.Pattern[str] | None:
    if isinstance(given := section.take("topic_pattern"), re.Pattern) and isinstance(given.pattern, str):
        return given
    text = section.text("topic_pattern", None, none=True)
    if text is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python may read otherwise some day is no fault of today
            return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        section.fault("topic_pattern", f"{in_error(text)} is no regular expression ({error}); see Python's module re")
        return None


def _instance_id(section: Section) -> str | None:
    instance = section.text("group_instance_id", None, none=True)
    if instance is not None and topic_fault(instance):
        section.fault(
            "group_instance_id",
            f"{in_error(instance)} is none to Kafka; give 1 to 249 letters a-z and A-Z, digits, '.', '_' and '-'",
        )
    return instance


def _on_error(section: Section, connection: ConnectionSettings) -> ErrorPolicySettings:
    values = section.mapping("on_error")
    if values is None:
        return CONSUMER.on_error
    inner = section.section("on_error", values, doc=DOC)
    policy = read_error_policy(inner, CONSUMER.on_error)
    if inner.given("dead_letter_producer") and inner.sound("dead_letter_producer"):
        read_dead_letter_producer(inner, policy, connection, login=section.sound(*LOGIN))
    inner.end()
    return policy


def _fetching(section: Section) -> dict[str, Any]:
    """AIOKafkaConsumer's options that go to it as they stand; only those given."""
    options = {
        "fetch_max_wait_ms": section.milliseconds("fetch_max_wait_ms", None),
        "fetch_max_bytes": section.integer("fetch_max_bytes", None, least=1),
        "fetch_min_bytes": section.integer("fetch_min_bytes", None, least=0),
        "max_partition_fetch_bytes": section.integer("max_partition_fetch_bytes", None, least=1),
        "check_crcs": section.flag("check_crcs", None),
        "exclude_internal_topics": section.flag("exclude_internal_topics", None),
        "client_rack": section.text("client_rack", None, none=True),
        "partition_assignment_strategy": _assignor(section),
    }
    return {key: value for key, value in options.items() if value is not None}


def _assignor(section: Section) -> tuple[Any] | None:
    key = "partition_assignment_strategy"
    value = section.take(key)
    given: list[Any] | None = [value] if isinstance(value, type) else section.sequence(key, items="one assignor class")
    if given is None:
        return None
    if len(given) != 1:
        section.fault(
            key,
            f"it names {len(given)} strategies, and the client would join the group once for each; give exactly one",
        )
        return None
    [assignor] = given
    if not (callable(getattr(assignor, "assign", None)) and isinstance(getattr(assignor, "name", None), str)):
        section.fault(key, f"{in_error(assignor)} is no assignor; give a class of aiokafka.coordinator.assignors")
        return None
    if assignor.name == "sticky":
        say_once(
            "partition_assignment_strategy: the client's sticky assignor is broken for a consumer that joins again;"
            " prefer its round robin (the default) or range assignor"
        )
    return (assignor,)


# ------------------------------------------------------------------ what contradicts what


def _check_subscription(section: Section, settings: ConsumerSettings) -> None:
    if section.given("topics") and section.given("topic_pattern"):
        section.fault("topic_pattern", "topics are given too; give one of the two")
    elif not section.sound("topics", "topic_pattern"):
        return
    elif section.given("topics") and not settings.topics:
        section.fault("topics", "the list is empty; name at least one topic")
    elif not section.given("topics", "topic_pattern"):
        section.fault("topics", "it is missing; name the topics to read, or give a topic_pattern")


def _check_times(section: Section, settings: ConsumerSettings) -> None:
    """Times that cannot hold together, whatever the cluster does."""
    heartbeat_ms, session_ms = _ms(settings.heartbeat_interval_s), _ms(settings.session_timeout_s)
    rebalance_ms, drain_ms = _ms(settings.rebalance_timeout_s), _ms(settings.revoke_drain_timeout_s)
    request_ms = _ms(settings.connection.request_timeout_s)
    if section.sound("heartbeat_interval_ms", "session_timeout_ms") and heartbeat_ms >= session_ms:
        section.fault(
            "heartbeat_interval_ms",
            f"{heartbeat_ms} is not below session_timeout_ms {session_ms}, so that the session would end between two"
            f" heartbeats; give at most a third of it, {max(session_ms // 3, 1)}",
        )
    if section.sound("rebalance_timeout_ms", "request_timeout_ms", "max_endpoint_exec_time_ms") and (
        request_ms < rebalance_ms + 5_000
    ):
        section.fault(
            "request_timeout_ms",
            f"{request_ms} is less than rebalance_timeout_ms {rebalance_ms} plus 5000, so that a slow rebalance would"
            f" be begun again without end; give at least {rebalance_ms + 5_000}, or leave it out",
        )
    if section.sound("rebalance_timeout_ms", "revoke_drain_timeout_ms", "max_endpoint_exec_time_ms") and (
        rebalance_ms <= drain_ms
    ):
        section.fault(
            "revoke_drain_timeout_ms" if section.given("revoke_drain_timeout_ms") else "rebalance_timeout_ms",
            f"revoke_drain_timeout_ms {drain_ms} is not below rebalance_timeout_ms {rebalance_ms}, so that a consumer"
            " that drains would be put out of its group; give a shorter drain or a longer rebalance",
        )
    wait_ms = settings.options.get("fetch_max_wait_ms", 0)
    if section.sound("fetch_max_wait_ms", "request_timeout_ms") and wait_ms >= request_ms:
        section.fault(
            "fetch_max_wait_ms",
            f"{wait_ms} is not below request_timeout_ms {request_ms}, so that an idle fetch would never be answered;"
            " give less, 500 for example",
        )


def _check_sizes(section: Section, settings: ConsumerSettings) -> None:
    fetch, unpacked = settings.options.get("max_partition_fetch_bytes", 2**20), settings.max_decompressed_bytes
    if section.sound("max_partition_fetch_bytes", "max_decompressed_bytes") and unpacked < fetch:
        section.fault(
            "max_decompressed_bytes",
            f"{unpacked} is below max_partition_fetch_bytes {fetch}, so that a batch which fills a fetch could never be"
            f" unpacked; give at least {fetch}, or leave it out",
        )


def _check_pre_commit(section: Section, settings: ConsumerSettings) -> None:
    """At most once: a record is run once and its offset is on its way, so nothing can follow from a failure."""
    if settings.auto_commit_mode != "pre-commit":
        return
    if section.given("on_error"):
        section.fault(
            "on_error",
            "a pre-commit consumer has committed a record before it runs, and cannot try it again;"
            " leave on_error out, or set auto_commit_mode to 'post-commit'",
        )
    if settings.unmatched != "skip":
        section.fault(
            "unmatched",
            f"{settings.unmatched!r} has no effect in a pre-commit consumer, which has committed the record already;"
            " leave it out, or set auto_commit_mode to 'post-commit'",
        )


def _check_dead_letters(section: Section, settings: ConsumerSettings) -> None:
    """Where dead letters are asked for, their topic must have a name, and one that is not read here.

    A policy that never asks for them is left alone: the default name may be illegal for a group that has run for
    years under its own.
    """
    policy = settings.on_error
    given = section.take("on_error")
    named = isinstance(given, Mapping) and "dead_letter_topic" in given
    if not (named or policy.then == "dead_letter" or settings.unmatched == "dead_letter"):
        return
    if not section.sound("topics", "group_id", "on_error"):
        return
    template, group_id = policy.dead_letter_topic, settings.group_id
    names = [topic.name for topic in settings.topics]
    faults = (name_fault(template, topic=name, group_id=group_id, event_type=None) for name in names)
    if fault := next(filter(None, faults), None):
        section.fault("on_error.dead_letter_topic", fault)
    elif name := read_by_itself(template, names, settings.topic_pattern, group_id=group_id, event_type=None):
        section.fault("on_error.dead_letter_topic", reads_itself(template, name))


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
