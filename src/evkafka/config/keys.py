"""The keys of every configuration: what may stand in it, what it means, its default.

Keys that aiokafka has too go under its names and mean the same; the name in brackets is the setting in Kafka's own
documentation. All are optional but a consumer's `topics` (or `topic_pattern`). Times are in milliseconds.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Sequence
from typing import Literal, Protocol, Required

from typing_extensions import TypedDict

from evkafka.config.masking import Secret

__all__ = [
    "BrokerConfig",
    "ConsumerConfig",
    "DeadLetterLimit",
    "ErrorPolicy",
    "ProducerConfig",
    "TokenProvider",
    "TopicConfig",
]


class TokenProvider(Protocol):
    """Gives OAuth tokens: an instance of a subclass of `aiokafka.abc.AbstractTokenProvider`."""

    async def token(self) -> str: ...


# ---------------------------------------------------------------------------- connections


class _ConnectionOptions(TypedDict, total=False):
    """How to reach a cluster and log in to it."""

    bootstrap_servers: str | Sequence[str]
    """Brokers to begin with, "host:port": a list, or one str with commas. Default "localhost:9092"
    [bootstrap.servers]."""
    client_id: str
    """The name that the brokers' logs and quotas know this client by. Default "evkafka" [client.id]."""
    request_timeout_ms: int
    """How long a request waits for its answer, in milliseconds [request.timeout.ms]. Default for a consumer:
    `rebalance_timeout_ms` and 5000, and no less is possible; for a producer 40000."""
    metadata_max_age_ms: int
    """After how many milliseconds the client asks for topics and partitions anew. Default 60000
    [metadata.max.age.ms]."""
    retry_backoff_ms: int
    """The client's pause before it repeats a failed request, in milliseconds. Default 100 [retry.backoff.ms]."""
    connections_max_idle_ms: int | None
    """After how many idle milliseconds a connection is closed, None for never. Default 540000
    [connections.max.idle.ms]."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
    """Encrypted or not, with login or not. Default "PLAINTEXT" [security.protocol]."""
    ssl_context: ssl.SSLContext | None
    """For "SSL" and "SASL_SSL", which need one: `aiokafka.helpers.create_ssl_context(cafile="ca.pem")` makes it."""
    sasl_mechanism: Literal["PLAIN", "GSSAPI", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
    """How to log in. Default "PLAIN" [sasl.mechanism]."""
    sasl_plain_username: str | Secret | None
    """The user, for PLAIN and SCRAM."""
    sasl_plain_password: str | Secret | None
    """The password, for PLAIN and SCRAM: a str or a pydantic `SecretStr`. Never shown."""
    sasl_kerberos_service_name: str
    """The brokers' Kerberos service, for GSSAPI. Default "kafka" [sasl.kerberos.service.name]."""
    sasl_kerberos_domain_name: str | None
    """The brokers' Kerberos domain, for GSSAPI. Default None: the host that is connected to."""
    sasl_oauth_token_provider: TokenProvider | None
    """Where tokens come from, for OAUTHBEARER."""
    cluster_name: str | None
    """What people call this cluster; for the contract document and `request.context.consumer`. Default None."""
    cluster_description: str | None
    """A sentence on this cluster, for the contract document. Default None."""
    api_version: str | None
    """Not used, accepted for older configurations: the client asks each broker what it speaks."""


class BrokerConfig(_ConnectionOptions, total=False, closed=True):
    """The part of a configuration that several may share: `{"topics": [...], **broker}`."""


# ---------------------------------------------------------------------------- consumers


class TopicConfig(TypedDict, total=False, closed=True):
    """A topic with more to say of it than its name."""

    name: Required[str]
    """The topic's name."""
    description: str | None
    """A sentence for the contract document. Default None."""
    event_type: str | None
    """The type of all records of this topic that carry none. Default None."""


class DeadLetterLimit(TypedDict, total=False, closed=True):
    """When so many records of a partition are dead letters that the fault must lie elsewhere: the app stops."""

    consecutive: int
    """So many are written one after the other; the next one stops the app. Default 100."""
    ratio: float
    """The same where this share of the last `window` records has been written, above 0 and at most 1. Default 0.5."""
    window: int
    """How many records the share is taken of; fewer than that have no share yet. Default 1000."""


