"""Dead letters: a record that its policy gives up is written to another topic, byte for byte, and confirmed,
before its offset may be committed. So is what goes to a retry topic."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from evkafka.config import dead_letter_producer_settings, dead_letter_topic, retry_topic
from evkafka.config.settings import ConsumerSettings, ErrorPolicySettings, ProducerSettings
from evkafka.exceptions import ConfigError, EVKafkaError, RecordRefused, RecordTooLarge
from evkafka.records import Record, Unreadable
from evkafka.runtime.backoff import exponential
from evkafka.runtime.clock import sleep, wait_any, within
from evkafka.runtime.dead_letters.headers import (
    SHORTER,
    FailureInfo,
    Headers,
    dead_letter_headers,
    dead_letter_id,
    unreadable_origin,
)
from evkafka.runtime.dead_letters.replay_signature import ReplaySignatures
from evkafka.runtime.dead_letters.retry_topics import MESSAGE_BYTES, Origin, RetryTopics, retry_headers
from evkafka.runtime.dead_letters.topic_ids import TopicIncarnations
from evkafka.runtime.interfaces import WriteFailed
from evkafka.runtime.ports import Clock, Cluster, RecordSink, Route, Slot
from evkafka.runtime.settle import SendToDeadLetter, SendToRetryTopic, StopApp, address_of
from evkafka.runtime.subscription import UNMATCHED, UNREADABLE

logger = logging.getLogger("evkafka.dead_letters")

SEND_TIMEOUT_S = 30.0
LOOK_UP_S = 10.0
LOOK_AGAIN_S = 3.0
"""Without a confirmation for so long, it is looked whether the topic is still there."""

BEST_EFFORT_TRIES = 3


class TopicChanged(EVKafkaError):
    """A topic has other partitions than when a record was sent to it."""


def _unheard(topic: str, error: BaseException) -> None:
    """Nobody is told of a write that failed."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A record on its way to another topic.

    Attributes:
        what: how logs and errors call it.
        headers: makes its headers, by how often what they tell had to be cut for it to fit, up to `cuts` times.
        way_out: what to do where it fits even so not.
    """

    what: str
    record: Record
    way: _Way
    topic: str
    headers: Callable[[int], Awaitable[Headers]]
    cuts: int
    way_out: str


class DeadLetterWriter:
    """Writes one consumer's dead letters, and what is to come again later to its retry topics, through producers of
    its own: one for each connection that policies name.

    The group's id is in the topic's name, so that two services on one topic do not meet in one dead-letter topic.

    Args:
        policy_for: the error policy for an endpoint, already merged.
    """

    def __init__(
        self,
        settings: ConsumerSettings,
        *,
        policy_for: Callable[[Route | None], ErrorPolicySettings],
        cluster: Cluster,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._group_id = settings.group_id or "none"
        self._policy_for = policy_for
        self._cluster = cluster
        self._clock = clock
        # At most once the offset is on its way already: the letter is worth some tries, and no standstill.
        self._most_tries = BEST_EFFORT_TRIES if settings.auto_commit_mode == "pre-commit" else None
        self._incarnations = TopicIncarnations(cluster, clock, settings.connection)
        self._proofs = ReplaySignatures(cluster, clock)
        self._ways: list[_Way] = []
        # By the id of the `dead_letter_producer`: policies are merged once, and live as long as this.
        self._way_of: dict[int, _Way] = {}

    # ------------------------------------------------------------------ life

    async def prepare_retry_topics(self, retry_topics: RetryTopics) -> None:
        """Look up the retry topics, and make those that are absent, each with as many partitions as its source.

        Raises:
            BrokerError: a topic is absent and cannot be made.
        """
        if retry_topics:
            way = self._way(dataclasses.replace(self._settings.on_error, dead_letter_producer=None))
            await way.look_up({name: tier.source for name, tier in retry_topics.items()})

    async def prepare(self, policies: Mapping[Route | None, ErrorPolicySettings]) -> None:
        """Look up the topics that these policies may write to, and make those that are absent, each with as many
        partitions as its source. A topic whose name only a record completes is looked up when the first one comes.

        Raises:
            ConfigError: a name that Kafka would not take.
            BrokerError: a topic that is absent and cannot be made.
        """
        for route, policy in policies.items():
            if route is None and "{event_type}" in policy.dead_letter_topic:
                continue
            event_type = route.event_type if route is not None else ""
            wanted = {self._name(policy, topic.name, event_type): topic.name for topic in self._settings.topics}
            if wanted:
                await self._way(policy).look_up(wanted)

    async def stop(self, *, timeout_s: float) -> None:
        """Never raises; what is under way has been given up by then."""
        await asyncio.gather(*(way.stop(timeout_s=timeout_s) for way in self._ways))

    # ------------------------------------------------------------------ writing

    async def send_unreadable(self, unreadable: Unreadable, *, source: str | None = None) -> None:
        """Write a letter that names the address of what the client cannot read, with the same promises. Its value is
        null, and its one header beside the story says why.

        Args:
            source: the topic whose dead letters it joins; None for its own.

        Raises:
            StopApp: it has no topic.
        """
        record, policy = unreadable_origin(unreadable), self._policy_for(None)
        error = unreadable.error
        story = FailureInfo(self._group_id, None, 1, f"it cannot be read: {error!r}", error, datetime.now(UTC))
        try:
            topic = self._name(policy, source or record.topic, UNREADABLE)
        except ConfigError as fault:
            raise StopApp(f"{address_of(record)} has no dead-letter topic", fault) from fault
        await self._deliver(self._dead_letter(record, story, policy, topic))

    async def send_to_dead_letter(
        self, record: Record, slot: Slot, verdict: SendToDeadLetter, failed: WriteFailed = _unheard
    ) -> None:
        """Write the dead letter and wait for its confirmation; try again until it is written, never skip it.

        Raises:
            StopApp: it has no topic, or fits into none: the record cannot be given up, and stays uncommitted.
        """
        policy, story = self._policy_for(slot.route), self._story(slot, verdict)
        try:
            topic = self._name(policy, record.topic, story.event_type or UNMATCHED)
        except ConfigError as error:
            raise StopApp(f"{address_of(record)} has no dead-letter topic", error) from error
        await self._deliver(self._dead_letter(record, story, policy, topic), failed)

    def _dead_letter(self, record: Record, story: FailureInfo, policy: ErrorPolicySettings, topic: str) -> Letter:
        way = self._way(policy)

        async def headers(cuts: int) -> Headers:
            id_ = await self._id(record)
            replayed = await self._proofs.is_replay(record, topic, way.producer.connection)
            return dead_letter_headers(record, story, policy, id_=id_, replayed=replayed, shorter=cuts)

        return Letter(
            f"the dead letter of {address_of(record)}",
            record,
            way,
            topic,
            headers,
            len(SHORTER),
            "raise that topic's max.message.bytes, and max_request_size of `dead_letter_producer`",
        )

    async def send_to_retry_topic(
        self, record: Record, slot: Slot, verdict: SendToRetryTopic, failed: WriteFailed = _unheard
    ) -> None:
        """Write it to its retry topic, with the same promises. It stays in the cluster that it was read from.

        Raises:
            StopApp: it does not fit there.
        """
        policy, story = self._policy_for(slot.route), self._story(slot, verdict)

        async def headers(cuts: int) -> Headers:
            return retry_headers(record, story, id_=await self._id(record), shorter=cuts)

        await self._deliver(
            Letter(
                f"{address_of(record)}, to be retried,",
                record,
                self._way(dataclasses.replace(policy, dead_letter_producer=None)),
                retry_topic(record.topic, group_id=self._group_id, delay_ms=verdict.delay_ms),
                headers,
                len(MESSAGE_BYTES) - 1,
                "raise that topic's max.message.bytes",
            ),
            failed,
        )

    async def _id(self, record: Record) -> str:
        """The id of the record's letter. A record out of a retry topic brings the one that it got on the way there."""
        if isinstance(record, Origin) and record.id is not None:
            return record.id
        return dead_letter_id(self._group_id, record, await self._incarnations.of(record))

    def _story(self, slot: Slot, verdict: SendToDeadLetter | SendToRetryTopic) -> FailureInfo:
        event_type = slot.route.event_type if slot.route is not None else None
        attempts = slot.earlier + slot.attempt
        return FailureInfo(self._group_id, event_type, attempts, verdict.reason, verdict.error, datetime.now(UTC))

    async def _deliver(self, letter: Letter, failed: WriteFailed = _unheard) -> None:
        cuts = tries = 0
        while True:
            try:
                await self._write(letter, cuts)
                return
            except RecordTooLarge as error:
                if cuts == letter.cuts:
                    # The record itself is kept whole, or not given up.
                    sentence = f"{letter.what} does not fit into {letter.topic}: {letter.way_out}"
                    raise StopApp(sentence, error) from error
                cuts += 1
            except RecordRefused as error:
                raise StopApp(f"{letter.what} is not taken by {letter.topic}: {error}", error) from error
            except (EVKafkaError, TimeoutError) as error:
                tries += 1
                failed(letter.topic, error)
                letter.way.forget(letter.topic)
                if tries == self._most_tries:
                    logger.error("%s is lost: %s", letter.what, error)
                    return
                await self._wait(letter, tries, error)

    async def _write(self, letter: Letter, cuts: int) -> None:
        record, way = letter.record, letter.way
        partition = await way.partition(letter.topic, record)
        confirmed = await (await way.sink()).send(
            letter.topic,
            value=record.value,
            key=record.key,
            partition=partition,
            timestamp_ms=None,
            headers=await letter.headers(cuts),
        )
        try:
            if await wait_any(self._clock, confirmed, timeout_s=LOOK_AGAIN_S):
                await confirmed
                return
            # The topic may be another one by now. One that was deleted is made again, and the client sends on to it; of
            # one with fewer partitions the client would go on looking for a partition that is no more.
            if await self._changed(letter, partition):
                raise TopicChanged(f"{letter.topic} has other partitions than before")
            await within(self._clock, confirmed, SEND_TIMEOUT_S - LOOK_AGAIN_S)
        finally:
            if not confirmed.done():
                confirmed.cancel()

    async def _changed(self, letter: Letter, partition: int | None) -> bool:
        try:
            return await letter.way.changed(letter.topic, letter.record, partition)
        except EVKafkaError as error:
            logger.debug("whether %s has changed is not known: %s", letter.topic, error)  # the send itself will tell
            return False

    async def _wait(self, letter: Letter, tries: int, error: BaseException) -> None:
        wait_s = exponential(tries, first_s=0.5, multiplier=2, most_s=30, jitter=0, random=lambda: 0.5)
        logger.error(
            "%s could not be written to %s, trying again in %.1f s: %r", letter.what, letter.topic, wait_s, error
        )
        await sleep(self._clock, wait_s)

    # ------------------------------------------------------------------ names

    def _name(self, policy: ErrorPolicySettings, topic: str, event_type: str) -> str:
        return dead_letter_topic(policy, topic=topic, group_id=self._group_id, event_type=event_type)

    def _way(self, policy: ErrorPolicySettings) -> _Way:
        given = policy.dead_letter_producer
        way = self._way_of.get(id(given))
        if way is None:
            producer = dead_letter_producer_settings(self._settings, policy)
            way = next((known for known in self._ways if known.producer == producer), None)
            if way is None:
                way = _Way(producer, self._cluster)
                self._ways.append(way)
            self._way_of[id(given)] = way
        return way


