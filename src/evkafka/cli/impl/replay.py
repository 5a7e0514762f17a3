"""`evkafka replay`: runs earlier records of a topic through one consumer's handler, in this process."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from evkafka.cli.connection import FoundCluster, consumer_reads_topic
from evkafka.cli.impl.local_consumer import LocalConsumer, start_lifespan_and_producers
from evkafka.cli.impl.tail import event_type_of
from evkafka.cli.output import counted, print_json, show_progress_bar
from evkafka.cli.position import LATEST, Position, look_up_offsets, look_up_topic_bounds
from evkafka.cli.signals import interrupt_on_sigterm
from evkafka.dlq.dry_run import predict_outcome
from evkafka.dlq.local_handler import create_attempt_runner, failure_reason
from evkafka.exceptions import ConfigError, DecodeError
from evkafka.kafka.admin.topic_reader import follow_topic
from evkafka.records import Record
from evkafka.runtime.ports import UnreadRecord
from evkafka.serde.formats.consumer_formats import ConsumerFormats
from evkafka.serde.safe_text import escape_line
from evkafka.service.plan import DeclaredConsumer
from evkafka.service.single_attempt import wait_until_schemas_known

MAX_FAILURES = 20
"""The reasons of so many failures are printed."""


@dataclass(frozen=True, slots=True)
class History:
    """The records that are replayed.

    Attributes:
        end: is excluded; None for the topic's end as it is now.
        limit: the highest number of records; None for all.
        rate: the highest number of records per second.
    """

    topic: str
    start: Position
    end: Position | None = None
    partition: int | None = None
    event_types: tuple[str, ...] = ()
    limit: int | None = None
    rate: float | None = None


@dataclass(slots=True)
class Report:
    """The outcomes of the records.

    Attributes:
        outcomes: how often each occurred; in a dry run `would run` counts the records that can be decoded.
        failures: address and reason of the first `MAX_FAILURES`.
    """

    read: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)

    def add(self, record: Record, outcome: str, failure: str | None) -> None:
        self.read += 1
        self.outcomes[outcome] += 1
        if failure is not None:
            self.failed += 1
            if len(self.failures) < MAX_FAILURES:
                self.failures.append((f"{record.topic}[{record.partition}]@{record.offset}", failure))


RecordRunner = Callable[[Record], Awaitable[tuple[str, str | None]]]
"""Runs or decodes a record. Returns the outcome, and the reason of a failure."""


def replay(found: FoundCluster, history: History, *, dry_run: bool, fail_fast: bool, as_json: bool) -> int:
    """Replay the records, and print their outcomes. Returns 1 if one failed, or would fail.

    Raises:
        ConfigError: it is not clear which consumer is meant, or there is no such topic.
        StartFailed, BrokerError: the app could not start, or the topic cannot be read.
    """
    interrupt_on_sigterm()
    report = Report()
    try:
        asyncio.run(_replay_records(found, history, report, dry_run=dry_run, fail_fast=fail_fast))
    except KeyboardInterrupt:
        print("interrupted; handled so far:", file=sys.stderr)
        _print_outcome_counts_and_failures(report, dry_run=dry_run, as_json=as_json)
        return 130
    if not report.read and not as_json:
        print(f"no matching records in {history.topic}")
        return 0
    _print_outcome_counts_and_failures(report, dry_run=dry_run, as_json=as_json)
    return 1 if report.failed else 0


def consumer_for_replay_or_raise(found: FoundCluster, topic: str) -> DeclaredConsumer:
    """The consumer whose handler is run.

    Raises:
        ConfigError: no consumer of the app reads the topic, or several do.
    """
    assert found.app is not None
    if found.consumer is not None:
        return found.consumer
    readers = [one.name for one in found.app.consumers.values() if consumer_reads_topic(one, topic)]
    if not readers:
        raise ConfigError(f"--topic {topic}: no consumer of this app reads it; choose one with --consumer")
    raise ConfigError(f"{', '.join(map(repr, readers))} read {topic!r}: choose one with --consumer")


async def _replay_records(
    found: FoundCluster, history: History, report: Report, *, dry_run: bool, fail_fast: bool
) -> None:
    declared = consumer_for_replay_or_raise(found, history.topic)
    bounds = await look_up_topic_bounds(found.connection, history.topic, history.partition)
    starts = await look_up_offsets(found.connection, history.start, bounds)
    ends = await look_up_offsets(found.connection, history.end or Position(keyword=LATEST), bounds)
    total = min(sum(max(ends[at] - starts[at], 0) for at in bounds), history.limit or sys.maxsize)
    batches = follow_topic(
        found.connection,
        history.topic,
        {at.partition: offset for at, offset in starts.items()},
        {at.partition: max(ends[at], starts[at]) for at in bounds},
    )
    async with _create_record_runner(found, declared, dry_run=dry_run) as run_record:
        with show_progress_bar("decoding" if dry_run else "replaying", total) as show_progress:
            async with aclosing(batches), aclosing(_select_records(batches, history, declared)) as records:
                async for record in records:
                    unread = isinstance(record, UnreadRecord)
                    outcome, failure = ("unreadable", str(record)) if unread else await run_record(record)
                    report.add(record, outcome, failure)
                    show_progress(report.read, total)
                    if (failure is not None and fail_fast) or report.read == history.limit:
                        return


async def _select_records(
    batches: AsyncIterator[Sequence[Record]], history: History, declared: DeclaredConsumer
) -> AsyncGenerator[Record]:
    """The records of the wanted event types, at the wanted rate."""
    interval_s, next_s = 1 / history.rate if history.rate else 0.0, time.monotonic()
    async for batch in batches:
        for record in batch:
            unread = isinstance(record, UnreadRecord)  # its type is not known
            if history.event_types and not unread and _event_type_of(record, declared) not in history.event_types:
                continue
            if interval_s:
                await asyncio.sleep(max(0.0, next_s - time.monotonic()))
                next_s = max(next_s + interval_s, time.monotonic())
            yield record


def _event_type_of(record: Record, declared: DeclaredConsumer) -> str | None:
    try:
        return event_type_of(declared.record_without_cloudevents_envelope(record), declared.type_header_read_by_stack)
    except DecodeError:
        return None


# ---------------------------------------------------------------------------- one record


@asynccontextmanager
async def _create_record_runner(
    found: FoundCluster, declared: DeclaredConsumer, *, dry_run: bool
) -> AsyncIterator[RecordRunner]:
    """A function that decodes a record (dry run), or runs it through the handler of the started app."""
    if dry_run:
        formats = declared.formats()
        try:
            yield _create_decoding_runner(declared, formats)
        finally:
            if formats is not None:
                await formats.close()
        return
    assert found.app is not None
    async with start_lifespan_and_producers(found.app, declared) as consumer:
        yield _create_single_attempt_runner(consumer)


def _create_decoding_runner(declared: DeclaredConsumer, formats: ConsumerFormats | None) -> RecordRunner:
    async def decode(record: Record) -> tuple[str, str | None]:
        try:
            event = declared.record_without_cloudevents_envelope(record)
        except DecodeError as error:
            return "would fail", str(error)
        if formats is not None:
            await wait_until_schemas_known(formats.future_done_when_record_schema_known, [event])
        return predict_outcome(declared, formats, event)

    return decode


def _create_single_attempt_runner(consumer: LocalConsumer) -> RecordRunner:
    run = create_attempt_runner(*consumer)

    async def handle(record: Record) -> tuple[str, str | None]:
        delivery = await run(record)
        if delivery.outcome == "unmatched":
            return f"unmatched ({delivery.reason})", None
        return delivery.outcome, failure_reason(delivery)

    return handle


# ---------------------------------------------------------------------------- the report


def _print_outcome_counts_and_failures(report: Report, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "read": report.read,
                "outcomes": dict(report.outcomes),
                "failed": report.failed,
                "failures": [{"record": address, "why": why} for address, why in report.failures],
            }
        )
        return
    for address, why in report.failures:
        print(f"{'would fail' if dry_run else 'failed'}  {address}: {escape_line(why)}", file=sys.stderr)
    if report.failed > MAX_FAILURES:
        print(f"and {report.failed - MAX_FAILURES} more", file=sys.stderr)
    by_count = sorted(report.outcomes.items(), key=lambda pair: (-pair[1], pair[0]))
    counts = ", ".join(f"{count} {outcome}" for outcome, count in by_count)
    print(counted(report.read, "record") + (f": {counts}" if counts else ""))
