"""Writing by hand: what a test sends is encoded as a producer would, and may stand in a transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from evkafka.producer import Headers, Key, header_list, key_bytes
from evkafka.serde.encoding import encode
from evkafka.testing.memory.partition_log import MemoryRecord

if TYPE_CHECKING:
    from evkafka.testing.memory.cluster import MemoryCluster

Pairs = tuple[tuple[str, bytes | None], ...]


def encoded(
    event: Any, event_type: str | None, key: Key | None, headers: Headers | None
) -> tuple[bytes | None, bytes | None, Pairs]:
    """Value, key and headers as they stand in the log; without an event type the headers stay as they were given."""
    value = None if event is None else encode(event)
    if event_type is not None:
        return value, key_bytes(key), tuple(header_list(headers, event_type))
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    return value, key_bytes(key), tuple((n, text.encode() if isinstance(text, str) else text) for n, text in pairs)


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
    """Records that readers of what is committed see together, or never."""

    def __init__(self, kafka: MemoryCluster, number: int, write: Write) -> None:
        self._kafka = kafka
        self._number = number
        self._write = write
        self._over = False

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
        """As `MemoryCluster.send`, in this transaction.

        Raises:
            RuntimeError: it is over.
        """
        if self._over:
            raise RuntimeError("this transaction is over: begin another one with `kafka.transaction()`")
        return self._write(topic, event, event_type, key, partition, timestamp_ms, headers, self._number)

    def commit(self) -> None:
        self._end(commit=True)

    def abort(self) -> None:
        self._end(commit=False)

    def _end(self, *, commit: bool) -> None:
        if not self._over:
            self._over = True
            self._kafka.topics.end_transaction(self._number, commit=commit)
            self._kafka.wake()
