"""What an exactly-once consumer knows about what may be sent in its transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from evkafka.config.settings import ConnectionSettings, ConsumerSettings
from evkafka.exceptions import ConfigError, DeliveryError, RecordRefused, RecordTooLarge
from evkafka.runtime.ports import Clock, Cluster, OutgoingRecord, OutputRefused, RecordSink, TopicIds

REFUSED_S = 60.0
"""How long sends fail that a transaction could not write. Then one is tried again: the topic may have been changed."""

LOOK_UP_S = 10.0


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What a transaction could not write to one topic.

    Attributes:
        sent_at: sends of the attempts at this record fail; None: of all attempts.
        largest_bytes: sends fail whose batch has more bytes; None: of every size.
    """

    error: DeliveryError
    sent_at: str | None
    largest_bytes: int | None
    until_s: float

    def reason_to_refuse(self, record: OutgoingRecord, addresses: Collection[str], sink: RecordSink) -> str | None:
        """Why this record cannot be written either; None if it can."""
        if self.sent_at is not None:
            return str(self.error) if self.sent_at in addresses else None
        if self.largest_bytes is None:
            return str(self.error)
        if (size := sink.size_as_single_record_batch(record)) <= self.largest_bytes:
            return None
        return (
            f"event {record.event_type!r} to topic {record.topic!r} was not delivered: the record, {size} bytes as a"
            f" batch, is larger than the topic's max.message.bytes, which was at most {self.largest_bytes} less than a"
            " minute ago; send less, or raise that limit; it was not written"
        )


class _ClusterPair(NamedTuple):
    """The clusters of a consumer and of a producer, by their ids and those of the consumer's topics."""

    own: TopicIds
    other: TopicIds


class TransactionScope:
    """What the attempts of one exactly-once consumer share, in all of its lives.

    Args:
        consumer: its name.
    """

    def __init__(self, consumer: str, settings: ConsumerSettings, *, cluster: Cluster, clock: Clock) -> None:
        self._consumer = consumer
        self._connection = settings.connection
        self._topics = [topic.name for topic in settings.topics]
        self._cluster = cluster
        self._clock = clock
        self._refused: dict[tuple[str, str | None], _Refusal] = {}
        self._compared: dict[Sequence[str], _ClusterPair] = {}
        self._comparing = asyncio.Lock()

    def fail_later_sends_like(self, refused: OutputRefused) -> None:
        """A transaction could not write this record. The same send raises its error from now on, so that it fails the
        attempt at its own record, and not the transactions of all."""
        output, error, now_s = refused.output, refused.error, self._clock.now()
        sent_at = output.sent_at if isinstance(error, RecordRefused) else None
        largest_bytes = None
        if isinstance(error, RecordTooLarge):
            most = refused.batch_bytes - 1
            largest_bytes = most if refused.largest_bytes is None else min(most, refused.largest_bytes)
        self._refused = {key: refusal for key, refusal in self._refused.items() if refusal.until_s >= now_s}
        self._refused[output.topic, sent_at] = _Refusal(error, sent_at, largest_bytes, now_s + REFUSED_S)

    def check_record_not_refused(self, record: OutgoingRecord, addresses: Collection[str], sink: RecordSink) -> None:
        """Check that no transaction has been unable to write such a record lately.

        Args:
            addresses: of the records whose attempt sends it.
            sink: has chosen its partition.

        Raises:
            DeliveryError: one was.
        """
        for (topic, _), refusal in self._refused.items():
            if topic != record.topic or self._clock.now() > refusal.until_s:
                continue
            if (why := refusal.reason_to_refuse(record, addresses, sink)) is not None:
                error = refusal.error  # each attempt gets one of its own, with its own traceback and notes
                raise type(error)(
                    why, topic=record.topic, event_type=record.event_type, may_have_been_written=False
                ) from error

    async def is_connection_to_own_cluster(self, connection: ConnectionSettings) -> bool:
        """Whether this connection is to the cluster that the consumer reads from. It can have another list of servers.

        Raises:
            BrokerUnavailable, BrokerRefused, BrokerError: a cluster did not answer.
        """
        if connection.bootstrap_servers == self._connection.bootstrap_servers:
            return True
        pair = await self._look_up_clusters(connection)
        return pair.own == pair.other

    async def check_cluster(self, producer: str, connection: ConnectionSettings) -> None:
        """Check that a producer sends to the consumer's own cluster.

        Raises:
            ConfigError: it does not.
            BrokerUnavailable, BrokerRefused, BrokerError: a cluster did not answer.
        """
        if await self.is_connection_to_own_cluster(connection):
            return
        pair, own = await self._look_up_clusters(connection), self._connection
        raise ConfigError(
            f"producer {producer!r} sends to {_describe_cluster(connection, pair.other)}, but the endpoint belongs to"
            f" exactly-once consumer {self._consumer!r} of {_describe_cluster(own, pair.own)}, and a transaction cannot"
            ' span two clusters; if this send may happen more than once, set "outside_transactions": True in the config'
            " of the producer; if they are one cluster, give the producer the bootstrap_servers of the consumer"
        )

    async def _look_up_clusters(self, connection: ConnectionSettings) -> _ClusterPair:
        """Look up both clusters, once. The id of a cluster alone does not tell: many are created with the id of an
        example. The ids of the consumer's topics are different in each cluster."""
        servers = connection.bootstrap_servers
        async with self._comparing:
            if servers not in self._compared:
                own = await self._cluster.topic_ids(self._connection, self._topics, timeout_s=LOOK_UP_S)
                other = await self._cluster.topic_ids(connection, self._topics, timeout_s=LOOK_UP_S)
                self._compared[servers] = _ClusterPair(own, other)
        return self._compared[servers]


def _describe_cluster(connection: ConnectionSettings, ids: TopicIds) -> str:
    return f"{', '.join(connection.bootstrap_servers)} (cluster id {ids.cluster_id})"
