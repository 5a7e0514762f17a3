"""Whether a leader's log still holds what was read (KIP-320): one question, and what its answers mean."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from aiokafka import errors as kafka
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.kafka.client.protocol import OffsetForLeaderEpochRequest
from evkafka.kafka.errors import code_name

logger = logging.getLogger("evkafka.runtime.kafka")

FORMAT_WITHOUT_EPOCHS = 43
UNDEFINED = -1


class Place(NamedTuple):
    """A position, and the leader epoch of the record before it."""

    offset: int
    epoch: int


class Divergence(NamedTuple):
    """Where a leader's log parts from the one that was read; `place` is None where they have nothing in common."""

    read_to: int
    place: Place | None


async def divergences(
    client: Any, node_id: int, places: Mapping[ClientPartition, Place]
) -> Mapping[ClientPartition, Divergence]:
    """Ask the leader. A partition whose log still holds all that was read up to its place is left out.

    Raises:
        NotLeaderForPartitionError: it does not lead a partition, or not under the epoch that we know of: the metadata
            are asked for again, and so is this.
        KafkaError: there was no answer, or a refusal.
    """
    if not places:
        return {}
    by_topic: dict[str, list[tuple[int, int, int]]] = {}
    for tp, place in places.items():
        by_topic.setdefault(tp.topic, []).append((tp.partition, client.leader_epoch(tp), place.epoch))
    try:
        answer = await client.send(node_id, OffsetForLeaderEpochRequest(list(by_topic.items())))
    except (NotImplementedError, kafka.IncompatibleBrokerVersion):
        logger.debug("node %s does not answer OffsetForLeaderEpoch (before 2.3): a cut log is not noticed", node_id)
        return {}
    found: dict[ClientPartition, Divergence] = {}
    for topic, rows in answer.topics:
        for code, partition, epoch, end in rows:
            tp = ClientPartition(topic, partition)
            _check(client, tp, code)
            place = places[tp]
            if code == FORMAT_WITHOUT_EPOCHS:
                continue
            if epoch == UNDEFINED or end == UNDEFINED:
                # All that it knows is older than what we read: a topic of the same name that was made since.
                found[tp] = Divergence(place.offset, None)
            elif end < place.offset:
                found[tp] = Divergence(place.offset, Place(end, epoch))
    return found


def _check(client: Any, tp: ClientPartition, code: int) -> None:
    if code in (0, FORMAT_WITHOUT_EPOCHS):
        return
    if code == kafka.TopicAuthorizationFailedError.errno:
        raise kafka.TopicAuthorizationFailedError(tp.topic)
    # Another leads it by now (FENCED_LEADER_EPOCH too), or this one does not know yet that it does (UNKNOWN_...).
    client.force_metadata_update()
    raise kafka.NotLeaderForPartitionError(f"{tp.topic}[{tp.partition}]: {code_name(code)}")
