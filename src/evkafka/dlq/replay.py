"""Replay and discard dead letters: send them to a topic again, or handle them in this process, and mark them as closed.

It is safe to stop at any point: a record and its mark are written in one transaction. The dead-letter topic's name is
the transactional id, so a run that starts later fences the earlier one, which ends at its next transaction with
`TakenOver`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from evkafka.config.error_policy import topic_fault
from evkafka.dlq.dead_letter import DeadLetterFilter, DeadLetterPosition, DeadLetterRecord, replayed_headers
from evkafka.dlq.dead_letter_topic import DeadLetterTopic
from evkafka.dlq.state_topic import ClosedStatus, create_closing_mark
from evkafka.dlq.targets import Target, TargetTopics
from evkafka.exceptions import ConfigError, EVKafkaError
from evkafka.kafka.admin.topics import create_compacted_topic_if_absent
from evkafka.kafka.producer.transaction_errors import ProducerFenced
from evkafka.kafka.producer.transactional_writer import TransactionalWriter
from evkafka.runtime.dead_letters.headers import SIGNATURE
from evkafka.runtime.dead_letters.replay_signature import (
    KEY_BYTES,
    SIGNING_KEY,
    encode_signing_key_as_record_value,
    sign_replay,
)
from evkafka.runtime.ports import OutgoingRecord

BATCH_MAX_RECORDS = 100
"""Most dead letters in one transaction."""


class TakenOver(EVKafkaError):
    """Another replay or discard of the same dead-letter topic has started, so this one ended. Nothing is done twice."""


LocalHandler = Callable[[DeadLetterRecord], Awaitable[str | None]]
"""Handles one record again in this process. Returns None if it succeeded, otherwise the reason."""

DryRunCheck = Callable[[DeadLetterRecord], str | None]
"""Returns why an attempt would fail before its endpoint is called, or None. Runs nothing."""

Progress = Callable[[int, int], object]
"""Called with the number of dead letters processed so far, and the number selected."""


@dataclass(frozen=True, slots=True)
class ReplayFailure:
    """A dead letter that could not be replayed, and stays open."""

    dead_letter: DeadLetterRecord
    reason: str


@dataclass(slots=True)
class ReplayReport:
    """What a replay or discard has done so far.

    Attributes:
        chosen: how many dead letters were selected.
        done: how many of them are marked as closed now.
    """

    chosen: int = 0
    done: int = 0
    failed: list[ReplayFailure] = field(default_factory=list)

    @property
    def processed(self) -> int:
        return self.done + len(self.failed)

    def add_failure(self, dead_letter: DeadLetterRecord, reason: str) -> None:
        self.failed.append(ReplayFailure(dead_letter.copy_without_content(), reason))

    def __str__(self) -> str:
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"{self.done} of {self.chosen} done{failed}"


@dataclass(frozen=True, slots=True)
class ReplayDryRun:
    """What a replay would do.

    Attributes:
        results: each dead letter, and why it would be refused or could not be tried; None if no reason is known.
        open: how many dead letters match the filter, including those over the limit.
    """

    results: Sequence[tuple[DeadLetterRecord, str | None]]
    open: int


def ignore_progress(done: int, total: int) -> None:
    """The default for `progress`."""


async def dry_run_replay(
    topic: DeadLetterTopic,
    to: Target | DryRunCheck,
    wanted: DeadLetterFilter,
    *,
    limit: int | None = None,
    force: bool = False,
) -> ReplayDryRun:
    """Predict what `replay_dead_letters` would do. Sends nothing, calls no endpoint, marks nothing.

    Args:
        to: the target of the replay; or the check that replaces a local handler.
    """
    selected = await topic.select(wanted, limit=limit)
    reasons: dict[DeadLetterPosition, str | None] = dict.fromkeys(selected.dead_letters)
    targets = _create_target_topics(topic, to, force=force)
    await targets.check_targets()
    async for batch in topic.read_in_batches(selected.dead_letters, BATCH_MAX_RECORDS):
        for dead_letter in batch:
            reason = await targets.replay_refusal_reason(dead_letter)
            if reason is None and not isinstance(to, Target):
                reason = to(dead_letter)
            reasons[dead_letter.position] = reason
    results = [(dead_letter, reasons[position]) for position, dead_letter in selected.dead_letters.items()]
    return ReplayDryRun(results, selected.open)


async def replay_dead_letters(
    topic: DeadLetterTopic,
    to: Target | LocalHandler,
    wanted: DeadLetterFilter,
    *,
    limit: int | None = None,
    rate: float | None = None,
    force: bool = False,
    progress: Progress = ignore_progress,
    report: ReplayReport | None = None,
) -> ReplayReport:
    """Send the open dead letters to a topic again, or handle them in this process, and mark them as replayed.

    One that cannot be sent or handled stays open and does not stop the others. Sending to a topic is exactly once for
    readers of committed records. Handling is at least once: if the process is killed during an attempt, the record is
    handled again by the next replay.

    Args:
        limit: most dead letters.
        rate: most dead letters per second; None does not limit the rate.
        force: also send to a compacted topic, where an old value may replace a newer one of the same key.
        report: updated after each transaction, and returned. Pass one to know what was done before an error.

    Raises:
        ConfigError: the topic to send to does not exist, or is compacted and `force` is False.
        TakenOver: another replay or discard of this topic has started.
    """
    report = report if report is not None else ReplayReport()
    async with _open_transactional_writer(topic) as transactions:
        targets = _create_target_topics(topic, to, force=force)
        await targets.check_targets()
        state = await topic.read_replay_state()
        selected = (await topic.select_using_given_state(wanted, state, limit)).dead_letters
        report.chosen = len(selected)
        replayer: _SendToTopic | _HandleLocally
        if isinstance(to, Target):
            replayer = _SendToTopic(transactions, topic.state_topic, state.signing_key, targets)
            batch_size = BATCH_MAX_RECORDS if rate is None else max(1, min(BATCH_MAX_RECORDS, int(rate)))
        else:
            replayer, batch_size = _HandleLocally(transactions, topic.state_topic, to, targets), 1
        limiter = _RateLimiter(rate)
        async for batch in topic.read_in_batches(selected, batch_size):
            await limiter.wait_for_turn(len(batch))
            await replayer.replay_batch(batch, report)
            progress(report.processed, report.chosen)
    return report


async def drop_dead_letters(
    topic: DeadLetterTopic,
    wanted: DeadLetterFilter,
    *,
    limit: int | None = None,
    progress: Progress = ignore_progress,
    report: ReplayReport | None = None,
) -> ReplayReport:
    """Mark the open dead letters as dropped: no replay takes them any more. They stay in the topic for its retention.

    Args:
        report: updated after each transaction, and returned.

    Raises:
        TakenOver: another replay or discard of this topic has started.
    """
    report = report if report is not None else ReplayReport()
    async with _open_transactional_writer(topic) as transactions:
        selected = await topic.select_using_given_state(wanted, await topic.read_replay_state(), limit)
        dead_letters = list(selected.dead_letters.values())
        report.chosen = len(dead_letters)
        for first in range(0, len(dead_letters), BATCH_MAX_RECORDS):
            batch = dead_letters[first : first + BATCH_MAX_RECORDS]
            await transactions.write_records_in_one_transaction(
                [_create_closing_mark_record(topic.state_topic, dead_letter, "dropped") for dead_letter in batch]
            )
            report.done += len(batch)
            progress(report.done, report.chosen)
    return report


def _create_target_topics(topic: DeadLetterTopic, to: object, *, force: bool) -> TargetTopics:
    return TargetTopics(topic.connection, topic.name, to if isinstance(to, Target) else None, force=force)


@asynccontextmanager
async def _open_transactional_writer(topic: DeadLetterTopic) -> AsyncIterator[TransactionalWriter]:
    """Create the state topic if needed, and fence an earlier run before its marks are read.

    Raises:
        ConfigError: there is no such dead-letter topic, or its state topic cannot be used.
        TakenOver: a later run has fenced this one.
    """
    await topic.check_topic_exists()
    state = topic.state_topic
    if fault := topic_fault(state):
        raise ConfigError(f"the state of the dead letters would be recorded in topic {state!r}, but {fault}")
    settings = await create_compacted_topic_if_absent(topic.connection, state, like=topic.name)
    if "compact" not in settings.get("cleanup.policy", ""):
        raise ConfigError(
            f"topic {state!r} is not compacted, so its records would be lost: kafka-configs.sh --alter --entity-type"
            f" topics --entity-name {state} --add-config cleanup.policy=compact"
        )
    async with TransactionalWriter(topic.connection, topic.name) as transactions:
        try:
            yield transactions
        except ProducerFenced as error:
            raise TakenOver(
                f"another replay or discard of {topic.name!r} has started, so this one has stopped; what it completed"
                " is recorded"
            ) from error


def _create_closing_mark_record(
    state_topic: str, dead_letter: DeadLetterRecord, status: ClosedStatus
) -> OutgoingRecord:
    value = create_closing_mark(dead_letter, status).as_bytes()
    return OutgoingRecord(state_topic, value, str(dead_letter.position).encode(), partition=0)


class _SendToTopic:
    """Sends dead letters and their marks, in one transaction for each batch.

    Args:
        key: the key that signs replayed records; None creates one, and writes it to the state topic.
    """

    def __init__(
        self, transactions: TransactionalWriter, state_topic: str, key: bytes | None, targets: TargetTopics
    ) -> None:
        self._transactions = transactions
        self._state_topic = state_topic
        self._key_is_new = key is None
        self._key = key or secrets.token_bytes(KEY_BYTES)
        self._targets = targets

    async def replay_batch(self, dead_letters: Sequence[DeadLetterRecord], report: ReplayReport) -> None:
        records: list[OutgoingRecord] = []
        sent = 0
        for dead_letter in dead_letters:
            if reason := await self._targets.replay_refusal_reason(dead_letter):
                report.add_failure(dead_letter, reason)
            else:
                records += (
                    self._create_replay_record(dead_letter),
                    _create_closing_mark_record(self._state_topic, dead_letter, "replayed"),
                )
                sent += 1
        if not sent:
            return
        if self._key_is_new:
            value = encode_signing_key_as_record_value(self._key)
            records.append(OutgoingRecord(self._state_topic, value, SIGNING_KEY, partition=0))
        await self._transactions.write_records_in_one_transaction(records)
        self._key_is_new = False
        report.done += sent

    def _create_replay_record(self, dead_letter: DeadLetterRecord) -> OutgoingRecord:
        topic = self._targets.topic_for(dead_letter)
        assert topic is not None
        # In its original topic the record gets its original partition; in another topic its key decides.
        partition = dead_letter.partition if topic == dead_letter.topic else None
        record, headers = dead_letter.record, replayed_headers(dead_letter)
        signature = sign_replay(self._key, topic, record.key, record.value, headers)
        return OutgoingRecord(topic, record.value, record.key, partition, headers=[*headers, (SIGNATURE, signature)])


class _HandleLocally:
    """Handles dead letters in this process; each one that succeeds is marked in a transaction of its own."""

    def __init__(
        self, transactions: TransactionalWriter, state_topic: str, handle: LocalHandler, targets: TargetTopics
    ) -> None:
        self._transactions = transactions
        self._state_topic = state_topic
        self._handle = handle
        self._targets = targets

    async def replay_batch(self, dead_letters: Sequence[DeadLetterRecord], report: ReplayReport) -> None:
        for dead_letter in dead_letters:
            if reason := await self._targets.replay_refusal_reason(dead_letter) or await self._handle(dead_letter):
                report.add_failure(dead_letter, reason)
            else:
                await self._transactions.write_records_in_one_transaction(
                    [_create_closing_mark_record(self._state_topic, dead_letter, "replayed")]
                )
                report.done += 1


class _RateLimiter:
    """Limits how many dead letters are replayed per second, counted from the first one."""

    def __init__(self, rate: float | None) -> None:
        self._interval_s = 1 / rate if rate else 0.0
        self._next_s = time.monotonic()

    async def wait_for_turn(self, dead_letters: int) -> None:
        await asyncio.sleep(max(0.0, self._next_s - time.monotonic()))
        self._next_s = max(self._next_s, time.monotonic() - 1.0) + self._interval_s * dead_letters
