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
from evkafka.serde.formats.interface import ValueFormat

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
    """The connection to a cluster, and the login."""

    bootstrap_servers: str | Sequence[str]
    """The brokers to connect to first, "host:port": a list, or one str with commas. Default "localhost:9092"
    [bootstrap.servers]."""
    client_id: str
    """The client's name in the brokers' logs and quotas. Default "evkafka" [client.id]."""
    request_timeout_ms: int
    """How long to wait for the response to a request, in milliseconds [request.timeout.ms]. Default for a consumer:
    `rebalance_timeout_ms` plus 5000; for a producer 40000. Joining a group always has at least `rebalance_timeout_ms`
    plus 5000."""
    metadata_max_age_ms: int
    """How often the client refreshes its list of topics and partitions, in milliseconds. Default 60000
    [metadata.max.age.ms]."""
    retry_backoff_ms: int
    """The client's wait before it repeats a failed request, in milliseconds. Default 100 [retry.backoff.ms]."""
    connections_max_idle_ms: int | None
    """Idle time after which a connection is closed, in milliseconds; None for never. Default 540000
    [connections.max.idle.ms]."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
    """Whether connections are encrypted (SSL) and authenticated (SASL). Default "PLAINTEXT" [security.protocol]."""
    ssl_context: ssl.SSLContext | None
    """Required for "SSL" and "SASL_SSL"; create one with `aiokafka.helpers.create_ssl_context(cafile="ca.pem")`."""
    sasl_mechanism: Literal["PLAIN", "GSSAPI", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
    """The SASL mechanism of the login. Default "PLAIN" [sasl.mechanism]."""
    sasl_plain_username: str | Secret | None
    """The user name, for PLAIN and SCRAM."""
    sasl_plain_password: str | Secret | None
    """The password, for PLAIN and SCRAM: a str or a pydantic `SecretStr`. Never shown."""
    sasl_kerberos_service_name: str
    """The Kerberos service name of the brokers, for GSSAPI. Default "kafka" [sasl.kerberos.service.name]."""
    sasl_kerberos_domain_name: str | None
    """The Kerberos domain of the brokers, for GSSAPI. Default None: the host name of the connection."""
    sasl_oauth_token_provider: TokenProvider | None
    """The provider of tokens, for OAUTHBEARER."""
    cluster_name: str | None
    """A display name of this cluster, for the AsyncAPI document and `request.context.consumer`. Default None."""
    cluster_description: str | None
    """A description of this cluster, for the AsyncAPI document. Default None."""
    api_version: str | None
    """Not used, accepted for older configurations: the client asks each broker for its API versions."""


class BrokerConfig(_ConnectionOptions, total=False, closed=True):
    """The connection keys, to share between configurations: `{"topics": [...], **broker}`."""


# ---------------------------------------------------------------------------- consumers


class TopicConfig(TypedDict, total=False, closed=True):
    """A topic with further options."""

    name: Required[str]
    """The topic's name."""
    description: str | None
    """A description for the AsyncAPI document. Default None."""
    event_type: str | None
    """The event type of records of this topic that carry none. Default None."""
    value_format: ValueFormat | Literal["json"] | None
    """The format of this topic's values. Default None: the consumer's."""


class DeadLetterLimit(TypedDict, total=False, closed=True):
    """Stops the app if so many records of a partition become dead letters that the records cannot be the cause."""

    consecutive: int
    """How many records in a row may become dead letters; the next one stops the app. Default 100."""
    ratio: float
    """The share of the last `window` records that may become dead letters, above 0 and at most 1. Default 0.5."""
    window: int
    """The number of records that `ratio` refers to; it does not apply before that many records. Default 1000."""


