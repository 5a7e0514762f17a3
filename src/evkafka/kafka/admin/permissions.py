"""What this client may do, found out by asking for it: requests that are refused for want of a right before they are
looked at, and change nothing where the right is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import errors as kafka
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.codec import has_gzip, has_lz4, has_snappy, has_zstd
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerError
from evkafka.kafka.admin.log_reader import _all, _told
from evkafka.kafka.admin.reader import reader_client
from evkafka.kafka.admin.topics import administering
from evkafka.kafka.client.preflight import knock

NO_TIME_S = 0.5
KNOCK_S = 5.0

REFUSALS = (
    kafka.TopicAuthorizationFailedError,
    kafka.GroupAuthorizationFailedError,
    kafka.ClusterAuthorizationFailedError,
)


class PermissionProbe:
    """Asks one cluster.

    Each question is answered with None where it is allowed, else with the right that is missing.
    """

    def __init__(self, connection: ConnectionSettings, admin: AIOKafkaAdminClient) -> None:
        self._connection = connection
        self._admin = admin

    async def silent_brokers(self) -> Mapping[str, BrokerError]:
        """The brokers that let nobody in, by node and address, and why. They are asked all at once."""
        brokers = sorted(self._admin._client.cluster.brokers(), key=lambda broker: broker.nodeId)
        knocks = (knock(self._connection, one.host, one.port, timeout_s=KNOCK_S) for one in brokers)
        outcomes = await asyncio.gather(*knocks, return_exceptions=True)
        for error in outcomes:
            if error is not None and not isinstance(error, BrokerError):
                raise error
        return {
            f"node {one.nodeId} ({one.host}:{one.port})": error
            for one, error in zip(brokers, outcomes, strict=True)
            if isinstance(error, BrokerError)
        }

    async def joining(self, group: str) -> str | None:
        """A heartbeat of a member that nobody knows: who may not READ the group is told so first."""
        try:
            node = await self._coordinator(group)
        except kafka.GroupAuthorizationFailedError:
            return f"DESCRIBE and READ of group {group!r}"
        answer = await self._admin._client.send(node, HeartbeatRequest(group, -1, "evkafka-check"))
        refused = answer.error_code == kafka.GroupAuthorizationFailedError.errno
        return f"READ of group {group!r}" if refused else None

    async def _coordinator(self, group: str) -> int:
        """The first question of a new cluster makes it create the topic of its offsets, and is refused until then."""
        while True:
            try:
                node: int = await self._admin.find_coordinator(group)
            except (kafka.GroupCoordinatorNotAvailableError, kafka.GroupLoadInProgressError):
                await asyncio.sleep(0.1)
            else:
                return node

    async def reading(self, topics: Collection[str]) -> str | None:
        """A fetch at the end, where there is nothing to hand out."""
        reader: Any = reader_client(self._connection, fetch_max_wait_ms=50)
        try:
            await reader.start()
            for topic in topics:
                await _all(reader, topic)
            partitions = [
                ClientPartition(topic, number)
                for topic in topics
                for number in sorted(reader.partitions_for_topic(topic) or ())
            ]
            reader.assign(partitions)
            for at, end in (await reader.end_offsets(partitions)).items():
                reader.seek(at, end)
            await reader.getmany(timeout_ms=round(NO_TIME_S * 1000))
        except REFUSALS as error:
            return f"READ of topic {_named(error) or ', '.join(sorted(topics))}"
        finally:
            await reader.stop()
        return None

    async def writing(self, topic: str) -> str | None:
        """A write of nothing, which is refused as such where it is allowed at all."""
        client = self._admin._client
        client.add_topic(topic)
        try:
            await client._wait_on_metadata(topic)
        except REFUSALS:
            return f"DESCRIBE and WRITE of topic {topic!r}"
        leader = client.cluster.leader_for_partition(ClientPartition(topic, 0))
        request = ProduceRequest(None, -1, round(NO_TIME_S * 1000), [(topic, [(0, b"")])])
        answer = await client.send(leader, request)
        [(_, [partition])] = answer.topics
        refused = partition[1] == kafka.TopicAuthorizationFailedError.errno
        return f"WRITE of topic {topic!r}" if refused else None


def _named(error: BaseException) -> str:
    return ", ".join(str(arg) for arg in error.args if isinstance(arg, str))


@asynccontextmanager
async def probing(connection: ConnectionSettings, *, timeout_s: float = 30.0) -> AsyncIterator[PermissionProbe]:
    """
    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: a question was not answered, yes or no.
    """
    doing = "asking what is allowed"
    async with _told(doing, timeout_s), administering(connection, doing, timeout_s) as admin:
        yield PermissionProbe(connection, admin)


def missing_codecs() -> list[str]:
    """Kinds of compression that this installation cannot read."""
    known = {"gzip": has_gzip, "snappy": has_snappy, "lz4": has_lz4, "zstd": has_zstd}
    return [name for name, there in known.items() if not there()]
