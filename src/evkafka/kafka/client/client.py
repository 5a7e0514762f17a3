"""The client underneath a consumer or a producer: what aiokafka hides of connections and fetches, made visible."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka import errors as kafka
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import ConnectionGroup
from aiokafka.conn import CloseReason
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest

from evkafka.config.settings import ConnectionSettings
from evkafka.kafka.client.node_connections import NodeConnections
from evkafka.kafka.options import connection_options


class Admin(AIOKafkaAdminClient):
    """aiokafka's admin client, which would ask one node at random, and fail where that one is silent."""

    async def _send_request(self, request: Any, node_id: int | None = None) -> Any:
        if node_id is None and isinstance(request, MetadataRequest | FindCoordinatorRequest):
            return await self._client.ask_any(request)
        return await super()._send_request(request, node_id)


def admin_client(connection: ConnectionSettings, *, first: tuple[str, int] | None = None) -> AIOKafkaAdminClient:
    """An admin client that is to be started, and closed in any case.

    Args:
        first: the server to be asked before the others.
    """
    options = connection_options(connection)
    admin = Admin(**options)
    admin._client = NodeConnections(**options)
    admin._client.first = first
    return admin


class Client(NodeConnections):
    """AIOKafkaClient, contained.

    Args:
        answer_within_s: kind of request -> how long to wait for its answer, where that is not `ANSWER_S`.

    Attributes:
        fetched: raw answers of fetch requests, by request, taken out by the fetcher in the same step.
    """

    def __init__(
        self, *, allow_auto_create_topics: bool, answer_within_s: Mapping[type, float], **options: Any
    ) -> None:
        super().__init__(allow_auto_create_topics=allow_auto_create_topics, answer_within_s=answer_within_s, **options)
        self.fetched: dict[FetchRequest, Any] = {}

    async def send(self, node_id: Any, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        answer = await super().send(node_id, request, group=group)
        if isinstance(request, FetchRequest):
            self.fetched[request] = answer
        return answer

    async def write(self, node_id: Any, request: Any, *, still: Callable[[], None]) -> Any:
        """Send to a coordinator, with a last look in the very step that writes to the socket.

        Args:
            still: raises where the request must not go out any more.

        Returns:
            What to await for the answer; what is raised before that means that nothing was sent.
        """
        conn = await self._get_conn(node_id, group=ConnectionGroup.COORDINATION)
        if conn is None:
            raise self.trouble or kafka.NodeNotReadyError(f"node {node_id}")
        still()
        return conn.send(request)

    def abort(self) -> list[asyncio.Future[None]]:
        """Close every connection without waiting for a good-bye. Returns what still closes."""
        closing = [conn.close(reason=CloseReason.SHUTDOWN) for conn in self._conns.values()]
        self._conns.clear()
        return closing
