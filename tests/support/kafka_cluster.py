"""A real Kafka of three brokers on this machine, each of which can be killed, frozen and started again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int8, Int16, Int32, Int64, Schema, TaggedFields

from evkafka.broker import KafkaBroker
from evkafka.broker.reserved_port import ReservedPort
from tests.support.processes import freeze_child
from tests.support.waiting import eventually

T = TypeVar("T")
TEXT = CompactString("utf-8")
START_S = 120.0


BROKER_SESSION_S = 9.0
"""After so long without a heartbeat a broker is no longer one of the cluster."""


class KafkaCluster:
    """Three nodes (KRaft), each a broker and a controller; topics have three replicas, two of which must be in sync.

    Nodes are named by their ids: 1, 2, 3.

    Args:
        properties: server properties of all nodes; they override ours.
    """

    def __init__(self, *, properties: Mapping[str, Any] | None = None) -> None:
        self._ids = (1, 2, 3)
        self._properties = dict(properties or {})
        self._clients: dict[int, ReservedPort] = {}
        self._controllers: dict[int, ReservedPort] = {}
        self._frozen: set[int] = set()
        self.brokers: dict[int, KafkaBroker] = {}

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(self.server(node) for node in self._ids)

    def server(self, node: int) -> str:
        return f"127.0.0.1:{self._clients[node].number}"

    # ------------------------------------------------------------------ life

    def __enter__(self) -> Self:
        self._clients = {node: ReservedPort(None) for node in self._ids}
        self._controllers = {node: ReservedPort(None) for node in self._ids}
        self.brokers = {node: self._broker(node) for node in self._ids}
        try:
            self._at_once(self.brokers.values(), KafkaBroker.start)  # a quorum: no node becomes ready alone
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        for node in tuple(self._frozen):
            self.thaw(node)
        with ExitStack() as stack:
            for port in (*self._clients.values(), *self._controllers.values()):
                stack.callback(port.release)
            self._at_once(self.brokers.values(), KafkaBroker.stop)

    @staticmethod
    def _at_once(brokers: Any, work: Callable[[KafkaBroker], Any]) -> None:
        with ThreadPoolExecutor() as threads:
            list(threads.map(work, brokers))

    def _broker(self, node: int) -> KafkaBroker:
        voters = ",".join(f"{one}@127.0.0.1:{port.number}" for one, port in self._controllers.items())
        properties = {
            "node.id": node,
            "controller.quorum.voters": voters,
            "listeners": f"CLIENT://{self.server(node)},CONTROLLER://127.0.0.1:{self._controllers[node].number}",
            "default.replication.factor": 3,
            "min.insync.replicas": 2,
            "offsets.topic.replication.factor": 3,
            "transaction.state.log.replication.factor": 3,
            "transaction.state.log.min.isr": 2,
            # As in production: a frozen broker counts as dead after nine seconds.
            "broker.heartbeat.interval.ms": 2000,
            "broker.session.timeout.ms": int(BROKER_SESSION_S * 1000),
        }
        return KafkaBroker(
            self._clients[node].number,
            properties=properties | self._properties,
            jvm_options=("-Xmx350m",),
            start_timeout_s=START_S,
        )

    # ------------------------------------------------------------------ nodes

    def kill(self, node: int) -> None:
        self.brokers[node].kill()

    async def start(self, *nodes: int) -> None:
        """Start nodes in parallel, and return when each accepts clients."""
        await asyncio.gather(*(asyncio.to_thread(self.brokers[node].start) for node in nodes))

    async def restart(self, node: int) -> None:
        await asyncio.to_thread(self.brokers[node].restart, 30.0)

    def freeze(self, node: int) -> None:
        """Stop its process (SIGSTOP): connections stay open, and nothing is answered."""
        pid = self.brokers[node].pid
        if pid is not None:
            freeze_child(pid)
        self._frozen.add(node)

    def thaw(self, node: int) -> None:
        self._frozen.discard(node)
        pid = self.brokers[node].pid
        if pid is not None:
            os.kill(pid, signal.SIGCONT)

    # ------------------------------------------------------------------ administration

    async def _asked(self, question: Callable[[Any], Awaitable[T]], *, what: str, timeout_s: float = 60.0) -> T:
        """The answer of the running nodes; asked again until it is true."""

        async def ask() -> T | None:
            up = [node for node in self._ids if self.brokers[node].running and node not in self._frozen]
            admin = AIOKafkaAdminClient(bootstrap_servers=[self.server(one) for one in up], request_timeout_ms=5_000)
            try:
                await admin.start()
                return await question(admin)
            except (KafkaError, OSError, TimeoutError):
                return None
            finally:
                await admin.close()

        return await eventually(ask, timeout_s, what=what)  # type: ignore[return-value, arg-type]

    async def _described(self, topic: str, is_so: Callable[[list[Any]], bool], what: str) -> list[Any]:
        """The topic's partitions, once they satisfy the condition."""

        async def describe(admin: Any) -> list[Any] | None:
            [described] = await admin.describe_topics([topic])
            return described["partitions"] if is_so(described["partitions"]) else None

        return await self._asked(describe, what=f"{what} of {topic}")  # type: ignore[return-value]

    async def create(self, topic: str, replicas: Mapping[int, Sequence[int]], **config: object) -> None:
        """Create a topic with the given replicas (nodes) per partition; the first replica is the leader."""
        configs = {key.replace("_", "."): str(value) for key, value in config.items()}
        new = NewTopic(topic, -1, -1, replica_assignments=dict(replicas), topic_configs=configs)
        await self._asked(lambda admin: admin.create_topics([new]), what=f"making {topic}")
        await self._described(topic, lambda rows: len(rows) == len(replicas), "the partitions")
        await self.in_sync(topic)

    async def topics(self) -> list[str]:
        return await self._asked(lambda admin: admin.list_topics(), what="the topics")

    async def replicas(self, topic: str) -> set[int]:
        """How many replicas its partitions have."""
        return {len(row["replicas"]) for row in await self._described(topic, bool, "the partitions")}

    async def leaders(self, topic: str) -> dict[int, int]:
        """Each partition's leader."""
        rows = await self._described(topic, lambda rows: all(row["leader"] > 0 for row in rows), "the leaders")
        return {row["partition"]: row["leader"] for row in rows}

    async def led_by(self, topic: str, node: int, partition: int = 0) -> None:
        """Wait until this node leads the partition."""

        def leads(rows: list[Any]) -> bool:
            return any(row["partition"] == partition and row["leader"] == node for row in rows)

        await self._described(topic, leads, f"node {node} as the leader")

    async def in_sync(self, topic: str, replicas: Mapping[int, Sequence[int]] | None = None) -> None:
        """Wait until every partition of the topic has all of its replicas, or exactly these, in sync."""

        def all_are(rows: list[Any]) -> bool:
            wanted = {row["partition"]: row["replicas"] for row in rows} | dict(replicas or {})
            return all(
                sorted(row["isr"]) == sorted(row["replicas"]) == sorted(wanted[row["partition"]]) for row in rows
            )

        await self._described(topic, all_are, "all replicas")

    async def coordinator(self, group: str) -> int:
        return await self._asked(lambda admin: admin.find_coordinator(group), what=f"the coordinator of {group}")

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """The group's committed offsets by partition; waits until there are some."""

        async def ask(admin: Any) -> dict[int, int]:
            found = await admin.list_consumer_group_offsets(group)
            return {at.partition: meta.offset for at, meta in found.items() if at.topic == topic}

        return await self._asked(ask, what=f"the offsets of {group}")

    async def controller(self) -> int:
        """The active controller."""
        request = DescribeQuorum([("__cluster_metadata", [(0, {})], {})], {})

        async def ask(admin: Any) -> int:
            answer = await admin._client.send(admin._client.get_random_node(), request)
            [(_, [partition], _)] = answer.topics
            return int(partition[2])

        return await self._asked(ask, what="the controller")

    async def reassign(self, topic: str, replicas: Mapping[int, Sequence[int]]) -> None:
        """Move partitions to other nodes, and wait until it is done."""
        rows = [(number, list(nodes), {}) for number, nodes in replicas.items()]
        request = Reassign(30_000, [(topic, rows, {})], {})
        await self._asked(
            lambda admin: admin._client.send(admin._client.get_random_node(), request), what=f"reassigning {topic}"
        )
        await self.in_sync(topic, replicas)

    async def elect_preferred(self, topic: str, partitions: Sequence[int]) -> None:
        """Make the first replica the leader."""
        request = ElectLeaders(0, [(topic, list(partitions), {})], 30_000, {})
        await self._asked(
            lambda admin: admin._client.send(admin._client.get_random_node(), request), what=f"electing for {topic}"
        )


