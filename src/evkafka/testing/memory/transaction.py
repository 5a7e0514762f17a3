"""Records that a test writes itself: encoded as by a producer, optionally in a transaction."""

from __future__ import annotations

from typing import Any, Protocol

from evkafka.producer import Headers, Key, header_list, key_bytes
from evkafka.serde.encoding import encode
from evkafka.testing.memory.partition_log import MemoryRecord
from evkafka.testing.memory.state import ClusterState

Pairs = tuple[tuple[str, bytes | None], ...]


def encoded(
    event: Any, event_type: str | None, key: Key | None, headers: Headers | None
) -> tuple[bytes | None, bytes | None, Pairs]:
    """Value, key and headers as bytes; without an event type no header is added."""
    return None if event is None else encode(event), key_bytes(key), tuple(header_list(headers, event_type))


class Write(Protocol):
    def __call__(
        self,
        topic: str,
        event: Any,
        event_type: str | None,
        key: Key | None,
        partition: int | None,
        timestamp_ms: int | None,
        headers: Headers | None,
        transaction: int | None,
    ) -> MemoryRecord: ...


class Transaction:
    """Records that `read_committed` readers see together, or never."""

    def __init__(self, cluster: ClusterState, number: int, write: Write) -> None:
        self._cluster = cluster
        self._number = number
        self._write = write
        self._ended = False

    async def send(
        self,
        topic: str,
        event: Any,
        event_type: str | None = None,
        key: Key | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
    ) -> MemoryRecord:
        """Like `MemoryCluster.send`, in this transaction.

        Raises:
            RuntimeError: the transaction has ended.
        """
        if self._ended:
            raise RuntimeError("this transaction has ended: begin another one with `kafka.transaction()`")
        return self._write(topic, event, event_type, key, partition, timestamp_ms, headers, self._number)

    def commit(self) -> None:
        self._end(commit=True)

    def abort(self) -> None:
        self._end(commit=False)

    def _end(self, *, commit: bool) -> None:
        if not self._ended:
            self._ended = True
            self._cluster.topics.end_transaction(self._number, commit=commit)
            self._cluster.wake()