class ErrorPolicy(TypedDict, total=False, closed=True):
    """What becomes of a record whose attempt failed; of a consumer, or key by key over it of one event type."""

    max_attempts: int | None
    """Attempts before `then`, the first included. Default None: without end, so that nothing is lost."""
    backoff_ms: int
    """The wait before the second attempt, in milliseconds. Default 500."""
    backoff_multiplier: float
    """By how much each wait is longer than the one before, at least 1. Default 2.0."""
    max_backoff_ms: int
    """The longest wait, in milliseconds. Default 30000."""
    jitter: float
    """The share by which a wait is longer or shorter at random, 0 to 1. Default 0.2."""
    non_retryable: Sequence[type[Exception]]
    """Errors that end a record's attempts at once, subclasses included. Default none."""
    retry_topics: Sequence[int] | None
    """Delays in milliseconds, the shortest first, [5_000, 60_000] for example: after its last attempt a record is
    written to the topic "{topic}.{group_id}.retry.{delay}", and comes again when that has passed, with `max_attempts`
    attempts each time; after the last of them `then` follows. The order of keys is given up. Default none."""
    then: Literal["stop", "skip", "dead_letter"]
    """After the last attempt: "stop" ends the app with the record uncommitted (default), "skip" leaves the record,
    "dead_letter" writes it to `dead_letter_topic` first."""
    dead_letter_topic: str
    """Where dead letters go; {topic}, {group_id} and {event_type} stand for the record's.
    Default "{topic}.{group_id}.dlq"."""
    dead_letter_limit: DeadLetterLimit | None
    """When there are too many of them, None for never. Default 100 in a row, or half of the last 1000. At the limit
    the app stops, and stops again until `evkafka run --reset-dead-letter-limit`."""
    dead_letter_header_style: Literal["evkafka", "spring"]
    """How the headers that tell a dead letter's story are named. Default "evkafka"."""
    dead_letter_producer: ProducerConfig
    """Laid over the consumer's connection, for the producer that writes them. Default: nothing is different."""


