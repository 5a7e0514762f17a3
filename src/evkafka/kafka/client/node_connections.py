"""AIOKafkaClient without its defects: one connection per node and purpose; a silent node does not block the others.

A broker may be frozen, or the network may drop its packets: connections stay open, and nothing is answered. A request
that any node can answer then goes to another node after a moment. A request that only the silent node can answer is
aborted when the cluster has replaced that node (aiokafka-defects.md#half-open-connections).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka import errors as kafka
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import CloseReason
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.metadata import MetadataRequest

from evkafka.exceptions import BrokerError, BrokerRefused
from evkafka.kafka.client.connection import FAILURES, PROGRESS_CHECK_S, Connection, SilenceTimeout, connect
from evkafka.kafka.client.log_throttle import LogThrottle
from evkafka.kafka.client.protocol import MetadataResponse_v7, MetadataWithEpochsRequest
from evkafka.kafka.errors import translate_error
from evkafka.kafka.options import CLIENT_ONLY_OPTIONS, CLIENT_OPTIONS
from evkafka.runtime.leader_epochs import UNKNOWN

logger = logging.getLogger("evkafka.runtime.kafka")

CONNECT_S = 8.0
"""How long a connection attempt may take: TCP, TLS and login."""

ANSWER_S = 30.0
"""How long to wait for an ordinary answer. Only joins may take as long as the group's rebalance."""

METADATA_GROUP = "metadata"
"""The group of the second connection to a node whose first one has a pending write."""

BOOTSTRAP = ("bootstrap", ConnectionGroup.DEFAULT)


