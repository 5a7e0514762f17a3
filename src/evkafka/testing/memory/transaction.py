"""A transaction of a test's own, as of a producer outside of the app."""

from __future__ import annotations

from typing import Any

from evkafka.producer import Headers, Key
from evkafka.testing.memory.partition_log import MemoryRecord
from evkafka.testing.memory.state import ClusterState


class Transaction:
    """Records that `read_committed` readers see together, or never."""

    def __init__(self, cluster: ClusterState, number: int) -> None:
        self._cluster = cluster
        self._number = number
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
        return self._cluster.write(topic, event, event_type, key, partition, timestamp_ms, headers, self._number)

    def commit(self) -> None:
        self._end(commit=True)

    def abort(self) -> None:
        self._end(commit=False)

    def _end(self, *, commit: bool) -> None:
        if not self._ended:
            self._ended = True
            self._cluster.topics.end_transaction(self._number, commit=commit)
            self._cluster.wake_waiters()
