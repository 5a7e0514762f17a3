"""Implements `RecordSource` with our AIOKafkaConsumer subclass. Covers one connection; a restart creates a new one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

from aiokafka import errors as kafka
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.config.settings import ConsumerSettings, TransactionSettings
from evkafka.config.time_limits import time_limit_text
from evkafka.exceptions import BrokerError, BrokerRefused, BrokerUnavailable, CommitRefused
from evkafka.kafka.client import preflight
from evkafka.kafka.client.log_filters import client_log_filters
from evkafka.kafka.client.tasks import start_named_task
from evkafka.kafka.consumer.close import close_consumer
from evkafka.kafka.consumer.end_offsets import EndOffsets
from evkafka.kafka.consumer.rebalance import RebalanceForwarder, RebalanceState
from evkafka.kafka.consumer.source_consumer import SourceConsumer
from evkafka.kafka.errors import translate_error
from evkafka.records import Record, TopicPartition
from evkafka.runtime.ports import GroupEpoch, OutgoingRecord, SourceListener, SourceState
from evkafka.runtime.session_check import SAFE_SHARE
from evkafka.runtime.supervision.tasks import TaskEnded

if TYPE_CHECKING:
    from evkafka.kafka.producer.transactional_producer import TransactionalProducer

logger = logging.getLogger("evkafka.runtime.kafka")

ABSENT_TOPIC_CHECK_S, ABSENT_TOPIC_WARNING_S = 5.0, 30.0
COMMIT_RESETS_S = 10.0
CHECK_RIGHTS_S = 5.0

PRODUCER_STOP = 0.4
"""The part of the time of a stop in which an open transaction can be aborted."""


class KafkaSource:
    """One member of a group, or one reader without a group. Start once, stop once."""

    def __init__(self, settings: ConsumerSettings) -> None:
        self._settings = settings
        self._servers = ", ".join(settings.connection.bootstrap_servers)
        self._consumer: SourceConsumer | None = None
        self._listener: SourceListener | None = None
        self._rebalances: RebalanceForwarder | None = None
        # aiokafka's auto commit is off then, and a position that was found by the reset rule is committed at once: a
        # restart would apply auto_offset_reset again, and could choose another position.
        self._commits_resets = settings.commits_each_poll_before_running_it
        self._failure: BrokerError | None = None
        self._failed: asyncio.Future[None] | None = None  # done on a failure or at the stop; wakes a poll
        self._topic_watch: asyncio.Task[None] | None = None
        self._end_offsets_watch: asyncio.Task[None] | None = None
        self._producer: TransactionalProducer | None = None
        self._stopped = False
        self._closing: asyncio.Task[None] | None = None
        self._log_filters = ExitStack()

    # ------------------------------------------------------------------ start and stop

    async def start(self, listener: SourceListener) -> None:
        settings, loop = self._settings, asyncio.get_running_loop()
        deadline_s = loop.time() + settings.start_timeout_s
        limit = time_limit_text(settings.start_timeout_s, "start_timeout_ms")
        self._listener = listener
        self._failed = loop.create_future()
        self._consumer = consumer = SourceConsumer(settings, on_failure=self._record_failure)
        commits_metadata = settings.group_id is not None and not settings.at_most_once
        self._rebalances = RebalanceForwarder(
            consumer, listener, looks_up_ids=commits_metadata, on_failure=self._record_failure
        )
        topics = [topic.name for topic in settings.topics]
        self._log_filters.enter_context(client_log_filters.installed(absent_topics=topics))
        first = await preflight.find_reachable_server(
            settings.connection, timeout_s=settings.start_timeout_s, limit=limit
        )
        opening = start_named_task("open", settings.connection, consumer.open(self._rebalances, first=first))
        try:
            await asyncio.wait(
                {opening, self._failed}, timeout=deadline_s - loop.time(), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            if not opening.done():
                opening.cancel()
                await asyncio.wait({opening}, timeout=1.0)
        if self._failure is not None:
            raise self._failure
        if not opening.done() or opening.cancelled():
            cause = consumer.client.last_error
            raise BrokerUnavailable(
                f"{self._servers} answers, but sent no metadata within {limit}"
                + (f": {cause}; check advertised.listeners of the brokers" if cause else "")
            )
        if (error := opening.exception()) is not None:
            raise translate_error(error, f"connecting to {self._servers}") from error
        await self._check_rights(consumer)
        if (transactions := settings.transaction_settings) is not None:
            self._producer = producer = _create_transactional_producer(settings, transactions)
            left_s = max(deadline_s - loop.time(), preflight.MIN_START_S)
            await producer.start(first=first, timeout_s=left_s, limit=limit)
        ends = EndOffsets(
            consumer.client, consumer.subscription_state, reads_committed=settings.isolation_level == "read_committed"
        )
        self._end_offsets_watch = start_named_task("ends", settings.connection, ends.run())
        if settings.topics:
            self._topic_watch = start_named_task("topics", settings.connection, self._watch_for_absent_topics())

    async def _check_rights(self, consumer: SourceConsumer) -> None:
        """Report a missing right at the start, as a mistake in the configuration, not after the group has formed."""
        wanted = {topic.name for topic in self._settings.topics}
        if unauthorized := sorted(wanted & consumer.client.cluster.unauthorized_topics):
            raise translate_error(kafka.TopicAuthorizationFailedError(*unauthorized), self._servers)
        if consumer.member is not None:
            try:
                async with asyncio.timeout(CHECK_RIGHTS_S):
                    await consumer.member.check_right_to_join_group()
            except kafka.GroupAuthorizationFailedError as error:
                raise translate_error(
                    kafka.GroupAuthorizationFailedError(self._settings.group_id), self._servers
                ) from error
            except kafka.IncompatibleBrokerVersion as error:
                raise translate_error(error, self._servers) from error
            except (kafka.KafkaError, OSError, TimeoutError) as error:
                logger.debug("cannot check yet whether group %r may be joined: %r", self._settings.group_id, error)

    async def stop(self, *, timeout_s: float) -> None:
        if self._stopped and self._closing is None:
            return
        if not self._stopped:
            self._stopped = True
            self._wake_poll()
            if self._consumer is not None:
                self._closing = start_named_task(
                    "close", self._settings.connection, self._close_consumer_and_producer(self._consumer, timeout_s)
                )
        if self._closing is not None:
            # A task of its own: if this call is cancelled, the next call waits for the same task.
            await asyncio.wait({self._closing})

    async def _close_consumer_and_producer(self, consumer: SourceConsumer, timeout_s: float) -> None:
        with self._log_filters:
            if self._producer is not None:
                # First: once this member has left, others wait for its open transaction.
                await self._producer.stop(timeout_s=timeout_s * PRODUCER_STOP)
                timeout_s *= 1 - PRODUCER_STOP
            await close_consumer(consumer, [self._topic_watch, self._end_offsets_watch], timeout_s=timeout_s)

    def _record_failure(self, error: BrokerError) -> None:
        """Make this source unusable. The first error counts, but a refusal takes precedence over any other error."""
        if self._failure is None or (isinstance(error, BrokerRefused) and not isinstance(self._failure, BrokerRefused)):
            self._failure = error
        self._wake_poll()

    def _wake_poll(self) -> None:
        if self._failed is not None and not self._failed.done():
            self._failed.set_result(None)

    # ------------------------------------------------------------------ records

    async def poll(
        self, partitions: Collection[TopicPartition] | None, *, timeout_s: float, max_records: int
    ) -> Mapping[TopicPartition, Sequence[Record]]:
        consumer, loop = self._started_consumer(), asyncio.get_running_loop()
        wanted = cast("Collection[ClientPartition] | None", None if partitions is None else frozenset(partitions))
        self._raise_failure(consumer)
        consumer.fetcher.retry_blocked(wanted)
        if self._commits_resets:
            await self._commit_resets(consumer)
        batches = self._take_fetched(consumer, wanted, max_records)
        deadline_s = loop.time() + timeout_s
        while not batches and (left_s := deadline_s - loop.time()) > 0:
            await self._wait_until_fetched_or_failed(consumer, wanted, left_s)
            self._raise_failure(consumer)
            if self._commits_resets:
                await self._commit_resets(consumer)
            batches = self._take_fetched(consumer, wanted, max_records)
        return cast("Mapping[TopicPartition, Sequence[Record]]", batches)

    def _take_fetched(
        self, consumer: SourceConsumer, wanted: Collection[ClientPartition] | None, max_records: int
    ) -> dict[Any, Any]:
        """Return buffered records without an await. With the classic protocol, none during a rebalance until
        `on_assigned` has finished; with the consumer protocol, none of partitions that are added, until then.

        aiokafka hands out its records while `on_partitions_assigned` still runs (aiokafka-defects.md#early-records).
        """
        if self._is_rebalancing(consumer):
            return {}
        assert self._listener is not None
        fetcher = consumer.fetcher
        if fetcher.has_unreported_resets:
            for reset in fetcher.list_valid_unreported_resets():
                self._listener.on_reset(reset)
            fetcher.forget_reported_resets()
        if wanted is not None and not wanted:
            return {}
        return fetcher.take_records(wanted, max_records, self._listener.on_unreadable_records)

    def _is_rebalancing(self, consumer: SourceConsumer) -> bool:
        if self._rebalance_state is not RebalanceState.READY:
            return True
        return bool(consumer.subscription_state.reassignment_in_progress)

    @property
    def _rebalance_state(self) -> RebalanceState:
        return self._rebalances.state if self._rebalances is not None else RebalanceState.NEVER_ASSIGNED

    async def _commit_resets(self, consumer: SourceConsumer) -> None:
        if self._rebalance_state is not RebalanceState.READY or not consumer.fetcher.has_unreported_resets:
            return
        offsets = {reset.partition: reset.to_offset for reset in consumer.fetcher.list_valid_unreported_resets()}
        try:
            await self.commit(offsets, timeout_s=COMMIT_RESETS_S)
        except BrokerRefused:
            raise
        except BrokerError as error:
            logger.warning("could not commit the starting position: %s", error)

    async def _wait_until_fetched_or_failed(
        self, consumer: SourceConsumer, wanted: Collection[ClientPartition] | None, timeout_s: float
    ) -> None:
        """Wait until something was fetched, something failed, or the time is over."""
        assert self._failed is not None
        fetched = consumer.fetcher.create_fetch_waiter()
        try:
            if wanted is not None and not wanted:
                await asyncio.wait({self._failed}, timeout=timeout_s)
            else:
                await asyncio.wait({fetched, self._failed}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not fetched.cancel() and not fetched.cancelled():
                fetched.exception()  # marks it as retrieved: `_raise_failure` raises the coordinator's error

    def _raise_failure(self, consumer: SourceConsumer) -> None:
        if self._failure is not None:
            raise self._failure
        if self._stopped:
            raise BrokerError("this source has been stopped")
        try:
            consumer.coordinator.check_errors()
        except kafka.KafkaError as error:
            raise consumer.coordinator.translate_failure(error) from error
        except (
            asyncio.CancelledError
        ) as error:  # the coordinator's task was cancelled, not ours: there is no await here
            raise TaskEnded("the client's coordination task was cancelled by code outside EVKafka") from error
        for what, task in self._needed_tasks(consumer):
            if task is not None and task.done():
                if task.cancelled() or (fault := task.exception()) is None:  # some return when they are cancelled
                    raise TaskEnded(f"the client's {what} task was cancelled by code outside EVKafka")
                raise BrokerError(f"the client's {what} task has ended unexpectedly") from fault

    def _needed_tasks(self, consumer: SourceConsumer) -> Iterator[tuple[str, asyncio.Task[Any] | None]]:
        """The tasks without which nothing is read or the membership is lost (aiokafka-defects.md#ended-tasks).

        aiokafka waits forever for one that has ended: its `getmany` for the fetch task, its coordination for
        heartbeats, everything for new metadata.
        """
        yield "fetch", consumer.fetcher.task
        yield "metadata", consumer.client.metadata_refresh_task
        yield "topic watch", self._topic_watch
        yield "ends", self._end_offsets_watch
        if self._producer is not None:
            yield "producer's metadata", self._producer.metadata_refresh_task
        if consumer.member is not None:
            yield from consumer.member.needed_tasks()

    # ------------------------------------------------------------------ positions

    def _partition_state(self, partition: TopicPartition) -> Any:
        if self._consumer is None or not self._rebalance_state.has_assignment:
            return None
        return self._consumer.partition_state(partition)

    def position(self, partition: TopicPartition) -> int | None:
        state = self._partition_state(partition)
        return state._position if state is not None else None

    def end_offset(self, partition: TopicPartition) -> int | None:
        """With `read_committed`, the end is where the first open transaction begins."""
        state = self._partition_state(partition)
        if state is None:
            return None
        if self._settings.isolation_level == "read_committed" and state.lso is not None and state.lso >= 0:
            return cast(int, state.lso)
        return cast("int | None", state.highwater)

    def high_watermark(self, partition: TopicPartition) -> int | None:
        state = self._partition_state(partition)
        return cast("int | None", state.highwater) if state is not None else None

    def next_fetched_timestamp_ms(self, partition: TopicPartition) -> int | None:
        if self._partition_state(partition) is None:
            return None
        return self._started_consumer().fetcher.next_fetched_timestamp_ms(ClientPartition(*partition))

    def is_receiving_slowly(self, partition: TopicPartition) -> bool:
        return self._started_consumer().fetcher.is_receiving_slowly(ClientPartition(*partition))

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if self._partition_state(partition) is not None:
            self._started_consumer().fetcher.seek_to(ClientPartition(*partition), offset)

    def assignment(self) -> Collection[TopicPartition]:
        if self._consumer is None or not self._rebalance_state.has_assignment:
            return ()
        return tuple(TopicPartition(*tp) for tp in self._consumer.subscription_state.assigned_partitions())

    def _started_consumer(self) -> SourceConsumer:
        if self._consumer is None or not self._consumer.is_open:
            raise BrokerError("this source has not been started")
        return self._consumer

    # ------------------------------------------------------------------ state

    def state(self) -> SourceState:
        consumer = self._consumer
        if self._failure is not None or self._stopped:
            return "lost"
        if consumer is None or not consumer.is_open:
            return "connecting"
        member = consumer.member
        if consumer.fetcher.task.done() or consumer.coordinator.has_ended:
            return "lost"
        session_s = member.session_s if member is not None else self._settings.session_timeout_s
        now_s = consumer.client.now_s()
        silent = now_s - consumer.client.answered_at_s > session_s and not consumer.fetcher.is_receiving_slowly()
        if self._is_rebalancing(consumer):
            if member is not None and member.coordinator_id is None:
                never_assigned = self._rebalance_state is RebalanceState.NEVER_ASSIGNED
                return "connecting" if never_assigned else "lost"
            # A join is answered when all members have joined: silence alone does not mean a lost connection.
            return "lost" if silent and consumer.client.last_error is not None else "joining"
        if silent or not self.is_session_alive():
            return "lost"
        return "connecting" if self._absent_topics() else "steady"

    def is_session_alive(self) -> bool:
        consumer = self._consumer
        member = consumer.member if consumer is not None and consumer.is_open else None
        if consumer is None or member is None:
            return True
        return consumer.client.now_s() - member.confirmed_at_s < SAFE_SHARE * member.session_s

    def group_epoch(self) -> GroupEpoch | None:
        member = self._consumer.member if self._consumer is not None else None
        return member.group_epoch if member is not None else None

    # ------------------------------------------------------------------ commits

    def last_commit_before_assignment(self, partition: TopicPartition) -> tuple[int, str] | None:
        member = self._started_consumer().member
        return member.looked_up_commits.get(ClientPartition(*partition)) if member is not None else None

    def topic_id(self, topic: str) -> str:
        return self._started_consumer().topic_ids.get(topic, "")

    def leader_epoch_before(self, partition: TopicPartition, offset: int) -> int:
        return self._started_consumer().epochs.epoch_before(partition, offset)

    async def commit(
        self,
        offsets: Mapping[TopicPartition, int],
        *,
        timeout_s: float,
        metadata: Mapping[TopicPartition, str] | None = None,
    ) -> None:
        member = self._started_consumer().member
        if member is None:
            raise CommitRefused("a consumer without a group cannot commit: give it a group_id")
        if self._stopped:
            raise CommitRefused("this source has been stopped")
        if offsets:
            texts = metadata or {}
            await member.commit(
                {ClientPartition(*tp): (offset, texts.get(tp, "")) for tp, offset in offsets.items()},
                timeout_s=timeout_s,
            )

    async def commit_transaction(
        self,
        outputs: Sequence[OutgoingRecord],
        offsets: Mapping[TopicPartition, int],
        *,
        timeout_s: float,
        metadata: Mapping[TopicPartition, str],
    ) -> None:
        member = self._started_consumer().member
        if self._stopped:
            raise CommitRefused("this source has been stopped")
        if member is None or self._producer is None:
            raise CommitRefused("transactions need a group_id and auto_commit_mode 'exactly-once'")
        texts = {ClientPartition(*tp): (offset, metadata.get(tp, "")) for tp, offset in offsets.items()}
        await self._producer.write_records_and_commit_offsets(
            outputs, member.transaction_offsets(texts) if texts else None, timeout_s=timeout_s
        )

    # ------------------------------------------------------------------ absent topics

    def _absent_topics(self) -> list[str]:
        assert self._consumer is not None
        cluster = self._consumer.client.cluster
        return [topic.name for topic in self._settings.topics if not cluster.partitions_for_topic(topic.name)]

    async def _watch_for_absent_topics(self) -> None:
        """Wait for topics that do not exist, and name them (aiokafka-defects.md#absent-topics).

        aiokafka asks again only after minutes, and logs nothing.
        """
        client, loop = self._started_consumer().client, asyncio.get_running_loop()
        warned_at_s = loop.time() - ABSENT_TOPIC_WARNING_S
        while True:
            absent = self._absent_topics()
            if unauthorized := sorted(set(absent) & client.cluster.unauthorized_topics):
                self._record_failure(
                    translate_error(kafka.TopicAuthorizationFailedError(*unauthorized), "reading metadata")
                )
            if absent and loop.time() - warned_at_s >= ABSENT_TOPIC_WARNING_S:
                warned_at_s = loop.time()
                logger.warning(
                    "waiting for %s, which does not exist on %s; reading starts as soon as it is created",
                    ", ".join(f"topic {name!r}" for name in absent),
                    self._servers,
                )
            await asyncio.sleep(ABSENT_TOPIC_CHECK_S)
            if absent:
                client.force_metadata_update()


def _create_transactional_producer(
    settings: ConsumerSettings, transactions: TransactionSettings
) -> TransactionalProducer:
    from evkafka.kafka.producer.transactional_producer import TransactionalProducer  # others do not load it

    assert transactions.transactional_id is not None, "the service gives each consumer one"
    return TransactionalProducer(settings.connection, transactions.transactional_id, timeout_s=transactions.timeout_s)
