"""One life of a consumer at the brokers: the port `RecordSource`, on a contained AIOKafkaConsumer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

from aiokafka import ConsumerRebalanceListener
from aiokafka import errors as kafka
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.config.settings import ConsumerSettings
from evkafka.exceptions import BrokerError, BrokerRefused, BrokerUnavailable, CommitRefused
from evkafka.kafka.client import preflight
from evkafka.kafka.client.log_throttle import awaited_topics
from evkafka.kafka.consumer import close as closing
from evkafka.kafka.consumer.consumer import ContainedConsumer
from evkafka.kafka.consumer.coordinator import HeldAssignment, Member
from evkafka.kafka.consumer.end_offsets import EndOffsets
from evkafka.kafka.errors import translate
from evkafka.records import Record, TopicPartition
from evkafka.runtime.ports import SourceListener, SourceState
from evkafka.runtime.supervision.tasks import TaskEnded

T = TypeVar("T")

logger = logging.getLogger("evkafka.runtime.kafka")

ABSENT_AGAIN_S, ABSENT_WARNING_S = 5.0, 30.0
KEEP_S = 10.0
RIGHTS_S = 5.0


class KafkaSource:
    """One member of a group, or a groupless reader. Start once, stop once."""

    def __init__(self, settings: ConsumerSettings) -> None:
        self._settings = settings
        self._servers = ", ".join(settings.connection.bootstrap_servers)
        self._consumer: ContainedConsumer | None = None
        self._listener: SourceListener | None = None
        self._met_group = False  # there has been an assignment before
        self._ours = False  # there is an assignment, and it has not been given back
        self._handed_over = False  # and the listener has taken it over
        # At most once without exception, the client commits nothing by itself; a position that was found and not
        # kept would be found again after a restart, by another rule (as if the partition were new).
        self._keeps_resets = (
            settings.group_id is not None
            and settings.auto_commit_mode == "pre-commit"
            and settings.auto_commit_interval_s == 0
        )
        self._failure: BrokerError | None = None
        self._alarm: asyncio.Future[None] | None = None
        self._topic_watch: asyncio.Task[None] | None = None
        self._ends_watch: asyncio.Task[None] | None = None
        self._stopped = False
        self._closing: asyncio.Task[None] | None = None
        self._awaited: list[str] = []

    # ------------------------------------------------------------------ life

    async def start(self, listener: SourceListener) -> None:
        settings, loop = self._settings, asyncio.get_running_loop()
        deadline_s = loop.time() + settings.start_timeout_s
        self._listener = listener
        self._alarm = loop.create_future()
        self._consumer = consumer = ContainedConsumer(settings, on_failure=self._fail)
        first = await preflight.reach(settings.connection, timeout_s=settings.start_timeout_s)
        self._awaited = [topic.name for topic in settings.topics]
        awaited_topics.names.update(self._awaited)
        opening = _named("open", settings, consumer.open(_Rebalances(self), first=first))
        try:
            await asyncio.wait(
                {opening, self._alarm}, timeout=deadline_s - loop.time(), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            if not opening.done():
                opening.cancel()
                await asyncio.wait({opening}, timeout=1.0)
        if self._failure is not None:
            raise self._failure
        if not opening.done() or opening.cancelled():
            trouble = consumer.client.trouble
            raise BrokerUnavailable(
                f"{self._servers} answer, but no metadata came within {settings.start_timeout_s:g} s"
                + (f": {trouble}; check advertised.listeners of the brokers" if trouble else "")
            )
        if (error := opening.exception()) is not None:
            raise translate(error, f"connecting to {self._servers}") from error
        await self._check_rights(consumer)
        ends = EndOffsets(
            consumer.client, consumer._subscription, reads_committed=settings.isolation_level == "read_committed"
        )
        self._ends_watch = _named("ends", settings, ends.run())
        if settings.topics:
            self._topic_watch = _named("topics", settings, self._watch_topics())

    async def _check_rights(self, consumer: ContainedConsumer) -> None:
        """A missing right is said at the start, where it is one of configuration, and not when the group has formed."""
        wanted = {topic.name for topic in self._settings.topics}
        if unauthorized := sorted(wanted & consumer.client.cluster.unauthorized_topics):
            raise translate(kafka.TopicAuthorizationFailedError(*unauthorized), self._servers)
        if isinstance(consumer.coordinator, Member):
            try:
                async with asyncio.timeout(RIGHTS_S):
                    await consumer.coordinator.may_join()
            except kafka.GroupAuthorizationFailedError as error:
                raise translate(kafka.GroupAuthorizationFailedError(self._settings.group_id), self._servers) from error
            except (kafka.KafkaError, OSError, TimeoutError) as error:
                logger.debug("whether group %r may be joined will show: %r", self._settings.group_id, error)

    async def stop(self, *, timeout_s: float) -> None:
        if self._stopped and self._closing is None:
            return
        if not self._stopped:
            self._stopped = True
            if self._alarm is not None and not self._alarm.done():
                self._alarm.set_result(None)
            if self._consumer is not None:
                awaited_topics.names.subtract(self._awaited)
                end = closing.close(self._consumer, [self._topic_watch, self._ends_watch], timeout_s=timeout_s)
                self._closing = _named("close", self._settings, end)
        if self._closing is not None:
            # A task of its own: a caller who is cancelled in here, and calls again, waits for the same end.
            await asyncio.wait({self._closing})

    def _fail(self, error: BrokerError) -> None:
        """This source is beyond use. The first failure counts, but a refusal outweighs what came before it."""
        if self._failure is None or (isinstance(error, BrokerRefused) and not isinstance(self._failure, BrokerRefused)):
            self._failure = error
        if self._alarm is not None and not self._alarm.done():
            self._alarm.set_result(None)

    # ------------------------------------------------------------------ records

    async def poll(
        self, partitions: Collection[TopicPartition] | None, *, timeout_s: float, max_records: int
    ) -> Mapping[TopicPartition, Sequence[Record]]:
        consumer, loop = self._opened(), asyncio.get_running_loop()
        wanted = cast("Collection[ClientPartition] | None", None if partitions is None else frozenset(partitions))
        self._raise_failure(consumer)
        consumer.fetching.polled(wanted)
        if self._keeps_resets:
            await self._keep_resets(consumer)
        batches = self._take(consumer, wanted, max_records)
        deadline_s = loop.time() + timeout_s
        while not batches and (left_s := deadline_s - loop.time()) > 0:
            await self._news(consumer, wanted, left_s)
            self._raise_failure(consumer)
            if self._keeps_resets:
                await self._keep_resets(consumer)
            batches = self._take(consumer, wanted, max_records)
        return cast("Mapping[TopicPartition, Sequence[Record]]", batches)

    def _take(
        self, consumer: ContainedConsumer, wanted: Collection[ClientPartition] | None, most: int
    ) -> dict[Any, Any]:
        """What is there now, without any suspension; nothing of an assignment that the listener does not know yet
        (aiokafka hands out its records while `on_partitions_assigned` still runs)."""
        if consumer._subscription.reassignment_in_progress or not self._handed_over:
            return {}
        assert self._listener is not None
        fetching = consumer.fetching
        if fetching.resets_pending:
            for reset in fetching.resets():
                self._listener.on_reset(reset)
            fetching.told()
        if wanted is not None and not wanted:
            return {}
        return fetching.take(wanted, most, self._listener.on_unreadable)

    async def _keep_resets(self, consumer: ContainedConsumer) -> None:
        if not self._handed_over or not consumer.fetching.resets_pending:
            return
        offsets = {reset.partition: reset.to_offset for reset in consumer.fetching.resets()}
        try:
            await self.commit(offsets, timeout_s=KEEP_S)
        except BrokerRefused:
            raise
        except BrokerError as error:
            logger.warning("the position that was found is not kept: %s", error)

    async def _news(
        self, consumer: ContainedConsumer, wanted: Collection[ClientPartition] | None, timeout_s: float
    ) -> None:
        """Wait until something was fetched, something failed, or the time is over."""
        assert self._alarm is not None
        waiter = consumer.fetching._create_fetch_waiter()
        try:
            if wanted is not None and not wanted:
                await asyncio.wait({self._alarm}, timeout=timeout_s)
            else:
                await asyncio.wait({waiter, self._alarm}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not waiter.cancel() and not waiter.cancelled():
                waiter.exception()  # the coordination's error; it is read from there

    def _raise_failure(self, consumer: ContainedConsumer) -> None:
        if self._failure is not None:
            raise self._failure
        if self._stopped:
            raise BrokerError("this source has been stopped")
        try:
            consumer.coordinator.check_errors()
        except kafka.KafkaError as error:
            raise consumer.coordinator.failure(error) from error
        except asyncio.CancelledError as error:  # its task was cancelled; nothing in here waits, so it is not ours
            raise TaskEnded("the client's coordination task was cancelled by somebody else") from error
        for what, task in self._needed_tasks(consumer):
            if task is not None and task.done():
                if task.cancelled() or (fault := task.exception()) is None:  # some return when they are cancelled
                    raise TaskEnded(f"the client's {what} task was cancelled by somebody else")
                raise BrokerError(f"the client's {what} task has ended by itself") from fault

    def _needed_tasks(self, consumer: ContainedConsumer) -> Iterator[tuple[str, asyncio.Task[Any] | None]]:
        """(k) Without one of these nothing is read or the membership is lost. aiokafka waits for a dead one for ever:
        its getmany for the fetch task, its coordination for heartbeats, everybody for new metadata."""
        yield "fetch", consumer.fetching._fetch_task
        yield "metadata", consumer.client._sync_task
        yield "topic watch", self._topic_watch
        yield "ends", self._ends_watch
        if isinstance(member := consumer.coordinator, Member):
            yield "heartbeat", member.needed_heartbeat

    # ------------------------------------------------------------------ positions, state

    def _state_of(self, partition: TopicPartition) -> Any:
        if self._consumer is None or not self._ours:
            return None
        subscription = self._consumer._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        return assignment.state_value(partition) if assignment is not None else None

    def position(self, partition: TopicPartition) -> int | None:
        state = self._state_of(partition)
        return state._position if state is not None else None

    def end_offset(self, partition: TopicPartition) -> int | None:
        """To a reader of what is committed, the end is where the first open transaction begins."""
        state = self._state_of(partition)
        if state is None:
            return None
        if self._settings.isolation_level == "read_committed" and state.lso is not None and state.lso >= 0:
            return cast(int, state.lso)
        return cast("int | None", state.highwater)

    def high_watermark(self, partition: TopicPartition) -> int | None:
        state = self._state_of(partition)
        return cast("int | None", state.highwater) if state is not None else None

    def next_timestamp_ms(self, partition: TopicPartition) -> int | None:
        if self._state_of(partition) is None:
            return None
        return self._opened().fetching.next_timestamp_ms(ClientPartition(*partition))

    def receives(self, partition: TopicPartition) -> bool:
        return self._opened().fetching.receives(ClientPartition(*partition))

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if self._state_of(partition) is not None:
            self._opened().fetching.seek_to(ClientPartition(*partition), offset)

    def assignment(self) -> Collection[TopicPartition]:
        if self._consumer is None or not self._ours:
            return ()
        return tuple(TopicPartition(*tp) for tp in self._consumer._subscription.assigned_partitions())

    def state(self) -> SourceState:
        consumer = self._consumer
        if self._failure is not None or self._stopped:
            return "lost"
        if consumer is None or consumer._fetcher is None:
            return "connecting"
        if consumer._fetcher._fetch_task.done() or consumer.coordinator.dead:
            return "lost"
        now_s, session_s = consumer.client._loop.time(), self._settings.session_timeout_s
        silent = now_s - consumer.client.answered_at_s > session_s and not consumer.fetching.receives()
        member = consumer.coordinator
        if consumer._subscription.reassignment_in_progress or not self._handed_over:
            if isinstance(member, Member) and member.coordinator_id is None:
                return "lost" if self._met_group else "connecting"
            # A join is answered when all have joined: no answer for a while means nothing by itself.
            return "lost" if silent and consumer.client.trouble is not None else "joining"
        if silent or (isinstance(member, Member) and now_s - member.heard_at_s > session_s):
            return "lost"
        return "connecting" if self._absent() else "steady"

    def _opened(self) -> ContainedConsumer:
        if self._consumer is None or self._consumer._fetcher is None:
            raise BrokerError("this source has not been started")
        return self._consumer

    # ------------------------------------------------------------------ commits

    def metadata(self, partition: TopicPartition) -> str:
        member = self._opened().coordinator
        return member.metadata.get(ClientPartition(*partition), "") if isinstance(member, Member) else ""

    async def commit(
        self,
        offsets: Mapping[TopicPartition, int],
        *,
        timeout_s: float,
        metadata: Mapping[TopicPartition, str] | None = None,
    ) -> None:
        member = self._opened().coordinator
        if not isinstance(member, Member):
            raise CommitRefused("a reader without a group commits nothing: give it a group_id")
        if self._stopped:
            raise CommitRefused("this source has been stopped")
        if offsets:
            told = metadata or {}
            await member.commit(
                {ClientPartition(*tp): (offset, told.get(tp, "")) for tp, offset in offsets.items()},
                timeout_s=timeout_s,
            )

    # ------------------------------------------------------------------ absent topics

    def _absent(self) -> list[str]:
        assert self._consumer is not None
        cluster = self._consumer.client.cluster
        return [topic.name for topic in self._settings.topics if not cluster.partitions_for_topic(topic.name)]

    async def _watch_topics(self) -> None:
        """B4-15: a topic that is not there is waited for, and named; aiokafka looks again after minutes, in silence."""
        client, loop = self._opened().client, asyncio.get_running_loop()
        warned_at_s = loop.time() - ABSENT_WARNING_S
        while True:
            absent = self._absent()
            if unauthorized := sorted(set(absent) & client.cluster.unauthorized_topics):
                self._fail(translate(kafka.TopicAuthorizationFailedError(*unauthorized), "reading metadata"))
            if absent and loop.time() - warned_at_s >= ABSENT_WARNING_S:
                warned_at_s = loop.time()
                logger.warning(
                    "waiting for %s, which %s does not have; it is read as soon as it is created",
                    ", ".join(f"topic {name!r}" for name in absent),
                    self._servers,
                )
            await asyncio.sleep(ABSENT_AGAIN_S)
            if absent:
                client.force_metadata_update()


def _named(what: str, settings: ConsumerSettings, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    name = f"evkafka-{settings.connection.client_id}-{what}"
    return asyncio.get_running_loop().create_task(work, name=name)


class _Rebalances(ConsumerRebalanceListener):
    """Passes the client's rebalance callbacks on, and says in what capacity may be committed meanwhile."""

    def __init__(self, source: KafkaSource) -> None:
        self._source = source

    async def on_partitions_revoked(self, revoked: Collection[ClientPartition]) -> None:
        source = self._source
        assert source._listener is not None
        try:
            if revoked and source._handed_over:
                await source._listener.on_revoked([TopicPartition(*tp) for tp in revoked])
        except Exception as error:  # aiokafka would log it and go on: an unsaid loss of what the listener keeps
            source._fail(translate(error, "giving partitions back"))
        finally:
            source._ours = source._handed_over = False
            assert source._consumer is not None
            if isinstance(member := source._consumer._coordinator, Member):
                member.hold = None

    async def on_partitions_assigned(self, assigned: Collection[ClientPartition]) -> None:
        source = self._source
        assert source._consumer is not None
        assert source._listener is not None
        if isinstance(member := source._consumer._coordinator, Member):
            assignment = source._consumer._subscription.subscription.assignment
            member.hold = HeldAssignment(assignment, member.generation, member.member_id)
        source._ours = source._met_group = True
        try:
            await source._listener.on_assigned([TopicPartition(*tp) for tp in assigned])
        except Exception as error:  # as above
            source._fail(translate(error, "taking over partitions"))
        source._handed_over = True
        source._consumer.joined()
