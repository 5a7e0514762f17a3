"""Transactions of one member: what it sends, and the offsets of its group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evkafka.config.settings import TransactionSettings
from evkafka.config.time_limits import seconds_text
from evkafka.exceptions import (
    BrokerUnavailable,
    CommitRefused,
    CommitUnknown,
    DeliveryError,
    EVKafkaError,
    RecordTooLarge,
)
from evkafka.records import TopicPartition
from evkafka.runtime.clock import sleep, wait_for
from evkafka.runtime.delivery_error import delivery_error
from evkafka.runtime.ports import MetadataTooLarge, OutgoingRecord, OutputRefused
from evkafka.testing.memory.offsets import CommittingMember, OffsetCommits, OffsetRequest
from evkafka.testing.memory.state import ClusterState
from evkafka.testing.memory.topics import TooLarge, record_size
from evkafka.testing.memory.transactions import OpenTransaction


class TransactionalMember:
    """Commits the transactions of one member, in the steps of the real client.

    | step | the real request | if the member dies after it |
    | --- | --- | --- |
    | the records are written | AddPartitionsToTxn, Produce | the transaction is open until its timeout |
    | the group accepts the offsets | AddOffsetsToTxn, TxnOffsetCommit | the same, and nobody is told these offsets |
    | the end | EndTxn | it is committed |

    As with the real client, a transaction that fails is aborted as soon as the brokers can be reached, also by a member
    that has left or was removed; only one that has crashed leaves its transaction open.
    """

    def __init__(
        self,
        cluster: ClusterState,
        member: CommittingMember,
        commits: OffsetCommits,
        settings: TransactionSettings,
    ) -> None:
        self._cluster = cluster
        self._member = member
        self._commits = commits
        self._timeout_s = settings.timeout_s
        assert settings.transactional_id is not None, "the service gives each consumer one"
        self._producer = settings.transactional_id
        self._epoch: int | None = None  # None: the next transaction begins with a new producer
        self._last: OpenTransaction | None = None

    def begin_new_producer_epoch(self) -> None:
        """Begin a new epoch of the transactional id, which ends the open transaction of an earlier member with it."""
        self._epoch = self._cluster.transactions.init_producer_and_return_epoch(self._producer)

    def abort_open_transaction(self) -> None:
        """Abort the last transaction if it is still open."""
        if self._last is not None:
            self._cluster.transactions.abort(self._last)

    async def commit(
        self,
        outputs: Sequence[OutgoingRecord],
        offsets: Mapping[TopicPartition, int],
        metadata: Mapping[TopicPartition, str],
        *,
        timeout_s: float,
    ) -> None:
        """See `RecordSource.commit_transaction`."""
        answer = self._write_and_commit_transaction(outputs, self._commits.build_request(offsets, metadata))
        try:
            if self._cluster.faults.commit_s[1] == 0.0:
                await answer
            else:
                await wait_for(self._cluster.clock, answer, timeout_s)
        except BaseException as error:
            self._epoch = None
            if self._last is not None:
                self._cluster.run_in_background(self._abort_after_outage(self._last))
            if isinstance(error, TimeoutError):
                raise CommitUnknown(f"no answer to a transaction within {seconds_text(timeout_s)}") from None
            raise

    async def _abort_after_outage(self, transaction: OpenTransaction) -> None:
        await self._cluster.wait_for_outage_end()
        await self._cluster.wait_random_loop_turns()
        if not self._member.crashed:
            self._cluster.transactions.abort(transaction)

    async def _write_and_commit_transaction(self, outputs: Sequence[OutgoingRecord], request: OffsetRequest) -> None:
        cluster = self._cluster
        fault, latency_s = cluster.faults.take_commit_fault(), cluster.faults.draw_latency_s(cluster.faults.commit_s)
        await cluster.check_reachable()
        if self._epoch is None:
            self.begin_new_producer_epoch()
        assert self._epoch is not None
        transaction = self._last = cluster.transactions.begin(self._producer, self._epoch, self._timeout_s)
        self._write_outputs(transaction, outputs)
        await self._wait_half_latency(latency_s)
        if fault == "unavailable":
            raise BrokerUnavailable("made unavailable by the test")
        cluster.transactions.check_open(transaction)
        self._add_offsets(transaction, request, refused=fault == "refused")
        await self._wait_half_latency(latency_s)
        if fault == "unknown, lost":
            raise CommitUnknown("no answer, by the test")
        cluster.transactions.check_open(transaction)
        cluster.transactions.end(transaction, commit=True)
        cluster.sent += transaction.written
        await cluster.wait_random_loop_turns()
        if fault == "unknown, written":
            raise CommitUnknown("no answer, by the test")

    async def _wait_half_latency(self, latency_s: float) -> None:
        await self._cluster.wait_random_loop_turns()
        if latency_s:
            await sleep(self._cluster.clock, latency_s / 2)
        if self._cluster.is_in_outage:
            raise BrokerUnavailable("the in-memory Kafka is unavailable")

    def _write_outputs(self, transaction: OpenTransaction, outputs: Sequence[OutgoingRecord]) -> None:
        for output in outputs:
            try:
                self._append_output_record(transaction, output)
            except (EVKafkaError, ValueError) as error:
                self._cluster.transactions.end(transaction, commit=False)
                kind, largest_bytes = DeliveryError, None
                if isinstance(error, TooLarge):
                    kind, largest_bytes = RecordTooLarge, error.largest_bytes
                why = delivery_error(
                    output.topic, output.event_type, str(error), may_have_been_written=False, kind=kind
                )
                size = record_size(output.key, output.value, output.headers)
                raise OutputRefused(output, why, size, largest_bytes=largest_bytes) from error

    def _append_output_record(self, transaction: OpenTransaction, output: OutgoingRecord) -> None:
        topics, clock = self._cluster.topics, self._cluster.clock
        record = self._cluster.append_record(
            topics.choose_partition(output.topic, output.key, output.partition),
            key=output.key,
            value=output.value,
            headers=tuple(output.headers),
            timestamp_ms=clock.timestamp_ms() if output.timestamp_ms is None else output.timestamp_ms,
            transaction=transaction.number,
        )
        transaction.written.append(record)

    def _add_offsets(self, transaction: OpenTransaction, request: OffsetRequest, *, refused: bool) -> None:
        """The group accepts the offsets, and takes them over when the transaction is committed."""
        try:
            if refused:
                raise CommitRefused("refused by the test")
            group = self._commits.require_accepting_group(request)
        except (CommitRefused, MetadataTooLarge):
            self._cluster.transactions.end(transaction, commit=False)
            raise
        for tp in request.offsets:
            group.pending.setdefault(tp, set()).add(transaction.number)

        def ended(commit: bool) -> None:
            for tp in request.offsets:
                group.pending[tp].discard(transaction.number)
            if commit:
                group.store_commit(request.offsets, request.metadata, self._member.epochs)

        transaction.at_end.append(ended)
