"""Writes records and commits offsets in transactions, one at a time, under one transactional id.

aiokafka's own transactions are not used: after an error it forgets the partitions of a transaction and does not abort
it, and it has no TxnOffsetCommit that names the member (aiokafka-defects.md#open-transactions). A transaction is a row
of six kinds of requests. Here they go over connections of our own; `transaction_state.py` decides what each answer
means and what has to come before the next transaction; sequence numbers are counted where answers are read.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

from aiokafka import errors as kafka
from aiokafka.protocol.transaction import AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest

from evkafka.config.settings import ConnectionSettings
from evkafka.config.time_limits import seconds_text
from evkafka.exceptions import BrokerError, BrokerRefused, BrokerUnavailable, CommitUnknown, RecordTooLarge
from evkafka.kafka.client.log_filters import client_log_filters
from evkafka.kafka.client.tasks import start_named_task
from evkafka.kafka.client.transaction_protocol import InitTransactionsRequest, MemberTxnOffsetCommitRequest, ProducerId
from evkafka.kafka.errors import code_name, describe_cause, translate_error
from evkafka.kafka.options import to_ms
from evkafka.kafka.producer.output_queue import OutputQueue
from evkafka.kafka.producer.output_writer import OutputWriter
from evkafka.kafka.producer.topic_limit import look_up_max_message_bytes
from evkafka.kafka.producer.transaction_connection import (
    TransactionConnection,
    add_partitions_error_codes,
    offset_commit_error_codes,
    retry_pauses_s,
    top_level_error_code,
)
from evkafka.kafka.producer.transaction_errors import ProducerFenced, output_error, transaction_error
from evkafka.kafka.producer.transaction_state import (
    AnswerKind,
    Cleanup,
    Request,
    TransactionState,
    answer_kind,
    most_severe_code,
)
from evkafka.records import TopicPartition
from evkafka.runtime.ports import OutgoingRecord, OutputRefused

logger = logging.getLogger("evkafka.runtime.kafka")

MISSING_TOPIC = 0.5
"""The part of a transaction's time after which a topic that the brokers do not know counts as missing."""

FENCES, FENCES_WITHIN_S = 5, 60.0
"""So many fences in this time mean that two processes have the same transactional id."""

FAILURES = (TimeoutError, OSError, kafka.KafkaError, BrokerError, NotImplementedError)
"""What a transaction may fail with. NotImplementedError is aiokafka's for a request that the broker does not have."""


class TransactionOffsets(Protocol):
    """The offsets of one transaction, and the member of a group that commits them."""

    @property
    def group_id(self) -> str: ...

    def create_commit_request(self, transactional_id: str, producer: ProducerId) -> MemberTxnOffsetCommitRequest:
        """The request that adds them to the transaction, as the member that holds their partitions.

        Raises:
            CommitRefused: the partitions have been revoked.
        """

    def request_new_member_epoch_if_old(self, code: int) -> bool:
        """Whether the answer says that the member's epoch is old, and the member is told the new one in a moment."""

    def rejoin_group_and_return_error(self, code: int) -> BrokerError:
        """The error for an answer that says that the group has rebalanced. The member joins again."""


