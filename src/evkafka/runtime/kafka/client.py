"""The client underneath a consumer: connections and metadata, with what aiokafka hides made visible."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka import errors as kafka
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import CloseReason
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest

from evkafka.exceptions import BrokerError, BrokerRefused
from evkafka.runtime.kafka.connection import FAILURES, Connection, Patience, connect
from evkafka.runtime.kafka.errors import translate
from evkafka.runtime.kafka.options import CLIENT_OPTIONS, connection_options
from evkafka.runtime.kafka.sparing import Sparing
from evkafka.runtime.kafka.wire import EpochMetadataRequest, MetadataResponse_v7
from evkafka.runtime.leader_epochs import UNKNOWN
from evkafka.settings import ConnectionSettings

logger = logging.getLogger("evkafka.runtime.kafka")

CONNECT_S = 8.0
"""For TCP, TLS and login: a broker that does not answer must not hold up the others for a request timeout."""

ANSWER_S = 30.0
"""For an ordinary answer. Only joins may take as long as the group's rebalance."""


class Reaching(AIOKafkaClient):  # type: ignore[misc]  # the client library is untyped
    """AIOKafkaClient, whose first connection is never forgotten: where its start is broken off, it is closed."""

    _sync_task: asyncio.Task[None] | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**{name: value for name, value in options.items() if name in CLIENT_OPTIONS})
        self._connection_options = {
            "client_id": self._client_id,
            "request_timeout_ms": self._request_timeout_ms,
            "ssl_context": self._ssl_context,
            "security_protocol": self._security_protocol,
            "max_idle_ms": self._connections_max_idle_ms,
            "on_close": self._on_connection_closed,
            "sasl_mechanism": self._sasl_mechanism,
            "sasl_plain_username": self._sasl_plain_username,
            "sasl_plain_password": self._sasl_plain_password,
            "sasl_kerberos_service_name": self._sasl_kerberos_service_name,
            "sasl_kerberos_domain_name": self._sasl_kerberos_domain_name,
            "sasl_oauth_token_provider": self._sasl_oauth_token_provider,
        }

    async def bootstrap(self) -> None:
        """B4-21: aiokafka's own one says "Unable to bootstrap", whatever it was."""
        trouble: BaseException | None = None
        for host, port, _ in self.hosts:
            try:
                conn = await connect(host, port, self._connection_options | {"on_close": None})
            except BrokerRefused:
                raise
            except FAILURES as error:
                trouble = error
                continue
            # Kept before it is asked: a start that is cancelled while it waits for the answer leaves it to close().
            self._conns[("bootstrap", ConnectionGroup.DEFAULT)] = conn
            try:
                metadata = await conn.send(MetadataRequest([]))
            except FAILURES as error:
                trouble = error
                self._drop_bootstrap()
                continue
            self.cluster.update_metadata(metadata)
            if metadata.brokers:
                self._drop_bootstrap()
            self._sync_task = asyncio.create_task(self._md_synchronizer())
            return
        raise kafka.KafkaConnectionError(f"no metadata from {self.hosts}") from trouble

    def _drop_bootstrap(self) -> None:
        bootstrap = self._conns.pop(("bootstrap", ConnectionGroup.DEFAULT), None)
        if bootstrap is not None:
            bootstrap.close()


def admin_client(connection: ConnectionSettings) -> AIOKafkaAdminClient:
    """An admin client that is to be started, and closed in any case."""
    options = connection_options(connection)
    admin = AIOKafkaAdminClient(**options)
    admin._client = Reaching(**options)
    return admin


def reader_client(connection: ConnectionSettings, **more: Any) -> AIOKafkaConsumer:
    """A reader without a group, that is to be started, and stopped in any case."""
    options = connection_options(connection)
    reader = AIOKafkaConsumer(**options, enable_auto_commit=False, **more)
    reader._client = Reaching(**options)
    return reader


