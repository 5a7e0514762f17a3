"""Finds out which rights this client has, by requests that change nothing.

Brokers check the rights for a request before anything else: a missing right is reported, and otherwise the request has
no effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial

from aiokafka import errors as kafka
from aiokafka.codec import has_gzip, has_lz4, has_snappy, has_zstd
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerError
from evkafka.kafka.admin.reader import Reader
from evkafka.kafka.admin.session import admin_session, limit_operation, retry_until_coordinator_known
from evkafka.kafka.client.client import Admin
from evkafka.kafka.client.preflight import check_login
from evkafka.kafka.errors import ErrorCode

REQUEST_S = 0.5
LOGIN_S = 5.0

REFUSALS = (
    kafka.TopicAuthorizationFailedError,
    kafka.GroupAuthorizationFailedError,
    kafka.ClusterAuthorizationFailedError,
)


class PermissionProbe:
    """Probes the rights in one cluster. Each method returns the missing right, or None if nothing is missing."""

    def __init__(self, connection: ConnectionSettings, admin: Admin) -> None:
        self._connection = connection
        self._admin = admin

    async def find_unreachable_brokers(self) -> Mapping[str, BrokerError]:
        """The brokers that accept no connection, by node and address, with the error. All are tried at once."""
        brokers = sorted(self._admin.client.cluster.brokers(), key=lambda broker: broker.nodeId)
        logins = (check_login(self._connection, one.host, one.port, timeout_s=LOGIN_S) for one in brokers)
        outcomes = await asyncio.gather(*logins, return_exceptions=True)
        for error in outcomes:
            if error is not None and not isinstance(error, BrokerError):
                raise error
        return {
            f"node {one.nodeId} ({one.host}:{one.port})": error
            for one, error in zip(brokers, outcomes, strict=True)
            if isinstance(error, BrokerError)
        }

    async def find_missing_right_to_join_group(self, group: str) -> str | None:
        """Send the heartbeat of an unknown member: a broker checks the right to READ the group first."""
        try:
            node = await retry_until_coordinator_known(partial(self._admin.find_coordinator, group))
        except kafka.GroupAuthorizationFailedError:
            return f"DESCRIBE and READ of group {group!r}"
        answer = await self._admin.client.send(node, HeartbeatRequest(group, -1, "evkafka-check"))
        refused = answer.error_code == ErrorCode.GROUP_AUTHORIZATION_FAILED
        return f"READ of group {group!r}" if refused else None

    async def find_missing_right_to_read_topics(self, topics: Collection[str]) -> str | None:
        """Fetch at the end of each partition, where there are no records."""
        reader = Reader(self._connection, fetch_max_wait_ms=50)
        try:
            await reader.start()
            partitions = [at for topic in topics for at in await reader.partitions_of_topic(topic)]
            reader.assign_at(await reader.end_offsets(partitions))
            await reader.getmany(timeout_ms=round(REQUEST_S * 1000))
        except REFUSALS as error:
            return f"READ of topic {_join_names_from_error(error) or ', '.join(sorted(topics))}"
        finally:
            await reader.stop()
        return None

    async def find_missing_right_to_write_topic(self, topic: str) -> str | None:
        """Write an empty batch. The broker refuses it as invalid, or because of the missing right."""
        client = self._admin.client
        client.add_topic(topic)
        try:
            await client._wait_on_metadata(topic)
        except REFUSALS:
            return f"DESCRIBE and WRITE of topic {topic!r}"
        leader = client.cluster.leader_for_partition(ClientPartition(topic, 0))
        request = ProduceRequest(None, -1, round(REQUEST_S * 1000), [(topic, [(0, b"")])])
        answer = await client.send(leader, request)
        [(_, [partition])] = answer.topics
        refused = partition[1] == ErrorCode.TOPIC_AUTHORIZATION_FAILED
        return f"WRITE of topic {topic!r}" if refused else None


def _join_names_from_error(error: BaseException) -> str:
    return ", ".join(str(arg) for arg in error.args if isinstance(arg, str))


@asynccontextmanager
async def permission_probe(
    connection: ConnectionSettings, *, timeout_s: float = 30.0
) -> AsyncIterator[PermissionProbe]:
    """A probe of this cluster.

    Raises (also for errors inside):
        BrokerUnavailable, BrokerRefused, BrokerError: a request was not answered.
    """
    doing = "checking permissions"
    async with limit_operation(doing, timeout_s), admin_session(connection, doing, timeout_s) as admin:
        yield PermissionProbe(connection, admin)


def missing_codecs() -> list[str]:
    """Compression codecs that this installation lacks."""
    known = {"gzip": has_gzip, "snappy": has_snappy, "lz4": has_lz4, "zstd": has_zstd}
    return [name for name, there in known.items() if not there()]
