"""The screen of dead letters: list, dry run, replay, drop. `evkafka dlq` does the same on the command line."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from evkafka.dlq import (
    DeadLetterFilter,
    DeadLetterRecord,
    DeadLetterTopic,
    Target,
    drop_dead_letters,
    dry_run_replay,
    replay_dead_letters,
)
from evkafka.dlq.dry_run import dry_run_check
from evkafka.dlq.local_handler import local_handler
from evkafka.dlq.replay import LocalHandler, ReplayReport
from evkafka.dlq.state_topic import Status
from evkafka.dlq.targets import source_topics
from evkafka.exceptions import ConfigError
from evkafka.kafka.admin.log_reader import partition_numbers
from evkafka.serde.safe_text import NAME_CHARACTERS, lines, one_line
from evkafka.service.plan import DeclaredConsumer
from evkafka.ui.app_topics import AppTopic
from evkafka.ui.background import BackgroundRunner
from evkafka.ui.dead_letter_topics import dead_letter_topics
from evkafka.ui.models import DeadLetterList, DeadLetterRow, FailedDeadLetter, RecordAddress, ReplayResult
from evkafka.ui.operated_app import OperatedApp
from evkafka.ui.payload_text import KEY_BYTES, as_text, headers_as_text, unshowable

logger = logging.getLogger("evkafka.web")

ROWS_MAX = 200
"""The newest dead letters are listed, up to this number; `evkafka dlq list` has all of them."""

VALUE_BYTES = 4 * 1024
MESSAGE_CHARACTERS = 1000
TRACEBACK_CHARACTERS = 8 * 1024

LIST_MAX_BYTES = 64 * 1024 * 1024
"""Fewer dead letters are listed if they are larger than this together."""

READ_TIMEOUT_S = 30.0
REPLAY_TIMEOUT_S = 300.0


class DeadLetterScreen:
    """Reads and replays the app's dead letters.

    TopicList are read and written in the background. Only the consumer's handler runs in the app's event loop.
    """

    def __init__(self, app: OperatedApp, background: BackgroundRunner) -> None:
        self._app = app
        self._background = background
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="evkafka-replay")

    def end(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    # ------------------------------------------------------------------ reading

    async def list(self, topic: str | None, containing: str, *, closed: bool) -> DeadLetterList:
        """The newest dead letters of a topic; of the app's first dead-letter topic if `topic` is None.

        Args:
            containing: a text in the id, the event type or the error.
            closed: also list those that were replayed or dropped.

        Raises:
            ConfigError: the app has no such dead-letter topic.
            TimeoutError, BrokerError, TooBusy: the topic could not be read.
        """
        topics = await self._topics()
        if not topics:
            return DeadLetterList(topics=[], topic=None, letters=[])
        name = topic or next(iter(topics))
        dead_letters = _dead_letter_topic(topics, name)
        rows = await self._background.run(
            lambda: _newest(dead_letters, containing, closed=closed), timeout_s=READ_TIMEOUT_S
        )
        return DeadLetterList(topics=list(topics), topic=name, letters=rows)

    async def _topics(self) -> Mapping[str, AppTopic]:
        return await self._background.run(lambda: dead_letter_topics(self._app), timeout_s=READ_TIMEOUT_S)

    # ------------------------------------------------------------------ replaying and dropping

    async def replay(
        self, topic: str, wanted: DeadLetterFilter, report: ReplayReport, *, to_handler: bool, dry_run: bool
    ) -> ReplayResult:
        """Replay to the topics of origin, or to the consumer's handler in this process.

        Args:
            report: updated during the replay.
            dry_run: only decode the records and look up their endpoints; run nothing.

        Raises:
            ConfigError: there is no such topic, or no consumer of this app handles its dead letters.
            TakenOver, TimeoutError, BrokerError, TooBusy: the replay ended early; what was done is marked.
        """
        topics = await self._topics()
        dead_letters, source = _dead_letter_topic(topics, topic), topics[topic]
        target = Target(sources=source_topics(self._consumer(source).settings_with_dead_letter_topics()))
        if dry_run:
            would = dry_run_check(self._consumer(source)) if to_handler else target
            result = await self._background.run(
                lambda: dry_run_replay(dead_letters, would, wanted), timeout_s=READ_TIMEOUT_S
            )
            failed = [_failed(dead_letter, reason) for dead_letter, reason in result.results if reason is not None]
            return ReplayResult(chosen=len(result.results), done=0, failed=failed)
        to = self._local_handler(source) if to_handler else target
        await self._background.run(
            lambda: replay_dead_letters(dead_letters, to, wanted, report=report), timeout_s=REPLAY_TIMEOUT_S
        )
        return _replay_result(report)

    async def drop(self, topic: str, wanted: DeadLetterFilter, report: ReplayReport) -> ReplayResult:
        """Drop dead letters; raises the same errors as `replay`."""
        dead_letters = _dead_letter_topic(await self._topics(), topic)
        await self._background.run(
            lambda: drop_dead_letters(dead_letters, wanted, report=report), timeout_s=REPLAY_TIMEOUT_S
        )
        return _replay_result(report)

    def _consumer(self, topic: AppTopic) -> DeclaredConsumer:
        return self._app.consumers[topic.consumer or ""]

    def _local_handler(self, topic: AppTopic) -> LocalHandler:
        """A handler that runs in the app's event loop, whichever loop awaits it: the user's resources belong to it."""
        service = self._app.service
        plan = service.plan(topic.consumer or "") if service is not None else None
        if service is None or plan is None:
            raise ConfigError("no consumer of this app runs that handles these letters")
        handle, loop = local_handler(plan, service.state, self._threads), asyncio.get_running_loop()

        async def in_background(dead_letter: DeadLetterRecord) -> str | None:
            async def in_app_loop() -> str | None:
                return await handle(dead_letter)

            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(in_app_loop(), loop))

        return in_background


def _replay_result(report: ReplayReport) -> ReplayResult:
    failed = [_failed(failure.dead_letter, failure.reason) for failure in report.failed]
    return ReplayResult(chosen=report.chosen, done=report.done, failed=failed)


def _failed(dead_letter: DeadLetterRecord, reason: str) -> FailedDeadLetter:
    return FailedDeadLetter(id=dead_letter.id, place=str(dead_letter.position), why=reason)


def _dead_letter_topic(topics: Mapping[str, AppTopic], name: str) -> DeadLetterTopic:
    """
    Raises:
        ConfigError: the app has no such dead-letter topic.
    """
    topic = topics.get(name)
    if topic is None:
        known = ", ".join(map(repr, topics)) or "none"
        raise ConfigError(f"this app writes no dead letters to {name!r}; its dead-letter topics: {known}")
    return DeadLetterTopic(topic.connection, name, type_header=topic.type_header)


async def _newest(topic: DeadLetterTopic, containing: str, *, closed: bool) -> list[DeadLetterRow]:
    if not await partition_numbers(topic.connection, [topic.name]):
        return []  # the topic is created with the first dead letter
    newest: deque[tuple[DeadLetterRecord, Status]] = deque(maxlen=ROWS_MAX)
    size = 0
    async for dead_letter, status in topic.read(DeadLetterFilter(), closed=closed):
        if containing.lower() in _searched_text(dead_letter):
            size += _size(dead_letter) - (_size(newest[0][0]) if len(newest) == ROWS_MAX else 0)
            newest.append((dead_letter, status))
            while size > LIST_MAX_BYTES and len(newest) > 1:
                size -= _size(newest.popleft()[0])
    rows = [_row(dead_letter, status) for dead_letter, status in newest]
    return sorted(rows, key=lambda row: row["failed_at_ms"], reverse=True)


def _size(dead_letter: DeadLetterRecord) -> int:
    record = dead_letter.record
    return len(record.value or b"") + sum(len(value or b"") for _, value in record.headers)


def _searched_text(dead_letter: DeadLetterRecord) -> str:
    fields = (dead_letter.id, dead_letter.event_type, dead_letter.error_type, dead_letter.error_message)
    return "\0".join(field for field in fields if field).lower()


def _row(dead_letter: DeadLetterRecord, status: Status) -> DeadLetterRow:
    """One row. If the content cannot be shown, the row says so, and the other rows of the list are shown."""
    record = dead_letter.record
    try:
        key, value = as_text(record.key, most=KEY_BYTES), as_text(record.value, most=VALUE_BYTES)
        headers = headers_as_text(record.headers)
    except Exception as error:
        logger.exception("dead letter %s[%d]@%d cannot be shown", record.topic, record.partition, record.offset)
        key, value, headers = None, unshowable(record.value, error), []
    event_type, timestamp_ms = dead_letter.event_type, dead_letter.timestamp_ms
    return DeadLetterRow(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        id=dead_letter.id,
        place=str(dead_letter.position),
        status=status,
        failed_at_ms=int(dead_letter.failed_at.timestamp() * 1000),
        event_type=None if event_type is None else one_line(event_type, NAME_CHARACTERS),
        error_type=one_line(dead_letter.error_type, NAME_CHARACTERS),
        error_message=lines(dead_letter.error_message, MESSAGE_CHARACTERS),
        origin=_origin(dead_letter),
        attempts=dead_letter.attempts,
        replays=dead_letter.replays,
        timestamp_ms=timestamp_ms if timestamp_ms is not None else record.timestamp,
        key=key,
        value=value,
        traceback=lines(dead_letter.traceback[-TRACEBACK_CHARACTERS:]),
        headers=headers,
    )


def _origin(dead_letter: DeadLetterRecord) -> RecordAddress | None:
    topic, partition, offset = dead_letter.topic, dead_letter.partition, dead_letter.offset
    if topic is None or partition is None or offset is None:
        return None
    return RecordAddress(topic=one_line(topic, NAME_CHARACTERS), partition=partition, offset=offset)
