"""A dead-letter topic and its marks, together: which letters are open, and what is done with them.

Safe to break off at any point. What is sent and its mark go in one transaction, under the dead-letter topic's name:
whoever begins later takes the name over, and the one before ends at its next transaction (`TakenOver`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from evkafka._config_errors import topic_fault
from evkafka.dlq.letters import Letter, Wanted, read_letter, replayed_headers
from evkafka.dlq.marks import Mark, Status, mark_of, read_mark, state_topic, status_of
from evkafka.exceptions import ConfigError, EVKafkaError
from evkafka.ports import Record
from evkafka.runtime.kafka.lookup import read_log, stream_log
from evkafka.runtime.kafka.topics import ensure_compacted, topic_settings
from evkafka.runtime.kafka.transactions import Fenced, Outgoing, Transactions
from evkafka.settings import ConnectionSettings

MOST_AT_ONCE = 100
MOST_BYTES_AT_ONCE = 4 * 1024 * 1024
"""What goes in one transaction."""

READ_S = 600.0

NOTHING_IN_IT = (
    "the client could not read the record, so there is nothing to replay: look at its address, and drop the letter"
)


class TakenOver(EVKafkaError):
    """Another replay or drop of the same dead-letter topic has begun, and this one ended. Nothing is done twice."""


@dataclass(frozen=True, slots=True)
class Target:
    """The topic to send to; None: each letter's own, where it failed first."""

    topic: str | None = None


Handle = Callable[[Letter], Awaitable[str | None]]
"""Handles one record again, in this process; None where it is done, else why it is not."""

Progress = Callable[[int, int], object]
"""Called with how many letters have been looked at, and how many there are."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A letter that could not be handled again, and stays open."""

    letter: Letter
    why: str


@dataclass(slots=True)
class Report:
    """What a replay or drop did.

    Attributes:
        chosen: how many letters there were to do.
        done: how many of them are marked now.
    """

    chosen: int = 0
    done: int = 0
    failed: list[Failure] = field(default_factory=list)


def nobody(done: int, total: int) -> None:
    """Watches no progress."""


