"""The clients that consumers, producers and admin operations connect with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
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
from evkafka.kafka.client.tasks import cancel_all
from evkafka.kafka.errors import translate_error
from evkafka.kafka.options import connection_options

logger = logging.getLogger("evkafka.runtime.kafka")


class Admin(AIOKafkaAdminClient):
    """aiokafka's admin client. Its own way is to ask one random node, and fail if that node is silent."""

    @property
    def client(self) -> NodeConnections:
        client: NodeConnections = self._client
        return client

    async def _send_request(self, request: Any, node_id: int | None = None) -> Any:
        if node_id is None and isinstance(request, MetadataRequest | FindCoordinatorRequest):
            return await self._client.send_to_any_node(request)
        return await super()._send_request(request, node_id)


def admin_client(connection: ConnectionSettings, *, first: tuple[str, int] | None = None) -> Admin:
    """An admin client. Start it, and close it in any case. aiokafka's own start leaves its first connection open if
    it is cancelled: this one is created before, so that `close()` finds it.

    Args:
        first: host and port of the server to ask before the others.
    """
    options = connection_options(connection)
    admin = Admin(**options)
    admin._client = NodeConnections(**options)
    admin._client.first_server = first
    return admin


class Client(NodeConnections):
    """The client of a consumer or a producer.

    Args:
        answer_within_s: type of request -> how long to wait for its answer, if not `ANSWER_S`.

    Attributes:
        fetched: raw answers of fetch requests, by request. The fetcher removes each in the same step.
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

    async def send_unless_check_raises(
        self, node_id: int | None, request: Any, *, check: Callable[[], None]
    ) -> Awaitable[Any]:
        """Send to a coordinator, with a last check in the step that writes to the socket.

        Args:
            node_id: None if the coordinator is not known any more: nothing is sent.
            check: raises if the request must not be sent any more.

        Returns:
            An awaitable of the answer. An exception of this call itself means that nothing was sent.
        """
        if node_id is None:
            raise kafka.GroupCoordinatorNotAvailableError
        conn = await self._get_conn(node_id, group=ConnectionGroup.COORDINATION)
        if conn is None:
            raise self.last_error or kafka.NodeNotReadyError(f"node {node_id}")
        check()
        answering: Awaitable[Any] = conn.send(request)
        return answering

    async def connect_until_metadata_known(self, *, first: tuple[str, int], retry_backoff_s: float) -> None:
        """Fetch metadata. The caller limits the time; `last_error` says why there are none.

        Args:
            first: host and port of the server to ask first. It may have gone since it accepted a connection.

        Raises:
            BrokerRefused, KafkaError: waiting cannot help.
        """
        self.first_server = first
        while self.metadata_refresh_task is None:
            try:
                await self.bootstrap()
            except kafka.KafkaConnectionError as error:
                self.last_error = translate_error(error, ", ".join(f"{host}:{port}" for host, port, _ in self.hosts))
                await asyncio.sleep(retry_backoff_s)
        # Bootstrap servers may answer while the brokers that they name (advertised.listeners) do not.
        while not await self.force_metadata_update():  # noqa: ASYNC110  # no event says when to try again
            await asyncio.sleep(retry_backoff_s)

    async def close_within(self, timeout_s: float) -> None:
        """Close every connection, by force after half of the time. Never raises, never hangs."""
        deadline_s = self.now_s() + timeout_s
        closing = asyncio.ensure_future(self.close())
        await asyncio.wait({closing}, timeout=timeout_s / 2)
        if not closing.done():
            left = self.abort_connections()
            await cancel_all([closing, self.metadata_refresh_task], max(0.0, deadline_s - self.now_s()) / 2)
            if left:
                await asyncio.wait(left, timeout=max(0.0, deadline_s - self.now_s()))
        elif not closing.cancelled() and closing.exception() is not None:
            logger.debug("the connections of a client did not close cleanly: %r", closing.exception())

    def abort_connections(self) -> list[asyncio.Future[None]]:
        """Close every connection at once. Returns futures of those that are still closing."""
        closing = [conn.close(reason=CloseReason.SHUTDOWN) for conn in self._conns.values()]
        self._conns.clear()
        return closing
