"""Checks whether a leader's log still holds the records that were read (KIP-320; aiokafka-defects.md#truncated-log)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from aiokafka import errors as kafka
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.kafka.client.protocol import OffsetForLeaderEpochRequest
from evkafka.kafka.errors import ErrorCode, code_name

logger = logging.getLogger("evkafka.runtime.kafka")

UNDEFINED = -1


class EpochOffset(NamedTuple):
    """An offset, and the leader epoch of the record before it."""

    offset: int
    epoch: int


class Divergence(NamedTuple):
    """The leader's log differs from the one that was read.

    Attributes:
        read_to: the offset that was read up to.
        common_end: where the part that both logs share ends; None if they share nothing.
    """

    read_to: int
    common_end: EpochOffset | None


async def find_divergences(
    client: Any, node_id: int, positions: Mapping[ClientPartition, EpochOffset]
) -> Mapping[ClientPartition, Divergence]:
    """Ask a leader about the positions of its partitions. Those whose log still holds everything read are left out.

    Raises:
        NotLeaderForPartitionError: the node does not lead a partition, or not under the epoch that we know. A metadata
            update has been requested; ask again after it.
        KafkaError: there was no answer, or a refusal.
    """
    if not positions:
        return {}
    by_topic: dict[str, list[tuple[int, int, int]]] = {}
    for tp, position in positions.items():
        by_topic.setdefault(tp.topic, []).append((tp.partition, client.leader_epoch(tp), position.epoch))
    try:
        answer = await client.send(node_id, OffsetForLeaderEpochRequest(list(by_topic.items())))
    except (NotImplementedError, kafka.IncompatibleBrokerVersion):
        logger.debug(
            "node %s does not support OffsetForLeaderEpoch (Kafka before 2.3): log truncation cannot be detected",
            node_id,
        )
        return {}
    found: dict[ClientPartition, Divergence] = {}
    for topic, rows in answer.topics:
        for code, partition, epoch, end in rows:
            tp = ClientPartition(topic, partition)
            _raise_for_code(client, tp, code)
            position = positions[tp]
            if code == ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT:
                continue
            if epoch == UNDEFINED or end == UNDEFINED:
                # The leader knows only older epochs: a topic of the same name that was created since.
                found[tp] = Divergence(position.offset, None)
            elif end < position.offset:
                found[tp] = Divergence(position.offset, EpochOffset(end, epoch))
    return found


def _raise_for_code(client: Any, tp: ClientPartition, code: int) -> None:
    if code in (0, ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT):
        return
    if code == ErrorCode.TOPIC_AUTHORIZATION_FAILED:
        raise kafka.TopicAuthorizationFailedError(tp.topic)
    # Another node leads it by now (also FENCED_LEADER_EPOCH), or this one does not know yet that it does
    # (UNKNOWN_LEADER_EPOCH).
    client.force_metadata_update()
    raise kafka.NotLeaderForPartitionError(f"{tp.topic}[{tp.partition}]: {code_name(code)}")