class NodeConnections(AIOKafkaClient):
    """AIOKafkaClient with a timeout for each connection attempt and each type of request.

    Args:
        answer_within_s: type of request -> how long to wait for its answer, also if that is longer than
            `request_timeout_ms`. Other types: `ANSWER_S`, or `request_timeout_ms` if it is shorter.

    Attributes:
        first_server: host and port of the server that accepted the first connection, asked before the others.
        last_error: why the last connection attempt failed; None after a successful one.
        on_refused: called when a broker refuses the connection (login, certificate): waiting cannot help.
        answered_at_s, failed_at_s: time of the last answer and of the last failed connection, by the loop's clock.
    """

    _sync_task: asyncio.Task[None] | None = None

    def __init__(
        self,
        *,
        allow_auto_create_topics: bool = True,
        answer_within_s: Mapping[type, float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**{name: value for name, value in options.items() if name in CLIENT_OPTIONS})
        shared = {name: getattr(self, f"_{name}") for name in CLIENT_OPTIONS - CLIENT_ONLY_OPTIONS}
        own = {"max_idle_ms": self._connections_max_idle_ms, "on_close": self._on_connection_closed}
        self._answer_within_s = dict(answer_within_s or {})
        # A connection has one limit for all requests. `send` applies the shorter one of each type.
        longest_s = max(self._answer_within_s.values(), default=0.0)
        longest = {"request_timeout_ms": max(self._request_timeout_ms, longest_s * 1000)}
        self._connection_options = shared | own | longest
        self._allow_auto_create_topics = allow_auto_create_topics
        self._connecting: defaultdict[tuple[Any, Any], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._attempts: dict[tuple[Any, Any], SilenceTimeout] = {}  # connection attempts in progress
        self._silent: set[Any] = set()  # nodes that are late with an answer or could not be reached
        self._leader_epochs: dict[tuple[str, int], int] = {}
        self._warnings = LogThrottle(logger)
        self.first_server: tuple[str, int] | None = None
        self.last_error: BrokerError | None = None
        self.on_refused: Callable[[BrokerRefused], object] = lambda _: None
        self.answered_at_s = self.failed_at_s = self._loop.time()

    def now_s(self) -> float:
        """The loop's time."""
        return float(self._loop.time())

    @property
    def metadata_refresh_task(self) -> asyncio.Task[None] | None:
        """The task that keeps the metadata up to date; None before the bootstrap and after the close."""
        return self._sync_task

    # ------------------------------------------------------------------ the first connection

    @property
    def hosts(self) -> list[Any]:
        """The servers for the bootstrap, in the order in which they are tried."""
        hosts: list[Any] = super().hosts
        return sorted(hosts, key=lambda host: (host[0], host[1]) != self.first_server)

    async def bootstrap(self) -> None:
        """Connect to one of the servers and fetch metadata.

        aiokafka's own method reports "Unable to bootstrap" whatever the cause (aiokafka-defects.md#bootstrap-causes),
        and leaves its connection open if it is cancelled (aiokafka-defects.md#cancelled-start).
        """
        cause: BaseException | None = None
        hosts = [(host, port) for host, port, _ in self.hosts]
        for host, port in hosts:
            # A slow server is skipped for the next one; the last server has the full time.
            within_s = CONNECT_S if (host, port) == hosts[-1] else PROGRESS_CHECK_S
            try:
                async with asyncio.timeout(within_s):
                    conn = await connect(host, port, self._connection_options | {"on_close": None})
            except BrokerRefused:
                raise
            except FAILURES as error:
                cause = error
                continue
            # Stored before the request, so that close() finds it if this call is cancelled while it waits.
            self._conns[BOOTSTRAP] = conn
            try:
                async with asyncio.timeout(within_s):
                    metadata = await conn.send(MetadataRequest([]))
            except FAILURES as error:
                cause = error
                self._close_bootstrap_connection()
                continue
            self.cluster.update_metadata(metadata)
            if metadata.brokers:
                self._close_bootstrap_connection()
            self._sync_task = asyncio.create_task(self._md_synchronizer())
            return
        raise kafka.KafkaConnectionError(f"no metadata from {self.hosts}") from cause

    def _close_bootstrap_connection(self) -> None:
        bootstrap = self._conns.pop(BOOTSTRAP, None)
        if bootstrap is not None:
            bootstrap.close()

    # ------------------------------------------------------------------ connections

    async def _get_conn(self, node_id: Any, *, group: Any = ConnectionGroup.DEFAULT, no_hint: bool = False) -> Any:
        """Return a usable connection; None after a failure, which `last_error` describes.

        aiokafka returns None for every failure without a reason, and its callers retry forever
        (aiokafka-defects.md#bootstrap-causes). It also opens one connection at a time, so a node that does not answer
        blocks the connections to all others.
        """
        key = (node_id, group)
        conn: Connection | None = self._conns.get(key)
        if conn is not None and conn.usable:
            return conn
        async with self._connecting[key]:
            conn = self._conns.pop(key, None)
            if conn is not None and conn.usable:
                self._conns[key] = conn
                return conn
            if conn is not None:
                conn.close_when_idle()
            broker = self.cluster.broker_metadata(node_id)
            try:
                if broker is None:
                    raise kafka.StaleMetadata(f"node {node_id} is not in the cluster's metadata")
                conn = await self._connect_with_silence_timeout(key, broker)
            except FAILURES as error:
                self._note_failure(node_id, broker, error)
                return None
            self._conns[key] = conn
            self.last_error = None
            self._silent.discard(node_id)
            return conn

    async def _connect_with_silence_timeout(self, key: tuple[Any, Any], broker: Any) -> Connection:
        async with SilenceTimeout(CONNECT_S, lambda: None, lambda: self._mark_silent(key[0])) as limit:
            self._attempts[key] = limit
            try:
                return await connect(broker.host, broker.port, self._connection_options)
            finally:
                del self._attempts[key]

    def _note_failure(self, node_id: Any, broker: Any, error: BaseException) -> None:
        where = f"{broker.host}:{broker.port} (node {node_id})" if broker is not None else f"node {node_id}"
        self.last_error = translate_error(error, where)
        self.failed_at_s = self._loop.time()
        self._silent.add(node_id)
        self._warnings.warn(f"no connection to {self.last_error}; trying again")
        if isinstance(self.last_error, BrokerRefused):
            self.on_refused(self.last_error)
        self.force_metadata_update()

    # ------------------------------------------------------------------ requests to one node

    async def send(self, node_id: Any, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        """Send with a timeout for this type of request (aiokafka-defects.md#half-open-connections).

        aiokafka has one timeout for joins (minutes) and everything else, and so does not notice a dead connection until
        then.
        """
        within_s = self.silence_limit_s(type(request))
        try:
            async with SilenceTimeout(
                within_s, lambda: self._incoming_answer_progress(node_id, group), lambda: self._mark_silent(node_id)
            ):
                answer = await super().send(node_id, request, group=group)
        except TimeoutError as error:
            self._silent.add(node_id)
            conn = self._conns.pop((node_id, group), None)
            if conn is not None:
                conn.close(reason=CloseReason.CONNECTION_TIMEOUT)
            raise kafka.RequestTimedOutError(f"{type(request).__name__}: no answer within {within_s:g} s") from error
        self._mark_responsive(node_id)
        return answer

    def silence_limit_s(self, kind: type) -> float:
        """How long the answer to this type of request may be silent before it is aborted."""
        return float(self._answer_within_s.get(kind, min(ANSWER_S, self._request_timeout_ms / 1000)))

    def set_request_timeout(self, kind: type, *, within_s: float) -> None:
        """Set how long to wait for the answers to this type of request."""
        self._answer_within_s[kind] = within_s

    def _incoming_answer_progress(self, node_id: Any, group: Any) -> tuple[float, int] | None:
        conn: Connection | None = self._conns.get((node_id, group))
        return conn.incoming_answer_progress if conn is not None else None

    @property
    def incoming_answer_progress(self) -> object:
        """A value that changes while an answer arrives: the bytes of incomplete answers, by connection."""
        return [conn.incoming_answer_progress[1] for conn in self._conns.values()]

    def is_connected(self, node_id: Any, group: Any) -> bool:
        """Whether there is a connection to this node for this purpose."""
        return (node_id, group) in self._conns

    def _mark_responsive(self, node_id: Any) -> None:
        self._silent.discard(node_id)
        self.answered_at_s = self._loop.time()

    def _mark_silent(self, node_id: Any) -> None:
        """A node is late with an answer. Apart from joins none takes long, so other nodes may know more."""
        self._silent.add(node_id)
        self.force_metadata_update()

    def _abort_connections_to_removed_brokers(self) -> None:
        """Abort requests to silent nodes that are no longer brokers of the cluster.

        The cluster has replaced them as leaders and coordinators, so they will not answer.
        """
        brokers = {broker.nodeId for broker in self.cluster.brokers()}
        for node_id, group in tuple(self._conns):
            if node_id in self._silent and node_id not in brokers:
                conn = self._conns.pop((node_id, group))
                conn.close(reason=CloseReason.CONNECTION_TIMEOUT)
        for (node_id, _), attempt in self._attempts.items():
            if node_id in self._silent and node_id not in brokers:
                attempt.expire_now()
        self._silent &= brokers

    # ------------------------------------------------------------------ requests that any node can answer

    def _nodes_to_ask(self) -> list[Any]:
        """All nodes in random order, the silent ones last."""
        nodes: list[Any] = [broker.nodeId for broker in self.cluster.brokers()]
        if BOOTSTRAP in self._conns:
            nodes.append("bootstrap")
        random.shuffle(nodes)
        return sorted(nodes, key=lambda node: node in self._silent)

    def get_random_node(self) -> Any:
        """None while no node is known."""
        return next(iter(self._nodes_to_ask()), None)

    async def send_to_any_node(self, request: Any) -> Any:
        """Ask one node after the other. Each has a few seconds, the last one the full time.

        Raises:
            KafkaError: none of them answered.
        """
        nodes = self._nodes_to_ask()
        failure: BaseException = kafka.NodeNotReadyError("no broker is available")
        for node_id in nodes:
            try:
                async with asyncio.timeout(PROGRESS_CHECK_S if node_id != nodes[-1] else ANSWER_S):
                    conn = await self._get_conn(node_id, group=self._choose_metadata_connection_group(node_id))
                    if conn is None:
                        raise kafka.NodeNotReadyError(f"node {node_id}")
                    answer = await conn.send(request)
            except (kafka.KafkaError, OSError, TimeoutError) as error:
                # Keep its connection: the node may be slow, and others may wait for more urgent answers over it.
                logger.debug("no answer to %s from node %s: %r", type(request).__name__, node_id, error)
                self._silent.add(node_id)
                failure = (
                    error if isinstance(error, kafka.KafkaError) else kafka.RequestTimedOutError(f"node {node_id}")
                )
            else:
                self._mark_responsive(node_id)
                return answer
        raise failure

    def _choose_metadata_connection_group(self, node_id: Any) -> Any:
        """A second connection while the first has a pending write.

        A broker answers the requests of a connection in turn, and a write waits for all replicas. The metadata that
        would show that a replica is gone must not wait behind it.
        """
        conn: Connection | None = self._conns.get((node_id, ConnectionGroup.DEFAULT))
        return METADATA_GROUP if conn is not None and conn.has_pending_produce_request else ConnectionGroup.DEFAULT

    async def _metadata_update(self, cluster_metadata: Any, topics: Any) -> bool:
        """Ask for metadata; creates topics only if that is configured (aiokafka-defects.md#topic-creation)."""
        request = MetadataWithEpochsRequest(list(topics) if topics else None, self._allow_auto_create_topics)
        try:
            metadata = await self.send_to_any_node(request)
        except kafka.KafkaError:
            cluster_metadata.failed_update(None)
            return False
        if not metadata.brokers:
            return False
        if isinstance(metadata, MetadataResponse_v7):
            self._note_leader_epochs(metadata)
            metadata = metadata.without_epochs()
        cluster_metadata.update_metadata(metadata)
        self._close_bootstrap_connection()
        self._abort_connections_to_removed_brokers()
        return True

    def _note_leader_epochs(self, metadata: MetadataResponse_v7) -> None:
        self._leader_epochs = {
            (topic, partition): epoch
            for _, topic, _, partitions in metadata.topics
            for _, partition, _, epoch, *_ in partitions
        }

    def leader_epoch(self, tp: tuple[str, int]) -> int:
        """The current leader epoch of a partition; UNKNOWN with brokers before 2.1."""
        return self._leader_epochs.get((tp[0], tp[1]), UNKNOWN)

    def leader_and_epoch(self, tp: Any) -> tuple[int | None, int]:
        """A partition's leader and its epoch."""
        return self.cluster.leader_for_partition(tp), self.leader_epoch(tp)

    async def coordinator_lookup(self, coordinator_type: Any, coordinator_key: str) -> int:
        """Find a group's coordinator. aiokafka asks one random node, for a whole request timeout.

        Raises:
            KafkaError: none answered, or there is none.
        """
        answer = await self.send_to_any_node(FindCoordinatorRequest(coordinator_key, coordinator_type))
        error = kafka.for_code(answer.error_code)
        if error is not kafka.NoError:
            raise error()
        return int(answer.coordinator_id)
