"""Pages of a topic: of one partition and of all, forward and backward, with a search and with limits."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from evkafka.broker import KafkaBroker
from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import ConfigError
from evkafka.kafka.admin.log_pages import (
    After,
    Before,
    FromOffset,
    FromTime,
    LogPage,
    Newest,
    PageLimits,
    Start,
    newest_by_time,
    read_newest_matches,
    read_page,
)
from evkafka.kafka.admin.session import reader_session
from evkafka.records import Record
from evkafka.serde.formats.plain_reader import PlainRecord
from tests.support.kafka_topics import MakeTopic

BEGAN_MS = int(time.time() * 1000) - 600_000  # recent: the broker deletes what is older than its retention
HALF = 30
Address = tuple[int, int]


@pytest.fixture
def connection(kafka_broker: KafkaBroker) -> ConnectionSettings:
    return ConnectionSettings((kafka_broker.bootstrap_servers,))


@pytest.fixture
async def events(kafka_broker: KafkaBroker, topic: MakeTopic) -> str:
    """A topic of three partitions: two share sixty records in turns, a second apart; the third has none."""
    name = await topic(partitions=3)
    async with AIOKafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers) as producer:
        for number in range(2 * HALF):
            await write(producer, name, number % 2, number)
    return name


async def write(producer: AIOKafkaProducer, topic: str, partition: int, number: int, value: bytes = b"") -> None:
    at_ms = BEGAN_MS + 1000 * number
    value = value or b"%d" % number
    await producer.send_and_wait(topic, value, partition=partition, timestamp_ms=at_ms)


def limits(records: int = 10, **others: Any) -> PageLimits:
    return PageLimits(**{"records": records, "examined": 1000, "bytes": 10**6, "time_s": 60, "partitions": 3, **others})


def numbers(page: LogPage) -> list[int]:
    return [int(record.value or b"") for record in page.records]


def begins(page: LogPage) -> Mapping[int, int]:
    return {number: one.begin for number, one in page.ranges.items()}


def stops(page: LogPage) -> Mapping[int, int]:
    return {number: one.stop for number, one in page.ranges.items()}


Read = Callable[..., Any]


@pytest.fixture
def read(connection: ConnectionSettings, events: str) -> Read:
    """Read a page of the topic."""

    async def page(
        start: Start,
        partition: int | None = None,
        *,
        wanted: Callable[[Record], bool] = lambda record: True,
        bounds: PageLimits | None = None,
    ) -> LogPage:
        return await read_page(connection, events, partition, start, bounds or limits(), wanted)

    return page


class TestAPage:
    async def test_of_the_newest_merges_all_partitions_by_time(self, read: Read) -> None:
        page = await read(Newest())
        assert numbers(page) == list(range(50, 60))
        assert begins(page) == {0: 25, 1: 25, 2: 0}
        assert page.reached_ms is not None
        assert page.reached_ms <= BEGAN_MS + 50_000

    async def test_goes_on_before_and_after_another_without_gaps(self, read: Read) -> None:
        newest = await read(Newest())
        older = await read(Before(begins(newest)))
        assert numbers(older) == list(range(40, 50))
        assert numbers(await read(After(stops(older)))) == numbers(newest)

    async def test_from_an_offset_and_from_a_time_goes_forward(self, read: Read) -> None:
        assert numbers(await read(FromOffset(5))) == list(range(10, 20))
        from_time = await read(FromTime(BEGAN_MS + 55_000))
        assert (numbers(from_time), from_time.reached_ms) == (list(range(55, 60)), None)

    async def test_of_one_partition_has_only_its_records(self, read: Read) -> None:
        page = await read(Newest(), 1)
        assert numbers(page) == list(range(41, 60, 2))
        assert (page.ranges[1].first, page.ranges[1].end) == (0, HALF)

    async def test_of_pages_backward_contains_every_record_once(self, read: Read) -> None:
        seen: list[int] = []
        page = await read(Newest(), bounds=limits(7))
        while page.records:
            seen = numbers(page) + seen
            page = await read(Before(begins(page)), bounds=limits(7))
        assert seen == list(range(2 * HALF))

    async def test_of_pages_forward_contains_every_record_once(self, read: Read) -> None:
        seen: list[int] = []
        page = await read(FromOffset(0), bounds=limits(7))
        while page.records:
            seen += numbers(page)
            page = await read(After(stops(page)), bounds=limits(7))
        assert seen == list(range(2 * HALF))

    async def test_outside_of_the_partition_is_empty(self, read: Read) -> None:
        assert numbers(await read(FromOffset(10**15))) == []
        assert numbers(await read(Before({0: 0, 1: 0}))) == []

    async def test_of_a_partition_or_topic_that_does_not_exist_is_an_error(
        self, connection: ConnectionSettings, read: Read
    ) -> None:
        with pytest.raises(ConfigError, match=r"\[3\] does not exist"):
            await read(Newest(), 3)

    async def test_of_more_partitions_than_are_merged_is_an_error(self, read: Read) -> None:
        with pytest.raises(ConfigError, match="has 3 partitions, and 2 can be merged: choose one of them"):
            await read(Newest(), bounds=limits(partitions=2))


class TestASearch:
    @pytest.mark.parametrize("start", [Newest(), FromOffset(0)], ids=["backward", "forward"])
    async def test_reads_on_until_it_has_enough_matches(self, read: Read, start: Start) -> None:
        page = await read(start, wanted=lambda record: record.value in (b"3", b"30", b"57"))
        assert numbers(page) == [3, 30, 57]
        assert page.reached_ms is None
        assert (begins(page), stops(page)) == ({0: 0, 1: 0, 2: 0}, {0: HALF, 1: HALF, 2: 0})

    @pytest.mark.parametrize("start", [Newest(), FromOffset(0)], ids=["backward", "forward"])
    async def test_stops_after_so_many_records_and_goes_on_from_there(self, read: Read, start: Start) -> None:
        bounds = limits(examined=20)
        page = await read(start, wanted=lambda record: record.value == b"30", bounds=bounds)
        assert page.reached_ms is not None
        searched, found = [], numbers(page)
        while page.reached_ms is not None:
            searched.append(sum(one.stop - one.begin for one in page.ranges.values()))
            place = Before(begins(page)) if isinstance(start, Newest) else After(stops(page))
            page = await read(place, wanted=lambda record: record.value == b"30", bounds=bounds)
            found += numbers(page)
        assert found == [30]
        assert len(searched) > 1
        assert sum(searched) < 2 * HALF

    @pytest.mark.parametrize("start", [Newest(), FromOffset(0)], ids=["backward", "forward"])
    async def test_that_has_not_read_all_partitions_is_complete_to_no_time(self, read: Read, start: Start) -> None:
        page = await read(start, bounds=limits(1, examined=1))
        assert (len(page.records), page.reached_ms) == (1, None)

    async def test_returns_what_it_has_when_its_time_is_over(self, read: Read) -> None:
        page = await read(Newest(), wanted=lambda record: False, bounds=limits(time_s=-1))
        assert (numbers(page), begins(page)) == ([], {0: HALF, 1: HALF, 2: 0})


@pytest.fixture
async def gaps(kafka_broker: KafkaBroker, topic: MakeTopic) -> str:
    """Ten records with a transaction marker behind each, then twenty aborted records."""
    name = await topic()
    async with AIOKafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers, transactional_id=name) as producer:
        for number in range(10):
            async with producer.transaction():
                await write(producer, name, 0, number)
        await producer.begin_transaction()
        for number in range(20):
            await write(producer, name, 0, number, b"aborted")
        await producer.abort_transaction()
    return name


class TestOffsetsWithoutARecord:
    @pytest.mark.parametrize(
        ("start", "expected"),
        [
            (Newest(), [7, 8, 9]),
            (Before({0: 8}), [1, 2, 3]),
            (FromOffset(7), [4, 5, 6]),
            (After({0: 17}), [9]),
            (FromOffset(25), []),
        ],
        ids=str,
    )
    async def test_do_not_count(
        self, connection: ConnectionSettings, gaps: str, start: Start, expected: list[int]
    ) -> None:
        assert numbers(await read_page(connection, gaps, 0, start, limits(3), lambda record: True)) == expected


class TestDecoding:
    @pytest.mark.parametrize("start", [Newest(), FromOffset(0)], ids=["backward", "forward"])
    async def test_comes_before_the_comparison(self, connection: ConnectionSettings, events: str, start: Start) -> None:
        async def decode(records: Sequence[Record]) -> Sequence[Record]:
            return [
                PlainRecord(one.topic, one.partition, one.offset, one.timestamp, None, b"1" + (one.value or b""), ())
                for one in records
            ]

        page = await read_page(
            connection, events, None, start, limits(), lambda record: record.value == b"137", decode=decode
        )
        assert numbers(page) == [137]


class TestATimeLimit:
    async def test_begins_again_when_other_offsets_are_read(self, connection: ConnectionSettings, events: str) -> None:
        """Otherwise a search through a long topic would end as if the cluster did not answer."""
        async with reader_session(connection, "reading", 60) as reader:
            [first, *_] = await reader.partitions_of_topic(events)
            reader.assign_at({first: 5})
            before = reader.progress
            reader.assign_at({first: 0})
            assert reader.progress != before


class TestLargeRecords:
    async def test_a_page_has_at_most_one_record_over_its_limit_of_bytes_and_no_gap(
        self, kafka_broker: KafkaBroker, connection: ConnectionSettings, topic: MakeTopic
    ) -> None:
        name = await topic()
        async with AIOKafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers) as producer:
            for number in range(12):
                await write(producer, name, 0, number, b"x" * 1000)
        bounds = limits(bytes=3500)
        pages: list[list[int]] = []
        page = await read_page(connection, name, None, Newest(), bounds, lambda record: True)
        while page.records:
            pages.append([record.offset for record in page.records])
            page = await read_page(connection, name, None, Before(begins(page)), bounds, lambda record: True)
        assert max(map(len, pages)) <= 4
        assert [offset for offsets in reversed(pages) for offset in offsets] == list(range(12))


WriteTimes = Callable[..., Awaitable[str]]


@pytest.fixture
async def write_times(kafka_broker: KafkaBroker, topic: MakeTopic) -> AsyncIterator[WriteTimes]:
    """Create a topic with a record for each of these seconds, one list for each partition."""
    async with AIOKafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers) as producer:

        async def write_partitions(*partitions: Sequence[int]) -> str:
            name = await topic(partitions=len(partitions))
            for partition, seconds in enumerate(partitions):
                for second in seconds:
                    await write(producer, name, partition, second)
            return name

        yield write_partitions


def addresses_at(page: LogPage) -> list[tuple[Address, int]]:
    """Partition and offset of each record, and its second."""
    return [((one.partition, one.offset), int(one.value or b"")) for one in page.records]


class TestTimesThatAreNotInOrder:
    async def test_a_page_of_the_newest_has_those_before_a_late_record_by_time(
        self, connection: ConnectionSettings, write_times: WriteTimes
    ) -> None:
        name = await write_times((300, 301, 302, 303, 1), (200, 201, 202, 203, 204))
        page = await read_page(connection, name, None, Newest(), limits(3), lambda record: True)
        assert addresses_at(page) == [((0, 4), 1), ((0, 2), 302), ((0, 3), 303)]
        page = await read_page(connection, name, None, Before(begins(page)), limits(3), lambda record: True)
        assert addresses_at(page) == [((1, 4), 204), ((0, 0), 300), ((0, 1), 301)]

    async def test_a_page_forward_has_those_after_a_late_record_by_time(
        self, connection: ConnectionSettings, write_times: WriteTimes
    ) -> None:
        name = await write_times((200, 1, 201, 202), (100, 101, 203))
        page = await read_page(connection, name, None, FromOffset(0), limits(4), lambda record: True)
        assert addresses_at(page) == [((0, 1), 1), ((1, 0), 100), ((1, 1), 101), ((0, 0), 200)]
        page = await read_page(connection, name, None, After(stops(page)), limits(4), lambda record: True)
        assert addresses_at(page) == [((0, 2), 201), ((0, 3), 202), ((1, 2), 203)]

    async def test_a_search_forward_reads_another_partition_up_to_the_latest_time_that_it_shows(
        self, connection: ConnectionSettings, write_times: WriteTimes
    ) -> None:
        name = await write_times((200, 1, 2), (100, 101, 102))
        page = await read_page(connection, name, None, FromOffset(0), limits(2), lambda record: record.value != b"100")
        assert addresses_at(page) == [((1, 1), 101), ((1, 2), 102)]

    async def test_a_late_record_that_does_not_match_hides_no_match_before_it(
        self, connection: ConnectionSettings, write_times: WriteTimes
    ) -> None:
        name = await write_times((100, 101, 102, 5, 104, 105), (50, 51, 52))
        matches = [((0, 0), 100), ((0, 1), 101), ((0, 2), 102)]

        def wanted(record: Record) -> bool:
            return record.value not in (b"5", b"104", b"105")

        async def unchanged(records: Sequence[Record]) -> Sequence[Record]:
            return records

        page = await read_page(connection, name, None, Newest(), limits(3), wanted)
        assert addresses_at(page) == matches
        newest = await read_newest_matches(connection, name, {0: 6, 1: 3}, 3, wanted, decode=unchanged)
        assert [((one.partition, one.offset), int(one.value or b"")) for one in newest] == matches

    async def test_a_page_of_one_partition_reads_no_more_than_it_shows(
        self, connection: ConnectionSettings, write_times: WriteTimes
    ) -> None:
        name = await write_times(range(100, 120))
        examined: list[int] = []

        def wanted(record: Record) -> bool:
            examined.append(record.offset)
            return True

        await read_page(connection, name, 0, Newest(), limits(4), wanted)
        assert examined == [16, 17, 18, 19]

    def test_a_record_without_a_time_has_that_of_the_one_before_it(self) -> None:
        def record(partition: int, offset: int, at_ms: int) -> Record:
            return PlainRecord("orders", partition, offset, at_ms, None, b"", ())

        records = [record(0, 0, 10), record(0, 1, 30), record(0, 2, -1), record(1, 0, 20), record(1, 1, 40)]
        newest = newest_by_time(records, 3)
        assert [(one.partition, one.offset) for one in newest] == [(0, 1), (0, 2), (1, 1)]


class TestTimes:
    async def test_that_are_not_in_order_do_not_hide_a_record(
        self, kafka_broker: KafkaBroker, connection: ConnectionSettings, topic: MakeTopic
    ) -> None:
        name = await topic(partitions=2)
        at = (0, 10**6, 3, 1, 2, 0, 10**6, 5)
        async with AIOKafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers) as producer:
            for number in range(40):
                partition = number % 2
                at_ms = BEGAN_MS + at[number % len(at)]
                await producer.send_and_wait(name, b"%d" % number, partition=partition, timestamp_ms=at_ms)
        seen: set[Address] = set()
        page = await read_page(connection, name, None, Newest(), limits(3), lambda record: True)
        while page.records:
            addresses = {(record.partition, record.offset) for record in page.records}
            assert not seen & addresses
            seen |= addresses
            page = await read_page(connection, name, None, Before(begins(page)), limits(3), lambda record: True)
        assert len(seen) == 40
