"""Clusters as servers. Only those settings are shown that other clients need for their own connection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from evkafka.asyncapi.references import drop_empty_fields, reference_to, unused_key
from evkafka.config.masking import without_userinfo
from evkafka.config.settings import ConnectionSettings

SCHEMES = {
    "PLAIN": {"type": "plain", "description": "SASL/PLAIN"},
    "SCRAM-SHA-256": {"type": "scramSha256", "description": "SASL/SCRAM-SHA-256"},
    "SCRAM-SHA-512": {"type": "scramSha512", "description": "SASL/SCRAM-SHA-512"},
    "GSSAPI": {"type": "gssapi", "description": "SASL/GSSAPI (Kerberos)"},
    "OAUTHBEARER": {"type": "http", "scheme": "bearer", "description": "SASL/OAUTHBEARER"},
}

Identity = tuple[tuple[str, ...], str | None]


class Servers:
    """The clusters of an app. A cluster is identified by its brokers and its name, if it has one."""

    def __init__(self, connections: Iterable[ConnectionSettings]) -> None:
        self._keys: dict[Identity, str] = {}
        self._connections: dict[str, list[ConnectionSettings]] = {}
        connections = tuple(connections)
        self._names = {
            _sorted_brokers(connection): connection.cluster_name
            for connection in reversed(connections)
            if connection.cluster_name is not None
        }
        for connection in connections:
            identity = self._brokers_and_cluster_name(connection)
            if identity not in self._keys:
                self._keys[identity] = unused_key(identity[1] or "kafka", self._connections)
            self._connections.setdefault(self._keys[identity], []).append(connection)

    def cluster_key(self, connection: ConnectionSettings) -> str:
        """The key of a connection's cluster."""
        return self._keys[self._brokers_and_cluster_name(connection)]

    def server_objects(self) -> dict[str, Any]:
        return {key: _server_object(connections) for key, connections in self._connections.items()}

    def security_schemes(self) -> dict[str, Any]:
        """The SASL mechanisms that the servers use."""
        used = {
            _sasl_mechanism_of_connection(connection)
            for connections in self._connections.values()
            for connection in connections
        }
        return {_scheme_key(mechanism): SCHEMES[mechanism] for mechanism in SCHEMES if mechanism in used}

    def _brokers_and_cluster_name(self, connection: ConnectionSettings) -> Identity:
        """Brokers and name. A connection without a name belongs to the named cluster with the same brokers."""
        brokers = _sorted_brokers(connection)
        return brokers, connection.cluster_name or self._names.get(brokers)


def _sorted_brokers(connection: ConnectionSettings) -> tuple[str, ...]:
    return tuple(sorted(connection.bootstrap_servers))


def _server_object(connections: list[ConnectionSettings]) -> dict[str, Any]:
    first = connections[0]
    names = [connection.cluster_name for connection in connections if connection.cluster_name]
    descriptions = [connection.cluster_description for connection in connections if connection.cluster_description]
    mechanisms = dict.fromkeys(
        mechanism for connection in connections if (mechanism := _sasl_mechanism_of_connection(connection)) is not None
    )
    return drop_empty_fields(
        host=without_userinfo(",".join(first.bootstrap_servers)),
        protocol="kafka-secure" if _security_protocol_of_connection(first).endswith("SSL") else "kafka",
        title=names[0] if names else None,
        description=descriptions[0] if descriptions else None,
        security=[reference_to("components", "securitySchemes", _scheme_key(mechanism)) for mechanism in mechanisms],
    )


def _security_protocol_of_connection(connection: ConnectionSettings) -> str:
    return connection.shown.get("security_protocol", "PLAINTEXT")


def _sasl_mechanism_of_connection(connection: ConnectionSettings) -> str | None:
    """The SASL mechanism of a connection; None if it has none."""
    if not _security_protocol_of_connection(connection).startswith("SASL"):
        return None
    mechanism = connection.shown.get("sasl_mechanism", "PLAIN")
    return mechanism if mechanism in SCHEMES else None


def _scheme_key(mechanism: str) -> str:
    return "sasl-" + mechanism.lower()
