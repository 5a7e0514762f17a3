"""The incarnation of the topic that a record was read from: seldom looked up, and never guessed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerRefused, BrokerUnavailable
from evkafka.runtime.dead_letters.headers import TopicIncarnation
from evkafka.runtime.dead_letters.topic_ids import FRESH_S, TopicIncarnations
from evkafka.runtime.ports import TopicIds
from tests.support.dead_letters import Source


class Cluster:
    """Its topic is created again between any two calls.

    Attributes:
        refusal: what it answers instead.
        exists: False while the topic is deleted.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.refusal: Exception | None = None
        self.exists = True

    async def topic_ids(self, connection: object, topics: Collection[str], *, timeout_s: float) -> TopicIds:
        self.asked += 1
        if self.refusal is not None:
            raise self.refusal
        return TopicIds("c", {topic: f"{topic}-{self.asked}" for topic in topics} if self.exists else {})


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def now(self) -> float:
        return self.now_s


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def incarnations(cluster: Cluster, clock: Clock) -> TopicIncarnations:
    untyped: Any = (cluster, clock)
    return TopicIncarnations(*untyped, ConnectionSettings())


async def test_is_looked_up_once_for_all_dead_letters_of_a_moment(
    incarnations: TopicIncarnations, cluster: Cluster
) -> None:
    found = {await incarnations.incarnation_of(Source(offset=offset)) for offset in range(100)}
    assert (found, cluster.asked) == ({TopicIncarnation("c", "orders-1")}, 1)


async def test_is_looked_up_again_when_an_address_occurs_again(
    incarnations: TopicIncarnations, cluster: Cluster
) -> None:
    assert await incarnations.incarnation_of(Source(offset=7)) == TopicIncarnation("c", "orders-1")
    assert await incarnations.incarnation_of(Source(offset=7)) == TopicIncarnation("c", "orders-2")
    assert cluster.asked == 2


async def test_is_looked_up_again_when_it_is_no_longer_fresh(incarnations: TopicIncarnations, clock: Clock) -> None:
    await incarnations.incarnation_of(Source(offset=7))
    clock.now_s += FRESH_S
    assert await incarnations.incarnation_of(Source(offset=8)) == TopicIncarnation("c", "orders-2")


async def test_of_a_topic_that_was_just_deleted_is_the_last_known_one(
    incarnations: TopicIncarnations, cluster: Cluster, clock: Clock
) -> None:
    await incarnations.incarnation_of(Source(offset=7))
    clock.now_s += FRESH_S
    cluster.exists = False
    assert await incarnations.incarnation_of(Source(offset=8)) == TopicIncarnation("c", "orders-1")


async def test_is_the_last_known_one_while_the_cluster_does_not_answer(
    incarnations: TopicIncarnations, cluster: Cluster, clock: Clock
) -> None:
    await incarnations.incarnation_of(Source(offset=7))
    clock.now_s += FRESH_S
    cluster.refusal = BrokerUnavailable("away")
    assert await incarnations.incarnation_of(Source(offset=8)) == TopicIncarnation("c", "orders-1")


async def test_is_waited_for_if_none_is_known(incarnations: TopicIncarnations, cluster: Cluster) -> None:
    cluster.refusal = BrokerUnavailable("away")
    with pytest.raises(BrokerUnavailable):
        await incarnations.incarnation_of(Source())
    cluster.refusal = None
    assert await incarnations.incarnation_of(Source()) == TopicIncarnation("c", "orders-2")


async def test_is_left_out_if_the_client_may_not_look_it_up(incarnations: TopicIncarnations, cluster: Cluster) -> None:
    cluster.refusal = BrokerRefused("an ACL is missing")
    assert await incarnations.incarnation_of(Source()) == TopicIncarnation()
