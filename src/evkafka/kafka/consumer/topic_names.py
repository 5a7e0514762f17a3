"""The names of topics that the brokers call by their ids."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Collection, Iterator, Mapping

from aiokafka import errors as kafka

from evkafka.kafka.client.client import Client
from evkafka.kafka.client.topic_ids import format_topic_id, request_topic_ids

logger = logging.getLogger("evkafka.runtime.kafka")

LOOK_UP_S = 5.0


class TopicNames(Mapping[uuid.UUID, str]):
    """Topic id -> name, of the topics looked up so far."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._names: dict[uuid.UUID, str] = {}

    def __getitem__(self, topic_id: uuid.UUID) -> str:
        return self._names[topic_id]

    def __iter__(self) -> Iterator[uuid.UUID]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    async def load_names(
        self, topic_ids: Collection[uuid.UUID], among: Collection[str]
    ) -> Collection[uuid.UUID] | None:
        """Look up the names of these topics. Returns the ids that exist; None if there was no answer.

        Args:
            among: the names of the subscribed topics.
        """
        by_text = {format_topic_id(topic_id): topic_id for topic_id in topic_ids}
        try:
            async with asyncio.timeout(LOOK_UP_S):
                answer = await request_topic_ids(self._client, among)
        except (kafka.KafkaError, OSError) as error:
            logger.debug("looking up the names of assigned topics: %r", error)
            return None
        found = {by_text[text]: name for name, text in answer.topics.items() if text in by_text}
        self._names.update(found)
        return found.keys()
