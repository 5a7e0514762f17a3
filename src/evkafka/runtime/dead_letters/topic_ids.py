"""Which incarnation of a topic a record was read from: a topic that is deleted and created again has another id."""

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
"""How long an id is used without asking again: a topic can be created again at any time."""

LOOK_UP_S = 5.0


class TopicIncarnations:
    """The ids of the cluster and topics that records are read from, looked up about once a second."""

    def __init__(self, cluster: Cluster, clock: Clock, connection: ConnectionSettings) -> None:
        self._cluster = cluster
        self._clock = clock
        self._connection = connection
        self._known: dict[str, TopicIncarnation] = {}
        self._asked_at_s: dict[str, float] = {}
        self._addresses: dict[str, set[tuple[int, int]]] = {}  # of records seen since then
        self._asking = asyncio.Lock()

    async def incarnation_of(self, record: Record) -> TopicIncarnation:
        """The current incarnation of the record's topic; while the cluster does not answer, the last known one. Its
        parts are None if they are unknown.

        Raises:
            BrokerUnavailable, BrokerError: nothing is known yet, and the cluster does not answer.
        """
        topic, address = record.topic, (record.partition, record.offset)
        async with self._asking:
            addresses = self._addresses.setdefault(topic, set())
            asked_at_s = self._asked_at_s.get(topic)
            # If an address occurs again, the topic may have been created again, however short the time.
            if asked_at_s is None or self._clock.now() - asked_at_s >= FRESH_S or address in addresses:
                await self._look_up_ids(topic)
                self._asked_at_s[topic] = self._clock.now()
                addresses.clear()
            addresses.add(address)
        return self._known.get(topic, TopicIncarnation())

    async def _look_up_ids(self, topic: str) -> None:
        try:
            ids: TopicIds = await self._cluster.topic_ids(self._connection, [topic], timeout_s=LOOK_UP_S)
        except BrokerError as error:
            if topic not in self._known and not isinstance(error, BrokerRefused):
                raise  # the dead letter waits, as if its topic could not be written
            logger.warning("cannot look up the id of topic %s; dead letters keep the last known id: %s", topic, error)
            return
        # A topic that has just been deleted no longer has an id; its records were read before.
        last = self._known.get(topic, TopicIncarnation())
        self._known[topic] = TopicIncarnation(ids.cluster_id, ids.topics.get(topic, last.topic_id))