class _Way:
    """One producer of dead letters, started with the first one, and what is known of its topics."""

    def __init__(self, producer: ProducerSettings, cluster: Cluster) -> None:
        self.producer = producer
        self._cluster = cluster
        self._sink: RecordSink | None = None
        self._partitions: dict[str, int] = {}
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def look_up(self, wanted: Mapping[str, str]) -> None:
        """Args:
        wanted: dead-letter topic -> the topic that it is made like.
        """
        counts = await self._cluster.ensure_topics(self.producer.connection, wanted, timeout_s=LOOK_UP_S)
        self._partitions.update(counts)

    async def sink(self) -> RecordSink:
        if self._sink is None:
            await self._once("", self._start)
        assert self._sink is not None
        return self._sink

    async def _start(self) -> None:
        sink = self._cluster.sink(self.producer)
        await sink.start()
        self._sink = sink

    async def partition(self, topic: str, record: Record) -> int | None:
        """The record's own, where the dead-letter topic has so many; else its key decides."""
        while topic not in self._partitions:  # another letter may have had it forgotten before this one goes on
            await self._once(topic, lambda: self.look_up({topic: record.topic}))
        return record.partition if record.partition < self._partitions[topic] else None

    async def changed(self, topic: str, record: Record, partition: int | None) -> bool:
        """Look the topic up again, and make it again where it is gone. Whether the record belongs elsewhere now."""
        self.forget(topic)
        return await self.partition(topic, record) != partition

    def forget(self, topic: str) -> None:
        """How many partitions it has is asked again: it may have been deleted, and made again with fewer."""
        self._partitions.pop(topic, None)

    async def _once(self, what: str, attempt: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """One attempt for all that wait for it, and its failure is told to all of them. In turns, each would learn only
        after the patience of all before it that nothing can be written.

        Args:
            what: the topic that is looked up; empty for the start of the producer.
        """
        task = self._under_way.get(what)
        if task is None:
            task = self._under_way[what] = asyncio.ensure_future(attempt())
            task.add_done_callback(partial(self._attempted, what))
        await asyncio.wait({task})
        await task

    def _attempted(self, what: str, task: asyncio.Task[None]) -> None:
        del self._under_way[what]
        # All that waited may have been cancelled: asyncio would then report an error that nobody has asked for.
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.debug("an attempt for %s failed: %s", what or "a producer of dead letters", error)

    async def stop(self, *, timeout_s: float) -> None:
        if under_way := set(self._under_way.values()):
            for task in under_way:
                task.cancel()
            await asyncio.wait(under_way, timeout=timeout_s)
        if self._sink is not None:
            await self._sink.stop(timeout_s=timeout_s)
