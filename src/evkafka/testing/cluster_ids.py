"""Which lists of servers name one cluster. The test kit has a single one, so that only the names can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from evkafka.app import EVKafkaApp
from evkafka.config import dead_letter_producer_settings, producer_settings
from evkafka.config.settings import ConnectionSettings


class ClusterIds:
    """The ids of clusters. Lists with a server in common name one cluster, and so do two lists that a third one joins.

    Args:
        declared: gives, when the first id is asked for, the connections that an app declares: an id must not depend on
            which of them is asked for first.
    """

    def __init__(self, declared: Callable[[], Iterable[ConnectionSettings]] = tuple) -> None:
        self._declared = declared
        self._clusters: list[set[str]] = []

    def id_of(self, connection: ConnectionSettings) -> str:
        if not self._clusters:
            for one in self._declared():
                self._add_and_return_number(one)
        number = self._add_and_return_number(connection)
        return f"memory-{number + 1}" if number else "memory"

    def _add_and_return_number(self, connection: ConnectionSettings) -> int:
        servers = set(connection.bootstrap_servers)
        same = [number for number, known in enumerate(self._clusters) if known & servers]
        if not same:
            self._clusters.append(servers)
            return len(self._clusters) - 1
        first, *others = same
        self._clusters[first] |= servers
        for other in others:
            self._clusters[first] |= self._clusters[other]
            self._clusters[other] = set()  # the others keep their numbers
        return first


def declared_connections(app: EVKafkaApp) -> Iterator[ConnectionSettings]:
    """The connections of an app's consumers, their dead letters, and its producers."""
    for consumer in app.consumers.values():
        yield consumer.settings.connection
        for _, policy in consumer.policies():
            yield dead_letter_producer_settings(consumer.settings, policy).connection
    for producer in app.producers.values():
        yield producer_settings(producer.config).connection
