"""Which lists of servers name one cluster. The test kit has a single one, so that only the names can tell."""

from __future__ import annotations

from evkafka.config.settings import ConnectionSettings


class ClusterIds:
    """The ids of the clusters that the connections of an app name: lists with a server in common name one cluster."""

    def __init__(self) -> None:
        self._clusters: list[set[str]] = []

    def id_of(self, connection: ConnectionSettings) -> str:
        servers = set(connection.bootstrap_servers)
        number = next((at for at, known in enumerate(self._clusters) if known & servers), len(self._clusters))
        if number == len(self._clusters):
            self._clusters.append(set())
        self._clusters[number] |= servers
        return f"memory-{number + 1}" if number else "memory"
