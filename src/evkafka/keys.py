"""The keys of every configuration, as TypedDicts: what an editor and a type checker know of them.

Behind each key stand its default and, where there is one, Kafka's own setting. Times are in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Required

from typing_extensions import TypedDict

__all__ = ["BrokerConfig", "ConsumerConfig", "DeadLetterLimit", "ErrorPolicy", "ProducerConfig", "TopicConfig"]


class DeadLetterLimit(TypedDict, total=False):
    """When a consumer stops instead of burying more, per partition."""

    consecutive: int
    ratio: float
    window: int


class ErrorPolicy(TypedDict, total=False):
    """What becomes of a record whose attempt failed. Times in milliseconds."""

    max_attempts: int | None  # None (default): without end
    backoff_ms: int  # 500: the wait after the first attempt
    backoff_multiplier: float  # 2.0
    max_backoff_ms: int  # 30 000
    jitter: float  # 0.2: each wait is up to 20 % shorter or longer
    non_retryable: Sequence[type[Exception]]  # meet `then` at once
    then: Literal["stop", "skip", "dead_letter"]  # "stop": the app ends with 1, the record uncommitted
    dead_letter_topic: str  # "{topic}.{group_id}.dlq"
    dead_letter_limit: DeadLetterLimit | None
    dead_letter_header_style: Literal["evkafka", "spring"]
    dead_letter_producer: Mapping[str, Any]


class TopicConfig(TypedDict, total=False):
    """A topic with what the contract says about it."""

    name: Required[str]
    description: str | None
    event_type: str  # the type of all its records that carry none


class _ConnectionOptions(TypedDict, total=False):
    bootstrap_servers: str | Sequence[str]  # "localhost:9092"; bootstrap.servers
    client_id: str  # "evkafka"; client.id
    cluster_name: str | None
    cluster_description: str | None
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
    ssl_context: Any  # an ssl.SSLContext
    sasl_mechanism: Literal["PLAIN", "GSSAPI", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
    sasl_plain_username: str | None
    sasl_plain_password: Any  # str, or a SecretStr
    sasl_kerberos_service_name: str
    sasl_kerberos_domain_name: str | None
    sasl_oauth_token_provider: Any
    request_timeout_ms: int  # rebalance_timeout_ms + 5000; request.timeout.ms
    metadata_max_age_ms: int  # 60 000; metadata.max.age.ms
    retry_backoff_ms: int  # 100; retry.backoff.ms
    connections_max_idle_ms: int  # 540 000; connections.max.idle.ms
    api_version: str  # accepted and ignored, as aiokafka does


class BrokerConfig(_ConnectionOptions, total=False, closed=True):  # type: ignore[call-arg,unused-ignore]
    """The keys of a connection alone, to be laid into several configurations: `{**broker, "topics": [...]}`."""


class ConsumerConfig(_ConnectionOptions, total=False, closed=True):  # type: ignore[call-arg,unused-ignore]
    """One consumer. Defaults stand behind the keys; the last word is Kafka's own setting where there is one."""

    topics: Sequence[str | TopicConfig]
    topic_pattern: str  # a regular expression, instead of `topics`
    group_id: str | None  # group.id; post-commit needs one
    group_instance_id: str | None  # group.instance.id: unique in the group
    auto_commit_mode: Literal["pre-commit", "post-commit"]  # "post-commit"
    auto_commit_interval_ms: int  # 5000
    auto_offset_reset: Literal["latest", "earliest", "none"]  # "latest"
    max_endpoint_exec_time_ms: int  # 20 000: one attempt's time limit
    consumer_timeout_ms: int  # 200: how long one poll waits
    concurrency: int  # 1: records in flight at once
    ordering: Literal["partition", "key", "unordered"]  # "key", where concurrency > 1
    max_pending_records: int  # 10 000: read and not committable
    max_pending_bytes: int  # 64 MiB
    max_poll_records: int  # 500
    drain_timeout_ms: int  # 20 000: for what is in flight, at the stop
    revoke_drain_timeout_ms: int  # 10 000: the same at a revoke
    session_timeout_ms: int  # 10 000; session.timeout.ms
    heartbeat_interval_ms: int  # 3000; heartbeat.interval.ms
    rebalance_timeout_ms: int  # max(60 000, exec limit + 10 000); rebalance.timeout.ms
    max_poll_interval_ms: int  # accepted; our own clock decides
    partition_assignment_strategy: Any  # round robin; exactly one class
    allow_auto_create_topics: bool  # False; allow.auto.create.topics
    required: bool  # True: the app does not start without this cluster
    isolation_level: Literal["read_committed", "read_uncommitted"]  # "read_committed"
    start_timeout_ms: int  # 30 000: for connecting, login and metadata
    unmatched: Literal["skip", "dead_letter", "stop"]  # "skip"
    on_error: ErrorPolicy
    enable_auto_commit: bool  # accepted and not used: the consumer always commits by itself
    fetch_max_wait_ms: int  # 500
    fetch_max_bytes: int
    fetch_min_bytes: int
    max_partition_fetch_bytes: int
    check_crcs: bool
    exclude_internal_topics: bool
    client_rack: str | None


class ProducerConfig(_ConnectionOptions, total=False, closed=True):  # type: ignore[call-arg,unused-ignore]
    """One producer."""

    topic: str | None  # where events without a topic of their own go
    acks: Literal["all", -1, 0, 1]  # "all"
    enable_idempotence: bool  # True
    delivery_timeout_ms: int  # 120 000: bounds every send, flush and stop
    start_timeout_ms: int  # 30 000
    compression_type: Literal["gzip", "snappy", "lz4", "zstd"] | None
    max_batch_size: int
    max_request_size: int
    linger_ms: int
    partitioner: Any
