"""The ids of clusters in the test kit depend on the lists of servers, not on the order in which these are used."""

from __future__ import annotations

from itertools import permutations

import pytest

from evkafka import EVKafkaApp, Handler, Sender
from evkafka.config.settings import ConnectionSettings
from evkafka.testing.cluster_ids import ClusterIds, declared_connections

A, B, C = (ConnectionSettings((f"{name}:9092",)) for name in "abc")
A_AND_B = ConnectionSettings(("a:9092", "b:9092"))


@pytest.mark.parametrize("asked", list(permutations([A, B, C, A_AND_B])))
def test_ids_do_not_depend_on_the_order_in_which_they_are_asked_for(asked: tuple[ConnectionSettings, ...]) -> None:
    ids = ClusterIds(lambda: [A, B, C, A_AND_B])
    found = {connection.bootstrap_servers: ids.id_of(connection) for connection in asked}
    assert found == {
        A.bootstrap_servers: "memory",
        B.bootstrap_servers: "memory",
        A_AND_B.bootstrap_servers: "memory",
        C.bootstrap_servers: "memory-3",
    }


def test_a_list_that_joins_two_clusters_does_not_rename_a_third_one() -> None:
    ids = ClusterIds()
    assert [ids.id_of(one) for one in (A, B, C, A_AND_B, B, C)] == [
        "memory",
        "memory-2",
        "memory-3",
        "memory",
        "memory",
        "memory-3",
    ]


def test_all_servers_of_joined_lists_name_the_cluster() -> None:
    ids = ClusterIds(lambda: [A, ConnectionSettings(("b:9092", "c:9092")), A_AND_B])
    assert [ids.id_of(one) for one in (A, B, C)] == ["memory", "memory", "memory"]


def test_the_connections_of_an_app_are_those_of_its_consumers_dead_letters_and_producers() -> None:
    app, handler = EVKafkaApp(), Handler()
    policy = {"then": "dead_letter", "max_attempts": 1, "dead_letter_producer": {"bootstrap_servers": "b:9092"}}
    app.add_consumer(
        {"topics": ["orders"], "group_id": "g", "bootstrap_servers": "a:9092", "on_error": policy}, handler
    )
    app.add_producer({"bootstrap_servers": ["a:9092", "b:9092"]}, Sender())
    servers = [connection.bootstrap_servers for connection in declared_connections(app)]
    assert servers == [("a:9092",), ("b:9092",), ("a:9092", "b:9092")]
