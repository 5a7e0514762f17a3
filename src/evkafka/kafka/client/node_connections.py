"""How brokers are reached: one connection for each node and purpose, and a node that is silent holds up no other.

A broker may be frozen, or behind a line that lost its packets: connections stay open, and nothing is answered. What any
node can answer is then asked of another one after a moment, and what the silent node alone can answer is given up when
the cluster has put others in its place.
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
from evkafka.kafka.client.connection import FAILURES, LOOK_S, Connection, SilenceLimit, connect
from evkafka.kafka.client.log_throttle import LogThrottle
from evkafka.kafka.client.protocol import EpochMetadataRequest, MetadataResponse_v7
from evkafka.kafka.errors import translate
from evkafka.kafka.options import CLIENT_OPTIONS
from evkafka.runtime.leader_epochs import UNKNOWN

logger = logging.getLogger("evkafka.runtime.kafka")

CONNECT_S = 8.0
"""For TCP, TLS and login."""

ANSWER_S = 30.0
"""For an ordinary answer. Only joins may take as long as the group's rebalance."""

ASKING = "asking"
"""The connection for questions to a node that owes the answer to a write."""

BOOTSTRAP = ("bootstrap", ConnectionGroup.DEFAULT)


class NodeConnections(AIOKafkaClient):
    """AIOKafkaClient, whose connections and questions have limits of their own.

    Args:
        answer_within_s: kind of request -> how long to wait for its answer, where that is not `ANSWER_S`.

    Attributes:
        first: the server that let us in at the start, to be asked before the others.
        trouble: why the last connection attempt failed, None while all is well.
        on_refused: called when a broker refuses us (login, certificate): waiting cannot help.
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
        self._allow_auto_create_topics = allow_auto_create_topics
        self._answer_within_s = answer_within_s or {}
        self._connecting: defaultdict[tuple[Any, Any], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._attempts: dict[tuple[Any, Any], SilenceLimit] = {}  # connections that are being made
        self._silent: set[Any] = set()  # nodes that owe an answer, or could not be reached
        self._leader_epochs: dict[tuple[str, int], int] = {}
        self._warnings = LogThrottle(logger)
        self.first: tuple[str, int] | None = None
        self.trouble: BrokerError | None = None
        self.on_refused: Callable[[BrokerRefused], object] = lambda _: None
        self.answered_at_s = self.failed_at_s = self._loop.time()

    # ------------------------------------------------------------------ the first connection

    @property
    def hosts(self) -> list[Any]:
        """The bootstrap tries these in turn: the one that answered comes first."""
        hosts: list[Any] = super().hosts
        return sorted(hosts, key=lambda host: (host[0], host[1]) != self.first)

    async def bootstrap(self) -> None:
        """B4-21: aiokafka's own one says "Unable to bootstrap", whatever it was, and forgets its connection where its
        start is broken off."""
        trouble: BaseException | None = None
        hosts = [(host, port) for host, port, _ in self.hosts]
        for host, port in hosts:
            # One that keeps us waiting is passed for the next; the last has all the time that there is.
            within_s = CONNECT_S if (host, port) == hosts[-1] else LOOK_S
            try:
                async with asyncio.timeout(within_s):
                    conn = await connect(host, port, self._connection_options | {"on_close": None})
            except BrokerRefused:
                raise
            except FAILURES as error:
                trouble = error
                continue
            # Kept before it is asked: a start that is cancelled while it waits for the answer leaves it to close().
            self._conns[BOOTSTRAP] = conn
            try:
                async with asyncio.timeout(within_s):
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
        bootstrap = self._conns.pop(BOOTSTRAP, None)
        if bootstrap is not None:
            bootstrap.close()

    # ------------------------------------------------------------------ connections

    async def _get_conn(self, node_id: Any, *, group: Any = ConnectionGroup.DEFAULT, no_hint: bool = False) -> Any:
        """B4-21: after the start, aiokafka answers None for every failure, and its callers retry for ever. And it makes
        one connection at a time: a node that does not answer would keep us from all the others meanwhile."""
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
                conn.retire()
            broker = self.cluster.broker_metadata(node_id)
            try:
                if broker is None:
                    raise kafka.StaleMetadata(f"node {node_id} is not among the brokers known now")
                conn = await self._connect(key, broker)
            except FAILURES as error:
                self._failed(node_id, broker, error)
                return None
            self._conns[key] = conn
            self.trouble = None
            self._silent.discard(node_id)
            return conn

    async def _connect(self, key: tuple[Any, Any], broker: Any) -> Connection:
        patience = SilenceLimit(CONNECT_S, lambda: None, lambda: self._is_silent(key[0]))
        self._attempts[key] = patience
        try:
            async with patience.limit:
                return await connect(broker.host, broker.port, self._connection_options)
        finally:
            del self._attempts[key]
            patience.end()

    def _failed(self, node_id: Any, broker: Any, error: BaseException) -> None:
        where = f"{broker.host}:{broker.port} (node {node_id})" if broker is not None else f"node {node_id}"
        self.trouble = translate(error, where)
        self.failed_at_s = self._loop.time()
        self._silent.add(node_id)
        self._warnings.warn(f"no connection to {self.trouble}; trying again")
        if isinstance(self.trouble, BrokerRefused):
            self.on_refused(self.trouble)
        self.force_metadata_update()

    # ------------------------------------------------------------------ what one node alone can answer

    async def send(self, node_id: Any, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        """B4-3, 6: one timeout serves joins (minutes) and all else, so a dead connection goes unnoticed as long."""
        within_s = self.silence_s(type(request))
        patience = SilenceLimit(within_s, lambda: self._received(node_id, group), lambda: self._is_silent(node_id))
        try:
            async with patience.limit:
                answer = await super().send(node_id, request, group=group)
        except TimeoutError as error:
            self._silent.add(node_id)
            conn = self._conns.pop((node_id, group), None)
            if conn is not None:
                conn.close(reason=CloseReason.CONNECTION_TIMEOUT)
            raise kafka.RequestTimedOutError(f"{type(request).__name__}: no answer within {within_s:g} s") from error
        finally:
            patience.end()
        self._answered(node_id)
        return answer

    def silence_s(self, kind: type) -> float:
        """After how long without a byte the answer to such a request is given up."""
        return float(min(self._answer_within_s.get(kind, ANSWER_S), self._request_timeout_ms / 1000))

    def _received(self, node_id: Any, group: Any) -> tuple[float, int] | None:
        conn: Connection | None = self._conns.get((node_id, group))
        return conn.received if conn is not None else None

    @property
    def coming(self) -> object:
        """How much there is of answers that are not complete, over all connections."""
        return [conn.received[1] for conn in self._conns.values()]

    def _answered(self, node_id: Any) -> None:
        self._silent.discard(node_id)
        self.answered_at_s = self._loop.time()

    def _is_silent(self, node_id: Any) -> None:
        """It owes an answer for a while. A join takes its time, but nothing else does: others may know more."""
        self._silent.add(node_id)
        self.force_metadata_update()

    def _leave_the_dead(self) -> None:
        """The cluster has put others in the place of a node that is silent and no longer among its brokers: what it
        owes, as leader or as coordinator, it will not give."""
        there = {broker.nodeId for broker in self.cluster.brokers()}
        for node_id, group in tuple(self._conns):
            if node_id in self._silent and node_id not in there:
                conn = self._conns.pop((node_id, group))
                conn.close(reason=CloseReason.CONNECTION_TIMEOUT)
        for (node_id, _), attempt in self._attempts.items():
            if node_id in self._silent and node_id not in there:
                attempt.give_up()
        self._silent &= there

    # ------------------------------------------------------------------ what any node can answer

    def _in_turn(self) -> list[Any]:
        """All nodes, in any order, but the silent ones last."""
        nodes: list[Any] = [broker.nodeId for broker in self.cluster.brokers()]
        if BOOTSTRAP in self._conns:
            nodes.append("bootstrap")
        random.shuffle(nodes)
        return sorted(nodes, key=lambda node: node in self._silent)

    def get_random_node(self) -> Any:
        """None while no node is known."""
        return next(iter(self._in_turn()), None)

    async def ask_any(self, request: Any) -> Any:
        """The answer of the first node that gives one. Each has a moment, and the last of them all the time there is.

        Raises:
            KafkaError: none of them answered.
        """
        nodes = self._in_turn()
        trouble: BaseException = kafka.NodeNotReadyError("no broker is known")
        for node_id in nodes:
            try:
                async with asyncio.timeout(LOOK_S if node_id != nodes[-1] else ANSWER_S):
                    conn = await self._get_conn(node_id, group=self._way_to(node_id))
                    if conn is None:
                        raise kafka.NodeNotReadyError(f"node {node_id}")
                    answer = await conn.send(request)
            except (kafka.KafkaError, OSError, TimeoutError) as error:
                # Its connection is kept: it may be slow, and others may wait for more urgent answers over it.
                logger.debug("no answer to %s from node %s: %r", type(request).__name__, node_id, error)
                self._silent.add(node_id)
                trouble = (
                    error if isinstance(error, kafka.KafkaError) else kafka.RequestTimedOutError(f"node {node_id}")
                )
            else:
                self._answered(node_id)
                return answer
        raise trouble

    def _way_to(self, node_id: Any) -> Any:
        """A broker answers one request of a connection after the other, and a write waits there for all replicas: what
        would tell that one of them is gone must not wait behind it."""
        conn: Connection | None = self._conns.get((node_id, ConnectionGroup.DEFAULT))
        return ASKING if conn is not None and conn.writes else ConnectionGroup.DEFAULT

    async def _metadata_update(self, cluster_metadata: Any, topics: Any) -> bool:
        """B4-15: aiokafka lets brokers create every topic that it asks about, so a typo becomes a topic."""
        request = EpochMetadataRequest(list(topics) if topics else None, self._allow_auto_create_topics)
        try:
            metadata = await self.ask_any(request)
        except kafka.KafkaError:
            cluster_metadata.failed_update(None)
            return False
        if not metadata.brokers:
            return False
        if isinstance(metadata, MetadataResponse_v7):
            self._note_epochs(metadata)
            metadata = metadata.without_epochs()
        cluster_metadata.update_metadata(metadata)
        self._drop_bootstrap()
        self._leave_the_dead()
        return True

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

    async def coordinator_lookup(self, coordinator_type: Any, coordinator_key: str) -> int:
        """aiokafka asks one node at random, for a request timeout.

        Raises:
            KafkaError: none answered, or there is none.
        """
        answer = await self.ask_any(FindCoordinatorRequest(coordinator_key, coordinator_type))
        error = kafka.for_code(answer.error_code)
        if error is not kafka.NoError:
            raise error()
        return int(answer.coordinator_id)