class ErrorPolicy(TypedDict, total=False, closed=True):
    """What happens after a failed attempt, for a consumer or for one event type, whose keys override the consumer's."""

    max_attempts: int | None
    """Attempts before `then` applies, including the first. Default None: retry forever, so that nothing is lost."""
    backoff_ms: int
    """The wait before the second attempt, in milliseconds. Default 500."""
    backoff_multiplier: float
    """The factor from each wait to the next, at least 1. Default 2.0."""
    max_backoff_ms: int
    """The longest wait, in milliseconds, with `jitter` included. Default 30000."""
    jitter: float
    """The random variation of each wait, as a share of it, 0 to 1. Default 0.2."""
    non_retryable: Sequence[type[Exception]]
    """Exceptions that are not retried, subclasses included. Default none."""
    retry_topics: Sequence[int] | None
    """Delays in milliseconds, shortest first, for example [5_000, 60_000]: after its last attempt a record is
    written to the topic "{topic}.{group_id}.retry.{delay}" and read again after that delay, with `max_attempts`
    attempts each time; after the last delay `then` applies. The order of keys is not kept. Default none."""
    then: Literal["stop", "skip", "dead_letter"]
    """After the last attempt: "stop" stops the app with the record uncommitted (default), "skip" skips the record,
    "dead_letter" writes it to `dead_letter_topic` and continues."""
    dead_letter_topic: str
    """The name of the dead-letter topic; {topic}, {group_id} and {event_type} are replaced by the record's. Default
    "{topic}.{group_id}.dlq"."""
    dead_letter_limit: DeadLetterLimit | None
    """When too many records become dead letters; None for no limit. Default 100 in a row, or half of the last 1000.
    At the limit the app stops, and stops again at each start until `evkafka run --reset-dead-letter-limit`."""
    dead_letter_header_style: Literal["evkafka", "spring"]
    """The names of the headers that describe the failure. Default "evkafka"."""
    dead_letter_producer: ProducerConfig
    """Overrides the consumer's connection for the producer that writes dead letters. Default: no difference."""


