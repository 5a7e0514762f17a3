"""AIOKafkaConsumer with its parts exchanged for contained ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka import errors as kafka
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, SyncGroupRequest

from evkafka.config.settings import ConsumerSettings
from evkafka.exceptions import BrokerError, BrokerUnavailable, ConfigError
from evkafka.kafka.client.client import Client
from evkafka.kafka.client.protocol import StaticHeartbeatRequest
from evkafka.kafka.consumer.coordinator import Member
from evkafka.kafka.consumer.fetcher import ContainedFetcher
from evkafka.kafka.consumer.groupless import Groupless
from evkafka.kafka.options import consumer_options
from evkafka.runtime.leader_epochs import LeaderEpochs
from evkafka.runtime.subscription import TopicPattern

LEAST_SILENCE_S = 5.0


class Subscriptions(SubscriptionState):
    @property
    def fetcher_idle_time(self) -> float:
        """(b, c) Never idle: one cancelled poll stops this clock for good, and a member that it expels for want of
        records can never join again. The engine's own watchdog looks after polls."""
        return 0.0


class ContainedConsumer(AIOKafkaConsumer):
    """One member, or one groupless reader. `open` takes the place of aiokafka's `start`, which waits for the join."""

    _closed = True  # until it is made: aiokafka's __del__ trips over a constructor that raised

    def __init__(self, settings: ConsumerSettings, *, on_failure: Callable[[BrokerError], object]) -> None:
        options = consumer_options(settings)
        try:
            super().__init__(**options)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the Kafka client does not take these settings: {error}") from error
        self._settings = settings
        self._on_failure = on_failure
        self._subscription = Subscriptions()
        self._topics_at_start: frozenset[str] | None = None
        join_s = options["request_timeout_ms"] / 1000
        heartbeat_s = settings.session_timeout_s
        # A broker answers a fetch after `fetch_max_wait_ms` at the latest, with nothing if need be: a silence as long
        # as a session is a connection that somebody on the way has forgotten, and nobody would ever close.
        fetch_s = self._fetch_max_wait_ms / 1000 + max(settings.session_timeout_s, LEAST_SILENCE_S)
        self._client = Client(
            allow_auto_create_topics=settings.allow_auto_create_topics,
            answer_within_s={
                JoinGroupRequest: join_s,
                SyncGroupRequest: join_s,
                HeartbeatRequest: heartbeat_s,
                StaticHeartbeatRequest: heartbeat_s,
                FetchRequest: fetch_s,
            },
            **options,
        )
        self._client.on_refused = on_failure

    @property
    def client(self) -> Client:
        return self._client

    @property
    def fetching(self) -> ContainedFetcher:
        return self._fetcher

    @property
    def coordinator(self) -> Member | Groupless:
        return self._coordinator

    async def open(self, listener: Any, *, first: tuple[str, int]) -> None:
        """Metadata, subscription, and the tasks that fetch and keep the membership. Does not wait for the join.

        Raises:
            BrokerUnavailable, KafkaError: no metadata.
        """
        settings, client, subscription = self._settings, self._client, self._subscription
        client.first = first
        if settings.topic_pattern is not None:
            subscription.subscribe_pattern(TopicPattern.of(settings), listener=listener)
        else:
            topics = {topic.name for topic in settings.topics}
            subscription.subscribe(topics, listener=listener)
            client.set_topics(topics)
        try:
            await client.bootstrap()
        except kafka.KafkaConnectionError as error:
            raise BrokerUnavailable(f"{first[0]}:{first[1]} let us in a moment ago, and does no longer") from error
        # Bootstrap servers may answer where the brokers that they name (advertised.listeners) do not.
        while not await client.force_metadata_update():  # noqa: ASYNC110  # no event says when it is worth another try
            await asyncio.sleep(self._retry_backoff_ms / 1000)
        epochs = LeaderEpochs()
        self._coordinator = self._make_coordinator(listener, epochs)
        self._fetcher = ContainedFetcher(
            client,
            subscription,
            committed=self._coordinator.committed,
            epochs=epochs,
            is_new=self._is_new,
            reset=settings.auto_offset_reset,
            most_unpacked=settings.max_decompressed_bytes,
            on_failure=self._on_failure,
            fetch_min_bytes=self._fetch_min_bytes,
            fetch_max_bytes=self._fetch_max_bytes,
            fetch_max_wait_ms=self._fetch_max_wait_ms,
            max_partition_fetch_bytes=self._max_partition_fetch_bytes,
            check_crcs=self._check_crcs,
            fetcher_timeout=self._consumer_timeout,
            retry_backoff_ms=self._retry_backoff_ms,
            isolation_level=self._isolation_level,
            client_rack=self._client_rack,
        )

    def joined(self) -> None:
        """The listener knows an assignment. What exists at the first one was there when we started."""
        if self._topics_at_start is None:
            exist = self._client.cluster.partitions_for_topic
            self._topics_at_start = frozenset(topic for topic in self._subscription.topics if exist(topic))

    def _is_new(self, tp: Any) -> bool:
        """Whether a partition without a commit appeared after the group's start: the group had commits of its topic
        before we joined, or the topic itself was not there when we did."""
        started_without = self._topics_at_start is not None and tp.topic not in self._topics_at_start
        return started_without or tp.topic in self._coordinator.topics_before

    def _make_coordinator(self, listener: Any, epochs: LeaderEpochs) -> Member | Groupless:
        if self._group_id is None:
            return Groupless(
                self._client,
                self._subscription,
                listener=listener,
                exclude_internal_topics=self._exclude_internal_topics,
            )
        return Member(
            self._client,
            self._subscription,
            remembers=self._settings.auto_offset_reset != "none",
            epochs=epochs,
            on_failure=self._on_failure,
            group_id=self._group_id,
            group_instance_id=self._group_instance_id,
            heartbeat_interval_ms=self._heartbeat_interval_ms,
            session_timeout_ms=self._session_timeout_ms,
            retry_backoff_ms=self._retry_backoff_ms,
            enable_auto_commit=self._enable_auto_commit,
            auto_commit_interval_ms=self._auto_commit_interval_ms,
            assignors=self._partition_assignment_strategy,
            exclude_internal_topics=self._exclude_internal_topics,
            rebalance_timeout_ms=self._rebalance_timeout_ms,
            max_poll_interval_ms=self._max_poll_interval_ms,
        )
