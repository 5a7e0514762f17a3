"""Which topics an app needs, and which of them there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from evkafka.app import EVKafkaApp
from evkafka.config import dead_letter_producer_settings, dead_letter_topic, producer_settings
from evkafka.config.settings import ConnectionSettings
from evkafka.kafka.admin.topics import TopicShape, create_topic, default_shape, topic_shapes
from evkafka.service.plan import DeclaredConsumer

Role = Literal["reads", "writes", "retries", "dead letters"]


@dataclass(frozen=True, slots=True)
class Need:
    """A topic that an app needs.

    Attributes:
        who: the consumer or producer.
        role: what for; the app makes topics for retries and dead letters itself when it starts.
        like: whose number of partitions it has, when it is made.
        concurrency, ordering: how many of its records are in flight at once, and what of it stays in order.
    """

    topic: str
    connection: ConnectionSettings
    who: str
    role: Role
    like: str | None = None
    concurrency: int = 1
    ordering: str = "partition"


@dataclass(frozen=True, slots=True)
class Planned:
    """A need, and what there is of it; None where there is nothing."""

    need: Need
    shape: TopicShape | None


def needs_of(app: EVKafkaApp) -> list[Need]:
    """Every topic that is named anywhere in the app, once for each who needs it. Patterns name none."""
    return [need for declared in app.consumers.values() for need in _of_consumer(declared)] + [
        Need(topic, producer_settings(declared.config).connection, name, "writes")
        for name, declared in app.producers.items()
        for topic in sorted({one.topic or str(declared.config.get("topic") or "") for one in declared.sender.endpoints})
        if topic
    ]


def _of_consumer(declared: DeclaredConsumer) -> Iterator[Need]:
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
        connection = dead_letter_producer_settings(settings).connection
        yield Need(
            name, connection, declared.name, "retries", like=retry_topic.source, concurrency=settings.concurrency
        )
    seen: set[str] = set()
    for event_type, policy in declared.policies():
        if policy.then != "dead_letter" and (event_type is not None or settings.unmatched != "dead_letter"):
            continue
        for topic in settings.topics:
            name = dead_letter_topic(
                policy, topic=topic.name, group_id=settings.group_id, event_type=event_type or "unmatched"
            )
            if name not in seen:
                seen.add(name)
                connection = dead_letter_producer_settings(settings, policy).connection
                yield Need(name, connection, declared.name, "dead letters", like=topic.name)


Cluster = tuple[str, ...]


def cluster_of(connection: ConnectionSettings) -> Cluster:
    return connection.bootstrap_servers


async def plan(app: EVKafkaApp) -> list[Planned]:
    """
    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: a cluster did not say what there is.
    """
    needs = needs_of(app)
    shapes = await shapes_of(needs)
    return [Planned(need, shapes[cluster_of(need.connection)].get(need.topic)) for need in needs]


async def shapes_of(needs: list[Need]) -> Mapping[Cluster, Mapping[str, TopicShape]]:
    connections = {cluster_of(need.connection): need.connection for need in needs}
    return {cluster: await topic_shapes(connection) for cluster, connection in connections.items()}


async def create_missing(
    app: EVKafkaApp,
    *,
    partitions: int | None = None,
    replicas: int | None = None,
    config: Mapping[str, str] | None = None,
) -> list[str]:
    """Make those that are missing; dead letters' like the topic that they come from. Returns their names.

    Args:
        partitions, replicas: of each; None takes the brokers' own default.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: one was not made.
    """
    planned = await plan(app)
    made: dict[tuple[Cluster, str], int] = {}
    there = {(cluster_of(one.need.connection), one.need.topic): one.shape for one in planned if one.shape is not None}
    for one in planned:
        need = one.need
        at = (cluster_of(need.connection), need.topic)
        if at in there or at in made:
            continue
        model = (at[0], need.like or "")
        like = there[model].partitions if model in there else made.get(model)
        if partitions is None or replicas is None:
            default = await default_shape(need.connection)
        else:
            default = TopicShape(partitions, replicas)
        count = like or partitions or default.partitions
        copies = there[model].replicas if model in there else replicas or default.replicas
        settings = config if need.role in ("reads", "writes") else None
        await create_topic(need.connection, need.topic, partitions=count, replicas=copies, config=settings)
        made[at] = count
    return [topic for _, topic in made]
