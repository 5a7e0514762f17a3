"""Checked configuration, frozen, times in seconds: the rest of the program reads these classes.

A field declares the type, the range and the default of the key that it is read from. It has the key's name; a time
in milliseconds, `*_ms`, is a field in seconds, `*_s`. `keys.py` documents the keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from evkafka.config.setting_types import (
    Choice,
    Credential,
    Flag,
    Integer,
    Milliseconds,
    MillisecondsToSeconds,
    Number,
    SettingType,
    Text,
    TypeWithoutReader,
    setting,
    setting_types_of,
)
from evkafka.serde.formats.interface import ValueFormat

MOST_BYTES = 2**63 - 1
MOST_DECOMPRESSED_BYTES = 2_000_000_000
"""No batch can be larger: its length is a signed number of 32 bits."""

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "GSSAPI", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
GroupProtocol = Literal["classic", "consumer", "auto"]
RemoteAssignor = Literal["uniform", "range"]
AutoCommitMode = Literal["pre-commit", "post-commit", "exactly-once"]
AutoOffsetReset = Literal["latest", "earliest", "none"]
Ordering = Literal["partition", "key", "unordered"]
Envelope = Literal["cloudevents"]
IsolationLevel = Literal["read_committed", "read_uncommitted"]
Unmatched = Literal["skip", "dead_letter", "stop"]
Then = Literal["stop", "skip", "dead_letter"]
HeaderStyle = Literal["evkafka", "spring"]
CompressionType = Literal["gzip", "snappy", "lz4", "zstd"]


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """How to reach one cluster and log in to it.

    Secrets never show in a repr: `options` is left out of it, and `shown` is the masked form for logs and pages.
    """

    bootstrap_servers: tuple[str, ...] = setting(("localhost:9092",), TypeWithoutReader(shown=True))
    client_id: str = setting("evkafka", Text(shown=True))
    cluster_name: str | None = setting(None, Text(shown=True, none=True))
    cluster_description: str | None = setting(None, Text(shown=True, none=True, empty=True))
    request_timeout_s: float = setting(65.0, MillisecondsToSeconds(1))
    metadata_max_age_s: float = setting(60.0, MillisecondsToSeconds(1))
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The given ones of `CONNECTION_OPTIONS`, for aiokafka."""
    shown: Mapping[str, str] = field(default_factory=dict)


CONNECTION_OPTIONS: Mapping[str, SettingType] = {
    "retry_backoff_ms": Milliseconds(1),
    "security_protocol": Choice(SecurityProtocol, none=True),
    "ssl_context": TypeWithoutReader(textual=False),
    "sasl_mechanism": Choice(SaslMechanism, none=True),
    "sasl_plain_username": Credential(shown=True),
    "sasl_plain_password": Credential(),
    "sasl_kerberos_service_name": Text(shown=True, none=True),
    "sasl_kerberos_domain_name": Text(shown=True, none=True),
    "sasl_oauth_token_provider": TypeWithoutReader(textual=False),
    "connections_max_idle_ms": TypeWithoutReader(shown=True),
}
"""Options that aiokafka gets under the same name and in the same unit."""


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """Attributes:
    value_format: of its values; None for the consumer's.
    """

    name: str
    description: str | None = None
    event_type: str | None = None
    value_format: ValueFormat | Literal["json"] | None = None


@dataclass(frozen=True, slots=True)
class DeadLetterLimitSettings:
    consecutive: int = setting(100, Integer(1))
    ratio: float = setting(0.5, Number(0, 1, above=True))
    window: int = setting(1000, Integer(1, 1_000_000))