class Desk:
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

    async def letters(self, wanted: Wanted, *, closed: bool = False) -> AsyncIterator[tuple[Letter, Status]]:
        """The letters as they stand in the topic, one partition after the other.

        Args:
            closed: also those that were replayed or dropped.
        """
        await self._check_topic(self._topic)
        marks = await self._marks()
        async for letter in self._stream():
            status = status_of(letter, marks.get(letter.id))
            if (closed or status == "open") and wanted.takes(letter):
                yield letter, status

    async def _stream(self) -> AsyncIterator[Letter]:
        async for records in stream_log(self._connection, self._topic):
            for record in records:
                yield read_letter(record, type_header=self._type_header)

    async def _marks(self) -> Mapping[str, Mark]:
        marks: dict[str, Mark] = {}

        def take(record: Record) -> None:
            mark, id_ = read_mark(record.value), (record.key or b"").decode(errors="replace")
            if mark is None:
                marks.pop(id_, None)
            else:
                marks[id_] = mark

        if await topic_settings(self._connection, self._state):
            await read_log(self._connection, self._state, take, timeout_s=READ_S)
        return marks

    async def _check_topic(self, name: str) -> Mapping[str, str]:
        settings = await topic_settings(self._connection, name)
        if not settings:
            servers = ",".join(self._connection.bootstrap_servers)
            raise ConfigError(f"there is no topic {name!r} at {servers}")
        return settings

    # ------------------------------------------------------------------ what is to be done

    async def choose(self, wanted: Wanted, *, limit: int | None = None) -> Mapping[tuple[int, int], Letter]:
        """The open letters that are meant, by partition and offset, in the order of the topic; of several with one id
        the last. They come without their values."""
        last: dict[str, Letter] = {}
        async for letter, _ in self.letters(wanted):
            last.pop(letter.id, None)
            last[letter.id] = without_record(letter)
        chosen = sorted(last.values(), key=_address)[:limit]
        return {_address(letter): letter for letter in chosen}

    # ------------------------------------------------------------------ doing it

    async def replay(
        self,
        to: Target | Handle,
        wanted: Wanted,
        *,
        limit: int | None = None,
        rate: float | None = None,
        force: bool = False,
        progress: Progress = nobody,
    ) -> Report:
        """Send the open letters to a topic again, or handle them in this process, and mark them.

        To a topic: exactly once, for readers of committed records. By a handler: at least once, for the record under
        way when the process is killed is handled again.

        Args:
            limit: most letters.
            rate: most letters per second.
            force: also where the topic is compacted: there an old value may take the place of a newer one.

        Raises:
            TakenOver: somebody else has begun to work on this topic.
        """
        async with self._writing() as (transactions, report):
            chosen = await self.choose(wanted, limit=limit)
            report.chosen = len(chosen)
            report.failed += [Failure(one, NOTHING_IN_IT) for one in chosen.values() if one.unreadable]
            chosen = {place: letter for place, letter in chosen.items() if not letter.unreadable}
            await self._check_targets(to, chosen.values(), force=force)
            pace = _Pace(rate)
            if isinstance(to, Target):
                at_once = MOST_AT_ONCE if rate is None else max(1, min(MOST_AT_ONCE, int(rate)))
                async for some in self._bundles(chosen, at_once):
                    await pace.wait(len(some))
                    await transactions.write([out for letter in some for out in self._sent(letter, to)])
                    report.done += len(some)
                    progress(report.done, report.chosen)
            else:
                async for [letter] in self._bundles(chosen, 1):
                    await pace.wait(1)
                    if why := await to(letter):
                        report.failed.append(Failure(without_record(letter), why))
                    else:
                        await transactions.write([self._mark(letter, "replayed")])
                        report.done += 1
                    progress(report.done + len(report.failed), report.chosen)
        return report

    async def drop(self, wanted: Wanted, *, limit: int | None = None, progress: Progress = nobody) -> Report:
        """Mark the open letters as dropped: no replay takes them any more. They stay in the topic for its retention.

        Raises:
            TakenOver: somebody else has begun to work on this topic.
        """
        async with self._writing() as (transactions, report):
            chosen = list((await self.choose(wanted, limit=limit)).values())
            report.chosen = len(chosen)
            for first in range(0, len(chosen), MOST_AT_ONCE):
                some = chosen[first : first + MOST_AT_ONCE]
                await transactions.write([self._mark(letter, "dropped") for letter in some])
                report.done += len(some)
                progress(report.done, report.chosen)
        return report

    def _writing(self) -> _Writing:
        return _Writing(self._connection, self._topic, self._state, self._check_topic)

    async def _bundles(self, chosen: Mapping[tuple[int, int], Letter], most: int) -> AsyncIterator[list[Letter]]:
        """The chosen letters, with their values, so many at once."""
        bundle: list[Letter] = []
        size, left = 0, len(chosen)
        if not chosen:
            return
        async for letter in self._stream():
            if _address(letter) not in chosen:
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

    def _sent(self, letter: Letter, to: Target) -> Sequence[Outgoing]:
        topic = to.topic or letter.topic
        assert topic is not None
        # Back where it came from it takes its own partition; elsewhere its key decides.
        partition = letter.partition if topic == letter.topic else None
        record = letter.record
        return (
            Outgoing(topic, record.key, record.value, replayed_headers(letter), partition),
            self._mark(letter, "replayed"),
        )

    def _mark(self, letter: Letter, status: Literal["replayed", "dropped"]) -> Outgoing:
        return Outgoing(self._state, letter.id.encode(), mark_of(letter, status).as_bytes(), partition=0)

    async def _check_targets(self, to: Target | Handle, letters: Collection[Letter], *, force: bool) -> None:
        """
        Raises:
            ConfigError: a topic to send to is not there, or is compacted and `force` was not said.
        """
        sends = isinstance(to, Target)
        given = to.topic if isinstance(to, Target) else None
        topics = {given} if given is not None else {letter.topic for letter in letters}
        for topic in sorted(topics, key=str):
            if topic is None:
                if sends:
                    raise ConfigError("some letters do not tell where they came from: name the topic, --to-topic TOPIC")
                continue
            if topic in (self._topic, self._state):
                raise ConfigError(f"{topic!r} is what is being replayed: name another topic")
            settings = await (self._check_topic(topic) if sends else topic_settings(self._connection, topic))
            if "compact" in settings.get("cleanup.policy", "") and not force:
                raise ConfigError(
                    f"{topic!r} is compacted: a replayed record may take the place of a newer one of its key;"
                    " --force does it all the same"
                )


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

    async def __aenter__(self) -> tuple[Transactions, Report]:
        await self._check_topic(self._topic)
        if fault := topic_fault(self._state):
            raise ConfigError(f"what is done with would be noted in {self._state!r}, and {fault}")
        await ensure_compacted(self._connection, self._state, like=self._topic)
        if "compact" not in (await self._check_topic(self._state)).get("cleanup.policy", ""):
            raise ConfigError(
                f"topic {self._state!r} is not compacted, so its marks would be lost: kafka-configs.sh --alter"
                f" --entity-type topics --entity-name {self._state} --add-config cleanup.policy=compact"
            )
        return await self._transactions.__aenter__(), Report()

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


def _address(letter: Letter) -> tuple[int, int]:
    return letter.record.partition, letter.record.offset


@dataclass(frozen=True, slots=True)
class _Place:
    """What of a record is kept while all letters are gone through: where it stands, not what it holds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: None = None
    value: None = None
    headers: tuple[()] = ()


def without_record(letter: Letter) -> Letter:
    """A letter for lists: without key, value, headers and traceback."""
    record = letter.record
    place = _Place(record.topic, record.partition, record.offset, record.timestamp)
    return replace(letter, record=place, traceback="")
