"""Writes dead letters, and records for retry topics. The write is confirmed before the record's offset may be
committed."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from evkafka.config import checked_dead_letter_topic_name, checked_retry_topic_name, dead_letter_producer_settings
from evkafka.config.settings import ConsumerSettings, ErrorPolicySettings
from evkafka.exceptions import ConfigError, EVKafkaError, RecordRefused, RecordTooLarge, StopApp
from evkafka.records import Record, Unreadable
from evkafka.runtime.backoff import exponential_delay_s
from evkafka.runtime.clock import sleep, wait_any, wait_for
from evkafka.runtime.dead_letters.headers import (
    REDUCED_BYTES,
    FailureInfo,
    Headers,
    build_dead_letter_id_from_address,
    dead_letter_headers,
    record_with_address_of_unreadable,
)
from evkafka.runtime.dead_letters.producers import DeadLetterProducer
from evkafka.runtime.dead_letters.replay_signature import ReplaySignatureVerifier
from evkafka.runtime.dead_letters.retry_topics import MESSAGE_BYTES, Origin, RetryTopics, retry_headers
from evkafka.runtime.dead_letters.topic_ids import TopicIncarnations
from evkafka.runtime.ports import Clock, Cluster, OutgoingRecord, RecordSink, Route, Slot, WriteFailed, WriteGivenUp
from evkafka.runtime.settle import SendToDeadLetter, SendToRetryTopic, address_of
from evkafka.runtime.topic_pattern import UNMATCHED, UNREADABLE
from evkafka.runtime.transaction_scope import TransactionScope

logger = logging.getLogger("evkafka.dead_letters")

SEND_TIMEOUT_S = 30.0
LOOK_AGAIN_S = 3.0
"""After so long without a confirmation, the topic is looked up again: it may have been deleted."""

BEST_EFFORT_TRIES = 3


class TopicChanged(EVKafkaError):
    """A topic has other partitions than when a record was sent to it."""


def _ignore_failed_write(topic: str, error: BaseException) -> None:
    pass


@dataclass(frozen=True, slots=True)
class TopicWrite:
    """A record on its way to another topic.

    Attributes:
        name: identifies it in logs and errors.
        headers: creates its headers; the argument says how many times the failure must be shortened, because the record
            did not fit into the topic.
        reductions: how many times it can be shortened.
        advice: what an operator can do if it does not fit even then.
    """

    name: str
    record: Record
    producer: DeadLetterProducer
    topic: str
    headers: Callable[[int], Awaitable[Headers]]
    reductions: int
    advice: str


class DeadLetterWriter:
    """Writes the dead letters of one consumer, and its records for retry topics, through producers of its own: one for
    each connection that its policies name.

    The topic's name contains the group's id, so that two services that read one topic do not share a dead-letter topic.

    Args:
        policy_for: returns the merged error policy of an endpoint.
        transaction_scope: of an exactly-once consumer: what goes to its own cluster is written by the transaction that
            commits the record.
    """

    def __init__(
        self,
        settings: ConsumerSettings,
        *,
        policy_for: Callable[[Route | None], ErrorPolicySettings],
        cluster: Cluster,
        clock: Clock,
        transaction_scope: TransactionScope | None = None,
    ) -> None:
        self._settings = settings
        self._scope = transaction_scope
        self._group_id = settings.group_id or "none"
        self._policy_for = policy_for
        self._cluster = cluster
        self._clock = clock
        # With pre-commit the offset is already being committed: the dead letter is tried a few times and blocks
        # nothing.
        self._most_tries = BEST_EFFORT_TRIES if settings.at_most_once else None
        self._incarnations = TopicIncarnations(cluster, clock, settings.connection)
        self._signatures = ReplaySignatureVerifier(cluster, clock)
        self._producers: list[DeadLetterProducer] = []
        # By the id of the `dead_letter_producer`: policies are merged once, and live as long as this.
        self._producer_of: dict[int, DeadLetterProducer] = {}

    # ------------------------------------------------------------------ life

    async def prepare_retry_topics(self, retry_topics: RetryTopics) -> None:
        """Look up the retry topics, and create those that do not exist, each with as many partitions as its source.

        Raises:
            BrokerError: a topic does not exist and cannot be created.
        """
        if retry_topics:
            producer = self._producer_for_policy(
                dataclasses.replace(self._settings.on_error, dead_letter_producer=None)
            )
            await producer.look_up_or_create_topics(
                {name: retry_topic.source for name, retry_topic in retry_topics.items()}
            )

    async def prepare_dead_letter_topics(self, policies: Mapping[Route | None, ErrorPolicySettings]) -> None:
        """Look up the topics that these policies may write to, and create those that do not exist, each with as many
        partitions as its source. A topic whose name depends on the record is looked up for its first dead letter.

        Raises:
            ConfigError: Kafka does not accept a name.
            BrokerError: a topic does not exist and cannot be created.
        """
        for route, policy in policies.items():
            if route is None and "{event_type}" in policy.dead_letter_topic:
                continue
            event_type = route.event_type if route is not None else ""
            wanted = {
                self._dead_letter_topic(policy, topic.name, event_type): topic.name for topic in self._settings.topics
            }
            if wanted:
                await self._producer_for_policy(policy).look_up_or_create_topics(wanted)

    async def stop(self, *, timeout_s: float) -> None:
        """Close the producers. Never raises. All writes have been cancelled before this is called."""
        await asyncio.gather(*(producer.stop(timeout_s=timeout_s) for producer in self._producers))

    # ------------------------------------------------------------------ writing

    async def send_dead_letter_of_unreadable(
        self, unreadable: Unreadable, *, source: str | None = None
    ) -> Sequence[OutgoingRecord]:
        """Write a dead letter for a record that the client cannot read, with the same promises. It has the address of
        the record and the error, and no value.

        Args:
            source: the topic whose dead letters it joins; None for its own.

        Raises:
            StopApp: its dead-letter topic has an illegal name.
        """
        record, policy = record_with_address_of_unreadable(unreadable), self._policy_for(None)
        error = unreadable.error
        failure = FailureInfo(self._group_id, None, 1, f"the record cannot be read: {error!r}", error, self._now())
        return await self._write_until_confirmed(
            self._create_dead_letter_write(record, failure, policy, source or record.topic, UNREADABLE)
        )

    async def send_to_dead_letter(
        self, record: Record, slot: Slot, verdict: SendToDeadLetter, failed: WriteFailed = _ignore_failed_write
    ) -> Sequence[OutgoingRecord]:
        """Write the dead letter and wait for its confirmation. Failed writes are repeated until one is confirmed.

        Raises:
            StopApp: its topic has an illegal name, or it does not fit into the topic. The record stays uncommitted.
        """
        policy, failure = self._policy_for(slot.route), self._failure_info(slot, verdict)
        write = self._create_dead_letter_write(record, failure, policy, record.topic, failure.event_type or UNMATCHED)
        return await self._write_until_confirmed(write, failed)

    def _create_dead_letter_write(
        self, record: Record, failure: FailureInfo, policy: ErrorPolicySettings, source: str, event_type: str
    ) -> TopicWrite:
        """The write of a dead letter.

        Args:
            source: the topic whose dead letters it joins.

        Raises:
            StopApp: its topic has an illegal name.
        """
        try:
            topic = self._dead_letter_topic(policy, source, event_type)
        except ConfigError as error:
            raise StopApp(f"{address_of(record)} has no dead-letter topic", error) from error
        producer = self._producer_for_policy(policy)

        async def headers(reduced: int) -> Headers:
            id_ = await self._dead_letter_id(record)
            replayed = await self._signatures.is_replay(record, topic, producer.settings.connection)
            return dead_letter_headers(record, failure, policy, id_=id_, replayed=replayed, reduced=reduced)

        return TopicWrite(
            f"the dead letter of {address_of(record)}",
            record,
            producer,
            topic,
            headers,
            len(REDUCED_BYTES),
            "raise that topic's max.message.bytes, and max_request_size of `dead_letter_producer`",
        )

    async def send_to_retry_topic(
        self, record: Record, slot: Slot, verdict: SendToRetryTopic, failed: WriteFailed = _ignore_failed_write
    ) -> Sequence[OutgoingRecord]:
        """Write the record to its retry topic, with the same promises. It stays in the cluster that it was read from.

        Raises:
            StopApp: it does not fit into the topic.
        """
        policy, failure = self._policy_for(slot.route), self._failure_info(slot, verdict)

        async def headers(reduced: int) -> Headers:
            return retry_headers(record, failure, id_=await self._dead_letter_id(record), reduced=reduced)

        return await self._write_until_confirmed(
            TopicWrite(
                address_of(record),
                record,
                self._producer_for_policy(dataclasses.replace(policy, dead_letter_producer=None)),
                checked_retry_topic_name(record.topic, group_id=self._group_id, delay_ms=verdict.delay_ms),
                headers,
                len(MESSAGE_BYTES) - 1,
                "raise that topic's max.message.bytes",
            ),
            failed,
        )

    async def _dead_letter_id(self, record: Record) -> str:
        """The id of the record's dead letter. A delayed record has had one since it was written to a retry topic."""
        if isinstance(record, Origin) and record.id is not None:
            return record.id
        return build_dead_letter_id_from_address(
            self._group_id, record, await self._incarnations.incarnation_of(record)
        )

    def _failure_info(self, slot: Slot, verdict: SendToDeadLetter | SendToRetryTopic) -> FailureInfo:
        event_type = slot.route.event_type if slot.route is not None else None
        attempts = slot.earlier + slot.attempt
        return FailureInfo(self._group_id, event_type, attempts, verdict.reason, verdict.error, self._now())

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.timestamp_ms() / 1000, UTC)

    async def _write_until_confirmed(
        self, write: TopicWrite, failed: WriteFailed = _ignore_failed_write
    ) -> Sequence[OutgoingRecord]:
        """Write it; returns what the transaction that commits the record is to write instead."""
        reduced = tries = 0
        while True:
            try:
                return await self._write_once(write, reduced)
            except RecordTooLarge as error:
                if reduced == write.reductions:
                    # Key, value and own headers are written as a whole, or not at all.
                    sentence = f"{write.name} does not fit into {write.topic}: {write.advice}"
                    raise StopApp(sentence, error) from error
                reduced += 1
            except RecordRefused as error:
                raise StopApp(f"{write.topic} refuses {write.name}: {error}", error) from error
            except (EVKafkaError, TimeoutError) as error:
                tries += 1
                failed(write.topic, error)
                write.producer.forget_partition_count(write.topic)
                if tries == self._most_tries:
                    logger.error("could not write %s, it is lost: %s", write.name, error)
                    raise WriteGivenUp(write.name) from error
                await self._wait_before_retry(write, tries, error)

    async def _write_once(self, write: TopicWrite, reduced: int) -> Sequence[OutgoingRecord]:
        record, producer = write.record, write.producer
        partition = await producer.choose_partition(write.topic, record)
        sink, headers = await producer.start_sink_once(), await write.headers(reduced)
        address = address_of(record)
        outgoing = OutgoingRecord(write.topic, record.value, record.key, partition, headers=headers, sent_at=address)
        if self._scope is not None and await self._scope.is_connection_to_own_cluster(producer.settings.connection):
            placed = await sink.with_chosen_partition(outgoing, timeout_s=SEND_TIMEOUT_S)
            self._scope.check_record_not_refused(placed, (address,), sink)
            return (placed,)
        await self._write_outside_transaction(write, sink, outgoing)
        return ()

    async def _write_outside_transaction(self, write: TopicWrite, sink: RecordSink, outgoing: OutgoingRecord) -> None:
        confirmed = await sink.queue_record(outgoing)
        try:
            if await wait_any(self._clock, confirmed, timeout_s=LOOK_AGAIN_S):
                await confirmed
                return
            # The topic may have been deleted. It is created again, and the client sends to the new one. If the new one
            # has fewer partitions, the client would wait for a partition that does not exist.
            if await self._refresh_and_check_if_record_moves(write, outgoing.partition):
                raise TopicChanged(f"{write.topic} has a different number of partitions than before")
            await wait_for(self._clock, confirmed, SEND_TIMEOUT_S - LOOK_AGAIN_S)
        finally:
            if not confirmed.done():
                confirmed.cancel()

    async def _refresh_and_check_if_record_moves(self, write: TopicWrite, partition: int | None) -> bool:
        try:
            return await write.producer.refresh_and_check_if_record_moves(write.topic, write.record, partition)
        except EVKafkaError as error:
            logger.debug(
                "cannot find out whether topic %s has changed: %s", write.topic, error
            )  # the send itself will fail
            return False

    async def _wait_before_retry(self, write: TopicWrite, tries: int, error: BaseException) -> None:
        wait_s = exponential_delay_s(tries, first_s=0.5, multiplier=2, most_s=30, jitter=0, random=lambda: 0.5)
        logger.error("could not write %s to %s, trying again in %.1f s: %r", write.name, write.topic, wait_s, error)
        await sleep(self._clock, wait_s)

    # ------------------------------------------------------------------ topics and producers

    def _dead_letter_topic(self, policy: ErrorPolicySettings, topic: str, event_type: str) -> str:
        return checked_dead_letter_topic_name(policy, topic=topic, group_id=self._group_id, event_type=event_type)

    def _producer_for_policy(self, policy: ErrorPolicySettings) -> DeadLetterProducer:
        config = policy.dead_letter_producer
        producer = self._producer_of.get(id(config))
        if producer is None:
            settings = dead_letter_producer_settings(self._settings, policy)
            producer = next((one for one in self._producers if one.settings == settings), None)
            if producer is None:
                producer = DeadLetterProducer(settings, self._cluster)
                self._producers.append(producer)
            self._producer_of[id(config)] = producer
        return producer