@dataclass(frozen=True, slots=True)
class ErrorPolicySettings:
    """What happens to a record whose attempt failed. By default it is retried forever."""

    max_attempts: int | None = setting(None, TypeWithoutReader(shown=True))
    backoff_s: float = setting(0.5, MillisecondsToSeconds())
    backoff_multiplier: float = setting(2.0, Number(1, 1000))
    max_backoff_s: float = setting(30.0, MillisecondsToSeconds())
    jitter: float = setting(0.2, Number(0, 1))
    non_retryable: tuple[type[Exception], ...] = setting((), TypeWithoutReader(shown=True, textual=False))
    retry_topics: tuple[int, ...] = setting((), TypeWithoutReader(shown=True))
    """Delays, ascending, in milliseconds: they are part of the topics' names."""
    then: Then = setting("stop", Choice(Then))
    dead_letter_topic: str = setting("{topic}.{group_id}.dlq", TypeWithoutReader(shown=True))
    dead_letter_limit: DeadLetterLimitSettings | None = setting(
        DeadLetterLimitSettings(), TypeWithoutReader(shown=True)
    )
    dead_letter_header_style: HeaderStyle = setting("evkafka", Choice(HeaderStyle))
    dead_letter_producer: Mapping[str, Any] | None = setting(None, TypeWithoutReader(), in_repr=False)


@dataclass(frozen=True, slots=True)
class TransactionSettings:
    """How an exactly-once consumer commits.

    Attributes:
        interval_s: the time between two transactions, while there is something to commit.
        timeout_s: how long one transaction may take. The brokers abort it then.
        transactional_id: None: the service makes one, of the group, the client id and a random part.
    """

    interval_s: float = 0.1
    timeout_s: float = 10.0
    transactional_id: str | None = None


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    connection: ConnectionSettings = field(default_factory=ConnectionSettings)
    topics: tuple[TopicSettings, ...] = setting((), TypeWithoutReader(shown=True))
    topic_pattern: re.Pattern[str] | None = setting(None, TypeWithoutReader(shown=True))
    group_id: str | None = setting(None, Text(shown=True, none=True))
    group_protocol: GroupProtocol = setting("classic", Choice(GroupProtocol))
    group_remote_assignor: RemoteAssignor | None = setting(None, Choice(RemoteAssignor, none=True))
    auto_commit_mode: AutoCommitMode = setting("post-commit", Choice(AutoCommitMode))
    auto_commit_interval_s: float = setting(5.0, MillisecondsToSeconds())
    transaction_interval_s: float = setting(0.1, MillisecondsToSeconds(1))
    transaction_timeout_s: float = setting(10.0, MillisecondsToSeconds(1000))
    transactional_id: str | None = setting(None, Text(shown=True, none=True))
    auto_offset_reset: AutoOffsetReset = setting("latest", Choice(AutoOffsetReset))
    max_endpoint_exec_time_s: float = setting(20.0, MillisecondsToSeconds(1))
    consumer_timeout_s: float = setting(0.2, MillisecondsToSeconds(1))
    envelope: Envelope | None = setting(None, Choice(Envelope, none=True))
    concurrency: int = setting(1, Integer(1, 10_000))
    ordering: Ordering = setting("key", Choice(Ordering))
    max_pending_records: int = setting(10_000, Integer(1))
    max_pending_bytes: int = setting(64 * 1024 * 1024, Integer(1, MOST_BYTES))
    commit_metadata_max_bytes: int = setting(3_500, Integer(0, 32_767))
    max_decompressed_bytes: int = setting(64 * 1024 * 1024, Integer(1, MOST_DECOMPRESSED_BYTES))
    max_poll_records: int = setting(500, Integer(1, none=True))
    drain_timeout_s: float = setting(20.0, MillisecondsToSeconds())
    revoke_drain_timeout_s: float = setting(10.0, MillisecondsToSeconds())
    session_timeout_s: float = setting(10.0, MillisecondsToSeconds(1))
    heartbeat_interval_s: float = setting(3.0, MillisecondsToSeconds(1))
    rebalance_timeout_s: float = setting(60.0, MillisecondsToSeconds(1, none=True))
    start_timeout_s: float = setting(30.0, MillisecondsToSeconds(1))
    allow_auto_create_topics: bool = setting(False, Flag())
    required: bool = setting(True, Flag())
    isolation_level: IsolationLevel = setting("read_committed", Choice(IsolationLevel))
    group_instance_id: str | None = setting(None, TypeWithoutReader(shown=True))
    unmatched: Unmatched = setting("skip", Choice(Unmatched))
    value_format: ValueFormat | None = setting(None, TypeWithoutReader(shown=True, textual=False))
    """None for JSON."""
    on_error: ErrorPolicySettings = setting(ErrorPolicySettings(), TypeWithoutReader())
    dead_letter_topics: tuple[str, ...] = field(default=(), repr=False)
    """Names of dead-letter topics, with their placeholders, of all policies: a pattern never reads them. Empty while
    only the consumer's own policy is known."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The given ones of `CONSUMER_OPTIONS`, for aiokafka."""

    @property
    def transaction_settings(self) -> TransactionSettings | None:
        """How it commits in transactions (exactly once); None in the other modes."""
        if self.auto_commit_mode != "exactly-once":
            return None
        return TransactionSettings(self.transaction_interval_s, self.transaction_timeout_s, self.transactional_id)

    def default_transactional_id(self, suffix: str) -> str:
        """The transactional id if none is configured. ACLs name what is before the suffix, which differs each time."""
        return f"{self.group_id}-{self.connection.client_id}-{suffix}"

    @property
    def commit_interval_s(self) -> float:
        """The time between two commits, in any mode."""
        return self.transaction_interval_s if self.transaction_settings is not None else self.auto_commit_interval_s

    @property
    def at_most_once(self) -> bool:
        """Whether offsets are committed before their records run."""
        return self.auto_commit_mode == "pre-commit"

    @property
    def formats_by_topic(self) -> dict[str, ValueFormat | None]:
        """The topics with a format of their own; None for JSON."""
        return {
            topic.name: None if topic.value_format == "json" else topic.value_format
            for topic in self.topics
            if topic.value_format is not None
        }

    @property
    def commits_each_poll_before_running_it(self) -> bool:
        """Whether each poll is committed before its records run: at most once, without an interval between commits."""
        return self.at_most_once and self.auto_commit_interval_s == 0 and self.group_id is not None