# ---------------------------------------------------------------------------- requests that aiokafka does not have


class _Plain:
    def __init__(self, *fields: Any) -> None:
        self._fields = fields

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(*self._fields)


class DescribeQuorumResponse_v0(Response):  # type: ignore[misc]  # noqa: N801
    API_KEY, API_VERSION = 55, 0
    _STATE = CompactArray(("replica", Int32), ("end", Int64), ("tags", TaggedFields))
    SCHEMA = Schema(
        ("error_code", Int16),
        (
            "topics",
            CompactArray(
                ("topic", TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("leader", Int32),
                        ("epoch", Int32),
                        ("high_watermark", Int64),
                        ("voters", _STATE),
                        ("observers", _STATE),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeQuorumRequest_v0(RequestStruct):  # type: ignore[misc]  # noqa: N801
    API_KEY, API_VERSION, FLEXIBLE_VERSION, RESPONSE_TYPE = 55, 0, True, DescribeQuorumResponse_v0
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic", TEXT),
                ("partitions", CompactArray(("partition", Int32), ("tags", TaggedFields))),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeQuorum(Request[DescribeQuorumRequest_v0]):  # type: ignore[misc]
    __init__, build = _Plain.__init__, _Plain.build
    API_KEY = 55


class ReassignResponse_v0(Response):  # type: ignore[misc]  # noqa: N801
    API_KEY, API_VERSION = 45, 0
    SCHEMA_TOPICS = (
        "topics",
        CompactArray(
            ("topic", TEXT),
            (
                "partitions",
                CompactArray(
                    ("partition", Int32), ("error_code", Int16), ("error_message", TEXT), ("tags", TaggedFields)
                ),
            ),
            ("tags", TaggedFields),
        ),
    )
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", TEXT),
        SCHEMA_TOPICS,
        ("tags", TaggedFields),
    )


class ReassignRequest_v0(RequestStruct):  # type: ignore[misc]  # noqa: N801
    API_KEY, API_VERSION, FLEXIBLE_VERSION, RESPONSE_TYPE = 45, 0, True, ReassignResponse_v0
    SCHEMA = Schema(
        ("timeout_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", TEXT),
                (
                    "partitions",
                    CompactArray(("partition", Int32), ("replicas", CompactArray(Int32)), ("tags", TaggedFields)),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class Reassign(Request[ReassignRequest_v0]):  # type: ignore[misc]
    __init__, build = _Plain.__init__, _Plain.build
    API_KEY = 45


class ElectLeadersResponse_v2(Response):  # type: ignore[misc]  # noqa: N801
    API_KEY, API_VERSION = 43, 2
    SCHEMA = Schema(
        ("throttle_time_ms", Int32), ("error_code", Int16), ReassignResponse_v0.SCHEMA_TOPICS, ("tags", TaggedFields)
    )


class ElectLeadersRequest_v2(RequestStruct):  # type: ignore[misc]  # noqa: N801
    API_KEY, API_VERSION, FLEXIBLE_VERSION, RESPONSE_TYPE = 43, 2, True, ElectLeadersResponse_v2
    SCHEMA = Schema(
        ("election_type", Int8),
        (
            "topics",
            CompactArray(("topic", TEXT), ("partitions", CompactArray(Int32)), ("tags", TaggedFields)),
        ),
        ("timeout_ms", Int32),
        ("tags", TaggedFields),
    )


class ElectLeaders(Request[ElectLeadersRequest_v2]):  # type: ignore[misc]
    __init__, build = _Plain.__init__, _Plain.build
    API_KEY = 43
