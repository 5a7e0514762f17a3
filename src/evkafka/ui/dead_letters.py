"""The dead letters' screen: look, try dry, replay, drop. The work is the desk's, as of `evkafka dlq`."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from evkafka.dlq import DeadLetterRecord, DeadLetterReplay, LetterFilter, SourceTopics, Target
from evkafka.dlq.dry_run import judge_of
from evkafka.dlq.local_handler import handle_of
from evkafka.dlq.replay import Handle, Judge, ReplayReport
from evkafka.dlq.state_topic import Status
from evkafka.dlq.targets import sources_of
from evkafka.exceptions import ConfigError
from evkafka.kafka.admin.log_reader import partition_numbers
from evkafka.serde.safe_text import NAME_CHARACTERS, lines, one_line
from evkafka.service.plan import DeclaredConsumer
from evkafka.ui.app_view import OperatedApp, Place
from evkafka.ui.background import BackgroundRunner
from evkafka.ui.dead_letter_topics import dead_letter_topics
from evkafka.ui.models import Address, FailedLetter, LetterRow, Letters, Report
from evkafka.ui.payload_text import KEY_BYTES, as_text, headers_as_text, not_shown

logger = logging.getLogger("evkafka.web")

SHOWN = 200
"""The newest so many letters; `evkafka dlq list` tells them all."""

KEPT_BYTES = 4 * 1024
MESSAGE_CHARACTERS = 1000
TRACEBACK_CHARACTERS = 8 * 1024

READ_BYTES = 64 * 1024 * 1024
"""Of letters that are larger together, fewer are shown."""

LOOK_S = 30.0
WORK_S = 300.0


class DeadLetters:
    """The app's dead letters; what is done with them is done in the app's own loop, all else apart from it."""

    def __init__(self, app: OperatedApp, apart: BackgroundRunner) -> None:
        self._app = app
        self._apart = apart
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="evkafka-replay")

    def end(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    # ------------------------------------------------------------------ looking

    async def look(self, topic: str | None, containing: str, *, closed: bool) -> Letters:
        """The newest letters of a topic; of the first one that is there, where none is named.

        Raises:
            ConfigError: the app has no such dead-letter topic.
            TimeoutError, BrokerError, TooBusy: it could not be read.
        """
        places = await self._places()
        if not places:
            return Letters(topics=[], topic=None, letters=[])
        topic = topic or next(iter(places))
        place = _place(places, topic)
        found = await self._apart.run(lambda: _look(place, topic, containing, closed=closed), timeout_s=LOOK_S)
        return Letters(topics=list(places), topic=topic, letters=found)

    async def _places(self) -> Mapping[str, Place]:
        return await self._apart.run(lambda: dead_letter_topics(self._app), timeout_s=LOOK_S)

    # ------------------------------------------------------------------ doing

    async def replay(
        self, topic: str, wanted: LetterFilter, report: ReplayReport, *, to_handler: bool, dry_run: bool
    ) -> Report:
        """A dry run decodes, finds the endpoint, and runs nothing.

        Args:
            report: filled as it goes on.

        Raises:
            ConfigError: there is no such topic, or no consumer of this app handles its letters.
            TakenOver, TimeoutError, BrokerError, TooBusy: it ended before its end; what was done is marked.
        """
        place = _place(await self._places(), topic)
        desk = DeadLetterReplay(place.connection, topic, type_header=place.type_header)
        target = Target(sources=self._sources(place))
        if dry_run:
            would = self._judge(place) if to_handler else target
            rehearsal = await self._apart.run(lambda: desk.rehearse(would, wanted), timeout_s=LOOK_S)
            failed = [_failed(letter, why) for letter, why in rehearsal.would if why is not None]
            return Report(chosen=len(rehearsal.would), done=0, failed=failed)
        to = self._handler(place) if to_handler else target
        await self._apart.run(lambda: desk.replay(to, wanted, report=report), timeout_s=WORK_S)
        return _told(report)

    async def drop(self, topic: str, wanted: LetterFilter, report: ReplayReport) -> Report:
        """As `replay`."""
        place = _place(await self._places(), topic)
        desk = DeadLetterReplay(place.connection, topic, type_header=place.type_header)
        await self._apart.run(lambda: desk.drop(wanted, report=report), timeout_s=WORK_S)
        return _told(report)

    def _declared(self, place: Place) -> DeclaredConsumer:
        return self._app.consumers[place.consumer or ""]

    def _sources(self, place: Place) -> SourceTopics:
        return sources_of(self._declared(place).known_settings())

    def _judge(self, place: Place) -> Judge:
        declared = self._declared(place)
        return judge_of(
            declared.target,
            group_id=declared.settings.group_id,
            type_header=declared.type_header,
            topic_types=declared.topic_event_types,
            middleware=declared.middleware,
        )

    def _handler(self, place: Place) -> Handle:
        """Handles a letter in the app's own loop, whatever loop it is called in: there the user's resources live."""
        service = self._app.service
        plan = service.plan(place.consumer or "") if service is not None else None
        if service is None or plan is None:
            raise ConfigError("no consumer of this app runs that handles these letters")
        handle, loop = handle_of(plan, service.state, self._threads), asyncio.get_running_loop()

        async def there(letter: DeadLetterRecord) -> str | None:
            async def here() -> str | None:
                return await handle(letter)

            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(here(), loop))

        return there


def _told(report: ReplayReport) -> Report:
    failed = [_failed(one.letter, one.why) for one in report.failed]
    return Report(chosen=report.chosen, done=report.done, failed=failed)


def _failed(letter: DeadLetterRecord, why: str) -> FailedLetter:
    return FailedLetter(id=letter.id, place=str(letter.place), why=why)


def _place(places: Mapping[str, Place], topic: str) -> Place:
    if topic not in places:
        known = ", ".join(map(repr, places)) or "none"
        raise ConfigError(f"this app writes no dead letters to {topic!r}; its dead-letter topics: {known}")
    return places[topic]


async def _look(place: Place, topic: str, containing: str, *, closed: bool) -> list[LetterRow]:
    if not await partition_numbers(place.connection, [topic]):
        return []  # nothing was given up yet
    newest: deque[tuple[DeadLetterRecord, Status]] = deque(maxlen=SHOWN)
    size = 0
    desk = DeadLetterReplay(place.connection, topic, type_header=place.type_header)
    async for letter, status in desk.letters(LetterFilter(), closed=closed):
        if containing.lower() in _searched(letter):
            size += _size(letter) - (_size(newest[0][0]) if len(newest) == SHOWN else 0)
            newest.append((letter, status))
            while size > READ_BYTES and len(newest) > 1:
                size -= _size(newest.popleft()[0])
    rows = [_row(letter, status) for letter, status in newest]
    return sorted(rows, key=lambda row: row["failed_at_ms"], reverse=True)


def _size(letter: DeadLetterRecord) -> int:
    return len(letter.record.value or b"") + sum(len(value or b"") for _, value in letter.record.headers)


def _searched(letter: DeadLetterRecord) -> str:
    words = (letter.id, letter.event_type, letter.error_type, letter.error_message)
    return "\0".join(word for word in words if word).lower()


def _row(letter: DeadLetterRecord, status: Status) -> LetterRow:
    """A letter that cannot be shown is a row that says so: the others of its list are shown."""
    record = letter.record
    try:
        key, value = as_text(record.key, most=KEY_BYTES), as_text(record.value, most=KEPT_BYTES)
        headers = headers_as_text(record.headers)
    except Exception as error:
        logger.exception("dead letter %s[%d]@%d cannot be shown", record.topic, record.partition, record.offset)
        key, value, headers = None, not_shown(record.value, error), []
    origin = None
    if letter.topic is not None and letter.partition is not None and letter.offset is not None:
        origin = Address(
            topic=one_line(letter.topic, NAME_CHARACTERS), partition=letter.partition, offset=letter.offset
        )
    return LetterRow(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        id=letter.id,
        place=str(letter.place),
        status=status,
        failed_at_ms=int(letter.failed_at.timestamp() * 1000),
        event_type=None if letter.event_type is None else one_line(letter.event_type, NAME_CHARACTERS),
        error_type=one_line(letter.error_type, NAME_CHARACTERS),
        error_message=lines(letter.error_message, MESSAGE_CHARACTERS),
        origin=origin,
        attempts=letter.attempts,
        replays=letter.replays,
        timestamp_ms=letter.timestamp_ms if letter.timestamp_ms is not None else record.timestamp,
        key=key,
        value=value,
        traceback=lines(letter.traceback[-TRACEBACK_CHARACTERS:]),
        headers=headers,
    )