class Client(Reaching):
    """AIOKafkaClient, contained.

    Args:
        answer_within_s: kind of request -> how long to wait for its answer, where that is not `ANSWER_S`.

    Attributes:
        first: the server that let us in at the start, to be asked before the others.
        trouble: why the last connection attempt failed, None while all is well.
        on_refused: called when a broker refuses us (login, certificate): waiting cannot help.
        fetched: raw answers of fetch requests, by request, taken out by the fetcher in the same step.
    """

    def __init__(
        self, *, allow_auto_create_topics: bool, answer_within_s: Mapping[type, float], **options: Any
    ) -> None:
        super().__init__(**options)
        self._allow_auto_create_topics = allow_auto_create_topics
        self._answer_within_s = answer_within_s
        self._warnings = Sparing(logger)
        self.first: tuple[str, int] | None = None
        self.trouble: BrokerError | None = None
        self.on_refused: Callable[[BrokerRefused], object] = lambda _: None
        self.fetched: dict[FetchRequest, Any] = {}
        self._leader_epochs: dict[tuple[str, int], int] = {}
        self.answered_at_s = self.failed_at_s = self._loop.time()

    @property
    def hosts(self) -> list[Any]:
        """The bootstrap tries these in turn, each for a whole request timeout: the one that answered comes first."""
        hosts: list[Any] = super().hosts
        return sorted(hosts, key=lambda host: (host[0], host[1]) != self.first)

    async def _metadata_update(self, cluster_metadata: Any, topics: Any) -> bool:
        """B4-15: aiokafka lets brokers create every topic that it asks about, so a typo becomes a topic."""
        request = EpochMetadataRequest(list(topics) if topics else None, self._allow_auto_create_topics)
        nodes: list[Any] = [broker.nodeId for broker in self.cluster.brokers()]
        if ("bootstrap", ConnectionGroup.DEFAULT) in self._conns:
            nodes.append("bootstrap")
        random.shuffle(nodes)
        for node in nodes:
            conn = await self._get_conn(node)
            if conn is None:
                continue
            try:
                metadata = await conn.send(request)
            except (kafka.KafkaError, TimeoutError) as error:
                logger.debug("no metadata from node %s: %r", node, error)
                continue
            if not metadata.brokers:
                return False
            self.answered_at_s = self._loop.time()
            if isinstance(metadata, MetadataResponse_v7):
                self._note_epochs(metadata)
                metadata = metadata.without_epochs()
            cluster_metadata.update_metadata(metadata)
            self._drop_bootstrap()
            return True
        cluster_metadata.failed_update(None)
        return False

    def _note_epochs(self, metadata: MetadataResponse_v7) -> None:
        self._leader_epochs = {
            (topic, partition): epoch
            for _, topic, _, partitions in metadata.topics
            for _, partition, _, epoch, *_ in partitions
        }

    def leader_epoch(self, tp: tuple[str, int]) -> int:
        """Under which epoch a partition's leader leads it; UNKNOWN where brokers do not tell (before 2.1)."""
        return self._leader_epochs.get((tp[0], tp[1]), UNKNOWN)

    def leader(self, tp: Any) -> tuple[int | None, int]:
        """A partition's leader, and under which epoch it leads."""
        return self.cluster.leader_for_partition(tp), self.leader_epoch(tp)

    async def _get_conn(self, node_id: Any, *, group: Any = ConnectionGroup.DEFAULT, no_hint: bool = False) -> Any:
        """B4-21: after the start, aiokafka answers None for every failure, and its callers retry for ever."""
        key = (node_id, group)
        conn: Connection | None = self._conns.get(key)
        if conn is not None and conn.usable:
            return conn
        async with self._get_conn_lock:
            conn = self._conns.pop(key, None)
            if conn is not None and conn.usable:
                self._conns[key] = conn
                return conn
            if conn is not None:
                conn.retire()
            broker = self.cluster.broker_metadata(node_id)
            try:
                if broker is None:
                    raise kafka.StaleMetadata(f"node {node_id} is not among the brokers known now")
                async with asyncio.timeout(CONNECT_S):
                    conn = await connect(broker.host, broker.port, self._connection_options)
            except FAILURES as error:
                self._failed(node_id, broker, error)
                return None
            self._conns[key] = conn
            self.trouble = None
            return conn

    def _failed(self, node_id: Any, broker: Any, error: BaseException) -> None:
        where = f"{broker.host}:{broker.port} (node {node_id})" if broker is not None else f"node {node_id}"
        self.trouble = translate(error, where)
        self.failed_at_s = self._loop.time()
        self._warnings.warn(f"no connection to {self.trouble}; trying again")
        if isinstance(self.trouble, BrokerRefused):
            self.on_refused(self.trouble)
        self.force_metadata_update()

    async def send(self, node_id: Any, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        """B4-3, 6: one timeout serves joins (minutes) and all else, so a dead connection goes unnoticed as long."""
        within_s = self.silence_s(type(request))
        patience = Patience(within_s, lambda: self._received(node_id, group))
        try:
            async with patience.limit:
                answer = await super().send(node_id, request, group=group)
        except TimeoutError as error:
            conn = self._conns.pop((node_id, group), None)
            if conn is not None:
                conn.close(reason=CloseReason.CONNECTION_TIMEOUT)
            raise kafka.RequestTimedOutError(f"{type(request).__name__}: no answer within {within_s:g} s") from error
        finally:
            patience.end()
        self.answered_at_s = self._loop.time()
        if isinstance(request, FetchRequest):
            self.fetched[request] = answer
        return answer

    def silence_s(self, kind: type) -> float:
        """After how long without a byte the answer to such a request is given up."""
        return float(min(self._answer_within_s.get(kind, ANSWER_S), self._request_timeout_ms / 1000))

    def _received(self, node_id: Any, group: Any) -> tuple[float, int] | None:
        conn: Connection | None = self._conns.get((node_id, group))
        return conn.received if conn is not None else None

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
