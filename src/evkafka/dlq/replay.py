"""A dead-letter topic and its marks, together: which letters are open, and what is done with them.

Safe to break off at any point. What is sent and its mark go in one transaction, under the dead-letter topic's name:
whoever begins later takes the name over, and the one before ends at its next transaction (`TakenOver`).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from evkafka.config.error_policy import topic_fault
from evkafka.config.settings import ConnectionSettings
from evkafka.dlq.dead_letter import DeadLetterRecord, LetterFilter, LetterPosition, read_dead_letter, replayed_headers
from evkafka.dlq.state_topic import Done, ReplayState, Status, mark_of
from evkafka.dlq.targets import Target, Targets
from evkafka.exceptions import ConfigError, EVKafkaError
from evkafka.kafka.admin.groups import bounds_of
from evkafka.kafka.admin.log_reader import read_log, stream_log
from evkafka.kafka.admin.topics import ensure_compacted, topic_settings, topic_shapes
from evkafka.kafka.producer.transactions import Fenced, TransactionRecord, Transactions
from evkafka.runtime.dead_letters.headers import SIGNATURE
from evkafka.runtime.dead_letters.replay_signature import (
    KEY_BYTES,
    SIGNING_KEY,
    sign,
    signing_key_as_bytes,
    state_topic,
)

MOST_AT_ONCE = 100
MOST_BYTES_AT_ONCE = 4 * 1024 * 1024
"""What goes in one transaction."""

READ_S = 600.0

COUNTED = 20_000
"""So many letters are counted one by one."""


class TakenOver(EVKafkaError):
    """Another replay or drop of the same dead-letter topic has begun, and this one ended. Nothing is done twice."""


Handle = Callable[[DeadLetterRecord], Awaitable[str | None]]
"""Handles one record again, in this process; None where it is done, else why it is not."""

Judge = Callable[[DeadLetterRecord], str | None]
"""Says why an attempt at a letter would fail before its endpoint is called; None if it would be tried. Runs nothing."""

Progress = Callable[[int, int], object]
"""Called with how many letters have been looked at, and how many there are."""


@dataclass(frozen=True, slots=True)
class ReplayFailure:
    """A letter that could not be handled again, and stays open."""

    letter: DeadLetterRecord
    why: str


@dataclass(slots=True)
class ReplayReport:
    """What a replay or drop did, or has done so far.

    Attributes:
        chosen: how many letters there were to do.
        done: how many of them are marked now.
    """

    chosen: int = 0
    done: int = 0
    failed: list[ReplayFailure] = field(default_factory=list)

    def __str__(self) -> str:
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"{self.done} of {self.chosen} done{failed}"


@dataclass(frozen=True, slots=True)
class SelectedLetters:
    """The open letters that a filter means.

    Attributes:
        letters: as many as the limit allows, by place, in the order of the topic; without their values.
        open: how many the filter means.
    """

    letters: Mapping[LetterPosition, DeadLetterRecord]
    open: int


@dataclass(frozen=True, slots=True)
class ReplayDryRun:
    """What a replay would do.

    Attributes:
        would: each letter, and why it would be refused or could not be tried; None if nothing is known against it.
        open: how many letters the filter means.
    """

    would: Sequence[tuple[DeadLetterRecord, str | None]]
    open: int


def nobody(done: int, total: int) -> None:
    """Watches no progress."""


class DeadLetterReplay:
    """Works on one dead-letter topic.

    Args:
        type_header: the header that holds the event type, for letters that do not tell it themselves.

    Raises (everywhere):
        ConfigError: there is no such topic, or what was asked for cannot be done.
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster failed.
    """

    def __init__(self, connection: ConnectionSettings, topic: str, *, type_header: str = "Event-Type") -> None:
        self._connection = connection
        self._topic = topic
        self._state = state_topic(topic)
        self._type_header = type_header

    # ------------------------------------------------------------------ reading

    async def letters(
        self, wanted: LetterFilter, *, closed: bool = False
    ) -> AsyncGenerator[tuple[DeadLetterRecord, Status]]:
        """The letters as they stand in the topic, one partition after the other. Whoever leaves early closes it
        (`contextlib.aclosing`).

        Args:
            closed: also those that were replayed or dropped.
        """
        await self._check_topic(self._topic)
        marks = await self._marks()
        async with aclosing(self._stream()) as stream:
            async for letter in stream:
                status = marks.status_of(letter)
                if (closed or status == "open") and wanted.takes(letter):
                    yield letter, status

    async def choose(self, wanted: LetterFilter, *, limit: int | None = None) -> SelectedLetters:
        """The open letters that are meant."""
        await self._check_topic(self._topic)
        return await self._choose(wanted, await self._marks(), limit)

    async def count_open(self, before: tuple[object, int] | None = None) -> tuple[object, int]:
        """How many letters are open, and the version of the topics that this holds for. Nothing is read again if the
        version is that of `before`. Of more than `COUNTED` letters the marks are taken off their number; marks of the
        earlier form, which name no place, are then taken to close one letter each.
        """
        there = await topic_shapes(self._connection)
        if self._topic not in there:
            return None, 0
        bounds = await bounds_of(self._connection, [name for name in (self._topic, self._state) if name in there])
        if before is not None and before[0] == bounds:
            return before
        letters = {at.partition: bound for at, bound in bounds.items() if at.topic == self._topic}
        number = sum(bound.end - bound.first for bound in letters.values())
        if not number:
            return bounds, 0
        if number <= COUNTED:
            return bounds, (await self.choose(LetterFilter(), limit=0)).open
        return bounds, max(number - (await self._marks()).number_in(letters), 0)

    async def _choose(self, wanted: LetterFilter, marks: ReplayState, limit: int | None) -> SelectedLetters:
        letters: dict[LetterPosition, DeadLetterRecord] = {}
        found = 0
        async with aclosing(self._stream()) as stream:
            async for letter in stream:
                if marks.status_of(letter) != "open" or not wanted.takes(letter):
                    continue
                found += 1
                if limit is None or len(letters) < limit:
                    letters[letter.place] = without_record(letter)
        return SelectedLetters(letters, found)

    async def _stream(self) -> AsyncGenerator[DeadLetterRecord]:
        async with aclosing(stream_log(self._connection, self._topic)) as log:
            async for records in log:
                for record in records:
                    yield read_dead_letter(record, type_header=self._type_header)

    async def _marks(self) -> ReplayState:
        marks = ReplayState()
        if await topic_settings(self._connection, self._state):
            await read_log(self._connection, self._state, marks.take, timeout_s=READ_S)
        return marks

    async def _check_topic(self, name: str) -> Mapping[str, str]:
        settings = await topic_settings(self._connection, name)
        if not settings:
            servers = ",".join(self._connection.bootstrap_servers)
            raise ConfigError(f"there is no topic {name!r} at {servers}")
        return settings

    # ------------------------------------------------------------------ saying what would be done

    async def rehearse(
        self, to: Target | Judge, wanted: LetterFilter, *, limit: int | None = None, force: bool = False
    ) -> ReplayDryRun:
        """What `replay` would do. Sends nothing, calls no endpoint, marks nothing.

        Args:
            to: where it would send to; or what says whether a handler would be given the letter.
        """
        choice = await self.choose(wanted, limit=limit)
        why: dict[LetterPosition, str | None] = dict.fromkeys(choice.letters)
        targets = Targets(self._connection, self._topic, to if isinstance(to, Target) else None, force=force)
        await targets.check()
        async for bundle in self._bundles(choice.letters, MOST_AT_ONCE):
            for letter in bundle:
                why[letter.place] = await targets.fault(letter)
                if why[letter.place] is None and not isinstance(to, Target):
                    why[letter.place] = to(letter)
        return ReplayDryRun([(letter, why[place]) for place, letter in choice.letters.items()], choice.open)

    # ------------------------------------------------------------------ doing it

    async def replay(
        self,
        to: Target | Handle,
        wanted: LetterFilter,
        *,
        limit: int | None = None,
        rate: float | None = None,
        force: bool = False,
        progress: Progress = nobody,
        report: ReplayReport | None = None,
    ) -> ReplayReport:
        """Send the open letters to a topic again, or handle them in this process, and mark them. A letter that cannot
        be sent or handled stays open, and holds no other up.

        To a topic: exactly once, for readers of committed records. By a handler: at least once, for the record under
        way when the process is killed is handled again.

        Args:
            limit: most letters.
            rate: most letters per second.
            force: also where the topic is compacted: there an old value may take the place of a newer one.
            report: filled as it goes on, and returned: whoever gives it knows what was done before an error.

        Raises:
            ConfigError: the topic to send to is not there, or is compacted and `force` was not said.
            TakenOver: somebody else has begun to work on this topic.
        """
        report = report if report is not None else ReplayReport()
        async with self._writing() as transactions:
            targets = Targets(self._connection, self._topic, to if isinstance(to, Target) else None, force=force)
            await targets.check()
            marks = await self._marks()
            choice = await self._choose(wanted, marks, limit)
            report.chosen = len(choice.letters)
            pace = _Pace(rate)
            if isinstance(to, Target):
                send = _Sending(transactions, self._state, marks.signing_key, targets)
                at_once = MOST_AT_ONCE if rate is None else max(1, min(MOST_AT_ONCE, int(rate)))
                async for some in self._bundles(choice.letters, at_once):
                    await pace.wait(len(some))
                    await send(some, report)
                    progress(report.done + len(report.failed), report.chosen)
            else:
                async for [letter] in self._bundles(choice.letters, 1):
                    await pace.wait(1)
                    if why := await targets.fault(letter) or await to(letter):
                        report.failed.append(ReplayFailure(without_record(letter), why))
                    else:
                        await transactions.write([_mark(self._state, letter, "replayed")])
                        report.done += 1
                    progress(report.done + len(report.failed), report.chosen)
        return report

    async def drop(
        self,
        wanted: LetterFilter,
        *,
        limit: int | None = None,
        progress: Progress = nobody,
        report: ReplayReport | None = None,
    ) -> ReplayReport:
        """Mark the open letters as dropped: no replay takes them any more. They stay in the topic for its retention.

        Raises:
            TakenOver: somebody else has begun to work on this topic.
        """
        report = report if report is not None else ReplayReport()
        async with self._writing() as transactions:
            chosen = list((await self._choose(wanted, await self._marks(), limit)).letters.values())
            report.chosen = len(chosen)
            for first in range(0, len(chosen), MOST_AT_ONCE):
                some = chosen[first : first + MOST_AT_ONCE]
                await transactions.write([_mark(self._state, letter, "dropped") for letter in some])
                report.done += len(some)
                progress(report.done, report.chosen)
        return report

    def _writing(self) -> _Writing:
        return _Writing(self._connection, self._topic, self._state, self._check_topic)

    async def _bundles(
        self, chosen: Mapping[LetterPosition, DeadLetterRecord], most: int
    ) -> AsyncIterator[list[DeadLetterRecord]]:
        """The chosen letters, with their values, so many at once."""
        bundle: list[DeadLetterRecord] = []
        size, left = 0, len(chosen)
        if not chosen:
            return
        async with aclosing(self._stream()) as stream:
            async for letter in stream:
                if letter.place not in chosen:
                    continue
                bundle.append(letter)
                size, left = size + len(letter.record.value or b""), left - 1
                if len(bundle) == most or size >= MOST_BYTES_AT_ONCE or not left:
                    yield bundle
                    bundle, size = [], 0
                if not left:
                    return
        if bundle:
            yield bundle


def _mark(state: str, letter: DeadLetterRecord, status: Done) -> TransactionRecord:
    return TransactionRecord(state, str(letter.place).encode(), mark_of(letter, status).as_bytes(), partition=0)


class _Sending:
    """Sends letters and their marks, in one transaction.

    Args:
        key: what replayed records are signed with; None makes one.
    """

    def __init__(self, transactions: Transactions, state: str, key: bytes | None, targets: Targets) -> None:
        self._transactions = transactions
        self._state = state
        self._is_new = key is None
        self._key = key or secrets.token_bytes(KEY_BYTES)
        self._targets = targets

    async def __call__(self, letters: Sequence[DeadLetterRecord], report: ReplayReport) -> None:
        out: list[TransactionRecord] = []
        sent = 0
        for letter in letters:
            if why := await self._targets.fault(letter):
                report.failed.append(ReplayFailure(without_record(letter), why))
            else:
                out += (self._record(letter), _mark(self._state, letter, "replayed"))
                sent += 1
        if not sent:
            return
        if self._is_new:
            out.append(TransactionRecord(self._state, SIGNING_KEY, signing_key_as_bytes(self._key), partition=0))
        await self._transactions.write(out)
        self._is_new = False
        report.done += sent

    def _record(self, letter: DeadLetterRecord) -> TransactionRecord:
        topic = self._targets.of(letter)
        assert topic is not None
        # Back where it came from it takes its own partition; elsewhere its key decides.
        partition = letter.partition if topic == letter.topic else None
        record, headers = letter.record, replayed_headers(letter)
        signature = sign(self._key, topic, record.key, record.value, headers)
        return TransactionRecord(topic, record.key, record.value, [*headers, (SIGNATURE, signature)], partition)


class _Writing:
    """The transactions of one piece of work: the state topic made, and the name taken over before marks are read."""

    def __init__(
        self,
        connection: ConnectionSettings,
        topic: str,
        state: str,
        check_topic: Callable[[str], Awaitable[Mapping[str, str]]],
    ) -> None:
        self._connection = connection
        self._topic = topic
        self._state = state
        self._check_topic = check_topic
        self._transactions = Transactions(connection, topic)

    async def __aenter__(self) -> Transactions:
        await self._check_topic(self._topic)
        if fault := topic_fault(self._state):
            raise ConfigError(f"what is done with would be noted in {self._state!r}, and {fault}")
        settings = await ensure_compacted(self._connection, self._state, like=self._topic)
        if "compact" not in settings.get("cleanup.policy", ""):
            raise ConfigError(
                f"topic {self._state!r} is not compacted, so its marks would be lost: kafka-configs.sh --alter"
                f" --entity-type topics --entity-name {self._state} --add-config cleanup.policy=compact"
            )
        return await self._transactions.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        await self._transactions.__aexit__(None, None, None)
        if isinstance(error, Fenced):
            raise TakenOver(
                f"another replay or drop of {self._topic!r} has begun, so this one has ended; what it did is marked"
            ) from error


class _Pace:
    """So many letters a second, counted from the first one."""

    def __init__(self, rate: float | None) -> None:
        self._each_s = 1 / rate if rate else 0.0
        self._next_s = time.monotonic()

    async def wait(self, letters: int) -> None:
        await asyncio.sleep(max(0.0, self._next_s - time.monotonic()))
        self._next_s = max(self._next_s, time.monotonic() - 1.0) + self._each_s * letters


@dataclass(frozen=True, slots=True)
class _Bare:
    """What of a record is kept while all letters are gone through: where it stands, not what it holds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: None = None
    value: None = None
    headers: tuple[()] = ()


def without_record(letter: DeadLetterRecord) -> DeadLetterRecord:
    """A letter for lists: without key, value, headers and traceback."""
    record = letter.record
    bare = _Bare(record.topic, record.partition, record.offset, record.timestamp)
    return replace(letter, record=bare, traceback="")
