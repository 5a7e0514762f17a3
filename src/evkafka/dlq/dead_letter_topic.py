"""A dead-letter topic with its state topic: which dead letters it has, and which of them are open."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from evkafka.config.settings import ConnectionSettings
from evkafka.dlq.dead_letter import (
    DeadLetterFilter,
    DeadLetterPosition,
    DeadLetterRecord,
    OffsetRanges,
    ranges_covering,
    read_dead_letter,
)
from evkafka.dlq.state_topic import ReplayState, Status
from evkafka.exceptions import ConfigError
from evkafka.kafka.admin.groups import offset_bounds_of_topics
from evkafka.kafka.admin.topic_reader import for_each_record_of_topic, stream_topic
from evkafka.kafka.admin.topics import all_topic_shapes, settings_of_topic
from evkafka.runtime.dead_letters.replay_signature import state_topic

BATCH_MAX_BYTES = 4 * 1024 * 1024
READ_STATE_TIMEOUT_S = 600.0

EXACT_COUNT_MAX = 20_000
"""If a topic has more records than this, its open dead letters are not counted one by one."""


@dataclass(frozen=True, slots=True)
class SelectedDeadLetters:
    """The open dead letters that match a filter.

    Attributes:
        dead_letters: by position, in the order of the topic, without their content; not more than the limit.
        open: how many match, including those over the limit.
    """

    dead_letters: Mapping[DeadLetterPosition, DeadLetterRecord]
    open: int


class DeadLetterTopic:
    """Reads one dead-letter topic.

    Args:
        type_header: the header with the event type, for dead letters that do not have their own header for it.

    Raises (all methods):
        ConfigError: the topic does not exist.
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster failed.
    """

    def __init__(self, connection: ConnectionSettings, name: str, *, type_header: str = "Event-Type") -> None:
        self.connection = connection
        self.name = name
        self.state_topic = state_topic(name)
        self._type_header = type_header

    async def read(
        self, wanted: DeadLetterFilter, *, closed: bool = False
    ) -> AsyncGenerator[tuple[DeadLetterRecord, Status]]:
        """Yield the dead letters in the order of the topic, one partition after the other.

        If you stop early, close the generator (`contextlib.aclosing`).

        Args:
            closed: also yield those that were replayed or dropped.
        """
        await self.check_topic_exists()
        state = await self.read_replay_state()
        async with aclosing(self._read_ranges(wanted.offset_ranges())) as stream:
            async for dead_letter in stream:
                status = state.status_of(dead_letter)
                if (closed or status == "open") and wanted.matches(dead_letter):
                    yield dead_letter, status

    async def select(self, wanted: DeadLetterFilter, *, limit: int | None = None) -> SelectedDeadLetters:
        """The open dead letters that match."""
        await self.check_topic_exists()
        return await self.select_using_given_state(wanted, await self.read_replay_state(), limit)

    async def newest_ranges(self, most: int, before: OffsetRanges | None = None) -> tuple[OffsetRanges, int]:
        """The newest part of each partition: together no more than `most` offsets, and how many older ones there are.

        Each partition has the same share of its records in it.

        Args:
            before: a part that was returned earlier: the newest part before that one.
        """
        bounds = await offset_bounds_of_topics(self.connection, [self.name])
        whole = {at.partition: range(bound.first, bound.end) for at, bound in bounds.items()}
        if before is not None:
            whole = {
                number: range(all_.start, before[number].start) for number, all_ in whole.items() if number in before
            }
        records = sum(map(len, whole.values()))
        if records <= most:
            return whole, 0
        newest = {number: all_[len(all_) - len(all_) * most // records :] for number, all_ in whole.items()}
        return newest, records - sum(map(len, newest.values()))

    async def count_open(self, before: tuple[object, int] | None = None) -> tuple[object, int]:
        """Count the open dead letters.

        In a topic of more than `EXACT_COUNT_MAX` records, the closed ones are subtracted from their number. A mark of
        the old format has no position and then counts as one closed dead letter.

        Args:
            before: an earlier result. It is returned again if the topics have not changed since.

        Returns:
            The version of the topics, and the number. The version is None if the topic does not exist.
        """
        existing = await all_topic_shapes(self.connection)
        if self.name not in existing:
            return None, 0
        bounds = await offset_bounds_of_topics(
            self.connection, [name for name in (self.name, self.state_topic) if name in existing]
        )
        if before is not None and before[0] == bounds:
            return before
        partitions = {at.partition: bound for at, bound in bounds.items() if at.topic == self.name}
        number = sum(bound.end - bound.first for bound in partitions.values())
        if not number:
            return bounds, 0
        if number <= EXACT_COUNT_MAX:
            return bounds, (await self.select(DeadLetterFilter(), limit=0)).open
        return bounds, max(number - (await self.read_replay_state()).count_closed(partitions), 0)

    async def select_using_given_state(
        self, wanted: DeadLetterFilter, state: ReplayState, limit: int | None
    ) -> SelectedDeadLetters:
        """As `select`, with a state that was read before."""
        selected: dict[DeadLetterPosition, DeadLetterRecord] = {}
        matching = 0
        async with aclosing(self._read_ranges(wanted.offset_ranges())) as stream:
            async for dead_letter in stream:
                if state.status_of(dead_letter) != "open" or not wanted.matches(dead_letter):
                    continue
                matching += 1
                if limit is None or len(selected) < limit:
                    selected[dead_letter.position] = dead_letter.copy_without_content()
        return SelectedDeadLetters(selected, matching)

    async def read_in_batches(
        self, selected: Collection[DeadLetterPosition], max_records: int
    ) -> AsyncIterator[list[DeadLetterRecord]]:
        """Read the selected dead letters again, with their content, in batches."""
        batch: list[DeadLetterRecord] = []
        size, left = 0, len(selected)
        if not selected:
            return
        async with aclosing(self._read_ranges(ranges_covering(selected))) as stream:
            async for dead_letter in stream:
                if dead_letter.position not in selected:
                    continue
                batch.append(dead_letter)
                size, left = size + len(dead_letter.record.value or b""), left - 1
                if len(batch) == max_records or size >= BATCH_MAX_BYTES or not left:
                    yield batch
                    batch, size = [], 0
                if not left:
                    return
        if batch:
            yield batch

    async def read_replay_state(self) -> ReplayState:
        """Read the state topic; empty if it does not exist."""
        state = ReplayState()
        if await settings_of_topic(self.connection, self.state_topic):
            await for_each_record_of_topic(
                self.connection, self.state_topic, state.apply, timeout_s=READ_STATE_TIMEOUT_S
            )
        return state

    async def check_topic_exists(self) -> None:
        """
        Raises:
            ConfigError: the topic does not exist.
        """
        if not await settings_of_topic(self.connection, self.name):
            servers = ",".join(self.connection.bootstrap_servers)
            raise ConfigError(f"topic {self.name!r} does not exist at {servers}")

    async def _read_ranges(self, ranges: OffsetRanges | None) -> AsyncGenerator[DeadLetterRecord]:
        async with aclosing(stream_topic(self.connection, self.name, ranges)) as log:
            async for records in log:
                for record in records:
                    yield read_dead_letter(record, type_header=self._type_header)
