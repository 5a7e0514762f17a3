"""A member of a group of the consumer protocol (KIP-848).

Two tasks carry out what `membership.py` decides. This one sends heartbeats, also while partitions are drained; that of
`reconciler.py` gives partitions back and takes others over.
"""

from __future__ import annotations

import asyncio
import logging
import math
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any

from aiokafka import errors as kafka
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.config.settings import ConsumerSettings
from evkafka.exceptions import BrokerError, BrokerUnavailable
from evkafka.kafka.client.client import Client
from evkafka.kafka.client.coordinator_connection import CoordinatorConnection
from evkafka.kafka.client.group_protocol import JOIN, ConsumerGroupHeartbeatRequest, MemberChanges
from evkafka.kafka.client.log_throttle import LogThrottle, Outage
from evkafka.kafka.client.tasks import start_named_task
from evkafka.kafka.consumer.group_protocols import probe_consumer_protocol
from evkafka.kafka.consumer.group_refusals import refusal_error
from evkafka.kafka.consumer.group_session import DEFAULT_SESSION_S, look_up_group_session_s
from evkafka.kafka.consumer.incremental_assignment import IncrementalAssignmentFetcher, IncrementalSubscriptions
from evkafka.kafka.consumer.leader_epochs import EpochOffset
from evkafka.kafka.consumer.member_offsets import AssignedPartition, MemberOffsets
from evkafka.kafka.consumer.membership import Answer, AnswerKind, Heartbeat, Membership, State, TopicIdPartition
from evkafka.kafka.consumer.reconciler import AssignmentListener, Reconciler
from evkafka.kafka.consumer.topic_names import TopicNames
from evkafka.kafka.consumer.transaction_offsets import MemberTransactionOffsets
from evkafka.kafka.errors import ErrorCode, code_name, translate_error
from evkafka.kafka.options import to_ms, uses_auto_commit
from evkafka.runtime.leader_epochs import LeaderEpochs
from evkafka.runtime.ports import GroupEpoch
from evkafka.runtime.topic_pattern import TopicPattern

logger = logging.getLogger("evkafka.runtime.kafka")

HEARTBEAT_ANSWER_S = 10.0
"""How long the answer to a heartbeat may take. The coordinator answers at once."""


