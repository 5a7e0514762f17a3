"""The transaction coordinator of the in-memory Kafka: producers by transactional id, and their open transactions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from evkafka.exceptions import CommitRefused
from evkafka.runtime.ports import TimerHandle
from evkafka.testing.memory.clock import VirtualClock
from evkafka.testing.memory.partition_log import MemoryRecord
from evkafka.testing.memory.topics import Topics
from evkafka.testing.memory.trace import Trace


@dataclass(slots=True, eq=False)
class OpenTransaction:
    """A transaction of an app, until it is committed or aborted.

    Attributes:
        written: its records.
        at_end: called at its end, with whether it was committed.
    """

    number: int
    producer: str
    epoch: int
    written: list[MemoryRecord] = field(default_factory=list)
    at_end: list[Callable[[bool], object]] = field(default_factory=list)
    timer: TimerHandle | None = None


class Transactions:
    """All transactions of apps. As with the real coordinator, a new producer with a transactional id fences the one
    before it, and aborts its open transaction; and a transaction that is open for too long is aborted."""

    def __init__(self, clock: VirtualClock, topics: Topics, trace: Trace, wake: Callable[[], None]) -> None:
        self._clock = clock
        self._topics = topics
        self._trace = trace
        self._wake = wake
        self._epochs: dict[str, int] = {}
        self._open: dict[str, OpenTransaction] = {}

    def init_producer_and_return_epoch(self, producer: str) -> int:
        """InitProducerId; returns the epoch of the new producer."""
        self._epochs[producer] = self._epochs.get(producer, -1) + 1
        if producer in self._open:
            self.end(self._open[producer], commit=False)
        return self._epochs[producer]

    def begin(self, producer: str, epoch: int, timeout_s: float) -> OpenTransaction:
        """Begin a transaction.

        Raises:
            CommitRefused: the producer is fenced.
        """
        self._check_epoch(producer, epoch)
        transaction = OpenTransaction(self._topics.begin_transaction(), producer, epoch)
        self._open[producer] = transaction
        transaction.timer = self._clock.call_later(timeout_s, lambda: self._on_timeout(transaction))
        return transaction

    def check_open(self, transaction: OpenTransaction) -> None:
        """Check that the transaction is still open.

        Raises:
            CommitRefused: it was aborted, by a new producer or by its timeout.
        """
        self._check_epoch(transaction.producer, transaction.epoch)
        if self._open.get(transaction.producer) is not transaction:
            raise CommitRefused("the transaction was open for too long, and was aborted")

    def end(self, transaction: OpenTransaction, *, commit: bool) -> None:
        """Commit or abort an open transaction."""
        del self._open[transaction.producer]
        if transaction.timer is not None:
            transaction.timer.cancel()
        self._trace.note("transaction %s is %s", transaction.number, "committed" if commit else "aborted")
        self._topics.end_transaction(transaction.number, commit=commit)
        for call in transaction.at_end:
            call(commit)
        self._wake()

    def abort(self, transaction: OpenTransaction) -> None:
        """Abort a transaction, unless it has ended by now."""
        if self._open.get(transaction.producer) is transaction:
            self.end(transaction, commit=False)

    def _check_epoch(self, producer: str, epoch: int) -> None:
        if self._epochs.get(producer) != epoch:
            raise CommitRefused(f"another producer with the transactional id {producer!r} has fenced this one")

    def _on_timeout(self, transaction: OpenTransaction) -> None:
        if self._open.get(transaction.producer) is transaction:
            self._epochs[transaction.producer] += 1
            self.abort(transaction)