class ConsumerConfig(_ConnectionOptions, total=False, closed=True):
    """A consumer: its topics, its group, and how records are handled."""

    topics: Sequence[str | TopicConfig]
    """The topics to read. Give either this or `topic_pattern`."""
    topic_pattern: str | re.Pattern[str]
    """A regular expression: topics whose names start with a match are read, new ones within `metadata_max_age_ms`."""
    group_id: str | None
    """The consumer group, whose members share the partitions. Not required for pre-commit [group.id]."""
    group_instance_id: str | None
    """A name that survives restarts, unique in the group (static membership): a restart within the session timeout
    causes no rebalance. Default None [group.instance.id]."""
    group_protocol: Literal["classic", "consumer", "auto"]
    """How the group shares its partitions. "classic" (default): all members stop for each rebalance. "consumer": the
    brokers assign, and only partitions that move are stopped; needs Kafka 4.0 or newer. "auto": "consumer" if the
    brokers offer it when the consumer starts, else "classic" [group.protocol]."""
    group_remote_assignor: Literal["uniform", "range"] | None
    """The brokers' assignor, for `group_protocol` "consumer" and "auto". Default None: the brokers choose, "uniform"
    unless they are configured otherwise [group.remote.assignor]."""
    auto_commit_mode: Literal["pre-commit", "post-commit", "exactly-once"]
    """"post-commit" (default): at least once, an offset is committed after its record was processed.
    "pre-commit": at most once, an offset is committed as its record is received. "exactly-once": what an endpoint sends
    is written in one transaction with the offset of its record; needs Kafka 2.5 or newer."""
    auto_commit_interval_ms: int
    """The longest time that a finished record waits for its commit, in milliseconds. Default 5000
    [auto.commit.interval.ms]. With post-commit it is a tenth of that (10 ms at least) while no further record waits to
    be handled; 0: as soon as there is something to commit. With pre-commit it is the time between two commits; 0: each
    polled batch is committed before its first record is handled."""
    transaction_interval_ms: int
    """The time between two transactions, in milliseconds; exactly-once only. What an endpoint has sent becomes visible
    after about half of it on average. Default 100 [commit.interval.ms of Kafka Streams]."""
    transaction_timeout_ms: int
    """How long one transaction may take, in milliseconds; the brokers abort it then. Exactly-once only. Default 10000;
    the brokers' limit is transaction.max.timeout.ms, 15 minutes by default [transaction.timeout.ms]."""
    transactional_id: str | None
    """The transactional id, which must be unique: two processes, or consumers, with one id end each other's
    transactions. Exactly-once only. Default None: made of the group, the client id and a random part
    [transactional.id]."""
    auto_offset_reset: Literal["latest", "earliest", "none"]
    """Where to start without a committed offset; "none" is an error. Default "latest" [auto.offset.reset]."""
    unmatched: Literal["skip", "dead_letter", "stop"]
    """What to do with a record that no endpoint handles. Default "skip"; not with pre-commit."""
    value_format: ValueFormat | Literal["json"] | None
    """The format of the values, for topics with a schema registry: `Avro`, `Protobuf` or `JsonSchema` from
    evkafka.formats. Default "json"."""
    on_error: ErrorPolicy
    """What to do after a failed attempt. Default: retry forever; not with pre-commit."""
    max_endpoint_exec_time_ms: int
    """The time limit of one attempt, in milliseconds. Default 20000."""
    envelope: Literal["cloudevents"] | None
    """"cloudevents": records are CloudEvents 1.0, in binary or structured mode. The attribute `type` is the event type,
    and `request.cloudevent` has the attributes. A record that is no CloudEvent cannot be decoded. Default None."""
    concurrency: int
    """The maximum number of records in flight, 1 to 10000. Default 1."""
    ordering: Literal["partition", "key", "unordered"]
    """With concurrency above 1, which records stay in order: those of a partition, those of a key (default), or
    none."""
    max_poll_records: int | None
    """The maximum number of records per poll. Default 500 [max.poll.records]."""
    max_pending_records: int
    """The maximum number of records read and not yet finished. Each partition has an equal share, at least
    `max_poll_records`; one poll may exceed it. Default 10000."""
    max_pending_bytes: int
    """The same for the bytes of their values, without that minimum. Default 67108864 (64 MiB)."""
    commit_metadata_max_bytes: int
    """The maximum size of the metadata beside a committed offset, in bytes. It says which records after the offset are
    finished. A partition that may need more is read no further until some of its unfinished records end. Default 3500;
    the brokers' limit is offset.metadata.max.bytes, 4096 by default. 0 to 32767; with less than 128 no finished offsets
    fit: they are handled again after a restart, and crashes of the process are not counted."""
    max_decompressed_bytes: int
    """The maximum size of one batch after decompression, in bytes; a larger one counts as unreadable. Default 64
    times `max_partition_fetch_bytes`, and 67108864 (64 MiB) at least."""
    consumer_timeout_ms: int
    """How long one poll waits for records, in milliseconds. Default 200."""
    drain_timeout_ms: int
    """How long records in flight may take to finish when the app stops, in milliseconds. Default 20000."""
    revoke_drain_timeout_ms: int
    """The same when partitions are revoked; the whole group waits meanwhile. Default 10000."""
    session_timeout_ms: int
    """Time without a heartbeat after which the group removes this member, in milliseconds. Default 10000
    [session.timeout.ms]. The brokers limit it (group.min.session.timeout.ms, group.max.session.timeout.ms). Not with
    `group_protocol` "consumer": there it is the brokers' setting group.consumer.session.timeout.ms."""
    heartbeat_interval_ms: int
    """Milliseconds between heartbeats, less than nine tenths of `session_timeout_ms`. Default 3000
    [heartbeat.interval.ms]. Not with `group_protocol` "consumer": there it is the brokers' setting
    group.consumer.heartbeat.interval.ms."""
    rebalance_timeout_ms: int | None
    """How long the group waits for its members in a rebalance, in milliseconds. Default 60000, or
    `max_endpoint_exec_time_ms` plus 10000 if that is more [max.poll.interval.ms]."""
    start_timeout_ms: int
    """How long connecting and logging in may take before the start fails, in milliseconds. Default 30000."""
    required: bool
    """False: the app starts and keeps running while this consumer's cluster is unavailable. Default True."""
    allow_auto_create_topics: bool
    """True: brokers may create a missing topic. Default False: wait for it [allow.auto.create.topics]."""
    isolation_level: Literal["read_committed", "read_uncommitted"]
    """Whether records of open and aborted transactions are read. Default "read_committed" [isolation.level]."""
    partition_assignment_strategy: type | Sequence[type]
    """Exactly one of aiokafka's assignors. Default its RoundRobinPartitionAssignor [partition.assignment.strategy]. Not
    with `group_protocol` "consumer", which has `group_remote_assignor`."""
    exclude_internal_topics: bool
    """Whether a `topic_pattern` ignores Kafka's internal topics. Default True [exclude.internal.topics]."""
    client_rack: str | None
    """Where this consumer runs, to fetch from the nearest replica. Default None [client.rack]."""
    fetch_min_bytes: int
    """The least data that a broker returns for a fetch, in bytes. Default 1 [fetch.min.bytes]."""
    fetch_max_wait_ms: int
    """How long a broker waits for that much data, in milliseconds. Default 500 [fetch.max.wait.ms]."""
    fetch_max_bytes: int
    """The maximum size of one fetch, in bytes. Default 52428800 [fetch.max.bytes]."""
    max_partition_fetch_bytes: int
    """The maximum size per partition in a fetch, in bytes. Default 1048576 [max.partition.fetch.bytes]."""
    check_crcs: bool
    """Whether the checksum of each batch is verified. Default True [check.crcs]."""
    enable_auto_commit: bool
    """Not used, accepted for older configurations: `auto_commit_mode` decides when offsets are committed."""
    max_poll_interval_ms: int
    """Not used, accepted for older configurations: EVKafka detects a stuck consumer itself."""


