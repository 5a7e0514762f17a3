"""The topics that an app needs, and which of them exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from evkafka.app import EVKafkaApp
from evkafka.config import producer_settings
from evkafka.config.settings import ConnectionSettings
from evkafka.kafka.admin.topics import TopicShape, all_topic_shapes, create_topic, default_shape
from evkafka.service.plan import DeclaredConsumer

Role = Literal["reads", "writes", "retries", "dead letters"]


@dataclass(frozen=True, slots=True)
class Need:
    """A topic that an app needs.

    Attributes:
        needed_by: the consumer or producer.
        role: the app itself creates the topics for retries and dead letters when it starts.
        like: the topic whose number of partitions it gets when it is created.
        concurrency, ordering: those of the consumer that reads it.
    """

    topic: str
    connection: ConnectionSettings
    needed_by: str
    role: Role
    like: str | None = None
    concurrency: int = 1
    ordering: str = "partition"


@dataclass(frozen=True, slots=True)
class TopicStatus:
    """A needed topic, and its shape; None if it is missing."""

    need: Need
    shape: TopicShape | None


def needed_topics(app: EVKafkaApp) -> list[Need]:
    """The topics of all consumers and producers, without those that a pattern matches.

    A topic is listed once for each consumer or producer that needs it.
    """
    return [need for declared in app.consumers.values() for need in _topics_needed_by_consumer(declared)] + [
        Need(topic, producer_settings(declared.config).connection, name, "writes")
        for name, declared in app.producers.items()
        for topic in sorted({one.topic or str(declared.config.get("topic") or "") for one in declared.sender.endpoints})
        if topic
    ]


def _topics_needed_by_consumer(declared: DeclaredConsumer) -> Iterator[Need]:
    settings = declared.settings
    for topic in settings.topics:
        yield Need(
            topic.name,
            settings.connection,
            declared.name,
            "reads",
            concurrency=settings.concurrency,
            ordering=settings.ordering,
        )
    for name, retry_topic in declared.retry_topics().items():
        yield Need(
            name,
            settings.connection,
            declared.name,
            "retries",
            like=retry_topic.source,
            concurrency=settings.concurrency,
        )
    seen: set[str] = set()
    for written in declared.dead_letter_topics():
        if written.name not in seen:
            seen.add(written.name)
            yield Need(written.name, written.connection, declared.name, "dead letters", like=written.source)


async def read_topic_statuses(app: EVKafkaApp) -> list[TopicStatus]:
    """The topics that the app needs, each with its shape in its cluster.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: a cluster could not be asked.
    """
    needs = needed_topics(app)
    connections = {need.connection.bootstrap_servers: need.connection for need in needs}
    shapes = {servers: await all_topic_shapes(connection) for servers, connection in connections.items()}
    return [TopicStatus(need, shapes[need.connection.bootstrap_servers].get(need.topic)) for need in needs]


async def create_missing_topics(
    app: EVKafkaApp,
    *,
    partitions: int | None = None,
    replicas: int | None = None,
    config: Mapping[str, str] | None = None,
) -> list[str]:
    """Create the missing topics. Returns their names.

    Topics for retries and dead letters get the size of the topic that their records come from.

    Args:
        partitions, replicas: of each; None takes the brokers' default.
        config: settings of the topics that the app reads and writes.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: a topic could not be created.
    """
    statuses = await read_topic_statuses(app)
    existing = {
        _cluster_and_topic_key(one.need, one.need.topic): one.shape for one in statuses if one.shape is not None
    }
    created: dict[tuple[object, str], int] = {}
    for need in (one.need for one in statuses):
        key, model = _cluster_and_topic_key(need, need.topic), _cluster_and_topic_key(need, need.like or "")
        if key in existing or key in created:
            continue
        if partitions is None or replicas is None:
            default = await default_shape(need.connection)
        else:
            default = TopicShape(partitions, replicas)
        like = existing[model].partitions if model in existing else created.get(model)
        created[key] = like or partitions or default.partitions
        copies = existing[model].replicas if model in existing else replicas or default.replicas
        settings = config if need.role in ("reads", "writes") else None
        await create_topic(need.connection, need.topic, partitions=created[key], replicas=copies, config=settings)
    return [topic for _, topic in created]


def _cluster_and_topic_key(need: Need, topic: str) -> tuple[object, str]:
    return need.connection.bootstrap_servers, topic
