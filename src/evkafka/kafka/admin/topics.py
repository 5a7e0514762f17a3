"""Looking topics up and making them: dead-letter topics at the start, and whatever tests and development need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.admin import CreateTopicsRequest

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerError, BrokerRefused
from evkafka.kafka.client.client import admin_client
from evkafka.kafka.client.preflight import reach
from evkafka.kafka.client.protocol import CreateTopicsByDefaultRequest
from evkafka.kafka.errors import translate

CREATE_MS = 30_000
CREATED_AGAIN_S = 0.05


@dataclass(frozen=True, slots=True)
class TopicShape:
    """What a topic is made of."""

    partitions: int
    replicas: int


async def topic_shapes(connection: ConnectionSettings, *, timeout_s: float = 30.0) -> Mapping[str, TopicShape]:
    """All topics of the cluster that this client may see, Kafka's own among them.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not say.
    """
    async with administering(connection, "listing the topics", timeout_s) as admin:
        # All topics are asked for: a question for one by its name could make the broker create it.
        return {
            topic["topic"]: TopicShape(len(topic["partitions"]), len(topic["partitions"][0]["replicas"]))
            for topic in await admin.describe_topics(None)
            if topic["partitions"]
        }


async def default_shape(connection: ConnectionSettings, *, timeout_s: float = 30.0) -> TopicShape:
    """What a topic is made of where nobody says it: the brokers' `num.partitions` and `default.replication.factor`.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not say.
    """
    async with administering(connection, "asking a broker for its defaults", timeout_s) as admin:
        return await _default_shape(admin)


async def _default_shape(admin: Any) -> TopicShape:
    node = admin._client.cluster.brokers().copy().pop().nodeId
    [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, str(node))])
    [(code, message, *_, entries)] = answer.resources
    if code:
        raise for_code(code)(message)
    told = {key: value for key, value, *_ in entries}
    return TopicShape(int(told["num.partitions"]), int(told["default.replication.factor"]))


async def create_topic(
    connection: ConnectionSettings,
    name: str,
    *,
    partitions: int | None = None,
    replicas: int | None = None,
    config: Mapping[str, str] | None = None,
    timeout_s: float = 30.0,
) -> None:
    """Make a topic, and return when the cluster has it.

    Args:
        partitions, replicas: None for the broker's defaults.
        config: the topic's own settings, under Kafka's names (`cleanup.policy`, ...).

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: it was not made (there is one of that name, for example).
    """
    doing = f"creating topic {name!r}"
    async with administering(connection, doing, timeout_s) as admin:
        await _create(admin, name, partitions, replicas, doing, config=config)


async def ensure_topics(
    connection: ConnectionSettings, wanted: Mapping[str, str], *, timeout_s: float
) -> Mapping[str, int]:
    """The partitions of each wanted topic; see `Cluster.ensure_topics`."""
    async with administering(connection, f"looking up topics {', '.join(sorted(wanted))}", timeout_s) as admin:
        known = await _partitions(admin)
        for name, like in wanted.items():
            if name in known:
                continue
            model = known.get(like)
            servers = ", ".join(connection.bootstrap_servers)
            doing = f"{servers}: topic {name!r} does not exist, and creating it"
            partitions, replicas = (len(model), len(model[0]["replicas"])) if model else (None, None)
            await _create(admin, name, partitions, replicas, doing, may_exist=True)
        # The broker's defaults, or another process, may have decided on the number.
        while not all(name in known for name in wanted):
            await asyncio.sleep(CREATED_AGAIN_S)
            known = await _partitions(admin)
    return {name: len(known[name]) for name in wanted}


async def _partitions(admin: Any) -> Mapping[str, list[Any]]:
    """All topics are asked for: a question for one by its name could make the broker create it."""
    return {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics(None) if topic["partitions"]}


async def ensure_compacted(
    connection: ConnectionSettings, name: str, *, like: str, timeout_s: float = 30.0
) -> Mapping[str, str]:
    """A topic's settings, under Kafka's names. If it is absent, it is made: compacted, of one partition, as often
    replicated as another topic, or by the broker's default if that is absent too.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: it is absent and cannot be made.
    """
    async with administering(connection, f"looking up topic {name!r}", timeout_s) as admin:
        known = await _partitions(admin)
        if name not in known:
            replicas = len(known[like][0]["replicas"]) if like in known else None
            doing = f"topic {name!r} does not exist, and creating it"
            await _create(admin, name, 1, replicas, doing, may_exist=True, config={"cleanup.policy": "compact"})
        # Brokers learn of a new topic one after the other.
        while True:
            try:
                return await _settings(admin, name)
            except UnknownTopicOrPartitionError:
                await asyncio.sleep(CREATED_AGAIN_S)


async def topic_settings(connection: ConnectionSettings, name: str, *, timeout_s: float = 30.0) -> Mapping[str, str]:
    """A topic's settings, under Kafka's names; none where there is no such topic.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not say.
    """
    async with administering(connection, f"looking up the settings of topic {name!r}", timeout_s) as admin:
        known = {topic["topic"] for topic in await admin.describe_topics(None)}
        return await _settings(admin, name) if name in known else {}


async def _settings(admin: Any, name: str) -> Mapping[str, str]:
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    [(code, message, *_, entries)] = [resource for answer in answers for resource in answer.resources]
    if code:
        raise for_code(code)(message)
    return {key: value for key, value, *_ in entries if value is not None}


async def _create(
    admin: Any,
    name: str,
    partitions: int | None,
    replicas: int | None,
    doing: str,
    *,
    may_exist: bool = False,
    config: Mapping[str, str] | None = None,
) -> None:
    """Args:
    partitions, replicas: None for the broker's defaults.
    may_exist: another process may have been faster.
    """
    answer = await _answer(admin, name, partitions, replicas, list((config or {}).items()))
    for _, code, message in answer.topic_errors:
        if code == TopicAuthorizationFailedError.errno:
            # Brokers hide what a login may not see, so that nobody can tell whether it is there.
            raise BrokerRefused(
                f"{doing} is not allowed: an ACL is missing (WRITE and DESCRIBE where it does exist and is hidden from"
                " this login, CREATE where it does not)"
            )
        if code and not (may_exist and code == TopicAlreadyExistsError.errno):
            raise translate(for_code(code)(message), doing)


async def _answer(
    admin: Any, name: str, partitions: int | None, replicas: int | None, config: list[tuple[str, str]]
) -> Any:
    def topic(partitions: int, replicas: int) -> list[tuple[Any, ...]]:
        return [(name, partitions, replicas, [], config)]

    if partitions is not None and replicas is not None:
        return await admin._send_to_controller(CreateTopicsRequest(topic(partitions, replicas), CREATE_MS, False))
    try:
        request = CreateTopicsByDefaultRequest(topic(partitions or -1, replicas or -1), CREATE_MS)
        return await admin._send_to_controller(request)
    except NotImplementedError:  # a broker before 2.4
        default = await _default_shape(admin)
        shape = topic(partitions or default.partitions, replicas or default.replicas)
        return await admin._send_to_controller(CreateTopicsRequest(shape, CREATE_MS, False))


@asynccontextmanager
async def administering(connection: ConnectionSettings, doing: str, timeout_s: float) -> AsyncIterator[Any]:
    """An admin client, for `timeout_s` at most; what fails inside says what was being done."""
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    try:
        # Which says why not, server by server; the client does not.
        first = await reach(connection, timeout_s=timeout_s)
    except BrokerError as error:
        raise type(error)(f"{doing}: {error}") from error
    admin = admin_client(connection, first=first)
    try:
        async with asyncio.timeout_at(deadline_s):
            try:
                await admin.start()
                yield admin
            finally:
                await admin.close()
    except TimeoutError as error:
        raise BrokerError(f"{doing}: no answer within {timeout_s:g} s") from error
    except (KafkaError, OSError) as error:
        raise translate(error, doing) from error