class ConsumerConfig(_ConnectionOptions, total=False, closed=True):
    """A consumer: what it reads, as whom, and what becomes of the records."""

    topics: Sequence[str | TopicConfig]
    """What is read. This or `topic_pattern`."""
    topic_pattern: str | re.Pattern[str]
    """A regular expression: topics whose names begin with a match are read, new ones within `metadata_max_age_ms`."""
    group_id: str | None
    """The consumer group, whose members share the partitions. Needed for post-commit [group.id]."""
    group_instance_id: str | None
    """A name that outlives a restart, unique in the group: a restart within `session_timeout_ms` then moves no
    partition. Default None [group.instance.id]."""
    auto_commit_mode: Literal["pre-commit", "post-commit"]
    """"post-commit" (default): at least once, an offset is committed after its record was processed.
    "pre-commit": at most once, an offset is committed as its record is received."""
    auto_commit_interval_ms: int
    """Milliseconds between commits. Default 5000 [auto.commit.interval.ms]. 0 with post-commit: as soon as there is
    something to commit; with pre-commit: each polled batch, before its first record runs."""
    auto_offset_reset: Literal["latest", "earliest", "none"]
    """Where a group without a committed offset begins; "none" is an error. Default "latest" [auto.offset.reset]."""
    unmatched: Literal["skip", "dead_letter", "stop"]
    """What becomes of a record that no endpoint takes. Default "skip"; post-commit only."""
    on_error: ErrorPolicy
    """What becomes of a record whose attempt failed. Default: tried again without end; post-commit only."""
    max_endpoint_exec_time_ms: int
    """How long one attempt may take, in milliseconds. Default 20000."""
    concurrency: int
    """Records in flight at once, 1 to 10000. Default 1."""
    ordering: Literal["partition", "key", "unordered"]
    """With concurrency above 1, what stays in order: a partition, a key's records (default), or nothing."""
    max_poll_records: int | None
    """Most records taken per poll. Default 500 [max.poll.records]."""
    max_pending_records: int
    """Most records that are read and not committable, over all partitions. Default 10000."""
    max_pending_bytes: int
    """The same in bytes. Default 67108864 (64 MiB)."""
    max_decompressed_bytes: int
    """Most bytes that one compressed batch may unpack to; a larger one counts as unreadable. Default 64 times
    `max_partition_fetch_bytes`, and 67108864 (64 MiB) at least."""
    consumer_timeout_ms: int
    """How long one poll waits for records, in milliseconds. Default 200."""
    drain_timeout_ms: int
    """How long work in flight may take to end when the app stops, in milliseconds. Default 20000."""
    revoke_drain_timeout_ms: int
    """The same when partitions go to another member; the whole group stands still meanwhile. Default 10000."""
    session_timeout_ms: int
    """After how many milliseconds without a heartbeat the group goes on without this member. Default 10000
    [session.timeout.ms]. The brokers bound it (group.min.session.timeout.ms, group.max.session.timeout.ms)."""
    heartbeat_interval_ms: int
    """Milliseconds between heartbeats, less than the session's. Default 3000 [heartbeat.interval.ms]."""
    rebalance_timeout_ms: int | None
    """How long the group waits for its members when partitions are shared out anew, in milliseconds. Default 60000,
    or `max_endpoint_exec_time_ms` and 10000 where that is more [max.poll.interval.ms]."""
    start_timeout_ms: int
    """How long connecting and logging in may take before the start has failed, in milliseconds. Default 30000."""
    required: bool
    """False: this consumer's cluster being away keeps the app neither from starting nor from running. Default True."""
    allow_auto_create_topics: bool
    """True: brokers may create an absent topic. Default False: it is waited for [allow.auto.create.topics]."""
    isolation_level: Literal["read_committed", "read_uncommitted"]
    """Whether records of open and aborted transactions are read. Default "read_committed" [isolation.level]."""
    partition_assignment_strategy: type | Sequence[type]
    """Exactly one of aiokafka's assignors. Default its RoundRobinPartitionAssignor [partition.assignment.strategy]."""
    exclude_internal_topics: bool
    """Whether a `topic_pattern` leaves Kafka's own topics out. Default True [exclude.internal.topics]."""
    client_rack: str | None
    """Where this consumer runs, to fetch from the nearest replica. Default None [client.rack]."""
    fetch_min_bytes: int
    """What a broker gathers before it answers a fetch, in bytes. Default 1 [fetch.min.bytes]."""
    fetch_max_wait_ms: int
    """How long it gathers at most, in milliseconds. Default 500 [fetch.max.wait.ms]."""
    fetch_max_bytes: int
    """Most bytes of one fetch. Default 52428800 [fetch.max.bytes]."""
    max_partition_fetch_bytes: int
    """Most bytes of one partition in it. Default 1048576 [max.partition.fetch.bytes]."""
    check_crcs: bool
    """Whether each batch's checksum is compared. Default True [check.crcs]."""
    enable_auto_commit: bool
    """Not used, accepted for older configurations: `auto_commit_mode` says when offsets are committed."""
    max_poll_interval_ms: int
    """Not used, accepted: our own clock says when a consumer is stuck, and an idle one is not."""


# ---------------------------------------------------------------------------- producers


class ProducerConfig(_ConnectionOptions, total=False, closed=True):
    """A producer: where its events go, and when a send counts as done."""

    topic: str | None
    """Where events go that name no topic themselves. Default None."""
    acks: Literal["all", -1, 0, 1]
    """Whose confirmation a send waits for: all replicas' (default, also -1), the leader's (1), nobody's (0) [acks]."""
    enable_idempotence: bool
    """Whether the brokers drop what the client sends twice; needs acks "all". Default True, but False when `acks` is
    0 or 1 [enable.idempotence]."""
    delivery_timeout_ms: int
    """How long a send, flush or stop may take, in milliseconds. Default 120000 [delivery.timeout.ms]."""
    start_timeout_ms: int
    """How long connecting and logging in may take before the start has failed, in milliseconds. Default 30000."""
    linger_ms: int
    """How long the client gathers records for a batch, in milliseconds. Default 0 [linger.ms]."""
    max_batch_size: int
    """Most bytes of a batch, of one partition. Default 16384 [batch.size]."""
    max_request_size: int
    """Most bytes of a request, and with that of a record. Default 1048576 [max.request.size]."""
    compression_type: Literal["gzip", "snappy", "lz4", "zstd"] | None
    """How batches are compressed. Default None [compression.type]."""
    partitioner: Callable[[bytes | None, list[int], list[int]], int]
    """Chooses the partition from key, all partitions and those that have a leader. Default: by the key's murmur2
    hash, as Java does; without a key at random [partitioner.class]."""