CONSUMER_OPTIONS: Mapping[str, SettingType] = {
    "fetch_max_wait_ms": Milliseconds(),
    "fetch_max_bytes": Integer(1),
    "fetch_min_bytes": Integer(0),
    "max_partition_fetch_bytes": Integer(1),
    "check_crcs": Flag(),
    "exclude_internal_topics": Flag(),
    "client_rack": Text(shown=True, none=True),
    "partition_assignment_strategy": TypeWithoutReader(shown=True, textual=False),
}
"""Options that AIOKafkaConsumer gets under the same name and in the same unit."""


@dataclass(frozen=True, slots=True)
class ProducerSettings:
    connection: ConnectionSettings = field(default_factory=ConnectionSettings)
    topic: str | None = setting(None, TypeWithoutReader(shown=True))
    acks: Literal["all", 0, 1] = setting("all", TypeWithoutReader(shown=True))
    enable_idempotence: bool = setting(True, TypeWithoutReader(shown=True))
    outside_transactions: bool = setting(False, Flag())
    delivery_timeout_s: float = setting(120.0, MillisecondsToSeconds(1))
    start_timeout_s: float = setting(30.0, MillisecondsToSeconds(1))
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The given ones of `PRODUCER_OPTIONS`, for aiokafka."""


PRODUCER_OPTIONS: Mapping[str, SettingType] = {
    "linger_ms": Milliseconds(),
    "max_batch_size": Integer(1),
    "max_request_size": Integer(1),
    "compression_type": Choice(CompressionType, none=True),
    "partitioner": TypeWithoutReader(shown=True, textual=False),
}
"""Options that AIOKafkaProducer gets under the same name and in the same unit."""


SETTING_TYPES: Mapping[str, SettingType] = {
    **setting_types_of(ConnectionSettings),
    **setting_types_of(DeadLetterLimitSettings),
    **setting_types_of(ErrorPolicySettings),
    **setting_types_of(ConsumerSettings),
    **setting_types_of(ProducerSettings),
    **CONNECTION_OPTIONS,
    **CONSUMER_OPTIONS,
    **PRODUCER_OPTIONS,
}
"""Every key that is used, with its type. A key that is not in here is neither shown nor read from the environment."""
