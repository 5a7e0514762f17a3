"""What an exactly-once consumer knows about what may be sent in its transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from evkafka.config.settings import ConnectionSettings, ConsumerSettings
from evkafka.exceptions import ConfigError, DeliveryError, RecordTooLarge
from evkafka.runtime.ports import Clock, Cluster, OutgoingRecord, OutputRefused, RecordSink, TopicIds

REFUSED_S = 60.0
"""How long sends fail that a transaction could not write. Then one is tried again: the topic may have been changed."""

LOOK_UP_S = 10.0


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What a transaction could not write to one topic.

    Attributes:
        smallest: records whose batch has so many bytes or more fail; 0: all.
    """

    smallest: int
    until_s: float
    error: DeliveryError

    def why(self, record: OutgoingRecord, size: int) -> str:
        """Why this record, whose batch has so many bytes, fails too."""
        if not self.smallest:
            return str(self.error)
        return (
            f"event {record.event_type!r} to topic {record.topic!r} was not delivered: the record,"
            f" {size} bytes, is too large: less than a minute ago the brokers refused one of"
            f" {self.smallest} bytes (max.message.bytes of the topic); it was not written"
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
        self._refused: dict[str, _Refusal] = {}
        self._compared: dict[Sequence[str], _ClusterPair] = {}
        self._comparing = asyncio.Lock()

    def refuse(self, refused: OutputRefused) -> None:
        """A transaction could not write this record. The same send raises its error from now on, so that it fails the
        attempt at its own record, and not the transactions of all."""
        size = refused.batch_bytes if isinstance(refused.error, RecordTooLarge) else 0
        until_s = self._clock.now() + REFUSED_S
        self._refused[refused.output.topic] = _Refusal(size, until_s, refused.error)

    def check(self, record: OutgoingRecord, sink: RecordSink) -> None:
        """Check that no transaction has been unable to write such a record lately.

        Args:
            sink: has placed it.

        Raises:
            DeliveryError: one was.
        """
        refusal = self._refused.get(record.topic)
        if refusal is None:
            return
        if self._clock.now() > refusal.until_s:
            del self._refused[record.topic]
        elif (size := sink.batch_bytes(record)) >= refusal.smallest:
            error = refusal.error  # each attempt gets one of its own, with its own traceback and notes
            raise type(error)(
                refusal.why(record, size), topic=record.topic, event_type=record.event_type, may_have_been_written=False
            ) from error

    async def is_own(self, connection: ConnectionSettings) -> bool:
        """Whether this connection is to the cluster that the consumer reads from. It can have another list of servers.

        Raises:
            BrokerUnavailable, BrokerRefused, BrokerError: a cluster did not answer.
        """
        if connection.bootstrap_servers == self._connection.bootstrap_servers:
            return True
        pair = await self._compare(connection)
        return pair.own == pair.other

    async def check_cluster(self, producer: str, connection: ConnectionSettings) -> None:
        """Check that a producer sends to the consumer's own cluster.

        Raises:
            ConfigError: it does not.
            BrokerUnavailable, BrokerRefused, BrokerError: a cluster did not answer.
        """
        if await self.is_own(connection):
            return
        pair, own = await self._compare(connection), self._connection
        raise ConfigError(
            f"producer {producer!r} sends to {_described(connection, pair.other)}, but the endpoint belongs to"
            f" exactly-once consumer {self._consumer!r} of {_described(own, pair.own)}, and a transaction cannot span"
            ' two clusters; if this send may happen more than once, set "outside_transactions": True in the config of'
            " the producer; if they are one cluster, give the producer the bootstrap_servers of the consumer"
        )

    async def _compare(self, connection: ConnectionSettings) -> _ClusterPair:
        """Look up both clusters, once. The id of a cluster alone does not tell: many are created with the id of an
        example. The ids of the consumer's topics are different in each cluster."""
        servers = connection.bootstrap_servers
        async with self._comparing:
            if servers not in self._compared:
                own = await self._cluster.topic_ids(self._connection, self._topics, timeout_s=LOOK_UP_S)
                other = await self._cluster.topic_ids(connection, self._topics, timeout_s=LOOK_UP_S)
                self._compared[servers] = _ClusterPair(own, other)
        return self._compared[servers]


def _described(connection: ConnectionSettings, ids: TopicIds) -> str:
    return f"{', '.join(connection.bootstrap_servers)} (cluster id {ids.cluster_id})"
