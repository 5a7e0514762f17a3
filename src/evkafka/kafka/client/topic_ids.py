"""Asks a broker for cluster and topic ids (KIP-516), which aiokafka does not."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Collection
from typing import Any

from aiokafka.protocol.metadata import MetadataRequest

from evkafka.kafka.client.protocol import NO_TOPIC_ID, TopicIdsByNameRequest
from evkafka.runtime.ports import TopicIds


async def request_topic_ids(client: Any, topics: Collection[str]) -> TopicIds:
    """The ids of a cluster and of these topics. Brokers before 2.8 have no topic ids and return only the cluster id.

    Raises:
        KafkaError: there was no answer.
    """
    node = client.get_random_node()
    try:
        answer = await client.send(node, TopicIdsByNameRequest(topics))
    except NotImplementedError:
        answer = await client.send(node, MetadataRequest([], False))
        return TopicIds(getattr(answer, "cluster_id", None), {})
    found = {name: id_ for code, name, id_, *_ in answer.topics if code == 0 and id_ != NO_TOPIC_ID}
    return TopicIds(answer.cluster_id, {name: format_topic_id(id_) for name, id_ in found.items()})


def format_topic_id(id_: uuid.UUID) -> str:
    """Format an id as Kafka's own tools do."""
    return base64.urlsafe_b64encode(id_.bytes).rstrip(b"=").decode()