class TransactionalProducer:
    """A producer with one transactional id. Start once, stop once.

    Args:
        timeout_s: how long a transaction may be open until the brokers abort it.
    """

    def __init__(self, connection: ConnectionSettings, transactional_id: str, *, timeout_s: float) -> None:
        self._id = transactional_id
        self._settings = connection
        self._timeout_s = timeout_s
        self._state = TransactionState()
        self._connection = TransactionConnection(connection, transactional_id, self._state, timeout_s=timeout_s)
        self._writer = OutputWriter(self._connection, transactional_id, self._state)
        self._doing = f"writing as transactional id {transactional_id!r}"
        self._turn = asyncio.Lock()
        self._cleanup: asyncio.Task[None] | None = None
        self._fence: ProducerFenced | None = None  # found between two transactions
        self._fenced_at_s: deque[float] = deque(maxlen=FENCES)
        self._log_filters = ExitStack()

    # ------------------------------------------------------------------ life

    async def start(self, *, first: tuple[str, int], timeout_s: float, limit: str | None = None) -> None:
        """Connect, and get a producer id. Aborts an open transaction of the same transactional id.

        Args:
            first: host and port of the server to ask first.
            limit: names the time limit in the error; default: `timeout_s`.

        Raises:
            BrokerUnavailable, BrokerRefused, BrokerError: it failed; stop it in any case.
        """
        self._log_filters.enter_context(client_log_filters.installed())
        try:
            async with asyncio.timeout(timeout_s):
                await self._connection.client.connect_until_metadata_known(
                    first=first, retry_backoff_s=self._connection.backoff_s
                )
                await self._abort_or_initialize_if_required()
        except TimeoutError as error:
            raise BrokerUnavailable(
                f"{self._doing}: no producer id within {limit or seconds_text(timeout_s)}: {self._last_error}"
            ) from error
        except (kafka.KafkaError, OSError) as error:
            raise translate_error(error, self._doing) from error

    async def stop(self, *, timeout_s: float) -> None:
        """Abort what is open, and close. Never raises, never hangs."""
        client = self._connection.client
        deadline_s = client.now_s() + timeout_s
        with self._log_filters:
            try:
                async with asyncio.timeout(timeout_s / 2), self._turn:
                    await self._clean_up_transaction_unless_fenced()
            except FAILURES as error:
                logger.debug("%s: its transaction stays open until it times out: %r", self._doing, error)
            if self._cleanup is not None:
                self._cleanup.cancel()
            await client.close_within(max(deadline_s - client.now_s(), 0.0))

    @property
    def metadata_refresh_task(self) -> asyncio.Task[None] | None:
        """The task that keeps the metadata up to date; None before the bootstrap and after the close."""
        return self._connection.client.metadata_refresh_task

    async def all_and_available_partitions(self, topic: str) -> tuple[Sequence[int], Sequence[int]]:
        """A topic's partitions in order: all of them, and those with a leader. The caller limits the time.

        Raises:
            KafkaError: there is no such topic, or it may not be described.
        """
        client = self._connection.client
        partitions = await client._wait_on_metadata(topic)
        return sorted(partitions), sorted(client.cluster.available_partitions_for_topic(topic))

    @property
    def _last_error(self) -> str:
        return self._connection.last_error or str(self._connection.client.last_error or "no answer in time")

    # ------------------------------------------------------------------ one transaction

    async def write_records_and_commit_offsets(
        self, outputs: Sequence[OutgoingRecord], offsets: TransactionOffsets | None = None, *, timeout_s: float
    ) -> None:
        """Write records, each of which has a partition, and commit offsets, in one transaction.

        After an error the transaction is aborted in the background, and the next one waits for that.

        Raises:
            MetadataTooLarge: the brokers do not take the metadata of an offset.
            OutputRefused: a record can never be written.
            ProducerFenced: another producer has the transactional id.
            CommitRefused: another member has the partitions, or a rebalance has begun.
            CommitUnknown: there was no answer to the commit: all of it may have been written.
            BrokerUnavailable, BrokerRefused, BrokerError: nothing of it can be read.
        """
        queues = _split_outputs_into_partition_queues(outputs)
        began, self._connection.last_error = False, ""
        try:
            async with asyncio.timeout(min(timeout_s, self._timeout_s)), self._turn:
                self._raise_if_fenced()
                await self._abort_or_initialize_if_required()
                began = True
                await self._transact(queues, offsets)
        except FAILURES as error:
            outcome = self._error_to_raise(error, may_be_committed=began and self._state.may_be_committed)
            if isinstance(outcome, OutputRefused) and isinstance(outcome.error, RecordTooLarge):
                outcome.largest_bytes = await look_up_max_message_bytes(self._connection.client, outcome.output.topic)
            if outcome is error:
                raise
            raise outcome from error
        finally:
            self._start_transaction_cleanup()

    def _error_to_raise(self, error: BaseException, *, may_be_committed: bool) -> BrokerError:
        """The error of a transaction that has failed with this one."""
        match error:
            case CommitUnknown():
                return error
            case _ if may_be_committed:  # whatever it is: an answer that cannot be read, a login that was refused
                why = self._last_error if isinstance(error, TimeoutError) else describe_cause(error)
                return CommitUnknown(f"{self._doing}: {why}; it may have been committed")
            case TimeoutError():
                return BrokerUnavailable(f"{self._doing}: {self._last_error}; nothing was committed")
            case ProducerFenced():
                return self._count_fence_and_choose_error(error)
            case _:
                return translate_error(error, self._doing)

    async def _transact(self, queues: Collection[OutputQueue], offsets: TransactionOffsets | None) -> None:
        if queues:
            await self._add_partitions(queues)
        if offsets is not None:
            await self._add_group(offsets.group_id)
        # Both are waited for, also if one fails: a request that is late could be carried out after the abort.
        work = [self._write_outputs(queues)] if queues else []
        work += [self._add_offsets(offsets)] if offsets is not None else []
        for error in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(error, asyncio.CancelledError):  # not of this task: that would have cancelled `gather`
                raise BrokerError(f"{self._doing}: a request was cancelled by code outside EVKafka")
            if error is not None:
                raise error
        if work:
            await self._commit()

    async def _add_partitions(self, queues: Collection[OutputQueue]) -> None:
        client, pauses = self._connection.client, retry_pauses_s()
        by_topic: defaultdict[str, list[int]] = defaultdict(list)
        for queue in queues:
            by_topic[queue.partition.topic].append(queue.partition.partition)
            client.add_topic(queue.partition.topic)
        missing_at_s = client.now_s() + self._timeout_s * MISSING_TOPIC

        def request() -> Any:
            return AddPartitionsToTxnRequest(self._id, *self._state.producer, list(by_topic.items()))

        while True:
            answer, meaning = await self._connection.ask_coordinator(Request.ADD, request, add_partitions_error_codes)
            if meaning is AnswerKind.DONE:
                self._state.on_opened()
                return
            if meaning is not AnswerKind.MISSING or client.now_s() >= missing_at_s:
                codes = {(topic, partition): code for topic, rows in answer.errors for partition, code in rows}
                code = most_severe_code(Request.ADD, codes.values())
                queue = next(one for one in queues if codes.get(one.partition) == code)
                raise output_error(meaning, code, self._doing, queue)
            await asyncio.sleep(next(pauses))

    async def _add_group(self, group_id: str) -> None:
        def request() -> Any:
            return AddOffsetsToTxnRequest(self._id, *self._state.producer, group_id)

        answer, meaning = await self._connection.ask_coordinator(Request.ADD, request, top_level_error_code)
        if meaning is not AnswerKind.DONE:
            raise transaction_error(
                meaning, answer.error_code, f"{self._doing}: adding group {group_id!r}", subject=group_id
            )
        self._state.on_opened()

    async def _write_outputs(self, queues: Collection[OutputQueue]) -> None:
        refusal = await self._writer.write(queues)
        if refusal is not None:
            queue, code = refusal
            raise output_error(answer_kind(Request.WRITE, code), code, self._doing, queue)

    async def _add_offsets(self, offsets: TransactionOffsets) -> None:
        group_id, pauses = offsets.group_id, retry_pauses_s()

        def request() -> Any:
            return offsets.create_commit_request(self._id, self._state.producer)

        while True:
            answer, meaning = await self._connection.ask_group_coordinator(
                group_id, Request.OFFSETS, request, offset_commit_error_codes
            )
            code = most_severe_code(Request.OFFSETS, offset_commit_error_codes(answer))
            match meaning:
                case AnswerKind.DONE:
                    return
                case AnswerKind.REBALANCED if offsets.request_new_member_epoch_if_old(code):
                    self._connection.last_error = code_name(code)
                    await asyncio.sleep(next(pauses))
                case AnswerKind.REBALANCED:
                    raise offsets.rejoin_group_and_return_error(code)
                case _:
                    doing = f"{self._doing}: committing offsets of group {group_id!r}"
                    raise transaction_error(meaning, code, doing, subject=group_id)

    async def _commit(self) -> None:
        """Commit. A request without an answer is sent again: the coordinator commits once, and says so again."""
        self._state.on_commit_requested()
        answer, meaning = await self._connection.ask_coordinator(
            Request.END, lambda: self._create_end_txn_request(commit=True), top_level_error_code
        )
        doing = f"{self._doing}: committing"
        if meaning is AnswerKind.DONE:
            self._state.on_ended()
        elif self._state.may_be_committed:
            raise CommitUnknown(f"{doing}: {code_name(answer.error_code)}; it may have been committed")
        else:
            raise transaction_error(meaning, answer.error_code, doing, subject=self._id)

    def _create_end_txn_request(self, *, commit: bool) -> Any:
        return EndTxnRequest(self._id, *self._state.producer, commit)

    # ------------------------------------------------------------------ between two transactions

    def _start_transaction_cleanup(self) -> None:
        if self._state.required_cleanup is not Cleanup.NOTHING and (self._cleanup is None or self._cleanup.done()):
            self._cleanup = start_named_task("abort", self._settings, self._try_to_clean_up_transaction())

    async def _try_to_clean_up_transaction(self) -> None:
        """End the last transaction at once: readers wait at its first record, and the next owner for its offsets."""
        try:
            async with asyncio.timeout(self._timeout_s), self._turn:
                await self._clean_up_transaction_unless_fenced()
        except ProducerFenced as fence:
            self._fence = fence
        except FAILURES as error:
            logger.debug("%s: the last transaction is not ended yet: %r", self._doing, error)

    async def _clean_up_transaction_unless_fenced(self) -> None:
        """Leave nothing open, unless another producer has the transactional id: it has ended the transaction."""
        if self._state.has_producer:
            await self._abort_or_initialize_if_required()

    async def _abort_or_initialize_if_required(self) -> None:
        """Leave nothing open. The caller limits the time."""
        while (cleanup := self._state.required_cleanup) is not Cleanup.NOTHING:
            if cleanup is Cleanup.ABORT:
                await self._abort()
            else:
                await self._initialize()

    async def _abort(self) -> None:
        answer, meaning = await self._connection.ask_coordinator(
            Request.END, lambda: self._create_end_txn_request(commit=False), top_level_error_code
        )
        match meaning:
            case AnswerKind.DONE:
                self._state.on_ended()
            case AnswerKind.FENCED:
                raise transaction_error(meaning, answer.error_code, f"{self._doing}: aborting", subject=self._id)
            case _:
                logger.debug("%s: aborting: %s", self._doing, code_name(answer.error_code))
                self._state.on_abort_outcome_unknown()

    async def _initialize(self) -> None:
        def request() -> Any:
            return InitTransactionsRequest(self._id, to_ms(self._timeout_s), self._state.producer)

        answer, meaning = await self._connection.ask_coordinator(Request.INITIALIZE, request, top_level_error_code)
        match meaning:
            case AnswerKind.DONE:
                self._state.on_initialized(ProducerId(answer.producer_id, answer.producer_epoch))
            case AnswerKind.BROKEN if self._state.has_producer:
                self._state.forget_producer()  # the brokers have forgotten it too
            case _:
                doing = f"{self._doing}: getting a producer id"
                raise transaction_error(meaning, answer.error_code, doing, subject=self._id)

    # ------------------------------------------------------------------ fences

    def _raise_if_fenced(self) -> None:
        fence, self._fence = self._fence, None
        if fence is not None:
            raise fence

    def _count_fence_and_choose_error(self, fence: ProducerFenced) -> BrokerError:
        now_s = self._connection.client.now_s()
        self._fenced_at_s.append(now_s)
        if len(self._fenced_at_s) < FENCES or now_s - self._fenced_at_s[0] > FENCES_WITHIN_S:
            return fence
        return BrokerRefused(
            f"{self._doing}: fenced {FENCES} times within a minute: another running process probably has the same"
            " transactional_id; give every process its own, or none"
        )


def _split_outputs_into_partition_queues(outputs: Sequence[OutgoingRecord]) -> list[OutputQueue]:
    """The outputs of each partition, in order."""
    by_partition: defaultdict[TopicPartition, list[OutgoingRecord]] = defaultdict(list)
    for output in outputs:
        assert output.partition is not None, "an output has a partition"
        by_partition[TopicPartition(output.topic, output.partition)].append(output)
    return [OutputQueue(partition, records) for partition, records in by_partition.items()]