# ---------------------------------------------------------------------------- producers


class ProducerConfig(_ConnectionOptions, total=False, closed=True):
    """A producer: its topic, and when a send is confirmed."""

    topic: str | None
    """The topic of events that name none themselves. Default None."""
    acks: Literal["all", -1, 0, 1]
    """Whose confirmation a send waits for: all replicas (default, also -1), the leader (1), none (0); transactions need
    all of them [acks]."""
    enable_idempotence: bool
    """Whether the brokers discard duplicates from the client's retries; needs acks "all". Default True, but False
    when `acks` is 0 or 1 [enable.idempotence]."""
    outside_transactions: bool
    """True: inside of exactly-once endpoints its sends are written at once, and again if the record is handled again.
    Default False: they are part of the transaction."""
    delivery_timeout_ms: int
    """How long a send, flush or stop may take, in milliseconds. Default 120000 [delivery.timeout.ms]."""
    start_timeout_ms: int
    """How long connecting and logging in may take before the start fails, in milliseconds. Default 30000."""
    linger_ms: int
    """How long the client collects records for a batch, in milliseconds. Default 0 [linger.ms]."""
    max_batch_size: int
    """The maximum size of a batch, which belongs to one partition, in bytes. Default 16384 [batch.size]."""
    max_request_size: int
    """The maximum size of a request, and so of a record before compression, in bytes. Default 1048576
    [max.request.size]."""
    compression_type: Literal["gzip", "snappy", "lz4", "zstd"] | None
    """The compression of batches. Default None [compression.type]."""
    partitioner: Callable[[bytes | None, list[int], list[int]], int]
    """Chooses the partition, from the key, all partitions, and those that have a leader. Default: by the key's
    murmur2 hash, as Java does; without a key at random [partitioner.class]."""