class ConsumerProtocolCoordinator:
    """One member of a group.

    Args:
        listener: is told of the changes.
        epochs: leader epochs of the records read so far. They are committed with the offsets.
        retry_backoff_s: the pause before something is tried again.
        on_failure: called with the error that makes this source unusable.
    """

    def __init__(
        self,
        client: Client,
        subscriptions: IncrementalSubscriptions,
        fetcher: IncrementalAssignmentFetcher,
        settings: ConsumerSettings,
        *,
        listener: AssignmentListener,
        epochs: LeaderEpochs,
        retry_backoff_s: float,
        on_failure: Callable[[BrokerError], object],
    ) -> None:
        assert settings.group_id is not None
        self.group_id = settings.group_id
        self._client = client
        self._subscriptions = subscriptions
        self._settings = settings
        self._on_failure = on_failure
        self._pattern = TopicPattern.from_settings(settings) if settings.topic_pattern is not None else None
        self._warnings = LogThrottle(logger)
        self._outage = Outage(logger)
        self._due = asyncio.Event()  # the next heartbeat may be due earlier than it was
        self._knows_session = False
        self._connection = CoordinatorConnection(client, "group", self.group_id, retry_backoff_s=retry_backoff_s)
        self._membership = Membership(
            subscriptions.topics, session_s=DEFAULT_SESSION_S, retry_s=retry_backoff_s, now_s=client.now_s()
        )
        self._offsets = MemberOffsets(
            self._connection,
            self._membership,
            instance_id=settings.group_instance_id,
            epochs=epochs,
            schedule_heartbeat_now=self._schedule_heartbeat_now,
            on_fenced=lambda: self._fail_with_refusal_error(ErrorCode.FENCED_INSTANCE_ID, None),
        )
        self._reconciler = Reconciler(
            self._membership,
            self._offsets,
            TopicNames(client),
            listener,
            fetcher,
            epochs,
            commits_positions=uses_auto_commit(settings),
            news=self._due.set,
        )
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Begin to join the group."""
        if self._pattern is not None:
            self._client.cluster.add_listener(self._subscribe_to_matching_topics)
            self._subscribe_to_matching_topics(self._client.cluster)
        work = {"heartbeat": self._send_heartbeats(), "rebalance": self._reconciler.run()}
        if uses_auto_commit(self._settings):
            work["commit"] = self._commit_positions_on_interval()
        for name, coroutine in work.items():
            self._tasks[name] = start_named_task(
                name, self._settings.connection, self._run_and_report_errors(name, coroutine)
            )

    async def _run_and_report_errors(self, name: str, work: Awaitable[None]) -> None:
        try:
            await work
        except BrokerError as error:
            self._on_failure(error)
        except kafka.KafkaError as error:
            self._on_failure(translate_error(error, f"{name} of group {self.group_id!r}"))

    # ------------------------------------------------------------------ heartbeats

    async def _send_heartbeats(self) -> None:
        """Send heartbeats until the member is refused, or leaves."""
        membership = self._membership
        while True:
            await self._wait_until_due()
            if self._client.now_s() >= membership.expires_at_s:
                await self._lose_partitions_and_rejoin(f"no heartbeat was answered for {membership.session_s:g} s")
                continue
            try:
                answer = await self._send_heartbeat_and_return_answer()
            except (kafka.KafkaError, OSError, BrokerUnavailable) as error:
                self._on_no_answer(error)
                continue
            if not await self._act_on_answer(answer):
                return

    async def _wait_until_due(self) -> None:
        membership = self._membership
        while (wait_s := min(membership.next_heartbeat_at_s, membership.expires_at_s) - self._client.now_s()) > 0:
            self._due.clear()
            try:
                async with asyncio.timeout(wait_s if wait_s < math.inf else None):
                    await self._due.wait()
            except TimeoutError:
                return

    @property
    def group_epoch(self) -> GroupEpoch | None:
        """The assignment that the member has now; None before the first."""
        epoch = self._membership.epoch
        return GroupEpoch("consumer", epoch) if epoch > JOIN else None

    def _schedule_heartbeat_now(self) -> None:
        self._membership.schedule_heartbeat_now(self._client.now_s())
        self._due.set()

    async def _send_heartbeat_and_return_answer(self) -> Any:
        """Send a heartbeat, and return its answer. Ends when the session does.

        Raises:
            KafkaError, OSError, BrokerUnavailable: there was none.
        """
        membership = self._membership
        left_s = membership.expires_at_s - self._client.now_s()
        async with asyncio.timeout(left_s if left_s < math.inf else None):
            node_id = await self._connection.find_coordinator()
            if not self._knows_session:
                await self._look_up_session(node_id)
            if membership.state is State.JOINING and self._settings.auto_offset_reset != "none":
                await self._offsets.look_up_topics_with_commits()
            beat = membership.create_next_heartbeat(self._client.now_s())
            return await self._connection.send(self._heartbeat_request(beat))

    async def _look_up_session(self, node_id: int) -> None:
        session_s = await look_up_group_session_s(self._client, node_id, self.group_id)
        # A connection that is silent is found in time for another heartbeat over a new one.
        within_s = min(session_s / 3, HEARTBEAT_ANSWER_S, self._settings.connection.request_timeout_s)
        self._client.set_request_timeout(ConsumerGroupHeartbeatRequest, within_s=within_s)
        self._membership.session_s = session_s
        self._knows_session = True

    def _heartbeat_request(self, beat: Heartbeat) -> ConsumerGroupHeartbeatRequest:
        settings, owned = self._settings, None
        if beat.owned is not None:
            owned = defaultdict[uuid.UUID, list[int]](list)
            for topic_id, partition in beat.owned:
                owned[topic_id].append(partition)
        changes = MemberChanges(
            # Always, so that the coordinator notices another process with the same id.
            instance_id=settings.group_instance_id,
            rack_id=settings.options.get("client_rack") if beat.is_full else None,
            rebalance_timeout_ms=to_ms(settings.rebalance_timeout_s) if beat.is_full else None,
            topics=beat.topics,
            assignor=settings.group_remote_assignor if beat.is_full else None,
            owned=owned,
        )
        return ConsumerGroupHeartbeatRequest(self.group_id, self._membership.member_id, beat.epoch, changes)

    def _on_no_answer(self, error: Exception) -> None:
        failure = translate_error(error, f"heartbeat of group {self.group_id!r}")
        if not isinstance(failure, BrokerUnavailable):
            raise failure
        self._outage.warn_if_failing_for_long(f"{failure}; trying again")
        self._connection.mark_coordinator_unknown()
        self._membership.schedule_heartbeat_retry(self._client.now_s())

    async def _act_on_answer(self, answer: Any) -> bool:
        """Do what an answer asks for. False if the member cannot be one any more."""
        code = answer.error_code
        match self._membership.on_answer(_heartbeat_answer_from_response(answer), self._client.now_s()):
            case AnswerKind.ACCEPTED:
                self._outage.forget_failures()
                self._reconciler.wake()
            case AnswerKind.RETRY:
                logger.debug("heartbeat of group %r: %s; trying again", self.group_id, code_name(code))
            case AnswerKind.FIND_COORDINATOR:
                logger.debug("heartbeat of group %r: %s; looking for it", self.group_id, code_name(code))
                self._connection.mark_coordinator_unknown()
            case AnswerKind.FENCED:
                await self._lose_partitions_and_rejoin(f"the group has removed this member: {code_name(code)}")
            case AnswerKind.UNRELEASED:
                self._warnings.warn(
                    f"group {self.group_id!r} waits for the end of an earlier process with the group_instance_id"
                    f" {self._settings.group_instance_id!r}: one that did not leave is removed after"
                    f" {self._membership.session_s:g} s"
                )
            case AnswerKind.REFUSED:
                self._fail_with_refusal_error(code, answer.error_message)
                return False
            case AnswerKind.FAILED:
                said = f": {answer.error_message}" if answer.error_message else ""
                raise BrokerError(f"heartbeat of group {self.group_id!r}: {code_name(code)}{said}")
        return True

    async def _lose_partitions_and_rejoin(self, reason: str) -> None:
        lost = await self._reconciler.lose_all_partitions()
        logger.warning(
            "group %r: %s; %sjoining it again",
            self.group_id,
            reason,
            f"{lost} partitions are lost; " if lost else "",
        )

    def _fail_with_refusal_error(self, code: int, message: str | None) -> None:
        self._on_failure(refusal_error(code, message, self._settings, self._subscriptions.topics))

    # ------------------------------------------------------------------ topics

    def _subscribe_to_matching_topics(self, cluster: Any) -> None:
        """The metadata are new: subscribe to the topics that match the pattern. The brokers' own matching would not
        exclude dead-letter topics."""
        assert self._pattern is not None
        existing = cluster.topics(self._settings.options.get("exclude_internal_topics", True))
        topics = {topic for topic in existing if self._pattern.match(topic)}
        if topics != set(self._subscriptions.topics):
            self._subscriptions.replace_topics(topics)
            self._membership.subscribe(topics)
            self._due.set()

    # ------------------------------------------------------------------ offsets

    @property
    def topic_ids(self) -> Mapping[str, str]:
        """Assigned topic -> its id."""
        return self._reconciler.topic_ids

    @property
    def topics_committed_before(self) -> frozenset[str]:
        """Topics that the group had committed offsets of before the latest join."""
        return self._offsets.topics_committed_before

    @property
    def looked_up_commits(self) -> Mapping[ClientPartition, tuple[int, str]]:
        return self._offsets.looked_up_commits

    async def check_right_to_join_group(self) -> None:
        await probe_consumer_protocol(self._client, self.group_id)

    async def look_up_committed_offsets(
        self, partitions: Collection[ClientPartition]
    ) -> dict[ClientPartition, EpochOffset]:
        """The group's committed offsets; see `MemberOffsets.look_up_committed_offsets`."""
        return await self._offsets.look_up_committed_offsets(partitions)

    async def commit(self, offsets: Mapping[ClientPartition, tuple[int, str]], *, timeout_s: float) -> None:
        await self._offsets.commit(offsets, timeout_s=timeout_s)

    def transaction_offsets(
        self, offsets: Mapping[ClientPartition, tuple[int, str]]
    ) -> MemberTransactionOffsets[Mapping[ClientPartition, AssignedPartition]]:
        return self._offsets.transaction_offsets(offsets)

    async def _commit_positions_on_interval(self) -> None:
        while True:
            await asyncio.sleep(self._settings.auto_commit_interval_s)
            await self._reconciler.commit_all_positions()

    # ------------------------------------------------------------------ the end

    async def close(self) -> None:
        """Let a change under way end, commit positions if that is configured, and leave the group."""
        async with self._reconciler.changing:
            if uses_auto_commit(self._settings):
                await self._reconciler.commit_all_positions()
            for task in self._tasks.values():
                task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self.leave(self._membership.session_s)

    async def leave(self, timeout_s: float) -> None:
        """Leave the group if the coordinator can be reached: a member that just vanishes keeps its partitions for a
        session. The group keeps those of a static member, which comes back."""
        beat = self._membership.begin_leaving(is_static=self._settings.group_instance_id is not None)
        if beat is None or not self._connection.is_connected:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._connection.send(self._heartbeat_request(beat))
        except (kafka.KafkaError, OSError) as error:
            logger.debug("could not leave group %r in time: %r", self.group_id, error)

    # ------------------------------------------------------------------ what the source asks

    @property
    def coordinator_id(self) -> int | None:
        return self._connection.coordinator_id

    @property
    def confirmed_at_s(self) -> float:
        return self._membership.accepted_s

    @property
    def session_s(self) -> float:
        return self._membership.session_s

    @property
    def has_ended(self) -> bool:
        """Whether the heartbeats have ended."""
        task = self._tasks.get("heartbeat")
        return task is not None and task.done()

    def needed_tasks(self) -> Iterator[tuple[str, asyncio.Task[Any] | None]]:
        yield from self._tasks.items()

    def tasks(self) -> list[asyncio.Task[Any] | None]:
        """Its background tasks."""
        return list(self._tasks.values())

    def check_errors(self) -> None:
        """Nothing to do: `on_failure` is called with every error."""

    def translate_failure(self, error: Exception) -> BrokerError:
        """Translate an error of the coordination."""
        return translate_error(error, f"membership of group {self.group_id!r}")


def _heartbeat_answer_from_response(answer: Any) -> Answer:
    assigned = answer.assigned
    return Answer(
        answer.error_code,
        answer.member_epoch,
        answer.heartbeat_interval_ms / 1000,
        None
        if assigned is None
        else frozenset(TopicIdPartition(topic_id, n) for topic_id, numbers in assigned.items() for n in numbers),
    )
