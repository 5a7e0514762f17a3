"""Which incarnation of a topic a record was read from: a topic that is deleted and made again has another id."""

from __future__ import annotations

import asyncio
import logging

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerError, BrokerRefused
from evkafka.records import Record
from evkafka.runtime.dead_letters.headers import TopicIncarnation
from evkafka.runtime.ports import Clock, Cluster, TopicIds

logger = logging.getLogger("evkafka.dead_letters")

FRESH_S = 1.0
"""How long an answer holds: a topic can be made again at any time."""

LOOK_UP_S = 5.0


class TopicIncarnations:
    """The ids of the cluster and topics that records are read from, asked for about once a second."""

    def __init__(self, cluster: Cluster, clock: Clock, connection: ConnectionSettings) -> None:
        self._cluster = cluster
        self._clock = clock
        self._connection = connection
        self._known: dict[str, TopicIncarnation] = {}
        self._asked_at_s: dict[str, float] = {}
        self._named: dict[str, set[tuple[int, int]]] = {}  # the addresses since then
        self._asking = asyncio.Lock()

    async def of(self, record: Record) -> TopicIncarnation:
        """The incarnation of its topic as it is now; while the cluster does not say, the last one that was known. Its
        parts are None where nothing is known.

        Raises:
            BrokerUnavailable, BrokerError: nothing is known yet, and the cluster does not say.
        """
        topic, address = record.topic, (record.partition, record.offset)
        async with self._asking:
            named = self._named.setdefault(topic, set())
            asked_at_s = self._asked_at_s.get(topic)
            # An address that comes again may be another topic's by now, however short the time.
            if asked_at_s is None or self._clock.now() - asked_at_s >= FRESH_S or address in named:
                await self._ask(topic)
                self._asked_at_s[topic] = self._clock.now()
                named.clear()
            named.add(address)
        return self._known.get(topic, TopicIncarnation())

    async def _ask(self, topic: str) -> None:
        try:
            ids: TopicIds = await self._cluster.topic_ids(self._connection, [topic], timeout_s=LOOK_UP_S)
        except BrokerError as error:
            if topic not in self._known and not isinstance(error, BrokerRefused):
                raise  # the letter waits, as for a topic that cannot be written
            logger.warning("the id of topic %s cannot be looked up; letters keep the last one known: %s", topic, error)
            return
        # A topic that has just been deleted has no id any more; its records were read before.
        last = self._known.get(topic, TopicIncarnation())
        self._known[topic] = TopicIncarnation(ids.cluster_id, ids.topics.get(topic, last.topic_id))
