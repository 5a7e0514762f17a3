"""Looks up and creates topics: dead-letter topics at the start, and topics for tests and development."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.admin import CreateTopicsRequest

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerRefused
from evkafka.kafka.admin.session import admin_session
from evkafka.kafka.client.protocol import CreateTopicsByDefaultRequest
from evkafka.kafka.errors import ErrorCode, translate_error

CREATE_TIMEOUT_MS = 30_000
RETRY_S = 0.05


@dataclass(frozen=True, slots=True)
class TopicShape:
    """Number of partitions and of replicas."""

    partitions: int
    replicas: int


async def all_topic_shapes(connection: ConnectionSettings, *, timeout_s: float = 30.0) -> Mapping[str, TopicShape]:
    """All topics of the cluster that this client may see, including Kafka's internal ones.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not answer.
    """
    async with admin_session(connection, "listing the topics", timeout_s) as admin:
        return {
            name: TopicShape(len(partitions), len(partitions[0]["replicas"]))
            for name, partitions in (await _partition_metadata_by_topic(admin)).items()
        }


async def default_shape(connection: ConnectionSettings) -> TopicShape:
    """The shape of a topic created with defaults: the brokers' `num.partitions` and `default.replication.factor`.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not answer.
    """
    async with admin_session(connection, "reading the broker's defaults") as admin:
        return await _default_shape(admin)


async def _default_shape(admin: Any) -> TopicShape:
    config = await _request_settings_of_any_broker(admin)
    return TopicShape(int(config["num.partitions"]), int(config["default.replication.factor"]))


async def settings_of_any_broker(connection: ConnectionSettings) -> Mapping[str, str]:
    """The settings of one of the brokers under Kafka's names, without secret ones.

    Raises:
        BrokerRefused: this client may not see them.
        BrokerUnavailable, BrokerError: the cluster did not answer.
    """
    async with admin_session(connection, "asking a broker for its settings") as admin:
        return await _request_settings_of_any_broker(admin)


async def _request_settings_of_any_broker(admin: Any) -> Mapping[str, str]:
    node = admin.client.cluster.brokers().copy().pop().nodeId
    [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, str(node))])
    [(code, message, *_, entries)] = answer.resources
    if code:
        raise for_code(code)(message)
    return {key: value for key, value, *_ in entries if value is not None}


async def create_topic(
    connection: ConnectionSettings,
    name: str,
    *,
    partitions: int | None = None,
    replicas: int | None = None,
    config: Mapping[str, str] | None = None,
    timeout_s: float = 30.0,
) -> None:
    """Create a topic, and return when the cluster has it.

    Args:
        partitions, replicas: None for the broker's defaults.
        config: the topic's own settings, under Kafka's names (`cleanup.policy`, ...).

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: it was not created (because it exists already, for example).
    """
    doing = f"creating topic {name!r}"
    async with admin_session(connection, doing, timeout_s) as admin:
        await _create_topic(admin, name, partitions, replicas, doing, config=config)


async def ensure_topics(
    connection: ConnectionSettings, wanted: Mapping[str, str], *, timeout_s: float
) -> Mapping[str, int]:
    """The number of partitions of each wanted topic; see `Cluster.ensure_topics`."""
    async with admin_session(connection, f"looking up topics {', '.join(sorted(wanted))}", timeout_s) as admin:
        known = await _partition_metadata_by_topic(admin)
        for name, like in wanted.items():
            if name in known:
                continue
            model = known.get(like)
            servers = ", ".join(connection.bootstrap_servers)
            doing = f"{servers}: topic {name!r} does not exist, and creating it"
            partitions, replicas = (len(model), len(model[0]["replicas"])) if model else (None, None)
            await _create_topic(admin, name, partitions, replicas, doing, may_exist=True)
        # The number may come from the broker's defaults or from another process.
        while not all(name in known for name in wanted):
            await asyncio.sleep(RETRY_S)
            known = await _partition_metadata_by_topic(admin)
    return {name: len(known[name]) for name in wanted}


async def _partition_metadata_by_topic(admin: Any) -> Mapping[str, list[Any]]:
    """The partitions of all topics: asking for a topic by its name could make the broker create it."""
    return {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics(None) if topic["partitions"]}


async def create_compacted_topic_if_absent(
    connection: ConnectionSettings, name: str, *, like: str, timeout_s: float = 30.0
) -> Mapping[str, str]:
    """A topic's settings under Kafka's names. If it does not exist, it is created: compacted, with one partition.

    Args:
        like: the topic whose number of replicas it gets; the broker's default if that does not exist either.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: it does not exist and cannot be created.
    """
    async with admin_session(connection, f"looking up topic {name!r}", timeout_s) as admin:
        known = await _partition_metadata_by_topic(admin)
        if name not in known:
            replicas = len(known[like][0]["replicas"]) if like in known else None
            doing = f"topic {name!r} does not exist, and creating it"
            await _create_topic(admin, name, 1, replicas, doing, may_exist=True, config={"cleanup.policy": "compact"})
        # Brokers learn of a new topic one after the other, so the first answer may not know it.
        while True:
            try:
                return await _request_topic_settings(admin, name)
            except UnknownTopicOrPartitionError:
                await asyncio.sleep(RETRY_S)


async def settings_of_topic(connection: ConnectionSettings, name: str, *, timeout_s: float = 30.0) -> Mapping[str, str]:
    """A topic's settings under Kafka's names; empty if the topic does not exist.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not answer.
    """
    async with admin_session(connection, f"reading the configuration of topic {name!r}", timeout_s) as admin:
        known = {topic["topic"] for topic in await admin.describe_topics(None)}
        return await _request_topic_settings(admin, name) if name in known else {}


async def _request_topic_settings(admin: Any, name: str) -> Mapping[str, str]:
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    [(code, message, *_, entries)] = [resource for answer in answers for resource in answer.resources]
    if code:
        raise for_code(code)(message)
    return {key: value for key, value, *_ in entries if value is not None}


async def _create_topic(
    admin: Any,
    name: str,
    partitions: int | None,
    replicas: int | None,
    doing: str,
    *,
    may_exist: bool = False,
    config: Mapping[str, str] | None = None,
) -> None:
    """Create a topic.

    Args:
        partitions, replicas: None for the broker's defaults.
        may_exist: whether it is no error if another process has created it meanwhile.
    """
    answer = await _send_create_topic_request(admin, name, partitions, replicas, list((config or {}).items()))
    for _, code, message in answer.topic_errors:
        if code == ErrorCode.TOPIC_AUTHORIZATION_FAILED:
            # Brokers hide topics that a login may not see, so it is unknown whether the topic exists.
            raise BrokerRefused(
                f"{doing} is not allowed: an ACL is missing (WRITE and DESCRIBE if the topic exists and is hidden from"
                " this user, CREATE if it does not)"
            )
        if code and not (may_exist and code == ErrorCode.TOPIC_ALREADY_EXISTS):
            raise translate_error(for_code(code)(message), doing)


async def _send_create_topic_request(
    admin: Any, name: str, partitions: int | None, replicas: int | None, config: list[tuple[str, str]]
) -> Any:
    def topic(partitions: int, replicas: int) -> list[tuple[Any, ...]]:
        return [(name, partitions, replicas, [], config)]

    if partitions is not None and replicas is not None:
        return await admin._send_to_controller(
            CreateTopicsRequest(topic(partitions, replicas), CREATE_TIMEOUT_MS, False)
        )
    try:
        request = CreateTopicsByDefaultRequest(topic(partitions or -1, replicas or -1), CREATE_TIMEOUT_MS)
        return await admin._send_to_controller(request)
    except NotImplementedError:  # a broker before 2.4
        default = await _default_shape(admin)
        shape = topic(partitions or default.partitions, replicas or default.replicas)
        return await admin._send_to_controller(CreateTopicsRequest(shape, CREATE_TIMEOUT_MS, False))
