"""Checked configuration, frozen, in seconds: what the rest of the program reads.

`__init__.py` makes these from the user's dictionaries. Field names are the config keys', but for times, which
are `*_s` in here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """How to reach and log in to one cluster. `options` goes to aiokafka as it stands (TLS, SASL, retry_backoff_ms...).

    Secrets never show in a repr: `options` is left out of it, and `shown` is the masked form for logs and pages.
    """

    bootstrap_servers: tuple[str, ...] = ("localhost:9092",)
    client_id: str = "evkafka"
    cluster_name: str | None = None
    cluster_description: str | None = None
    request_timeout_s: float = 65.0
    metadata_max_age_s: float = 60.0
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    shown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopicSettings:
    name: str
    description: str | None = None
    event_type: str | None = None


@dataclass(frozen=True, slots=True)
class DeadLetterLimitSettings:
    consecutive: int = 100
    ratio: float = 0.5
    window: int = 1000


@dataclass(frozen=True, slots=True)
class ErrorPolicySettings:
    """What becomes of a record whose attempt failed. Defaults keep the seed's promise: again, without end."""

    max_attempts: int | None = None
    backoff_s: float = 0.5
    backoff_multiplier: float = 2.0
    max_backoff_s: float = 30.0
    jitter: float = 0.2
    non_retryable: tuple[type[Exception], ...] = ()
    retry_topics: tuple[int, ...] = ()
    """Delays, ascending, in milliseconds: they name topics."""
    then: Literal["stop", "skip", "dead_letter"] = "stop"
    dead_letter_topic: str = "{topic}.{group_id}.dlq"
    dead_letter_limit: DeadLetterLimitSettings | None = field(default_factory=DeadLetterLimitSettings)
    dead_letter_header_style: Literal["evkafka", "spring"] = "evkafka"
    dead_letter_producer: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    connection: ConnectionSettings = field(default_factory=ConnectionSettings)
    topics: tuple[TopicSettings, ...] = ()
    topic_pattern: re.Pattern[str] | None = None
    group_id: str | None = None
    auto_commit_mode: Literal["pre-commit", "post-commit"] = "post-commit"
    auto_commit_interval_s: float = 5.0
    auto_offset_reset: Literal["latest", "earliest", "none"] = "latest"
    max_endpoint_exec_time_s: float = 20.0
    consumer_timeout_s: float = 0.2
    concurrency: int = 1
    ordering: Literal["partition", "key", "unordered"] = "key"
    max_pending_records: int = 10_000
    max_pending_bytes: int = 64 * 1024 * 1024
    max_decompressed_bytes: int = 64 * 1024 * 1024
    max_poll_records: int = 500
    drain_timeout_s: float = 20.0
    revoke_drain_timeout_s: float = 10.0
    session_timeout_s: float = 10.0
    heartbeat_interval_s: float = 3.0
    rebalance_timeout_s: float = 60.0
    start_timeout_s: float = 30.0
    allow_auto_create_topics: bool = False
    required: bool = True
    isolation_level: Literal["read_committed", "read_uncommitted"] = "read_committed"
    group_instance_id: str | None = None
    unmatched: Literal["skip", "dead_letter", "stop"] = "skip"
    on_error: ErrorPolicySettings = field(default_factory=ErrorPolicySettings)
    dead_letter_topics: tuple[str, ...] = field(default=(), repr=False)
    """Names of dead-letter topics, with their placeholders, of all policies: a pattern never reads them. Empty while
    only the consumer's own policy is known."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The remaining AIOKafkaConsumer options, under aiokafka's names and in its units (fetch_max_wait_ms, ...)."""


@dataclass(frozen=True, slots=True)
class ProducerSettings:
    connection: ConnectionSettings = field(default_factory=ConnectionSettings)
    topic: str | None = None
    acks: Literal["all", 0, 1] = "all"
    enable_idempotence: bool = True
    delivery_timeout_s: float = 120.0
    start_timeout_s: float = 30.0
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The remaining AIOKafkaProducer options, under aiokafka's names and in its units (linger_ms, ...)."""
