"""AIOKafkaConsumer with its client, coordinator, fetcher and subscription replaced by ours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka import errors as kafka
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, SyncGroupRequest
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.config.settings import ConsumerSettings
from evkafka.exceptions import BrokerError, ConfigError
from evkafka.kafka.client.client import Client
from evkafka.kafka.client.protocol import StaticHeartbeatRequest
from evkafka.kafka.client.topic_ids import request_topic_ids
from evkafka.kafka.client.transaction_offer import require_transactions
from evkafka.kafka.consumer.classic_coordinator import ClassicCoordinator
from evkafka.kafka.consumer.consumer_protocol_coordinator import ConsumerProtocolCoordinator
from evkafka.kafka.consumer.fetcher import BufferingFetcher
from evkafka.kafka.consumer.group_member import GroupMember
from evkafka.kafka.consumer.group_protocols import uses_consumer_protocol
from evkafka.kafka.consumer.groupless_assigner import GrouplessAssigner
from evkafka.kafka.consumer.incremental_assignment import IncrementalAssignmentFetcher, IncrementalSubscriptions
from evkafka.kafka.consumer.leader_epochs import EpochOffset
from evkafka.kafka.consumer.subscriptions import Subscriptions
from evkafka.kafka.options import consumer_options, coordinator_options_from_consumer, fetcher_options_from_consumer
from evkafka.records import TopicPartition
from evkafka.runtime.commit_metadata import group_and_partition_text_for_checksum, has_finished_offsets_after
from evkafka.runtime.leader_epochs import LeaderEpochs
from evkafka.runtime.topic_pattern import TopicPattern

F = TypeVar("F", bound=BufferingFetcher)

logger = logging.getLogger("evkafka.runtime.kafka")

MIN_FETCH_SILENCE_S = 5.0

JOIN_ANSWER_MARGIN_S = 5.0
"""How much longer than a rebalance the answer to a join may take."""

TOPIC_IDS_S = 5.0


class SourceConsumer(AIOKafkaConsumer):
    """One member of a group, or one reader without a group.

    `open` replaces aiokafka's `start`, which waits until the group has been joined.

    Attributes:
        epochs: leader epochs of the records read so far. Written by the fetcher.
    """

    _closed = True  # until the constructor has succeeded: aiokafka's __del__ fails for a constructor that raised

    def __init__(self, settings: ConsumerSettings, *, on_failure: Callable[[BrokerError], object]) -> None:
        options = consumer_options(settings)
        try:
            super().__init__(**options)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the Kafka client rejects these settings: {error}") from error
        self._settings = settings
        self._on_failure = on_failure
        self._subscription = Subscriptions()
        self._partitions_at_start: Mapping[str, int] | None = None
        self._member: ClassicCoordinator | ConsumerProtocolCoordinator | None = None
        self._coordinator: ClassicCoordinator | ConsumerProtocolCoordinator | GrouplessAssigner
        self._topic_ids: Mapping[str, str] = {}
        self.epochs = LeaderEpochs()
        request_s = settings.connection.request_timeout_s
        # A join is answered when the whole group has joined; a client that times out earlier joins again forever.
        join_s = max(request_s, settings.rebalance_timeout_s + JOIN_ANSWER_MARGIN_S)
        heartbeat_s = min(settings.session_timeout_s, request_s)
        # A broker answers a fetch after `fetch_max_wait_ms` at the latest, if need be without records. A connection
        # that is silent for a session longer has been dropped by something on the way, and nobody would ever close it.
        fetch_s = self._fetch_max_wait_ms / 1000 + max(settings.session_timeout_s, MIN_FETCH_SILENCE_S)
        self._client = Client(
            allow_auto_create_topics=settings.allow_auto_create_topics,
            answer_within_s={
                JoinGroupRequest: join_s,
                SyncGroupRequest: join_s,
                HeartbeatRequest: heartbeat_s,
                StaticHeartbeatRequest: heartbeat_s,
                FetchRequest: min(fetch_s, request_s),
            },
            **options,
        )
        self._client.on_refused = on_failure

    # ------------------------------------------------------------------ its parts

    @property
    def client(self) -> Client:
        return self._client

    @property
    def fetcher(self) -> BufferingFetcher:
        return self._fetcher

    @property
    def coordinator(self) -> ClassicCoordinator | ConsumerProtocolCoordinator | GrouplessAssigner:
        return self._coordinator

    @property
    def member(self) -> GroupMember | None:
        """The coordinator as a member of its group; None without a group."""
        return self._member

    @property
    def subscription_state(self) -> Subscriptions:
        return self._subscription

    @property
    def is_open(self) -> bool:
        return self._fetcher is not None

    def partition_state(self, tp: tuple[str, int]) -> Any:
        """aiokafka's state of an assigned partition (position, end offsets); None if it is not assigned."""
        subscription = self._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        return assignment.state_value(tp) if assignment is not None else None

    def tasks(self) -> list[asyncio.Task[Any]]:
        """The background tasks of coordinator and fetcher that have not ended."""
        parts: tuple[Any, ...] = (self._coordinator, self._fetcher)
        found = [task for part in parts if part is not None for task in part.tasks()]
        return [task for task in found if task is not None and not task.done()]

    # ------------------------------------------------------------------ opening it

    async def open(self, listener: Any, *, first: tuple[str, int]) -> None:
        """Fetch metadata, subscribe, and start the tasks that fetch and that keep the membership.

        Does not wait until the group has been joined.

        Args:
            first: host and port of the server to ask first.

        Raises:
            IncompatibleBrokerVersion: the brokers are too old for transactions.
            BrokerUnavailable, KafkaError: no metadata.
        """
        settings, client = self._settings, self._client
        if settings.topic_pattern is None:
            client.set_topics({topic.name for topic in settings.topics})
        await client.connect_until_metadata_known(first=first, retry_backoff_s=self._retry_backoff_ms / 1000)
        if settings.transaction_settings is not None:
            await require_transactions(client)
        if await uses_consumer_protocol(client, settings):
            self._open_incremental(listener)
        else:
            self._open_classic(listener)

    def _open_classic(self, listener: Any) -> None:
        settings, subscription = self._settings, self._subscription
        if settings.topic_pattern is not None:
            subscription.subscribe_pattern(TopicPattern.from_settings(settings), listener=listener)
        else:
            subscription.subscribe({topic.name for topic in settings.topics}, listener=listener)
        if settings.group_id is None:
            self._coordinator = GrouplessAssigner(
                self._client,
                subscription,
                listener=listener,
                exclude_internal_topics=self._exclude_internal_topics,
            )
        else:
            self._coordinator = self._member = ClassicCoordinator(
                self._client,
                subscription,
                looks_up_topics=settings.auto_offset_reset != "none",
                requires_stable=settings.transaction_settings is not None,
                epochs=self.epochs,
                on_failure=self._on_failure,
                on_positions_commit=listener.on_positions_commit,
                **coordinator_options_from_consumer(self),
            )
        self._fetcher = self._make_fetcher(BufferingFetcher)

    def _open_incremental(self, listener: Any) -> None:
        self._subscription = IncrementalSubscriptions(topic.name for topic in self._settings.topics)
        fetcher = self._make_fetcher(IncrementalAssignmentFetcher)
        self._coordinator = self._member = ConsumerProtocolCoordinator(
            self._client,
            self._subscription,
            fetcher,
            self._settings,
            listener=listener,
            epochs=self.epochs,
            retry_backoff_s=self._retry_backoff_ms / 1000,
            on_failure=self._on_failure,
        )
        self._coordinator.start()
        self._fetcher = fetcher

    def _make_fetcher(self, kind: type[F]) -> F:
        return kind(
            self._client,
            self._subscription,
            committed=self._look_up_committed_offsets,
            epochs=self.epochs,
            is_new=self._is_partition_newer_than_group,
            has_finished_offsets_after=self._has_finished_offsets_after,
            settings=self._settings,
            on_failure=self._on_failure,
            **fetcher_options_from_consumer(self),
        )

    async def _look_up_committed_offsets(
        self, partitions: Collection[ClientPartition]
    ) -> Mapping[ClientPartition, EpochOffset]:
        return await self._coordinator.look_up_committed_offsets(partitions)

    def _has_finished_offsets_after(self, tp: ClientPartition, offset: int) -> bool:
        if self._group_id is None or self._settings.at_most_once:
            return False
        place = group_and_partition_text_for_checksum(self._group_id, TopicPartition(*tp))
        return self._member is not None and has_finished_offsets_after(
            self._member.looked_up_commits.get(tp), offset, place
        )

    # ------------------------------------------------------------------ topic ids

    @property
    def topic_ids(self) -> Mapping[str, str]:
        """Assigned topic -> its id; without the topics whose id is not known."""
        member = self._member
        return member.topic_ids if isinstance(member, ConsumerProtocolCoordinator) else self._topic_ids

    async def load_topic_ids(self, topics: Collection[str]) -> None:
        """Look up the ids of the topics that were just assigned. Without an answer in time they stay unknown."""
        self._topic_ids = {}
        try:
            async with asyncio.timeout(TOPIC_IDS_S):
                while not await self._try_to_request_topic_ids(topics):  # noqa: ASYNC110  # no event says when to try again
                    await asyncio.sleep(self._retry_backoff_ms / 1000)
        except TimeoutError:
            logger.warning(
                "the ids of topics %s could not be looked up: records that are finished after a committed offset"
                " are handled again",
                ", ".join(sorted(topics)),
            )

    async def _try_to_request_topic_ids(self, topics: Collection[str]) -> bool:
        try:
            self._topic_ids = (await request_topic_ids(self._client, topics)).topics
        except kafka.KafkaError as error:
            logger.debug("looking up topic ids: %r", error)
            return False
        return True

    # ------------------------------------------------------------------ the whole assignment of the classic protocol

    def allow_commits_after_assigned(self) -> None:
        """Allow commits under the assignment that has just been received."""
        if isinstance(self._member, ClassicCoordinator):
            self._member.allow_commits_after_assigned()

    def refuse_commits_after_revoked(self) -> None:
        """Refuse further commits: the partitions have been revoked."""
        if isinstance(self._member, ClassicCoordinator):
            self._member.refuse_commits_after_revoked()

    # ------------------------------------------------------------------ which partitions are new

    def note_partitions_at_first_assignment(self) -> None:
        """Remember which partitions exist at the first assignment: those existed when this consumer started."""
        if self._partitions_at_start is None:
            existing = self._client.cluster.partitions_for_topic
            counts = {topic: len(existing(topic) or ()) for topic in self._subscription.topics}
            self._partitions_at_start = {topic: count for topic, count in counts.items() if count}

    def _is_partition_newer_than_group(self, tp: ClientPartition) -> bool:
        """Whether a partition without a committed offset appeared after the group's start.

        It did if the group had committed offsets of its topic before we joined, or if it did not exist then.
        """
        at_start = self._partitions_at_start
        started_without = at_start is not None and tp.partition >= at_start.get(tp.topic, 0)
        return started_without or tp.topic in self._coordinator.topics_committed_before
